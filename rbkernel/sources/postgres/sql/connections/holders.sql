/*
purpose: Who holds the connection slots, and in which state
needs: [pg_monitor]
columns:
  application: application_name, or the user if there is none
  username: the role
  database: the database
  state: >-
    active, idle, idle in transaction, …; waiting for a lock, a synchronous standby, a safe snapshot
    or a page in use; backup, maintenance (VACUUM, ANALYZE, CREATE INDEX, CLUSTER), rbkernel
  sessions: client backends of this kind
  stuck: those of them that have been in this state for longer than :stuck_after_s
  stuck_pct: "%, stuck of all slots that an ordinary role may use"
  oldest_s: s, how long the oldest has been in this state
  crowded: 80 % of all slots that an ordinary role may use are taken, or more
parameters:
  stuck_after_s: {help: "s, how long a state may last before it counts as stuck", default: 5}
rules:
  - title: Slots held idle in a transaction
    name: idle_in_transaction
    column: stuck_pct
    agg: sum
    where: {state: [idle in transaction, idle in transaction (aborted)]}
    by: application
    unit: "% of the slots"
    warn: 10
    critical: 50
    cause: "Sessions idle in a transaction hold {value}, by application: {top}"
    next_step: terminate them, then find out why the application does not commit
    opens: RUN-001
    source: rbkernel's choice; 10 % leave room to act before the pool is full at 90
  - title: Slots held by long queries
    name: long_queries
    column: stuck_pct
    agg: sum
    where: {state: active}
    by: application
    unit: "% of the slots"
    warn: 10
    critical: 50
    cause: "Long-running queries hold {value}, by application: {top}"
    next_step: cancel them if their work can be lost, then find out what made them slow
    opens: RUN-001
    source: rbkernel's choice; as for idle in a transaction
  - title: Slots held by idle pools
    name: idle_pools
    column: stuck_pct
    agg: sum
    where: {state: idle, crowded: true}
    by: application
    unit: "% of the slots"
    warn: 30
    cause: >-
      Connection slots are running out, and idle connections hold {value}, by application: {top}
    next_step: >-
      reduce the size of these pools, or put a pooler in transaction mode in front of the server
    opens: RUN-001
    source: rbkernel's choice; a pool may keep idle connections as long as there are slots for others
figure: {kind: bars, x: sessions, y: application, by: state, title: Sessions by application and state}
*/
SELECT coalesce(nullif(application_name, ''), usename, '?') AS application,
       usename::text AS username,
       datname::text AS database,
       CASE
           WHEN application_name LIKE 'rbkernel/%' THEN 'rbkernel'
           WHEN wait_event_type = 'Lock' OR pid IN (
               SELECT w.leader_pid FROM pg_stat_activity w WHERE w.wait_event_type = 'Lock'
           ) THEN 'waiting for a lock'
           WHEN wait_event = 'SyncRep' THEN 'waiting for a synchronous standby'
           WHEN wait_event = 'SafeSnapshot' THEN 'waiting for a safe snapshot'
           WHEN wait_event_type = 'BufferPin' THEN 'waiting for a page in use'
           WHEN application_name ~* 'pg_dump|pg_dumpall|pg_basebackup|pgbackrest|barman|wal-g|pg_probackup' THEN 'backup'
           WHEN pid IN (
               SELECT p.pid FROM pg_stat_progress_vacuum p
               UNION ALL SELECT p.pid FROM pg_stat_progress_analyze p
               UNION ALL SELECT p.pid FROM pg_stat_progress_create_index p
               UNION ALL SELECT p.pid FROM pg_stat_progress_cluster p
           ) THEN 'maintenance'
           ELSE state
       END AS state,
       count(*)::int AS sessions,
       (count(*) FILTER (WHERE state_s > :stuck_after_s))::int AS stuck,
       (100.0 * count(*) FILTER (WHERE state_s > :stuck_after_s) / (
           current_setting('max_connections')::int
           - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true), '0')::int
       ))::float8 AS stuck_pct,
       max(state_s)::float8 AS oldest_s,
       bool_or(crowded) AS crowded
FROM (
    SELECT *,
           extract(epoch FROM clock_timestamp() - state_change) AS state_s,
           count(*) OVER () >= 0.8 * (
               current_setting('max_connections')::int
               - current_setting('superuser_reserved_connections')::int
               - coalesce(current_setting('reserved_connections', true), '0')::int) AS crowded
    FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid IS DISTINCT FROM pg_backend_pid()
) a
GROUP BY 1, 2, 3, 4
ORDER BY sessions DESC, application
