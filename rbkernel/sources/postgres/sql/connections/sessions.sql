/*
purpose: The sessions that have been active, or idle in a transaction, for too long
needs: [pg_monitor]
columns:
  pid: process id; reused by the server, so never an identity alone
  backend_start: with pid, the identity of the session
  application: application_name
  username: the role
  client: address of the client
  state: >-
    active, idle in transaction, …; waiting for a lock, a synchronous standby, a safe snapshot
    or a page in use; backup, maintenance (VACUUM, ANALYZE, CREATE INDEX, CLUSTER), rbkernel
  state_s: s in this state
  transaction_s: s since the transaction began; NULL outside one
  query_start: with pid and backend_start, the identity of the query
  waits_for: wait event type and event
  query: what runs, or ran last; first 300 characters
parameters:
  stuck_after_s: {help: "s, how long a state may last before it counts as stuck", default: 5}
rules:
  - title: Stuck sessions
    name: stuck
    agg: rows
    # those that wait are held up by another session; backups, maintenance and we are at work
    where: {state: [active, idle in transaction, idle in transaction (aborted)]}
    by: application
    each: pid
    unit: sessions
    warn: 5
    cause: "{value} {is|are} stuck: {top}"
    next_step: "read their last queries: sessions with the same query usually have the same cause"
    opens: RUN-001
    source: template RUN-001, which calls a session stuck after 5 s; five of them are rbkernel's choice
figure: {kind: bars, x: state_s, y: pid, by: application, unit: s, title: How long each session has been stuck}
cut: {query: 300}
*/
SELECT pid,
       backend_start,
       application_name AS application,
       usename::text AS username,
       client_addr::text AS client,
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
       extract(epoch FROM clock_timestamp() - state_change)::float8 AS state_s,
       extract(epoch FROM clock_timestamp() - xact_start)::float8 AS transaction_s,
       query_start,
       concat_ws(': ', wait_event_type, wait_event) AS waits_for,
       query
FROM pg_stat_activity
WHERE backend_type = 'client backend'
  AND pid <> pg_backend_pid()
  AND state IS DISTINCT FROM 'idle'
  AND extract(epoch FROM clock_timestamp() - state_change) > :stuck_after_s
ORDER BY state_s DESC, pid
