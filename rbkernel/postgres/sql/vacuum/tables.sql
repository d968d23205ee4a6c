/*
purpose: The tables with the most dead rows, and when vacuum and analyze last came by
runs_on: primary
columns:
  relation: the table
  size_mb: MiB of the table's own pages, as of its last vacuum or analyze
  live: rows that live, estimated
  dead: rows that died and still take room, estimated
  dead_pct: "%, dead of all"
  many_dead: more than 10 000 dead rows
  vacuum_due_at: dead rows at which autovacuum comes by
  autovacuum: false where it was switched off for this table
  last_vacuum_s: s since vacuum, by hand or by itself; NULL when never counted
  last_analyze_s: s since analyze, by hand or by itself; NULL when never counted
  xid_age: transactions since its oldest row that is not frozen
rules:
  - title: Dead rows
    column: dead_pct
    empty: 0
    where: {many_dead: true}
    by: relation
    unit: "%"
    warn: 10
    critical: 50
    cause: "Dead rows make up to {value} of a table: {top}"
    next_step: see what holds vacuum back (vacuum/xmin), and whether it runs (vacuum/progress)
    opens: RUN-019
    source: the field's usual warning, 10 % of more than 10 000 rows; above half, ours
  - title: Autovacuum is on for every table
    agg: rows
    where: {autovacuum: false}
    each: relation
    unit: tables
    warn: 0
    cause: "Autovacuum is switched off for {value}"
    next_step: ALTER TABLE … RESET (autovacuum_enabled), unless a job vacuums it
    opens: RUN-019
figure: {kind: bars, x: dead, y: relation, title: Dead rows of each table}
*/
SELECT n.nspname || '.' || c.relname AS relation,
       (c.relpages * current_setting('block_size')::bigint / 1048576.0)::float8 AS size_mb,
       live,
       dead,
       (100.0 * dead / nullif(live + dead, 0))::float8 AS dead_pct,
       dead > 10000 AS many_dead,
       (base + scale * greatest(c.reltuples, 0))::float8 AS vacuum_due_at,
       autovacuum,
       extract(epoch FROM clock_timestamp() - vacuumed)::float8 AS last_vacuum_s,
       extract(epoch FROM clock_timestamp() - analyzed)::float8 AS last_analyze_s,
       age(c.relfrozenxid) AS xid_age
FROM (
    SELECT oid, relname, relnamespace, relpages, reltuples, relfrozenxid,
           pg_stat_get_live_tuples(oid) AS live,
           pg_stat_get_dead_tuples(oid) AS dead,
           greatest(pg_stat_get_last_vacuum_time(oid), pg_stat_get_last_autovacuum_time(oid))
               AS vacuumed,
           greatest(pg_stat_get_last_analyze_time(oid), pg_stat_get_last_autoanalyze_time(oid))
               AS analyzed,
           coalesce(
               substring(array_to_string(reloptions, ',') FROM 'autovacuum_enabled=([a-z]+)')
               NOT IN ('false', 'off', 'no'), true) AS autovacuum,
           coalesce(
               substring(array_to_string(reloptions, ',') FROM 'autovacuum_vacuum_threshold=([0-9]+)'),
               current_setting('autovacuum_vacuum_threshold'))::float8 AS base,
           coalesce(
               substring(array_to_string(reloptions, ',')
                         FROM 'autovacuum_vacuum_scale_factor=([0-9.]+)'),
               current_setting('autovacuum_vacuum_scale_factor'))::float8 AS scale
    FROM pg_class
    WHERE relkind IN ('r', 'm') AND relpersistence <> 't'
) c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
ORDER BY dead DESC, relation
LIMIT 100
