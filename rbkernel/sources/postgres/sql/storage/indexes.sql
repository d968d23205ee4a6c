/*
purpose: Indexes that are invalid, duplicate, redundant or unused
runs_on: primary
columns:
  index: the index
  relation: its table
  problem: invalid, incomplete (of a partitioned table), duplicate, redundant, unused
  other: the index that does the work, or the partitions without such an index; else NULL
  size_mb: MiB, as of the last vacuum or analyze
  scans: how often it was used since counted_since; NULL for an index of a partitioned table
  counted_since: when the counters were reset; NULL since the database was made
rules:
  - title: Invalid indexes
    name: invalid
    agg: rows
    where: {problem: invalid}
    ranked: true
    each: index
    unit: indexes
    warn: 0
    cause: >-
      {value} {is|are} only half built: {it slows|they slow} every write and {helps|help} no query
    next_step: REINDEX INDEX CONCURRENTLY, or DROP INDEX CONCURRENTLY
    opens: RUN-017
    source: pg_index.indisvalid
  - title: Incomplete indexes of partitioned tables
    name: incomplete
    agg: rows
    where: {problem: incomplete}
    ranked: true
    each: index
    unit: indexes
    warn: 0
    cause: "{value} of partitioned tables {is|are} invalid: some partitions do not have the index"
    next_step: >-
      CREATE INDEX CONCURRENTLY on each partition named under `other`, then ALTER INDEX ... ATTACH
      PARTITION; the last one makes the index valid
    opens: RUN-017
    source: pg_index.indisvalid, of an index that was made with ON ONLY
  - title: Duplicate indexes
    name: duplicate
    agg: rows
    where: {problem: duplicate}
    ranked: true
    each: index
    unit: indexes
    warn: 0
    cause: "{value} {duplicates|duplicate} another index"
    next_step: DROP INDEX CONCURRENTLY the one that is listed; the one under `other` stays
    opens: RUN-017
    source: >-
      the same columns, operator classes, order and condition; without those that a constraint,
      replication or a partitioned index needs
  - title: Redundant indexes
    name: redundant
    agg: rows
    where: {problem: redundant}
    ranked: true
    each: index
    unit: indexes
    warn: 0
    cause: "{value} {is|are} covered by another index that begins with the same columns"
    next_step: >-
      compare the sizes of both, and their use on the standbys too; then DROP INDEX CONCURRENTLY the
      redundant one. Keep it where the other is much wider and both are hot
    opens: RUN-017
    source: >-
      the columns of a B-tree are the first of another, with the same condition, or those of a
      primary key or UNIQUE constraint
  - title: Unused indexes
    name: unused
    column: size_mb
    agg: sum
    where: {problem: unused}
    by: index
    unit: MB
    warn: 1024
    cause: "{value} are in indexes that were not used since the counters were reset: {top}"
    next_step: >-
      see how long ago that was, and whether the standbys use them, which have their own counters;
      then DROP INDEX CONCURRENTLY
    opens: RUN-017
    source: rbkernel's choice; less does not matter during an incident
figure: {kind: bars, x: size_mb, y: index, by: problem, title: Indexes that cost more than they help}
*/
WITH busy AS MATERIALIZED (
    -- tables on which somebody builds, drops or detaches; VACUUM and ANALYZE take the same lock
    SELECT l.relation
    FROM pg_locks l
    JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'relation'
      AND l.granted
      AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock',
                     'ExclusiveLock', 'AccessExclusiveLock')
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.pid NOT IN (SELECT pid FROM pg_stat_progress_vacuum
                        UNION ALL SELECT pid FROM pg_stat_progress_analyze)
      AND a.backend_type IS DISTINCT FROM 'autovacuum worker'
),
known AS MATERIALIZED (
    SELECT x.indexrelid,
           x.indrelid,
           x.indisvalid AND x.indisready AND x.indislive AS usable,
           x.indisunique OR x.indisprimary OR x.indisexclusion OR x.indisreplident AS constrains,
           x.indisreplident,
           EXISTS (SELECT FROM pg_constraint o WHERE o.conindid = x.indexrelid) AS needed,
           x.indisunique AND x.indimmediate AS plainly_unique,
           x.indnkeyatts AS key_columns,
           -- the key as text, a column after the other; and what the index holds besides
           k.keys,
           k.included,
           k.held,
           -- expressions and condition, without their place in the text
           coalesce(regexp_replace(x.indexprs::text, ':location -?[0-9]+', '', 'g'), '()') AS expressions,
           coalesce(regexp_replace(x.indpred::text, ':location -?[0-9]+', '', 'g'), '') AS condition,
           concat_ws('|', x.indisunique, x.indnullsnotdistinct, x.indimmediate, x.indisexclusion)
               AS constraint_kind,
           c.relam,
           quote_ident(s.nspname) || '.' || quote_ident(c.relname) AS index,
           quote_ident(s.nspname) || '.' || quote_ident(t.relname) AS relation,
           c.relkind = 'I' AS partitioned,
           c.relispartition AS attached,
           (c.relpages * current_setting('block_size')::bigint / 1048576.0)::float8 AS size_mb,
           pg_stat_get_numscans(x.indexrelid) AS scans
    FROM pg_index x
    JOIN pg_class c ON c.oid = x.indexrelid
    JOIN pg_class t ON t.oid = x.indrelid
    JOIN pg_namespace s ON s.oid = t.relnamespace
    CROSS JOIN LATERAL (
        SELECT string_agg(concat_ws('/', x.indkey[i], x.indclass[i], x.indcollation[i], x.indoption[i])
                              || ' ', '' ORDER BY i)
                   FILTER (WHERE i < x.indnkeyatts) AS keys,
               array_agg(x.indkey[i]) AS held,
               coalesce(array_agg(x.indkey[i]) FILTER (WHERE i >= x.indnkeyatts), '{}') AS included
        FROM generate_series(0, x.indnatts - 1) i
    ) k
    WHERE s.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
),
-- of those that are alike, the replica identity or a constraint's index stays, else the oldest
ranked AS (
    SELECT *,
           first_value(index) OVER alike AS first,
           row_number() OVER alike AS place
    FROM known
    WHERE usable
    WINDOW alike AS (
        PARTITION BY indrelid, relam, keys, included, expressions, condition, constraint_kind
        ORDER BY indisreplident DESC, needed DESC, attached DESC, constrains DESC, indexrelid)
),
redundant AS (
    SELECT DISTINCT ON (a.indexrelid) a.indexrelid, b.index AS other
    FROM ranked a
    JOIN ranked b ON b.indrelid = a.indrelid AND b.indexrelid <> a.indexrelid
    JOIN pg_am m ON m.oid = a.relam AND m.amname = 'btree'
    WHERE a.place = 1
      AND b.place = 1
      AND NOT a.constrains
      -- dropping the part of a partition means to drop the whole
      AND NOT a.attached
      AND b.relam = a.relam
      AND b.condition = a.condition
      AND strpos(b.keys, a.keys) = 1
      -- expressions stand in a list, each in braces
      AND strpos(b.expressions, rtrim(a.expressions, ')')) = 1
      AND a.included <@ b.held
      -- the same key in both: of two plain ones, the one that holds more stays
      AND (b.key_columns > a.key_columns
           OR b.constrains
           OR cardinality(b.included) > cardinality(a.included))
    ORDER BY a.indexrelid, b.plainly_unique DESC, b.key_columns, b.index
),
found AS (
    SELECT index, relation, 'invalid' AS problem, NULL AS other, size_mb, scans, 1 AS rank
    FROM known k
    WHERE NOT usable
      AND NOT partitioned
      AND k.indrelid NOT IN (SELECT relation FROM busy)
    UNION ALL
    SELECT k.index, k.relation, 'incomplete', p.lacking, k.size_mb, NULL, 2
    FROM known k
    CROSS JOIN LATERAL (
        SELECT string_agg(n.nspname || '.' || c.relname, ', ' ORDER BY c.relname) AS lacking
        FROM pg_inherits h
        JOIN pg_class c ON c.oid = h.inhrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE h.inhparent = k.indrelid
          AND NOT EXISTS (
              SELECT FROM pg_inherits i
              JOIN pg_index x ON x.indexrelid = i.inhrelid
              WHERE i.inhparent = k.indexrelid AND x.indrelid = h.inhrelid AND x.indisvalid)
    ) p
    WHERE NOT k.usable AND k.partitioned
    UNION ALL
    SELECT index, relation, 'duplicate', first, size_mb, scans, 3
    FROM ranked
    -- the others are refused, or needed: they cannot be dropped on their own
    WHERE place > 1 AND NOT needed AND NOT indisreplident AND NOT attached AND NOT partitioned
    UNION ALL
    SELECT k.index, k.relation, 'redundant', r.other, k.size_mb, k.scans, 4
    FROM redundant r
    JOIN known k USING (indexrelid)
    UNION ALL
    SELECT index, relation, 'unused', NULL, size_mb, scans, 5
    FROM ranked
    WHERE place = 1 AND scans = 0 AND NOT constrains AND NOT partitioned
      AND indexrelid NOT IN (SELECT indexrelid FROM redundant)
)
SELECT index, relation, problem, other, size_mb, scans, d.stats_reset AS counted_since,
       count(*) OVER () AS of_all
FROM found f
LEFT JOIN pg_stat_database d ON d.datname = current_database()
ORDER BY rank, size_mb DESC, index
LIMIT 500
