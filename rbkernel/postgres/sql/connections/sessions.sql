/*
purpose: The sessions that have been active, or idle in a transaction, for too long
needs: [pg_monitor]
columns:
  pid: process id; reused by the server, so never an identity alone
  backend_start: with pid, the identity of the session
  application: application_name
  username: the role
  client: address of the client
  state: waiting for a lock or a synchronous standby, active, idle in transaction, …
  state_s: s in this state
  transaction_s: s since the transaction began; NULL outside one
  query_start: with pid and backend_start, the identity of the query
  waits_for: wait event type and event
  query: what runs, or ran last; first 300 characters
parameters:
  stuck_after_s: {help: "s, how long a state may last before it counts as stuck", default: 5}
rules:
  - title: Stuck sessions
    agg: rows
    # those that wait for a lock or a standby are held up by another session
    where: {state: [active, idle in transaction, idle in transaction (aborted)]}
    by: application
    each: pid
    unit: sessions
    warn: 5
    cause: "{value} have been stuck for longer than a moment: {top}"
    next_step: "read their last queries: one kind of query is one cause"
    opens: RUN-001
    source: template RUN-001, which calls a session stuck after 5 s; five of them are ours
figure: {kind: bars, x: state_s, y: pid, by: application, unit: s, title: How long each session has been stuck}
cut: {query: 300}
*/
SELECT pid,
       backend_start,
       application_name AS application,
       usename::text AS username,
       client_addr::text AS client,
       CASE
           WHEN wait_event_type = 'Lock' THEN 'waiting for a lock'
           WHEN wait_event = 'SyncRep' THEN 'waiting for a synchronous standby'
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
