/*
purpose: Running vacuums, their progress, and whether they have to scan the indexes more than once
runs_on: primary
needs: [pg_monitor]
columns:
  pid: process id
  database: the database
  relation: the table; its number where it lies in another database
  automatic: an autovacuum worker
  against_wraparound: it does not give way to others
  running_s: s since it began
  phase: initializing, scanning heap, vacuuming indexes, …
  scanned_pct: "%, pages scanned of all; NULL for an empty table"
  index_passes: how often it went over all indexes
  waits_for: wait event type and event; empty while it works
rules:
  - title: Vacuum passes over the indexes
    column: index_passes
    empty: 0
    by: relation
    unit: passes over the indexes
    warn: 1
    cause: "A vacuum needed {value}: {top}"
    next_step: raise maintenance_work_mem (autovacuum_work_mem for workers) for the next one
    opens: RUN-019
    source: vacuum goes over the indexes again each time its memory is full
  - title: Vacuums to prevent wraparound
    column: running_s
    empty: 0
    where: {against_wraparound: true}
    by: relation
    unit: s
    warn: 3600
    cause: "A vacuum to prevent wraparound has been running for {value}: {top}"
    next_step: let it finish; it blocks DDL on its table until then. See vacuum/wraparound
    opens: RUN-019
    source: rbkernel's choice
figure: {kind: bars, x: scanned_pct, y: relation, by: phase, unit: "%", title: How far each vacuum is}
*/
SELECT p.pid,
       p.datname::text AS database,
       CASE
           WHEN c.oid IS NULL THEN p.relid::text
           ELSE n.nspname || '.' || c.relname
       END AS relation,
       coalesce(a.backend_type = 'autovacuum worker', false) AS automatic,
       coalesce(a.query LIKE '%to prevent wraparound%', false) AS against_wraparound,
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS running_s,
       p.phase,
       (100.0 * p.heap_blks_scanned / nullif(p.heap_blks_total, 0))::float8 AS scanned_pct,
       p.index_vacuum_count AS index_passes,
       concat_ws(': ', a.wait_event_type, a.wait_event) AS waits_for
FROM pg_stat_progress_vacuum p
LEFT JOIN pg_stat_activity a ON a.pid = p.pid
LEFT JOIN pg_class c ON c.oid = p.relid AND p.datname = current_database()
LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
ORDER BY running_s DESC, p.pid
