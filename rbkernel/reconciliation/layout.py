"""Decide from both catalogues how the columns of two tables are compared.

The columns that both tables have are compared, by name or by the mapping. A column that the target
lacks is a difference, unless it is ignored; columns that only the target has, or that cannot be
compared as they are, are reported once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rbkernel.errors import DatabaseError, QueryError
from rbkernel.reconciliation.encoding import Rule, Type, as_key, fill, rule
from rbkernel.reconciliation.question import Question
from rbkernel.reconciliation.snapshot import Reader, Readers
from rbkernel.reconciliation.tables import Table, TableColumn, check_two, needed, percent
from rbkernel.reconciliation.tables import read as read_table
from rbkernel.sources.postgres.connection.driver import quote_identifier

# types to which the text of a key is cast; for other types the text itself is compared
_SOUGHT = {
    **dict.fromkeys(("int2", "int4", "int8"), "int8"),
    **dict.fromkeys(("text", "varchar", "name"), "text"),
    **{name: name for name in ("bpchar", "bytea", "date", "numeric", "timestamp", "timestamptz")},
    **{name: name for name in ("bool", "uuid")},
}


@dataclass(frozen=True, kw_only=True)
class Column:
    """A pair of columns to compare; `source` and `target` are expressions on the table alias ``t``.

    ``sought`` holds a SQL condition for each side, with ``{}`` for a text: the condition is true if
    the column's value, as text, equals that text.
    """

    name: str
    target_name: str
    source: str
    target: str
    rule: Rule
    type: Type
    sought: tuple[str, str]
    tolerance: float | None = None

    def text(self, *, target: bool) -> str:
        """Return SQL for the column's value as text."""
        return fill(self.rule.text, self.target if target else self.source)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the columns of two tables are compared.

    ``odd`` names columns whose types differ, ``lacking`` columns of the source that the target
    lacks; ``notes`` name columns that are ignored, that only the target has, or that are compared
    as text.
    """

    source: Table
    target: Table
    key: tuple[Column, ...]
    columns: tuple[Column, ...]
    odd: tuple[str, ...]
    lacking: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def proven(self) -> bool:
        """Whether unique indexes on both sides guarantee that the key is unique."""
        return _proven(self.source, self.key, target=False) and _proven(
            self.target, self.key, target=True
        )

    @property
    def integer_key(self) -> bool:
        """Whether the key is a single integer, so that keys are shown and sorted as numbers."""
        column = self.key[0]
        return len(self.key) == 1 and column.type.family == "int8" and column.rule.number

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the compared columns."""
        return tuple(column.name for column in self.columns)

    @property
    def everything(self) -> tuple[Column, ...]:
        """The columns of the key, and the compared columns."""
        return (*self.key, *self.columns)


def read(question: Question, both: Readers) -> Layout:
    """Read both catalogues, and decide how the tables are compared.

    Raises
    ------
    QueryError
        A table or a named column does not exist, the key is not usable, or nothing is left to
        compare.
    DatabaseError
        A column may not be read.
    """
    source, target = both.both(
        lambda reader: read_table(reader, question.source),
        lambda reader: read_table(reader, question.target),
    )
    check_two(source, target, both)
    keys = [_key_pair(question, source, target, name) for name in question.key]
    pairs = _pairs(question, source, target)
    _check_privileges(source, (one for one, _ in [*keys, *pairs]), both.source)
    _check_privileges(target, (other for _, other in [*keys, *pairs]), both.target)
    _check_something_is_compared(question, source, target, bool(pairs))
    columns, odd = [], []
    for one, other in pairs:
        column = _column(question, one, other)
        if column is None:
            odd.append(f"{_named(one, other)}: {one.type.shown} / {other.type.shown}")
        else:
            columns.append(column)
    notes = [*_alone(question, source, target), *_texts(columns)]
    taken = {*question.key, *question.ignore, *(one.name for one, _ in pairs)}
    lacking = [column.name for column in source.columns if column.name not in taken]
    return Layout(
        source=source,
        target=target,
        key=tuple(_key_column(question, source, target, *pair) for pair in keys),
        columns=tuple(columns),
        odd=tuple(odd),
        lacking=() if question.columns else tuple(lacking),
        notes=tuple(notes),
    )


