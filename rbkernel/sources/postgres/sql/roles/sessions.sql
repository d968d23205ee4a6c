/*
purpose: All sessions of one login or from one address, what each runs, and which tables it has locked
needs: [pg_monitor]
columns:
  pid: process id; reused by the server, so never an identity alone
  backend_start: with pid, the identity of the session
  application: application_name, which the client chooses
  username: the role that logged in; it may act as another one (SET ROLE)
  client: address of the client; NULL for a local socket
  database: the database
  state: active, idle, idle in transaction, …
  state_s: s in this state
  transaction_s: s since the transaction began; NULL outside one
  query_start: with pid and backend_start, the identity of the query
  session: the address and, in brackets, the application
  tables: tables of this database that its transaction has locked, reading included; empty for none
  locks: the locks that it holds
  query: what runs, or ran last; first 300 characters
parameters:
  login: {help: "login that may be in the wrong hands; empty for none", default: ""}
  address: {help: "address that may be an intruder's; empty for none", default: ""}
rules:
  - title: Sessions of the suspect
    name: open
    agg: rows
    each: session
    unit: sessions
    warn: 0
    cause: "{value} of the suspected login or address {is|are} open: {which}"
    next_step: keep what they run and hold, block the login or the address, then terminate them
    opens: RUN-025
    source: a login that is blocked keeps its open sessions
figure: {kind: bars, x: state_s, y: pid, by: application, unit: s, title: Sessions of the suspect}
cut: {query: 300}
*/
SELECT a.pid,
       a.backend_start,
       a.application_name AS application,
       a.usename::text AS username,
       host(a.client_addr) AS client,
       a.datname::text AS database,
       a.state,
       extract(epoch FROM clock_timestamp() - a.state_change)::float8 AS state_s,
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS transaction_s,
       a.query_start,
       coalesce(host(a.client_addr), 'socket')
           || coalesce(' (' || nullif(a.application_name, '') || ')', '') AS session,
       coalesce(l.tables, '') AS tables,
       coalesce(l.locks, 0) AS locks,
       a.query
FROM pg_stat_activity a
LEFT JOIN LATERAL (
    SELECT count(*)::int AS locks,
           string_agg(DISTINCT k.relation::regclass::text, ', ') FILTER (
               WHERE k.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                 -- system tables, which every query locks
                 AND k.relation >= 16384
           ) AS tables
    FROM pg_locks k
    WHERE k.pid = a.pid AND k.granted
) l ON true
WHERE (a.usename = CAST(:login AS text) OR host(a.client_addr) = CAST(:address AS text))
  AND a.backend_type IN ('client backend', 'walsender')
  AND a.pid <> pg_backend_pid()
ORDER BY a.backend_start DESC, a.pid
