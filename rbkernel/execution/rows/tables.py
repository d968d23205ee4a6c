"""Look at the table whose rows an action changes: its columns, its privileges, and its triggers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rbkernel.config import Connection
from rbkernel.redact.columns import Policy
from rbkernel.sources.postgres import relations
from rbkernel.sources.postgres.connection.session import Session

_TABLE = """
SELECT c.oid::int8 AS oid,
       quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name,
       c.relkind = 'r' AND NOT c.relispartition
           AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid) AS plain,
       n.nspname ~ '^pg_' OR n.nspname = 'information_schema' AS system,
       c.relrowsecurity AS secured,
       c.relhasrules AS rules,
       has_schema_privilege(:role, n.oid, 'USAGE')
           AND has_table_privilege(:role, c.oid, 'SELECT') AS readable
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass(:name)
"""
# a type modifier of -1: for NULL, format_type() writes bpchar as character, which is one character
_COLUMNS = """
SELECT w.given, a.attname::text AS plain, quote_ident(a.attname) AS name,
       format_type(a.atttypid, -1) AS type,
       format_type(a.atttypid, a.atttypmod) AS exact,
       a.attgenerated <> '' OR a.attidentity = 'a' AS computed,
       has_column_privilege(:role, a.attrelid, a.attnum, 'UPDATE') AS writable
FROM unnest(:names::text[]) WITH ORDINALITY AS w (given, place)
LEFT JOIN pg_attribute a ON a.attrelid = :oid::int8::oid AND a.attname = (parse_ident(w.given))[1]
    AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY w.place
"""
_AROUND = """
WITH given AS (
    SELECT a.attnum, a.attname::text = ANY (:keys::text[]) AS of_key
    FROM pg_attribute a
    WHERE a.attrelid = :oid::int8::oid AND a.attname::text = ANY (:keys::text[] || :sets::text[])
)
SELECT EXISTS (
           SELECT FROM pg_index i
           WHERE i.indrelid = :oid::int8::oid AND i.indisunique AND i.indisvalid
             AND i.indpred IS NULL AND i.indexprs IS NULL
             AND (i.indkey::int2[])[0 : i.indnkeyatts - 1]
                 <@ ARRAY(SELECT g.attnum FROM given g WHERE g.of_key)
       ) AS is_unique,
       ARRAY(SELECT g.tgname::text FROM pg_trigger g
             WHERE g.tgrelid = :oid::int8::oid AND NOT g.tgisinternal
               AND g.tgenabled IN ('O', 'A') AND g.tgtype::int & 16 <> 0
             ORDER BY 1) AS triggers,
       ARRAY(SELECT DISTINCT f.conrelid::regclass::text FROM pg_constraint f
             WHERE f.confrelid = :oid::int8::oid AND f.contype = 'f'
               AND f.confupdtype IN ('c', 'n', 'd')
               AND f.confkey && ARRAY(SELECT g.attnum FROM given g WHERE NOT g.of_key)
             ORDER BY 1) AS follows