def check_key(layout: Layout, both: Readers) -> None:
    """Check that the key is unique in both tables, if no index guarantees it.

    Raises
    ------
    QueryError
        The key is not unique; the message names duplicate keys.
    """
    both.both(
        lambda reader: _check_unique(reader, layout.source, layout.key, target=False),
        lambda reader: _check_unique(reader, layout.target, layout.key, target=True),
    )


def windows(question: Question, layout: Layout, since: str) -> tuple[str, str]:
    """Return the conditions for the time window; empty if the question has no window."""
    if not since:
        return "", ""
    name = question.window_column
    columns = (
        needed(layout.source, name),
        needed(layout.target, question.mapping.get(name, name)),
    )
    for of, column in zip((layout.source, layout.target), columns, strict=True):
        if column.type.name not in {"timestamp", "timestamptz", "date"}:
            raise QueryError(
                f"{column.name} of {of.shown} is not a time, but {column.type.shown}",
                where="window",
                next_step="name a column with the time at which a row was written",
            )
    zone = question.time_zone or "UTC"
    first, second = (f"{_expression(one, zone)} >= '{since}'::timestamptz" for one in columns)
    return first, second


def _pairs(
    question: Question, source: Table, target: Table
) -> list[tuple[TableColumn, TableColumn]]:
    """Return the pairs of columns to compare besides the key, in the order of the source."""
    for name in (*question.columns, *question.ignore, *question.mapping, *question.tolerance):
        needed(source, name)
    for name in question.mapping.values():
        needed(target, name)
    taken = {question.mapping.get(name, name) for name in question.key}
    names = question.columns or tuple(column.name for column in source.columns)
    pairs = []
    for name in names:
        other = target.column(question.mapping.get(name, name))
        if question.columns and other is None:
            needed(target, name)
        if name in {*question.key, *question.ignore} or other is None or other.name in taken:
            continue
        claimed = {new for old, new in question.mapping.items() if old != name}
        if other.name not in claimed:
            pairs.append((needed(source, name), other))
    return pairs


def _column(question: Question, one: TableColumn, other: TableColumn) -> Column | None:
    found = rule(
        one.type,
        other.type,
        declared=one.name in question.mapping,
        zoned=bool(question.time_zone),
    )
    if found is None:
        return None
    tolerance = question.tolerance.get(one.name)
    if tolerance is not None and not found.number:
        raise QueryError(
            f"{one.name} ({one.type.shown}) is not a number", where="tolerance",
            next_step="use tolerances only for numbers",
        )  # fmt: skip
    zoned = question.time_zone if one.type.name != other.type.name else ""
    expressions = _expression(one, zoned), _expression(other, zoned)
    alike = one.type.family == other.type.family
    return Column(
        name=one.name,
        target_name=other.name,
        source=expressions[0],
        target=expressions[1],
        rule=found,
        type=one.type,
        sought=(
            _sought(expressions[0], one if alike else None, found),
            _sought(expressions[1], other if alike else None, found),
        ),
        tolerance=tolerance,
    )


def _sought(expression: str, column: TableColumn | None, found: Rule) -> str:
    """Return the SQL condition that a column has the text in place of ``{}``.

    The condition has a form for which PostgreSQL can use the index.
    """
    cast = _SOUGHT.get(column.type.name) if column and column.deterministic else None
    return f"{expression} = {{}}::{cast}" if cast else f"{fill(found.text, expression)} = {{}}"


def _expression(column: TableColumn, zone: str) -> str:
    name = f"t.{percent(quote_identifier(column.name))}"
    if zone and column.type.name == "timestamp":
        return f"({name} AT TIME ZONE '{percent(zone.replace(chr(39), chr(39) * 2))}')"
    return name


def _key_pair(
    question: Question, source: Table, target: Table, name: str
) -> tuple[TableColumn, TableColumn]:
    one = needed(source, name, key=True)
    return one, needed(target, question.mapping.get(name, name), key=True)


