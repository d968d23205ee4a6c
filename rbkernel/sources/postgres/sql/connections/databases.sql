/*
purpose: Connections to each database, compared with its limit
needs: [pg_monitor]
columns:
  database: the database
  sessions: client backends connected to it
  active: those of them that are active
  idle: those of them that are idle
  idle_in_transaction: those of them that are idle in a transaction
  connection_limit: CONNECTION LIMIT of the database; NULL when it has none
  usable: that limit, or the slots that an ordinary role may use where they are fewer
  used_pct: "%, sessions of usable"
  sampled_at: the server's clock
rules:
  - title: Connections by database
    column: used_pct
    by: database
    unit: "%"
    warn: 80
    critical: 90
    cause: "{value} of the connections allowed to a database are in use: {top}"
    next_step: see who holds them (connections/holders)
    opens: RUN-001
    source: as for the slots of the whole server (connections/saturation)
figure: {kind: bars, x: sessions, y: database, title: Connections to each database}
*/
SELECT d.datname::text AS database,
       coalesce(a.sessions, 0) AS sessions,
       coalesce(a.active, 0) AS active,
       coalesce(a.idle, 0) AS idle,
       coalesce(a.idle_in_transaction, 0) AS idle_in_transaction,
       d.connection_limit,
       d.usable,
       -- a limit of 0 lets nobody in
       (100.0 * coalesce(a.sessions, 0) / greatest(d.usable, 1))::float8 AS used_pct,
       statement_timestamp() AS sampled_at
FROM (
    SELECT oid, datname, connection_limit, least(slots, connection_limit) AS usable
    FROM (
        SELECT oid,
               datname,
               nullif(datconnlimit, -1) AS connection_limit,
               current_setting('max_connections')::int
               - current_setting('superuser_reserved_connections')::int
               - coalesce(current_setting('reserved_connections', true), '0')::int AS slots
        FROM pg_database
        -- -2 marks a database whose DROP was interrupted
        WHERE datallowconn AND datconnlimit >= -1
    ) l
) d
LEFT JOIN (
    SELECT datid,
           count(*)::int AS sessions,
           count(*) FILTER (WHERE state = 'active')::int AS active,
           count(*) FILTER (WHERE state = 'idle')::int AS idle,
           count(*) FILTER (WHERE state LIKE 'idle in transaction%')::int AS idle_in_transaction
    FROM pg_stat_activity
    WHERE backend_type = 'client backend'
    GROUP BY datid
) a ON a.datid = d.oid
ORDER BY used_pct DESC, database
