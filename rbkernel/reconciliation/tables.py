"""Read a table's description from the catalogue: its columns, types and unique indexes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rbkernel.errors import DatabaseError, QueryError
from rbkernel.reconciliation.encoding import Type
from rbkernel.reconciliation.question import parts_of
from rbkernel.reconciliation.snapshot import Reader, Readers
from rbkernel.sources.postgres.connection.driver import quote_identifier
from rbkernel.sources.postgres.relations import Candidate, searched

_TABLE = """
SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text,
       CASE WHEN c.reltuples > 0 THEN pg_table_size(c.oid) / c.reltuples ELSE 200 END,
       c.relkind <> 'p' AND EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid),
       row_security_active(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = %(oid)s
"""
_CANDIDATES = """
SELECT c.oid::int8, n.nspname::text, c.relkind::text,
       array_position(%(path)s::text[], n.nspname::text)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = %(name)s AND (%(schema)s::text IS NULL OR n.nspname = %(schema)s)
  AND (%(schema)s::text IS NOT NULL
       OR (c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_(temp|toast)'))
ORDER BY 4, 2
"""
_COLUMNS = """
WITH RECURSIVE base AS (
    SELECT a.attnum, a.atttypid AS oid
    FROM pg_attribute a WHERE a.attrelid = %(oid)s AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT b.attnum, t.typbasetype
    FROM base b JOIN pg_type t ON t.oid = b.oid WHERE t.typtype = 'd'
)
SELECT a.attname::text, t.typname::text,
       CASE WHEN n.nspname = 'pg_catalog' THEN format_type(t.oid, NULL)
            ELSE format('%%I.%%I', n.nspname, t.typname) END,
       t.typtype::text,
       t.typelem <> 0 AND t.typlen = -1 AND t.typcategory = 'A',
       CASE WHEN t.typtype IN ('r', 'm')
            THEN EXISTS (SELECT FROM pg_range g JOIN pg_type s ON s.oid = g.rngsubtype
                         WHERE t.oid IN (g.rngtypid, g.rngmultitypid)
                         AND s.typtype = 'b' AND s.typcollation = 0 AND s.typcategory <> 'A')
            ELSE e.typcollation = 0 AND EXISTS (
                SELECT FROM pg_opclass o WHERE o.opcdefault AND o.opcintype
                    = CASE WHEN e.typtype = 'e' THEN 'anyenum'::regtype ELSE e.oid END) END,
       a.attnotnull, coalesce(k.collisdeterministic, true),
       has_column_privilege(a.attrelid, a.attnum, 'SELECT'),
       a.attgenerated <> '', a.attidentity::text, format_type(a.atttypid, a.atttypmod)
FROM base b
JOIN pg_attribute a ON a.attrelid = %(oid)s AND a.attnum = b.attnum
JOIN pg_type t ON t.oid = b.oid
JOIN pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_type e ON e.oid = CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE t.oid END
LEFT JOIN pg_collation k ON k.oid = a.attcollation
WHERE t.typtype <> 'd'
ORDER BY a.attnum
"""
# indexes of all rows on plain columns; the first field: whether the index guarantees uniqueness
_INDEXES = """
SELECT i.indisunique AND i.indimmediate,
       ARRAY(SELECT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey[0:i.indnkeyatts - 1])),
       (SELECT a.attname::text FROM pg_attribute a
        WHERE a.attrelid = i.indrelid AND a.attnum = i.indkey[0])
FROM pg_index i
WHERE i.indrelid = %(oid)s AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
"""
# the start time in microseconds, which differs between servers and their standbys
_PLACE = "SELECT pg_postmaster_start_time()::text, current_database()::text"
_READABLE = frozenset("rpvmf")


@dataclass(frozen=True, kw_only=True)
class TableColumn:
    """A column as the catalogue describes it; `declared` is its type with domain and modifier."""

    name: str
    type: Type
    not_null: bool
    deterministic: bool
    readable: bool
    generated: bool
    identity: str
    declared: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table as the catalogue describes it; `sql` is its quoted name, `row_bytes` the average row
    size.
    """

    sql: str
    shown: str
    oid: int
    kind: str
    # an estimate, not included in `Progress.layout`, because every ANALYZE changes it
    row_bytes: float = field(repr=False)
    columns: tuple[TableColumn, ...]
    unique: tuple[frozenset[str], ...]
    leading: frozenset[str]

    def column(self, name: str) -> TableColumn | None:
        """Return the column with this name; None if the table lacks it."""
        return next((column for column in self.columns if column.name == name), None)


def read(reader: Reader, name: str) -> Table:
    """Read the description of a table from the catalogue.

    Raises
    ------
    QueryError
        No table has that name.
    DatabaseError
        Row security hides some of its rows.
    """
    found = reader.rows(_TABLE, {"oid": _located(reader, name)})
    oid, schema, relation, kind, row_bytes, has_children, secured = found[0]
    if kind not in _READABLE:
        raise QueryError(f"{name} is not a table", where=f"connection {reader.name}",
                         next_step="name a table or a view")  # fmt: skip
    if secured:
        raise _hidden(reader, name)
    indexes = reader.rows(_INDEXES, {"oid": oid})
    # a unique index of a partitioned table covers its partitions; that of a parent not its children
    proofs = [] if has_children else [columns for unique, columns, _ in indexes if unique]
    return Table(
        sql=percent(quote_identifier(schema, relation)),
        shown=name,
        oid=oid,
        kind=kind,
        row_bytes=float(row_bytes),
        columns=tuple(map(_table_column, reader.rows(_COLUMNS, {"oid": oid}))),
        unique=tuple(map(frozenset, proofs)),
        leading=frozenset(first for _, _, first in indexes),
    )


def _located(reader: Reader, name: str) -> int:
    """Return the OID of the table with a name; see the module `relations`."""
    *schema, relation = parts_of(name)
    rows = reader.rows(
        _CANDIDATES,
        {
            "name": relation,
            "schema": schema[0] if schema else None,
            "path": ["pg_catalog", *reader.own_path],
        },
    )
    candidates = [
        Candidate(oid=oid, schema=of, kind=kind, place=place) for oid, of, kind, place in rows
    ]
    where = f"connection {reader.name}"
    if not candidates:
        raise QueryError(
            f"there is no table {name} that this role can see",
            where=where,
            next_step="check its name and schema; names are case-sensitive,"
            " and mostly in lower case",
        )
    path_is_set = any(one.name == "search_path" for one in reader.session.server.overrides)
    chosen = searched(candidates, path_is_set=path_is_set)
    if chosen is None:
        schemas = ", ".join(one.schema for one in candidates)
        raise QueryError(
            f"several schemas have a table {name}, so the name is ambiguous: {schemas}",
            where=where,
            next_step=f"name the schema, such as {candidates[0].schema}.{name}",
        )
    return chosen.oid


def check_two(source: Table, target: Table, both: Readers) -> None:
    """Check that source and target are not the same table, even if two connections are used.

    Raises
    ------
    QueryError
        Source and target are the same table.
    """
    if source.oid != target.oid:
        return
    places = both.both(lambda reader: reader.rows(_PLACE), lambda reader: reader.rows(_PLACE))
    if places[0] == places[1]:
        raise QueryError(
            f"{source.shown} and {target.shown} are the same table of the same database",
            where=f"connections {both.source.name} and {both.target.name}",
            next_step="name the other table, or the connection of the other server",
        )


def _hidden(reader: Reader, name: str) -> DatabaseError:
    role = reader.session.server.role
    return DatabaseError(
        f"row security hides rows of {name} from the role {role}, so the tables cannot be compared",
        where=f"connection {reader.name}",
        next_step="have an administrator create a view of it that the table's owner owns, and GRANT"
        f" SELECT on that view TO {role}; then compare the view",
    )


def _table_column(row: tuple[Any, ...]) -> TableColumn:
    name, type_name, shown, kind, element, comparable, *rest = row
    not_null, deterministic, readable, generated, identity, declared = rest
    return TableColumn(
        name=name,
        type=Type(
            name=type_name,
            shown=shown,
            kind=kind,
            element=element,
            comparable=comparable,
        ),
        not_null=not_null,
        deterministic=deterministic,
        readable=readable,
        generated=generated,
        identity=identity,
        declared=declared,
    )


def needed(of: Table, name: str, *, key: bool = False) -> TableColumn:
    """Return the column with this name, which must exist.

    Raises
    ------
    QueryError
        The column does not exist; the message lists the columns.
    """
    found = of.column(name)
    if found is None:
        what = "both tables need the key column" if key else "there is no column"
        names = ", ".join(column.name for column in of.columns)
        raise QueryError(
            f"{what} {name!r}; {of.shown} has {names or 'none'}",
            where=of.shown,
            next_step="use the column names of the source, and map those with another name in the"
            " target",
        )
    return found


def percent(sql: str) -> str:
    """Return a name with percent signs escaped, which psycopg would read as placeholders."""
    return sql.replace("%", "%%")
