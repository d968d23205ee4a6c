/*
purpose: Tables that are read in full now, from two samples, and whether statistics or an index are why
columns:
  relation: the table
  full_scans: scans of the whole table that began between the two samples
  rows_read: rows that they read
  rows_read_per_s: the same per s
  index_scans: scans of its indexes that began between the two samples
  changed_of_due: >-
    rows changed since the last analyze, as a multiple of the rows at which autovacuum analyzes it;
    NULL on a standby
  half_built: >-
    how many of its indexes are only half built, while nobody works on the table's indexes; without
    the copies that REINDEX CONCURRENTLY left behind; NULL on a standby, which does not see who does
  invalid_indexes: the names of these indexes, which no query uses; empty for none
  file: the table's file in both samples; another one means another table of that name
  heavy: >-
    10 scans or more began, and more than 500 000 rows are read per s; not for a table that is new, or
    replaced, since the first sample
  stale: heavy, and changed_of_due is 2 or more
  broken: heavy, and it has a half-built index
  stats_reset: start of counting; NULL means since the database was created
  window_s: s between the two samples
  sampled_at: the server's clock of the second sample
twice:
  every_s: 5
  key: [relation]
  counters: [full_scans, rows_read, index_scans]
  gauges: [changed_of_due, half_built, file]
  since: [stats_reset]
  made:
    heavy: (rows_read_per_s > 500000) & (full_scans >= 10) & (file == file_before).fillna(False)
    stale: heavy & (changed_of_due >= 2)
    broken: heavy & (half_built > 0)
  keep: full_scans > 0
  worst_first: rows_read_per_s
rules:
  - title: Tables read in full, with stale statistics
    name: stale
    agg: rows
    where: {stale: true}
    each: relation
    unit: tables
    warn: 0
    cause: >-
      {value} {is|are} read in full again and again, and many rows changed since the last ANALYZE,
      so the plan may be wrong: {which}
    next_step: ANALYZE the table; then see whether it is still read in full
    opens: RUN-009
    unseen: the counters were reset between the two samples; run it again
    source: >-
      vacuum/tables calls statistics stale at twice the threshold of autovacuum; 500 000 rows per s
      keep about a tenth of a CPU busy, and 10 scans are more than one dump or report, rbkernel's choice
  - title: Tables read in full, with a half-built index
    name: broken
    agg: rows
    where: {broken: true}
    each: relation
    unit: tables
    warn: 0
    cause: "{value} {is|are} read in full again and again, and {has|have} a half-built index: {which}"
    next_step: REINDEX INDEX CONCURRENTLY the index under `invalid_indexes`
    opens: RUN-009
    unseen: the counters were reset between the two samples; run it again
    source: pg_index.indisvalid; heavy as above
  - title: Tables read in full
    name: heavy
    agg: rows
    where: {heavy: true}
    each: relation
    unit: tables
    warn: 0
    cause: "{value} {is|are} read in full again and again: {which}"
    next_step: >-
      find the statement (queries/regression, queries/busiest) and compare its plan with the earlier
      one: was an index dropped? A report that reads a whole table on purpose is no fault
    opens: RUN-009
    unseen: the counters were reset between the two samples; run it again
    source: heavy as above
figure: {kind: bars, x: rows_read_per_s, y: relation, unit: rows/s, title: Rows read by scans of whole tables}
source: >-
  pg_stat_user_tables; a scan is counted when it begins, its rows as it goes on; sessions report at
  the end of a transaction, at most once a second
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
)
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS relation,
       pg_stat_get_numscans(c.oid) AS full_scans,
       pg_stat_get_tuples_returned(c.oid) AS rows_read,
       x.index_scans,
       CASE WHEN NOT pg_is_in_recovery() THEN x.half_built END AS half_built,
       CASE WHEN pg_is_in_recovery() THEN '' ELSE x.invalid_indexes END AS invalid_indexes,
       c.relfilenode::bigint AS file,
       CASE WHEN NOT pg_is_in_recovery() THEN
           pg_stat_get_mod_since_analyze(c.oid)
           / greatest(o.analyze_base + o.analyze_scale * greatest(c.reltuples, 0), 1)
       END::float8 AS changed_of_due,
       d.stats_reset,
       clock_timestamp() AS sampled_at
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_stat_database d ON d.datname = current_database()
CROSS JOIN LATERAL (
    SELECT coalesce(sum(pg_stat_get_numscans(indexrelid)), 0)::bigint AS index_scans,
           count(*) FILTER (WHERE abandoned) AS half_built,
           coalesce(string_agg(quote_ident(n.nspname) || '.' || quote_ident(relname), ', ' ORDER BY relname)
               FILTER (WHERE abandoned), '') AS invalid_indexes
    FROM (
        SELECT i.indexrelid,
               ic.relname,
               -- what REINDEX CONCURRENTLY left behind has its original beside it
               NOT i.indisvalid AND ic.relname !~ '_cc(new|old)[0-9]*$'
                   AND i.indrelid NOT IN (SELECT relation FROM busy) AS abandoned
        FROM pg_index i
        JOIN pg_class ic ON ic.oid = i.indexrelid
        WHERE i.indrelid = c.oid
    ) a
) x
-- a table's own settings
CROSS JOIN LATERAL (
    SELECT coalesce(max(value) FILTER (WHERE name = 'autovacuum_analyze_threshold'),
                    current_setting('autovacuum_analyze_threshold'))::float8 AS analyze_base,
           coalesce(max(value) FILTER (WHERE name = 'autovacuum_analyze_scale_factor'),
                    current_setting('autovacuum_analyze_scale_factor'))::float8 AS analyze_scale
    FROM (
        SELECT split_part(option, '=', 1) AS name, split_part(option, '=', 2) AS value
        FROM unnest(c.reloptions) AS option
    ) r
) o
WHERE c.relkind IN ('r', 'm')
  AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  -- building an index reads the table, on purpose
  AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.relid = c.oid)
ORDER BY relation
