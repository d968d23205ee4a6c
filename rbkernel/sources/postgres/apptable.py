"""Find the application's table that a diagnostic reads, and the columns that it needs.

Teams name their columns differently: ``created_at`` in one database is ``enqueued_at`` in another.
So a diagnostic asks for columns by their meaning. A column is found by one of its usual names, in
order of preference. A column for a time is also found by its type, if the table has only one column
of a date or time type. If a column has another name than the preferred one, a note says so, and a
parameter can name the right column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from rbkernel.errors import DatabaseError
from rbkernel.sources.postgres import relations
from rbkernel.sources.postgres.connection.driver import quote_identifier, quote_literal
from rbkernel.sources.postgres.connection.session import Session
from rbkernel.sources.postgres.relations import Candidate

# pg_type.typcategory of dates and times
_TIMES = "D"


class Column(BaseModel):
    """A column that a diagnostic needs, and the names that it may have in a team's table.

    ``names`` are tried in order, ignoring case and underscores. ``time`` requires a date or
    time. An ``optional`` column that the table lacks is read as NULL.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tuple[str, ...]
    time: bool = False
    optional: bool = False


class Table(BaseModel):
    """A table of an application that a diagnostic reads: usual name, and columns by meaning."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    columns: dict[str, Column]

    def parameters(self) -> dict[str, str]:
        """Return the parameters that name the table and its columns, each with its description."""
        return {
            "table": f"the table, if it is not called {self.name}",
            **{
                f"{meaning}_column": f"the column for {meaning}, if it is not found by its name"
                for meaning in self.columns
            },
        }


@dataclass(frozen=True, kw_only=True)
class Found:
    """SQL names to put in place of ``{table}`` and each ``{meaning}``, with notes for people.

    ``{table_name}`` and ``{meaning_name}`` are these names as text, for a plan that uses them.
    """

    fills: Mapping[str, str]
    notes: tuple[str, ...] = ()


def lacks(session: Session, table: Table) -> str:
    """Return why a database lacks the table that a diagnostic needs; empty if the table exists.

    Raises
    ------
    DatabaseError
        The server does not answer.
    """
    try:
        _one_of(session, table, {})
    except _NotThere as error:
        return error.what
    except DatabaseError:
        return ""  # the table exists; another finding reports the problem
    return ""


def find(session: Session, table: Table, given: Mapping[str, str]) -> Found:
    """Find the application's table that a diagnostic reads, and the table's columns by meaning.

    Parameters
    ----------
    given
        Names of the table and its columns from the caller, by parameter; empty ones are ignored.

    Raises
    ------
    DatabaseError
        There is no such table, it lacks a column, several tables match, or reading it would run
        functions defined in this database.
    """
    one, columns = _one_of(session, table, given)
    where = f"connection {session.connection.name}"
    code = session.answer(relations.CODE, {"oid": one.oid}, name="code").values("what")
    if code:
        raise DatabaseError(
            f"reading {one} would run code defined in this database as the role"
            f" {session.server.role}: {', '.join(code)}",
            where=where,
            next_step="review this code; if it may be executed, query the table in a %%sql cell",
        )
    place = f"{quote_identifier(one.schema)}.{quote_identifier(one.name)}"
    fills = {"table": place, "table_name": quote_literal(place)}
    for meaning, spec in table.columns.items():
        null = "NULL::timestamptz" if spec.time else "NULL::text"
        known = quote_identifier(columns[meaning]) if meaning in columns else ""
        fills[meaning] = known or null
        fills[f"{meaning}_name"] = quote_literal(known) if known else "NULL::text"
    return Found(fills=fills, notes=tuple(_notes(table, columns, given)))


def _one_of(
    session: Session, table: Table, given: Mapping[str, str]
) -> tuple[Candidate, Mapping[str, str]]:
    where = f"connection {session.connection.name}"
    schema, _, name = (given.get("table") or table.name).rpartition(".")
    schema = schema or session.connection.app_schema or ""
    candidates = _candidates(session, schema, name)
    if not candidates:
        raise _NotThere(
            f"there is no table {name} in {schema or session.server.database}",
            where=where,
            next_step="give the connection of the database that has the table, or pass its name as"
            " table=…",
        )
    matched = [(one, columns_of(table, one.columns, given)) for one in candidates]
    complete = [(one, found) for one, found in matched if not missing(table, found)]
    if not complete:
        one, found = matched[0]
        lacking = missing(table, found)
        raise _NotThere(
            f"the table {one} has no column {', '.join(_wanted(table, lacking, given))}"
            f" (it has {', '.join(one.columns)})",
            where=where,
            next_step="pass the names of the right columns: "
            + ", ".join(f"{meaning}_column=…" for meaning in lacking),
        )
    if len(complete) > 1:
        schemas = ", ".join(one.schema for one, _ in complete)
        raise DatabaseError(
            f"several schemas have a table {name}, and it is unclear which table is meant:"
            f" {schemas}",
            where=where,
            next_step="name the schema of the application: app_schema of the connection in"
            " rbkernel.toml",
        )
    return complete[0]


def _candidates(session: Session, schema: str, name: str) -> list[Candidate]:
    values = {"name": name, "schema": schema}
    rows = session.answer(relations.CANDIDATES, values, name="table").records()
    return [
        Candidate(
            oid=int(row["oid"]),
            schema=row["schema"],
            name=name,
            kind=row["kind"],
            columns=dict(zip(row["names"], row["categories"], strict=True)),
        )
        for row in rows
    ]


class _NotThere(DatabaseError):
    """There is no matching table; the database may belong to another application."""


def columns_of(table: Table, has: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Return the matching column of a table for each meaning; meanings without a column are left
    out.

    Parameters
    ----------
    has
        The table's columns: name → category of the type.
    given
        As for `find`.

    >>> at = Column(names=("created_at", "queued_at"), time=True)
    >>> to = Column(names=("destination", "target"))
    >>> wanted = Table(name="t", columns={"at": at, "to": to})
    >>> columns_of(wanted, {"id": "N", "QueuedAt": "D", "target": "S", "seen": "D"}, {})
    {'at': 'QueuedAt', 'to': 'target'}
    >>> columns_of(wanted, {"written": "D"}, {}), columns_of(wanted, {"created_at": "N"}, {})
    ({'at': 'written'}, {})
    >>> columns_of(wanted, {"created_at": "D", "seen": "D"}, {"at_column": "seen"})
    {'at': 'seen'}
    """
    alike = {_plain(name): name for name in has}
    times = [name for name, category in has.items() if category == _TIMES]
    found = {}
    for meaning, spec in table.columns.items():
        fitting = set(times) if spec.time else set(has)
        if own := given.get(f"{meaning}_column"):
            named = [own] if own in fitting else []
        else:
            known = (alike.get(_plain(name)) for name in spec.names)
            named = [name for name in known if name in fitting]
            if spec.time and not spec.optional and len(times) == 1:
                named += times
        if named:
            found[meaning] = named[0]
    return found


def missing(table: Table, found: Mapping[str, str]) -> list[str]:
    """Return the meanings of required columns for which the table has no column."""
    wanted = (meaning for meaning, spec in table.columns.items() if not spec.optional)
    return [meaning for meaning in wanted if meaning not in found]


def _wanted(table: Table, lacking: Iterable[str], given: Mapping[str, str]) -> Iterable[str]:
    for meaning in lacking:
        kind = ", a date or time" if table.columns[meaning].time else ""
        yield given.get(f"{meaning}_column") or f"for {meaning}{kind}"


def _notes(table: Table, columns: Mapping[str, str], given: Mapping[str, str]) -> Iterable[str]:
    for meaning, spec in table.columns.items():
        if given.get(f"{meaning}_column"):
            continue
        if meaning not in columns:
            yield f"{meaning}: the table has no such column"
        elif _plain(columns[meaning]) != _plain(spec.names[0]):
            yield (
                f"{meaning}: read from {columns[meaning]}; if that is wrong, pass"
                f" {meaning}_column=…"
            )


def _plain(name: str) -> str:
    return name.replace("_", "").lower()
