/*
purpose: Dead rows and stale statistics of each table, compared with its own autovacuum thresholds
runs_on: primary
columns:
  relation: the table
  size_mb: MiB of the table's own pages, as of its last vacuum or analyze
  live: rows that live, estimated
  dead: rows that died and still take room, estimated
  dead_pct: "%, dead of all"
  vacuum_due_at: dead rows at which autovacuum vacuums this table
  dead_of_due: dead as a multiple of vacuum_due_at
  vacuum_had_time: >-
    there was time to vacuum it: the last vacuum is older than two autovacuum_naptime, or left more
    than 10 000 dead rows
  changed: rows changed since the last analyze, estimated
  analyze_due_at: changed rows at which autovacuum analyzes this table
  changed_of_due: changed as a multiple of analyze_due_at
  analyze_had_time: the last analyze is older than two autovacuum_naptime
  autovacuum: false where it was switched off for this table
  last_vacuum_s: s since vacuum, by hand or by itself; NULL when never counted
  last_analyze_s: s since analyze, by hand or by itself; NULL when never counted
  xid_age: transactions since its oldest row that is not frozen
rules:
  - title: Dead rows
    column: dead_of_due
    empty: 0
    where: {vacuum_had_time: true}
    ranked: true
    by: relation
    unit: times the autovacuum threshold
    warn: 2
    unseen: track_counts is off, so PostgreSQL counts no dead rows
    cause: "Dead rows of a table have reached {value}: {top}"
    next_step: see why autovacuum is behind (vacuum/behind), and what holds it back (vacuum/xmin)
    opens: RUN-019
    source: >-
      measured: autovacuum comes at 1, so 2 is a table that it does not keep up with; due at
      autovacuum_vacuum_threshold + autovacuum_vacuum_scale_factor x rows, as PostgreSQL defines it
  - title: Stale statistics
    column: changed_of_due
    empty: 0
    where: {analyze_had_time: true}
    ranked: true
    by: relation
    unit: times the autovacuum threshold
    warn: 2
    unseen: track_counts is off, so PostgreSQL counts no changes
    cause: >-
      Rows changed since the last ANALYZE of a table have reached {value}, so plans may be wrong:
      {top}
    next_step: ANALYZE the table; then see why autovacuum is behind (vacuum/behind)
    opens: RUN-019
    source: >-
      as for dead rows; due at autovacuum_analyze_threshold + autovacuum_analyze_scale_factor x rows
  - title: Tables with autovacuum off
    name: autovacuum_off
    agg: rows
    where: {autovacuum: false}
    each: relation
    unit: tables
    warn: 0
    cause: "Autovacuum is switched off for {value}"
    next_step: ALTER TABLE ... RESET (autovacuum_enabled), unless a job vacuums it
    opens: RUN-019
    source: pg_class.reloptions
figure: {kind: bars, x: dead, y: relation, title: Dead rows of each table}
source: the 50 worst by each rule, and all tables whose autovacuum is off
*/
WITH known AS (
    SELECT c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS relation, c.relpages, c.relfrozenxid,
           CASE WHEN counts THEN pg_stat_get_live_tuples(c.oid) END AS live,
           CASE WHEN counts THEN pg_stat_get_dead_tuples(c.oid) END AS dead,
           CASE WHEN counts THEN pg_stat_get_mod_since_analyze(c.oid) END AS changed,
           greatest(pg_stat_get_last_vacuum_time(c.oid), pg_stat_get_last_autovacuum_time(c.oid))
               AS vacuumed,
           greatest(pg_stat_get_last_analyze_time(c.oid), pg_stat_get_last_autoanalyze_time(c.oid))
               AS analyzed,
           greatest(c.reltuples, 0) AS rows,
           o.*
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN (SELECT current_setting('track_counts') = 'on' AS counts) t
    -- a table's own settings; an option that it does not have is NULL
    CROSS JOIN LATERAL (
        SELECT coalesce(max(value) FILTER (WHERE name = 'autovacuum_enabled'), 'true')
                   NOT IN ('false', 'off', 'no', '0', 'f', 'n') AS autovacuum,
               coalesce(max(value) FILTER (WHERE name = 'autovacuum_vacuum_threshold'),
                        current_setting('autovacuum_vacuum_threshold'))::float8 AS vacuum_base,
               coalesce(max(value) FILTER (WHERE name = 'autovacuum_vacuum_scale_factor'),
                        current_setting('autovacuum_vacuum_scale_factor'))::float8 AS vacuum_scale,
               -- from 18 on; -1 is no limit
               nullif(coalesce(
                   max(value) FILTER (WHERE name = 'autovacuum_vacuum_max_threshold'),
                   current_setting('autovacuum_vacuum_max_threshold', true))::float8, -1) AS vacuum_most,
               coalesce(max(value) FILTER (WHERE name = 'autovacuum_analyze_threshold'),
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
),
judged AS (
    SELECT *,
           dead / greatest(vacuum_due_at, 1) AS dead_of_due,
           changed / greatest(analyze_due_at, 1) AS changed_of_due,
           dead > 10000 OR CASE WHEN dead IS NOT NULL THEN coalesce(last_vacuum_s > rounds_s, true) END
               AS vacuum_had_time,
           CASE WHEN changed IS NOT NULL THEN coalesce(last_analyze_s > rounds_s, true) END
               AS analyze_had_time
    FROM (
        SELECT *,
               least(vacuum_base + vacuum_scale * rows, vacuum_most) AS vacuum_due_at,
               analyze_base + analyze_scale * rows AS analyze_due_at,
               extract(epoch FROM clock_timestamp() - vacuumed)::float8 AS last_vacuum_s,
               extract(epoch FROM clock_timestamp() - analyzed)::float8 AS last_analyze_s,
               2 * (SELECT setting::float8 FROM pg_settings WHERE name = 'autovacuum_naptime')
                   AS rounds_s
        FROM known
    ) d
),
placed AS (
    SELECT *,
           row_number() OVER (ORDER BY vacuum_had_time DESC, dead_of_due DESC, oid) AS dead_place,
           row_number() OVER (ORDER BY analyze_had_time DESC, changed_of_due DESC, oid) AS changed_place
    FROM judged
)
SELECT relation,
       (relpages * current_setting('block_size')::bigint / 1048576.0)::float8 AS size_mb,
       live,
       dead,
       (100.0 * dead / nullif(live + dead, 0))::float8 AS dead_pct,
       vacuum_due_at,
       dead_of_due,
       vacuum_had_time,
       changed,
       analyze_due_at,
       changed_of_due,
       analyze_had_time,
       autovacuum,
       last_vacuum_s,
       last_analyze_s,
       age(relfrozenxid) AS xid_age
FROM placed
WHERE dead_place <= 50 OR changed_place <= 50 OR NOT autovacuum
ORDER BY vacuum_had_time DESC, dead_of_due DESC, relation