def _key_column(
    question: Question, source: Table, target: Table, one: TableColumn, other: TableColumn
) -> Column:
    column = _column(question, one, other)
    if column is not None and not as_key(column.rule):
        raise QueryError(
            f"the key {_named(one, other)} is {one.type.shown}, whose equal values may be written"
            " differently: rows cannot be found by it",
            where="key",
            next_step="name another key",
        )
    if column is None:
        raise QueryError(
            f"the key {_named(one, other)} is {one.type.shown} in {source.shown} and"
            f" {other.type.shown} in {target.shown}: rows cannot be found by it",
            where="key",
            next_step=f"declare that they are the same (--map {one.name}={other.name}), or name"
            " another key",
        )
    return column


def _check_something_is_compared(
    question: Question, source: Table, target: Table, found: bool
) -> None:
    # tables with only key columns are compared by the key
    rest = len(source.columns) - len(question.ignore)
    if not found and min(rest, len(target.columns)) > len(question.key):
        raise QueryError(
            f"{source.shown} and {target.shown} have no common column except the key",
            where="columns",
            next_step="map the columns of the source to those of the target (--map old=new)",
        )


def _check_privileges(of: Table, columns: Iterable[TableColumn], reader: Reader) -> None:
    denied = [column.name for column in columns if not column.readable]
    if denied:
        raise DatabaseError(
            f"permission denied: the role {reader.session.server.role} may not read"
            f" {', '.join(denied)} of {of.shown}",
            where=f"connection {reader.name}",
            next_step=f"GRANT SELECT ON {of.shown} TO {reader.session.server.role}, or name the"
            " columns to compare (--columns)",
        )


def _alone(question: Question, source: Table, target: Table) -> list[str]:
    ignored = []
    if question.ignore:
        ignored = [f"columns not compared, because they are ignored: {', '.join(question.ignore)}"]
    if question.columns:
        return ignored
    mapped = set(question.mapping.values())
    alone = [c.name for c in target.columns if not source.column(c.name) and c.name not in mapped]
    return [
        *ignored,
        *(
            [f"columns not compared, because only {target.shown} has them: {', '.join(alone)}"]
            if alone
            else []
        ),
    ]


def _texts(columns: Iterable[Column]) -> list[str]:
    """Return notes about the columns that are compared as text although their type is another."""
    plain = {"text", "varchar", "bpchar", "name", "_text", "_varchar", "_bpchar", "_name"}
    odd = [
        f"{c.name} ({c.type.shown})"
        for c in columns
        if c.rule.compared != "{}" and not c.rule.number and c.type.name not in plain
        and c.type.kind != "e"
    ]  # fmt: skip
    return [f"columns compared as text: {', '.join(odd)}"] if odd else []


def _check_unique(reader: Reader, of: Table, key: tuple[Column, ...], *, target: bool) -> None:
    names = _key_names(key, target=target)
    proven = _proven(of, key, target=target)
    columns = [of.column(name) for name in names]
    if proven and all(column and column.not_null for column in columns):
        return
    texts = [column.text(target=target) for column in key]
    nulls = " OR ".join(f"{column.target if target else column.source} IS NULL" for column in key)
    where, listed = f"{of.shown} on connection {reader.name}", ", ".join(names)
    if reader.rows(f"SELECT 1 FROM {of.sql} t WHERE {nulls} LIMIT 1"):
        raise QueryError(f"the key {listed} is NULL in some rows", where=where,
                         next_step="name columns that identify every row")  # fmt: skip
    if proven:
        return
    twice = reader.rows(
        f"SELECT concat_ws(', ', {', '.join(texts)}), count(*) FROM {of.sql} t"
        f" GROUP BY {', '.join(texts)} HAVING count(*) > 1 ORDER BY 2 DESC, 1 LIMIT 5"
    )
    if twice:
        some = "; ".join(f"{value} ({count} rows)" for value, count in twice)
        raise QueryError(
            f"the key {listed} does not identify a row: {some}",
            where=where,
            next_step="name more columns as the key, or remove the duplicates first",
        )


def _key_names(key: tuple[Column, ...], *, target: bool) -> list[str]:
    return [column.target_name if target else column.name for column in key]


def _proven(of: Table, key: tuple[Column, ...], *, target: bool) -> bool:
    names = set(_key_names(key, target=target))
    return any(unique <= names for unique in of.unique)


def _named(one: TableColumn, other: TableColumn) -> str:
    return one.name if one.name == other.name else f"{one.name}={other.name}"
