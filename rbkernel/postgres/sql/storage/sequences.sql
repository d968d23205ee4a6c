/*
purpose: How much of its range each sequence has used up, or the column that it fills, if that is less
runs_on: primary
columns:
  sequence: the sequence
  fills: the column that owns it; NULL when none does
  last_value: the newest value; NULL when never used, or when the role may not read it
  limit_value: the last value that the sequence or its column can hold
  used_pct: "%, of the range up to limit_value; NULL when the role may not read the sequence"
  cycles: it begins anew at its end
rules:
  - title: Sequences near their end
    column: used_pct
    empty: 0
    where: {cycles: false}
    by: sequence
    unit: "%"
    warn: 85
    critical: 95
    cause: "A sequence has used {value} of its values: {top}"
    next_step: >-
      make the column and the sequence bigint, which rewrites the table: plan it as a migration
      (RUN-004); until then a range of negative values may buy time
    opens: RUN-004
    unseen: >-
      the role may not read some sequences; an administrator can GRANT SELECT ON ALL SEQUENCES IN
      SCHEMA … to it (`rbkernel grant … --read SCHEMA` prints that)
    source: the field's usual thresholds
figure: {kind: bars, x: used_pct, y: sequence, unit: "%", title: Used part of each sequence}
source: >-
  each value is read under a lock, so 500 sequences at the most, those with the nearest ends first
*/
WITH known AS MATERIALIZED (
    SELECT c.oid,
           n.nspname || '.' || c.relname AS sequence,
           s.seqincrement,
           s.seqmin,
           s.seqmax,
           s.seqcycle AS cycles,
           t.oid::regclass::text || '.' || a.attname AS fills,
           CASE a.atttypid
               WHEN 'int2'::regtype THEN 32767
               WHEN 'int4'::regtype THEN 2147483647
               ELSE 9223372036854775807
           END AS column_max
    FROM pg_sequence s
    JOIN pg_class c ON c.oid = s.seqrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_depend d
        ON d.classid = 'pg_class'::regclass
        AND d.objid = c.oid
        AND d.refclassid = 'pg_class'::regclass
        AND d.refobjsubid > 0
        AND d.deptype IN ('a', 'i')
    LEFT JOIN pg_class t ON t.oid = d.refobjid
    LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE c.relpersistence <> 't'
    ORDER BY least(s.seqmax, CASE a.atttypid
               WHEN 'int2'::regtype THEN 32767
               WHEN 'int4'::regtype THEN 2147483647
               ELSE 9223372036854775807
           END), c.oid
    LIMIT 500
),
valued AS MATERIALIZED (
    SELECT *,
           has_sequence_privilege(oid, 'SELECT,USAGE') AS readable,
           CASE
               WHEN has_sequence_privilege(oid, 'SELECT,USAGE') THEN pg_sequence_last_value(oid)
           END AS last_value,
           CASE WHEN seqincrement > 0 THEN least(seqmax, column_max) ELSE seqmin END AS limit_value,
           CASE WHEN seqincrement > 0 THEN seqmin ELSE seqmax END AS first_value
    FROM known
)
SELECT sequence,
       fills,
       last_value,
       limit_value,
       (CASE
            WHEN NOT readable THEN NULL
            WHEN last_value IS NULL THEN 0
            ELSE 100 * (last_value::numeric - first_value)
                / nullif(limit_value::numeric - first_value, 0)
        END)::float8 AS used_pct,
       cycles
FROM valued
ORDER BY used_pct DESC NULLS FIRST, sequence
