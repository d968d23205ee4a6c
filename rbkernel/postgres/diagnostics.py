"""The library of named diagnostics: one `.sql` file each, described by its own header.

A diagnostic never raises because the patient is sick. It returns an empty frame with the columns
that its header declares and the reason attached, which every check reads as ``unknown``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd

from rbkernel.errors import DatabaseError, QueryError
from rbkernel.postgres.session import Session, failed_frame

_HEADER = re.compile(r"--\s*(?P<key>purpose|runs on|needs|column|parameter|source):\s*(?P<rest>.+)")


@dataclass(frozen=True, kw_only=True)
class Diagnostic:
    """A named query and what its header says of it."""

    name: str
    purpose: str
    runs_on: str  # primary | standby | any
    needs_monitor: bool
    columns: Mapping[str, str]
    parameters: Mapping[str, Any]
    sql: str


def names() -> list[str]:
    """Return the names of all diagnostics, sorted."""
    return sorted(
        f"{folder.name}/{file.name.removesuffix('.sql')}"
        for folder in files("rbkernel.postgres").joinpath("sql").iterdir()
        if folder.is_dir()
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    )


@cache
def get(name: str) -> Diagnostic:
    """Return a diagnostic by name, such as ``replication/lag``.

    Raises
    ------
    QueryError
        There is none of that name; the message lists those there are.
    """
    if name not in names():
        raise QueryError(
            f"no diagnostic is called {name!r}; there are {', '.join(names())}",
            next_step="use one of these names, or write the query in a %%sql cell",
        )
    source = files("rbkernel.postgres").joinpath("sql", *f"{name}.sql".split("/"))
    return parse(name, source.read_text(encoding="utf-8"))


def parse(name: str, source: str) -> Diagnostic:
    """Read a diagnostic's header.

    >>> parse("a/b", "-- purpose: x\\n-- column: n int: how many\\nSELECT 1 AS n").columns
    {'n': 'int: how many'}
    """
    fields: dict[str, list[str]] = {}
    body = []
    for line in source.splitlines():
        if match := _HEADER.fullmatch(line.strip()):
            fields.setdefault(match["key"], []).append(match["rest"].strip())
        else:
            body.append(line)
    pairs = {key: [_split(rest) for rest in fields.get(key, [])] for key in fields}
    return Diagnostic(
        name=name,
        purpose=fields["purpose"][0],
        runs_on=fields.get("runs on", ["any"])[0],
        needs_monitor="pg_monitor" in fields.get("needs", []),
        columns=dict(pairs.get("column", [])),
        parameters=dict(pairs.get("parameter", [])),
        sql="\n".join(body).strip(),
    )


def _split(rest: str) -> tuple[str, str]:
    name, _, description = rest.partition(" ")
    return name, description


def run(session: Session, name: str, **values: Any) -> pd.DataFrame:
    """Run a diagnostic.

    Returns
    -------
    pandas.DataFrame
        Rows × the header's columns; empty, with a reason in its provenance, when the patient
        could not or would not answer.

    Raises
    ------
    QueryError
        Unknown name, missing or unknown parameter: a programming error.
    """
    diagnostic = get(name)
    _check_values(diagnostic, values)
    try:
        _check_fit(diagnostic, session)
        return session.query(diagnostic.sql, values, name=name)
    except DatabaseError as error:
        return failed_frame(
            list(diagnostic.columns),
            error,
            name=name,
            connection=session.connection.name,
            sql=diagnostic.sql,
        )


def _check_values(diagnostic: Diagnostic, values: Mapping[str, Any]) -> None:
    if set(values) != set(diagnostic.parameters):
        wanted = ", ".join(diagnostic.parameters) or "none"
        raise QueryError(
            f"{diagnostic.name} takes the parameters {wanted}; it was given"
            f" {', '.join(values) or 'none'}",
            next_step="pass exactly these as keywords",
        )


def _check_fit(diagnostic: Diagnostic, session: Session) -> None:
    """Refuse before asking what the server could only answer wrongly."""
    server, where = session.server, f"connection {session.connection.name}"
    kind = "standby" if server.standby else "primary"
    if diagnostic.runs_on not in {"any", kind}:
        raise DatabaseError(
            f"{diagnostic.name} can only be asked of a {diagnostic.runs_on}, and this is a {kind}",
            where=where,
            next_step=f"give the connection name of the {diagnostic.runs_on}; if the roles have"
            " changed, a failover has happened",
        )
    if diagnostic.needs_monitor and not server.monitor:
        raise DatabaseError(
            f"the role {server.role} lacks pg_monitor, so {diagnostic.name} would see only a part",
            where=where,
            next_step=f"have an administrator run: GRANT pg_monitor TO {server.role}",
        )
