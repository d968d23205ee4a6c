"""Describe the rows of an action, and what changes in them, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from rbkernel import amounts
from rbkernel.execution.document import Facts

_SHOWN = 60


def target(facts: Facts) -> str:
    """Describe a row, and what changes in it, in one line.

    >>> target({"key": {"id": "7"}, "before": {"status": None}, "after": {"status": "failed"}})
    "id = 7: status NULL → 'failed'"
    """
    changes = ", ".join(
        f"{name} {value(was)} → {value(facts['after'][name])}"
        for name, was in facts["before"].items()
    )
    return f"{key(facts['key'])}: {changes}"


def key(of: Mapping[str, str | None]) -> str:
    """Describe the key of a row, sorted by name, as in a document.

    >>> key({"tenant": "a", "id": "7"})
    'id = 7, tenant = a'
    """
    return ", ".join(f"{name} = {one}" for name, one in sorted(of.items()))


def value(text: str | None) -> str:
    """Return a value as people read it, cut if it is long; the document has all of it."""
    if text is None:
        return "NULL"
    return f"'{text}'" if len(text) <= _SHOWN else f"'{text[: _SHOWN - 1]}…' ({len(text)} long)"


def effect(rows: int, table: Facts) -> str:
    """Describe the effect of an action on rows.

    >>> effect(2, {"table": "shop.t", "sets": [{"name": "a"}], "triggers": ["log"], "follows": []})
    '2 rows of shop.t: a is set. Triggers run, and may change more: log'
    """
    names = ", ".join(one["name"] for one in table["sets"])
    verb = "is" if len(table["sets"]) == 1 else "are"
    said = [f"{amounts.count(rows, 'row')} of {table['table']}: {names} {verb} set"]
    if table["triggers"]:
        said.append(f"Triggers run, and may change more: {', '.join(table['triggers'])}")
    if table["follows"]:
        said.append(f"Rows that refer to these change, too: {', '.join(table['follows'])}")
    return ". ".join(said)


def loss(table: Facts) -> str:
    """Describe what no undo restores.

    >>> loss({"triggers": [], "follows": ["shop.items"]})
    'what these change is not restored: shop.items'
    """
    others = [*table["triggers"], *table["follows"]]
    if others:
        return f"what these change is not restored: {', '.join(others)}"
    return "nothing: the values before are in the document"


def foretold(facts: Facts) -> tuple[tuple[str, str], ...]:
    """Describe how many rows a document changes, in which table."""
    count = amounts.count(len(facts["targets"]), "row")
    return (("Changes", f"{count} of {facts['foretold']['table']}"),)
