/*
purpose: Sessions by application, user, client and state, and how many of them wait for a lock
needs: [pg_monitor]
columns:
  application: application_name, or the user if there is none
  username: the role
  database: the database
  client: address of the client; NULL for a local socket
  state: active, idle, idle in transaction, …
  sessions: client backends of this kind, without rbkernel's
  waiting: those of them that wait for a lock
  waiting_pct: "%, waiting of all client backends"
  oldest_state_s: s, how long the oldest has been in this state
  oldest_transaction_s: s since the oldest transaction among them began; NULL when none is open
rules:
  - title: Sessions waiting for a lock
    column: waiting_pct
    agg: sum
    by: application
    unit: "% of the sessions"
    warn: 10
    critical: 50
    cause: "{value} wait for a lock, by application: {top}"
    next_step: see which session holds the lock (locks/blocking)
    opens: RUN-007
    source: the same shares as for slots that are held (connections/holders)
figure: {kind: bars, x: sessions, y: application, by: state, title: Sessions by application and state}
*/
SELECT coalesce(nullif(application_name, ''), usename, '?') AS application,
       usename::text AS username,
       datname::text AS database,
       client_addr::text AS client,
       state,
       count(*)::int AS sessions,
       (count(*) FILTER (WHERE wait_event_type = 'Lock'))::int AS waiting,
       (100.0 * count(*) FILTER (WHERE wait_event_type = 'Lock')
           / sum(count(*)) OVER ())::float8 AS waiting_pct,
       max(extract(epoch FROM clock_timestamp() - state_change))::float8 AS oldest_state_s,
       max(extract(epoch FROM clock_timestamp() - xact_start))::float8 AS oldest_transaction_s
FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
GROUP BY 1, 2, 3, 4, 5
ORDER BY sessions DESC, application, state
