/*
purpose: Indexes that are invalid, that another index already does the work of, or that nobody uses
runs_on: primary
columns:
  index: the index
  relation: its table
  problem: invalid, duplicate, unused
  duplicate_of: the index that does the same; NULL for the other problems
  size_mb: MiB, as of the last vacuum or analyze
  scans: how often it was used since counted_since
  counted_since: when the counters were reset; NULL since the database was made
rules:
  - title: Invalid indexes
    agg: rows
    where: {problem: invalid}
    each: index
    unit: indexes
    warn: 0
    cause: "{value} were left half built, cost every write, and help no query"
    next_step: REINDEX INDEX CONCURRENTLY, or DROP INDEX CONCURRENTLY
    opens: RUN-017
  - title: Duplicate indexes
    agg: rows
    where: {problem: duplicate}
    each: index
    unit: indexes
    warn: 0
    cause: "{value} do what another index already does"
    next_step: DROP INDEX CONCURRENTLY the one that no constraint needs
    opens: RUN-017
  - title: Indexes that nobody uses
    column: size_mb
    agg: sum
    where: {problem: unused}
    by: index
    unit: MB
    warn: 1024
    cause: "{value} are in indexes that were not used since the counters were reset: {top}"
    next_step: >-
      see how long that is, and whether the standbys use them, which count for themselves; then drop
      them, concurrently
    opens: RUN-017
    source: ours; less is not worth anybody's attention during an incident
figure: {kind: bars, x: size_mb, y: index, by: problem, title: Indexes that cost more than they help}
*/
WITH known AS MATERIALIZED (
    SELECT x.indexrelid,
           x.indrelid,
           x.indisvalid AND x.indisready AND x.indislive AS usable,
           x.indisunique OR x.indisprimary OR x.indisexclusion OR x.indisreplident AS constrains,
           -- equal when two indexes hold the same; the expressions without their place in the text
           concat_ws('|', x.indrelid, x.indkey, x.indclass, x.indcollation, x.indoption,
                     regexp_replace(x.indexprs::text, ':location -?[0-9]+', '', 'g'),
                     regexp_replace(x.indpred::text, ':location -?[0-9]+', '', 'g'),
                     x.indisunique, x.indisexclusion, x.indnkeyatts, c.relam) AS meaning,
           s.nspname || '.' || c.relname AS index,
           s.nspname || '.' || t.relname AS relation,
           c.relkind = 'I' AS partitioned,
           (c.relpages * current_setting('block_size')::bigint / 1048576.0)::float8 AS size_mb,
           pg_stat_get_numscans(x.indexrelid) AS scans
    FROM pg_index x
    JOIN pg_class c ON c.oid = x.indexrelid
    JOIN pg_class t ON t.oid = x.indrelid
    JOIN pg_namespace s ON s.oid = t.relnamespace
    WHERE s.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
),
-- of those that are alike, a constraint's index stays, else the oldest
ranked AS (
    SELECT *,
           first_value(index) OVER alike AS first,
           row_number() OVER alike AS place
    FROM known
    WHERE usable
    WINDOW alike AS (PARTITION BY meaning ORDER BY constrains DESC, indexrelid)
),
found AS (
    SELECT index, relation, 'invalid' AS problem, NULL AS duplicate_of, size_mb, scans
    FROM known k
    WHERE NOT usable
      AND NOT partitioned
      AND NOT EXISTS (
          SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = k.indexrelid)
    UNION ALL
    SELECT index, relation, 'duplicate', first, size_mb, scans FROM ranked WHERE place > 1
    UNION ALL
    SELECT index, relation, 'unused', NULL, size_mb, scans
    FROM ranked
    WHERE place = 1 AND scans = 0 AND NOT constrains AND NOT partitioned
)
SELECT f.*, d.stats_reset AS counted_since
FROM found f
LEFT JOIN pg_stat_database d ON d.datname = current_database()
ORDER BY problem, size_mb DESC, index
LIMIT 500
