"""Determine the connections of a run: those in its parameters, else the default connection.

Each parameter under `connections` in the front matter holds the name of a connection. An empty
``db`` means the default connection. An empty ``standby`` means the configured standby of ``db``,
if any; ``standby_name`` is the application_name of that standby.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from rbkernel.config import Settings
from rbkernel.errors import ParameterError
from rbkernel.runbook.placeholders import unfilled

DB, STANDBY, STANDBY_NAME = "db", "standby", "standby_name"
# the calls of `rb` that take a connection's name, and the index of that argument
CALLS: Mapping[str, int] = {
    **dict.fromkeys(("assess", "query", "sample"), 1),
    **dict.fromkeys(("diagnose", "overview", "reconcile"), 0),
}
_KEYWORDS = frozenset({DB, "target_db", STANDBY})


def filled(
    carriers: Mapping[str, str], values: Mapping[str, Any], settings: Settings
) -> dict[str, str]:
    """Return the configured connection names for those connection parameters that are empty.

    Parameters
    ----------
    carriers
        Parameter → glob of the allowed connections, as in the front matter.
    values
        All parameters of the run, with their defaults.
    settings
        The configuration.

    Returns
    -------
    dict
        The values of those parameters that were empty and that the configuration fills.
    """
    found: dict[str, str] = {}
    if _is_empty(DB, carriers, values):
        found[DB] = settings.default_connection
    connection = settings.connections.get(found.get(DB) or str(values.get(DB)))
    if connection and connection.standby:
        if _is_empty(STANDBY, carriers, values):
            found[STANDBY] = connection.standby
        is_its = {**values, **found}.get(STANDBY) == connection.standby
        if is_its and _is_empty(STANDBY_NAME, values, values):
            found[STANDBY_NAME] = connection.standby_name
    return {name: value for name, value in found.items() if value}


def _is_empty(name: str, wanted: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    return name in wanted and name in values and values[name] in (None, "")


def used(cells: Iterable[tuple[str, str]]) -> set[str]:
    """Return the variable names that code cells pass to `rb` as connections, declared or not.

    Parameters
    ----------
    cells
        Kind and source of each cell.

    >>> sorted(used([("code", "import rbkernel as rb\\nrb.query('SELECT 1', main)"),
    ...              ("code", "%%sql other --into x\\nSELECT 1")]))
    ['main', 'other']
    """
    return {name for kind, source in cells if kind == "code" for name in _used(source)}


def _used(source: str) -> Iterator[str]:
    first, _, _ = source.lstrip().partition("\n")
    if first.startswith("%%"):
        words = first.split()
        yield from words[1:2] if words[0] == "%%sql" else ()
        return
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return  # lint and the run report the syntax error
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="rb"), attr=call)) if call in CALLS:
                place = CALLS[call]
                given = [one.value for one in node.keywords if one.arg in _KEYWORDS]
                for one in [*node.args[place : place + 1], *given]:
                    if isinstance(one, ast.Name):
                        yield one.id


def named(
    carriers: Mapping[str, str],
    values: Mapping[str, Any],
    where: str,
    *,
    others: Collection[str] = (),
) -> dict[str, str]:
    """Return the connection names by parameter; empty values and placeholders are left out.

    ``carriers`` are the parameters under `connections` in the front matter. ``others`` are further
    parameters that the code uses as connections.

    Raises
    ------
    ParameterError
        The parameter ``db`` is empty, and there is no default connection.
    """
    if DB in carriers and values.get(DB, "?") in (None, ""):
        raise ParameterError(
            "the parameter db is empty, and no default connection is configured",
            where=where,
            next_step="give the name of a connection as db=…, or write `default = true` into one"
            " of the [connections] of rbkernel.toml; `rbkernel sandbox up` makes one to try",
        )
    given = {name: values.get(name) for name in (*carriers, *others)}
    return {name: str(value) for name, value in given.items() if value and not unfilled(value)}
