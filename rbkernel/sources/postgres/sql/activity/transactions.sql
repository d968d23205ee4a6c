/*
purpose: Open transactions, above all the long and the idle ones, and what they hold back
needs: [pg_monitor]
columns:
  pid: process id; reused by the server, so never an identity alone
  backend_start: with pid, the identity of the session
  backend_type: client backend, autovacuum worker, logical replication worker, …
  database: the database
  application: application_name, or the type of the process
  username: the role
  client: address of the client; NULL for a local socket
  state: active, idle in transaction, …
  idle: in a transaction, and waiting for its client
  transaction_s: s since the transaction began
  state_s: s in this state
  xid: its transaction id; NULL when it has written nothing
  xid_age: transactions begun since it got its id
  xmin_age: transactions begun since its oldest snapshot; vacuum keeps all rows that died since
  query: what runs, or ran last; first 300 characters
parameters:
  older_than_s: {help: "s, from which age on a transaction is shown", default: 1}
rules:
  - title: Sessions idle in a transaction
    column: state_s
    empty: 0
    where: {idle: true}
    by: application
    unit: s
    warn: 60
    critical: 300
    cause: "A session has been idle in its transaction for {value}; by application: {top}"
    next_step: >-
      see whether others wait for its locks (locks/blocking); then have the application commit, or
      terminate the session
    opens: RUN-007
    source: the field's usual thresholds for a query (60 s) and for a transaction (300 s)
  - title: Long transactions
    column: transaction_s
    empty: 0
    where: {backend_type: client backend}
    by: application
    unit: s
    warn: 300
    critical: 3600
    cause: "A transaction has been open for {value}; by application: {top}"
    next_step: >-
      find out what it does; while it is open, vacuum cannot remove rows that were deleted or
      updated after it began
    opens: RUN-019
    source: 300 s is the field's usual warning
figure: {kind: bars, x: transaction_s, y: pid, by: application, unit: s, title: How long each transaction has been open}
cut: {query: 300}
*/
SELECT pid,
       backend_start,
       backend_type,
       datname::text AS database,
       coalesce(nullif(application_name, ''), backend_type) AS application,
       usename::text AS username,
       client_addr::text AS client,
       state,
       coalesce(state LIKE 'idle in transaction%', false) AS idle,
       transaction_s,
       extract(epoch FROM clock_timestamp() - state_change)::float8 AS state_s,
       backend_xid::text AS xid,
       age(backend_xid) AS xid_age,
       age(backend_xmin) AS xmin_age,
       query
FROM (
    SELECT *, extract(epoch FROM clock_timestamp() - xact_start)::float8 AS transaction_s
    FROM pg_stat_activity
    -- the walsender of a logical slot and a parallel worker have no transaction of their own
    WHERE backend_type NOT IN ('parallel worker', 'walsender') AND pid <> pg_backend_pid()
) a
WHERE transaction_s > :older_than_s
ORDER BY transaction_s DESC, pid
