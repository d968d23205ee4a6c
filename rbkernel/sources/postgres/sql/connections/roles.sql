/*
purpose: Sessions of the roles that have their own connection limit
needs: [pg_monitor]
columns:
  role: the role
  sessions: client backends of it
  idle: those of them that are idle
  connection_limit: CONNECTION LIMIT of the role
  used_pct: "%, sessions of connection_limit"
  several: the limit is not 1, which keeps a second session out on purpose
  sampled_at: the server's clock
rules:
  - title: Connections by role
    column: used_pct
    empty: 0
    where: {several: true}
    by: role
    unit: "%"
    warn: 80
    critical: 90
    cause: "A role uses {value} of its connection limit: {top}"
    next_step: see who holds them (connections/holders); close some, or ask for a higher limit
    opens: RUN-001
    source: as for the slots of the whole server (connections/saturation)
figure: {kind: bars, x: sessions, y: role, title: Connections of each role that has a limit}
*/
SELECT r.rolname::text AS role,
       coalesce(a.sessions, 0) AS sessions,
       coalesce(a.idle, 0) AS idle,
       r.rolconnlimit AS connection_limit,
       -- a limit of 0 lets nobody in
       (100.0 * coalesce(a.sessions, 0) / greatest(r.rolconnlimit, 1))::float8 AS used_pct,
       r.rolconnlimit <> 1 AS several,
       statement_timestamp() AS sampled_at
FROM pg_roles r
LEFT JOIN (
    SELECT usesysid,
           count(*)::int AS sessions,
           count(*) FILTER (WHERE state = 'idle')::int AS idle
    FROM pg_stat_activity
    WHERE backend_type = 'client backend'
    GROUP BY usesysid
) a ON a.usesysid = r.oid
-- a superuser is not limited
WHERE r.rolcanlogin AND r.rolconnlimit >= 0 AND NOT r.rolsuper
ORDER BY used_pct DESC, role