"""
# functions of non-superusers that reading a text as one of these columns would run: of a cast from
# text, and of the constraints of a domain, also in an array, a range or a composite type
_INPUT = """
WITH RECURSIVE kind (oid) AS (
    SELECT a.atttypid FROM pg_attribute a
    WHERE a.attrelid = :oid::int8::oid AND a.attname::text = ANY (:names::text[])
    UNION
    SELECT n.oid
    FROM kind k
    JOIN pg_type t ON t.oid = k.oid
    CROSS JOIN LATERAL (
        SELECT t.typbasetype WHERE t.typtype = 'd'
        UNION ALL
        SELECT t.typelem WHERE t.typelem <> 0
        UNION ALL
        SELECT r.rngsubtype FROM pg_range r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)
        UNION ALL
        SELECT a.atttypid FROM pg_attribute a
        WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
    ) n (oid)
),
called (oid) AS (
    SELECT c.castfunc FROM kind k JOIN pg_cast c ON c.casttarget = k.oid
    UNION
    SELECT CASE WHEN d.refclassid = 'pg_proc'::regclass THEN d.refobjid ELSE o.oprcode::oid END
    FROM kind k
    JOIN pg_constraint n ON n.contypid = k.oid
    JOIN pg_depend d ON d.classid = 'pg_constraint'::regclass AND d.objid = n.oid
    LEFT JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid
)
SELECT p.oid::regprocedure::text AS what
FROM called c
JOIN pg_proc p ON p.oid = c.oid
JOIN pg_roles o ON o.oid = p.proowner
WHERE NOT o.rolsuper
ORDER BY 1
LIMIT 5
"""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column: its SQL name, its type without a length, and ``exact``, its type with it."""

    name: str
    type: str
    exact: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table whose rows an action changes, and why it must not; ``refusals`` are empty if it may.

    ``name`` is its SQL name with the schema. ``triggers`` are the names of its triggers on UPDATE,
    ``follows`` the tables that follow a change of the ``sets`` by a foreign key.
    """

    name: str
    key: tuple[Column, ...] = ()
    sets: tuple[Column, ...] = ()
    triggers: tuple[str, ...] = ()
    follows: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()


def look(session: Session, name: str, keys: Sequence[str], sets: Sequence[str]) -> Table:
    """Look at a table, its key, and the columns to set, all given by SQL names.

    Raises
    ------
    ConfigError
        No role for actions is configured.
    DatabaseError, QueryError
        The server does not answer, or a name or the role for actions is not valid.
    """
    role = session.connection.for_actions().user or ""
    found = session.answer(_TABLE, {"name": name, "role": role}, name="table").records()
    if not found:
        return Table(name=name, refusals=(f"there is no table {name}",))
    [table] = found
    oid, name = table["oid"], table["name"]
    if not table["plain"] or table["system"]:
        what = "is not an ordinary table: a view, a partition, a parent, or of the system"
        return Table(name=name, refusals=(f"{name} {what}",))
    given = {"role": role, "oid": oid, "names": [*keys, *sets]}
    columns = session.answer(_COLUMNS, given, name="columns").records()
    if unknown := [one["given"] for one in columns if one["plain"] is None]:
        return Table(name=name, refusals=(f"{name} has no column {', '.join(unknown)}",))
    of_key, of_sets = columns[: len(keys)], columns[len(keys) :]
    names = {"keys": [one["plain"] for one in of_key], "sets": [one["plain"] for one in of_sets]}
    [around] = session.answer(_AROUND, {"oid": oid, **names}, name="around the table").records()
    every = {"oid": oid, "names": [*names["keys"], *names["sets"]]}
    code = [
        *session.answer(relations.CODE, {"oid": oid}, name="code").values("what"),
        *session.answer(_INPUT, every, name="code of types").values("what"),
    ]
    return Table(
        name=name,
        key=tuple(map(_column, of_key)),
        sets=tuple(map(_column, of_sets)),
        triggers=tuple(around["triggers"]),
        follows=tuple(around["follows"]),
        refusals=(
            *_refusals(table, of_key, of_sets, role, is_unique=around["is_unique"]),
            *_masked(session.connection, columns),
            *(f"looking at {name} would run code of this database: {one}" for one in code),
        ),
    )


def _column(found: dict[str, Any]) -> Column:
    return Column(name=found["name"], type=found["type"], exact=found["exact"])


def _refusals(
    table: dict[str, Any],
    of_key: Sequence[dict[str, Any]],
    of_sets: Sequence[dict[str, Any]],
    role: str,
    *,
    is_unique: bool,
) -> Iterator[str]:
    """Yield why rows of a table cannot be changed."""
    name = table["name"]
    if not is_unique:
        key = ", ".join(one["name"] for one in of_key)
        yield f"{name} has no unique index on its key ({key}), so it does not identify a row"
    if table["secured"] or table["rules"]:
        yield f"{name} has row-level security or rules, which can hide or replace a change"
    if not table["readable"]:
        yield f"the role {role} may not read {name}: GRANT USAGE on its schema, and SELECT on it"
    for one in of_sets:
        if one["computed"]:
            yield f"{one['name']} is a generated column, which cannot be set"
        elif not one["writable"]:
            yield (
                f"the role {role} may not set {one['name']}:"
                f" GRANT UPDATE ({one['name']}) ON {name} TO {role}"
            )
        if {one["name"]} & {key["name"] for key in of_key}:
            yield f"{one['name']} is of the key, so the change could not be undone"
    yield from (
        f"{one['name']} is of the type money, whose text depends on a setting"
        for one in (*of_key, *of_sets)
        if one["type"] in {"money", "money[]"}
    )


def _masked(connection: Connection, columns: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the columns whose values are masked, so that no record may hold them."""
    for one in columns:
        if connection.redaction.policy(one["plain"]) is not Policy.KEEP:
            yield f"{one['name']} is masked by the configuration, so no record may hold its values"
