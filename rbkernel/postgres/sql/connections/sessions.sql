-- purpose: The sessions that have been active, or idle in a transaction, for too long
-- runs on: any
-- needs: pg_monitor
-- column: pid int: process id; reused by the server, so never an identity alone
-- column: backend_start timestamptz: with pid, the identity of the session
-- column: application text: application_name
-- column: username text: the role
-- column: client text: address of the client
-- column: state text: active, idle in transaction, …
-- column: state_s float: s in this state
-- column: transaction_s float: s since the transaction began; NULL outside one
-- column: query_start timestamptz: with pid and backend_start, the identity of the query
-- column: waits_for text: wait event type and event
-- column: query text: what runs, or ran last; first 300 characters
-- parameter: stuck_after_s float: s, how long a state may last before it counts as stuck
SELECT pid,
       backend_start,
       application_name AS application,
       usename::text AS username,
       client_addr::text AS client,
       state,
       extract(epoch FROM clock_timestamp() - state_change)::float8 AS state_s,
       extract(epoch FROM clock_timestamp() - xact_start)::float8 AS transaction_s,
       query_start,
       concat_ws(': ', wait_event_type, wait_event) AS waits_for,
       left(query, 300) AS query
FROM pg_stat_activity
WHERE backend_type = 'client backend'
  AND pid <> pg_backend_pid()
  AND state IS DISTINCT FROM 'idle'
  AND extract(epoch FROM clock_timestamp() - state_change) > :stuck_after_s
ORDER BY state_s DESC, pid
