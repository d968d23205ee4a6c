/*
purpose: Queries that have been running for long, without those that wait for another session
needs: [pg_monitor]
columns:
  pid: process id; reused by the server, so never an identity alone
  backend_start: with pid, the identity of the session
  database: the database
  application: application_name
  username: the role
  client: address of the client; NULL for a local socket
  query_start: with pid and backend_start, the identity of the query
  query_s: s since the query began
  transaction_s: s since its transaction began
  waits_for: wait event type and event; empty while it computes
  workers: parallel workers that help it
  query_id: identifier as in queries/top; NULL when compute_query_id is off
  query: what runs; first 300 characters
parameters:
  older_than_s: {help: "s, from which age on a query is shown", default: 5}
rules:
  - title: Long queries
    column: query_s
    empty: 0
    by: application
    unit: s
    warn: 60
    critical: 300
    cause: "A query has been running for {value}; the longest, by application: {top}"
    next_step: >-
      see what it waits for, read its plan, and cancel it when its work can be lost
    opens: RUN-009
    source: 60 s is the field's usual warning; seed RUN-001 looks for queries above 5 minutes
figure: {kind: bars, x: query_s, y: pid, by: application, unit: s, title: How long each query has been running}
cut: {query: 300}
*/
SELECT pid,
       backend_start,
       datname::text AS database,
       application_name AS application,
       usename::text AS username,
       client_addr::text AS client,
       query_start,
       query_s,
       extract(epoch FROM clock_timestamp() - xact_start)::float8 AS transaction_s,
       concat_ws(': ', wait_event_type, wait_event) AS waits_for,
       (SELECT count(*)::int
        FROM pg_stat_activity w
        WHERE w.leader_pid = a.pid AND w.backend_type = 'parallel worker') AS workers,
       query_id::text AS query_id,
       query
FROM (
    SELECT *, extract(epoch FROM clock_timestamp() - query_start)::float8 AS query_s
    FROM pg_stat_activity
    WHERE backend_type = 'client backend'
      AND pid <> pg_backend_pid()
      AND state IN ('active', 'fastpath function call')
      -- these do not run: another session holds them up
      AND coalesce(wait_event_type NOT IN ('Lock', 'BufferPin'), true)
      AND coalesce(wait_event NOT IN ('SyncRep', 'SafeSnapshot'), true)
) a
WHERE query_s > :older_than_s
ORDER BY query_s DESC, pid
