/*
purpose: >-
  How much of its range each sequence has used, or of the column that it fills, if that is smaller
runs_on: primary
columns:
  sequence: the sequence
  fills: the narrowest column that owns it, or whose DEFAULT reads it; NULL when none does
  last_value: the newest value; NULL when never used, or when the role may not read it
  limit_value: the last value that the sequence and its columns can hold, by their base types
  used_pct: "%, of the range up to limit_value; NULL when the role may not read the sequence"
  cycles: it starts again after its last value, and its columns can hold all of its values
rules:
  - title: Sequence values used
    column: used_pct
    empty: 0
    where: {cycles: false}
    by: sequence
    unit: "%"
    warn: 85
    critical: 95
    cause: "A sequence has used {value} of its values: {top}"
    next_step: >-
      change the column and the sequence to bigint, which rewrites the table: plan it as a migration
      (RUN-004); until then a range of negative values can buy time
    opens: RUN-004
    unseen: >-
      the role may not read some sequences; an administrator can GRANT SELECT ON ALL SEQUENCES IN
      SCHEMA … to it (`rbkernel grant … --read SCHEMA` prints that)
    source: the field's usual thresholds
batch: {rows: 500, worst_first: used_pct}
figure: {kind: bars, x: used_pct, y: sequence, unit: "%", title: Used part of each sequence}
source: >-
  each value is read under a lock that lasts to the end of the transaction, so 500 are read in each
  transaction; a trigger or a function that calls nextval is not seen
*/
WITH RECURSIVE known AS MATERIALIZED (
    SELECT c.oid,
           n.nspname || '.' || c.relname AS sequence,
           s.seqincrement > 0 AS ascending,
           s.seqmin,
           s.seqmax,
           s.seqcycle
    FROM pg_sequence s
    JOIN pg_class c ON c.oid = s.seqrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relpersistence <> 't' AND s.seqrelid > CAST(CAST(:after AS int8) AS oid)
    ORDER BY s.seqrelid
    LIMIT CAST(:batch AS int)
),
filled (oid, relid, attnum) AS (
    -- serial and identity columns, and OWNED BY
    SELECT k.oid, d.refobjid, d.refobjsubid
    FROM known k
    JOIN pg_depend d
        ON d.classid = 'pg_class'::regclass
        AND d.objid = k.oid
        AND d.refclassid = 'pg_class'::regclass
        AND d.refobjsubid > 0
        AND d.deptype IN ('a', 'i')
    UNION
    -- DEFAULT nextval
    SELECT k.oid, f.adrelid, f.adnum::int
    FROM known k
    JOIN pg_depend d
        ON d.refclassid = 'pg_class'::regclass
        AND d.refobjid = k.oid
        AND d.classid = 'pg_attrdef'::regclass
    JOIN pg_attrdef f ON f.oid = d.objid
),
-- a domain is as wide as the type that it is made of
typed (oid, relid, attnum, type, modifier) AS (
    SELECT f.oid, f.relid, f.attnum, a.atttypid, a.atttypmod
    FROM filled f
    JOIN pg_attribute a ON a.attrelid = f.relid AND a.attnum = f.attnum AND NOT a.attisdropped
    UNION ALL
    SELECT k.oid, k.relid, k.attnum, t.typbasetype, t.typtypmod
    FROM typed k
    JOIN pg_type t ON t.oid = k.type AND t.typtype = 'd'
),
narrowest AS (
    SELECT DISTINCT ON (w.oid)
           w.oid,
           n.nspname || '.' || c.relname || '.' || a.attname AS fills,
           highest,
           lowest
    FROM (
        SELECT oid, relid, attnum,
               CASE type
                   WHEN 'int2'::regtype THEN 32767
                   WHEN 'int4'::regtype THEN 2147483647
                   WHEN 'numeric'::regtype THEN least(digits, 9223372036854775807)
                   ELSE 9223372036854775807
               END AS highest,
               CASE type
                   WHEN 'int2'::regtype THEN -32768
                   WHEN 'int4'::regtype THEN -2147483648
                   WHEN 'numeric'::regtype THEN greatest(-digits, -9223372036854775808)
                   ELSE -9223372036854775808
               END AS lowest
        FROM (
            -- numeric(precision, scale) holds precision - scale digits before the point
            SELECT t.*,
                   CASE
                       WHEN modifier >= 4
                           THEN 10::numeric ^ ((((modifier - 4) >> 16) & 65535)
                                               - ((((modifier - 4) & 2047) # 1024) - 1024)) - 1
                   END AS digits
            FROM typed t
        ) m
        -- the base type of a domain stands in a row of its own
        WHERE NOT EXISTS (SELECT FROM pg_type d WHERE d.oid = m.type AND d.typtype = 'd')
    ) w
    JOIN pg_class c ON c.oid = w.relid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = w.relid AND a.attnum = w.attnum
    ORDER BY w.oid, highest, w.relid, w.attnum
),
valued AS MATERIALIZED (
    SELECT k.*,
           n.fills,
           has_sequence_privilege(k.oid, 'SELECT,USAGE') AS readable,
           CASE
               WHEN has_sequence_privilege(k.oid, 'SELECT,USAGE') THEN pg_sequence_last_value(k.oid)
           END AS last_value,
           CASE
               WHEN ascending THEN least(k.seqmax, n.highest)
               ELSE greatest(k.seqmin, n.lowest)
           END AS limit_value,
           CASE WHEN ascending THEN k.seqmin ELSE k.seqmax END AS first_value
    FROM known k
    LEFT JOIN narrowest n ON n.oid = k.oid
)
SELECT sequence,
       fills,
       last_value,
       limit_value::bigint AS limit_value,
       (CASE
            WHEN NOT readable THEN NULL
            WHEN last_value IS NULL THEN 0
            ELSE 100 * (last_value::numeric - first_value)
                / nullif(limit_value::numeric - first_value, 0)
        END)::float8 AS used_pct,
       -- one that is wider than its column fails before it begins anew
       seqcycle AND limit_value IN (seqmin, seqmax) AS cycles,
       oid::int8 AS batch_key
FROM valued
ORDER BY batch_key
