"""Find the application's table by its name, and the functions that reading it would run.

A name without a schema may match several tables, and a search path can put the wrong one first. So
a table is used only if no other has that name, unless the caller names its schema. Reading a table
may run functions: those of a view, of a cast, and of an index or a partition key, whose constant
parts the planner evaluates. These functions would run as the diagnostic role, so a table with such
functions is not read. Functions of superusers are allowed: they belong to PostgreSQL and its
extensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# tables with a given name, with their columns and the category of each column's type
CANDIDATES = """
SELECT c.oid::int8 AS oid, n.nspname::text AS schema, c.relkind::text AS kind,
       array_agg(a.attname::text ORDER BY a.attnum) AS names,
       array_agg(t.typcategory::text ORDER BY a.attnum) AS categories
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
WHERE c.relname = :name
  AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND (:schema = '' OR n.nspname = :schema)
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
GROUP BY 1, 2, 3
ORDER BY schema
"""
# functions of non-superusers that reading a table would run
CODE = """
WITH RECURSIVE reached (oid) AS (
    SELECT CAST(CAST(:oid AS int8) AS oid)
    UNION
    SELECT n.oid
    FROM reached r
    CROSS JOIN LATERAL (
        SELECT inhrelid FROM pg_inherits WHERE inhparent = r.oid
        UNION ALL
        SELECT d.refobjid
        FROM pg_rewrite w
        JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
        WHERE w.ev_class = r.oid AND w.ev_type = '1' AND d.refclassid = 'pg_class'::regclass
    ) n (oid)
),
kind (oid) AS (
    SELECT a.atttypid
    FROM reached r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    UNION
    SELECT t.typbasetype FROM kind k JOIN pg_type t ON t.oid = k.oid WHERE t.typtype = 'd'
),
part (classid, objid) AS (
    SELECT 'pg_class'::regclass, oid FROM reached
    UNION ALL
    SELECT 'pg_class'::regclass, i.indexrelid FROM pg_index i JOIN reached r ON r.oid = i.indrelid
    UNION ALL
    SELECT 'pg_statistic_ext'::regclass, s.oid
    FROM pg_statistic_ext s JOIN reached r ON r.oid = s.stxrelid
    UNION ALL
    SELECT 'pg_rewrite'::regclass, w.oid FROM pg_rewrite w JOIN reached r ON r.oid = w.ev_class
    WHERE w.ev_type = '1'
),
called (oid) AS (
    SELECT CASE WHEN d.refclassid = 'pg_proc'::regclass THEN d.refobjid ELSE o.oprcode::oid END
    FROM part p
    JOIN pg_depend d ON d.classid = p.classid AND d.objid = p.objid
    LEFT JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid
    WHERE d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass)
    UNION
    SELECT c.castfunc FROM kind k JOIN pg_cast c ON c.castsource = k.oid
)
SELECT p.oid::regprocedure::text AS what
FROM called c
JOIN pg_proc p ON p.oid = c.oid
JOIN pg_roles o ON o.oid = p.proowner
WHERE NOT o.rolsuper
UNION ALL
SELECT 'the foreign table ' || r.oid::regclass::text
FROM reached r JOIN pg_class c ON c.oid = r.oid
WHERE c.relkind = 'f'
ORDER BY 1
LIMIT 5
"""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A table whose name matches the name that is looked for.

    ``place`` is the position of the table's schema in the search path; None if the path lacks it.
    ``columns`` maps each column to the category of its type.
    """

    oid: int
    schema: str
    kind: str
    name: str = ""
    place: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


def searched(candidates: list[Candidate], *, path_is_set: bool) -> Candidate | None:
    """Return the candidate table that a search path finds; None if the result is ambiguous.

    The result is ambiguous if two schemas of the path have such a table. It is also ambiguous if
    the role or the database sets the path, because the path may then lack the right schema.

    >>> one, two = (Candidate(oid=i, schema=s, kind="r", place=i) for i, s in ((1, "a"), (2, "b")))
    >>> far = Candidate(oid=3, schema="c", kind="r")
    >>> searched([one, two], path_is_set=False)
    >>> searched([one, far], path_is_set=False).schema, searched([far], path_is_set=True).schema
    ('a', 'c')
    >>> searched([one, far], path_is_set=True)
    """
    within = [one for one in candidates if one.place is not None]
    if len(within) == 1 and not path_is_set:
        return within[0]
    return candidates[0] if len(candidates) == 1 else None
