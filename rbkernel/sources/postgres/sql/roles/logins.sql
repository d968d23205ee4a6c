/*
purpose: Which systems use which login now, from where, and when its password ends
needs: [pg_monitor]
columns:
  login: the role that logs in
  can_login: it may open further sessions
  member_of: roles of which it is a direct member; empty for none
  sessions: its open sessions
  systems: their application_name; empty for none
  addresses: where they come from; local for a socket
  newest_s: s since the newest session began; NULL for none
  valid_until: when its password ends; NULL for never
  valid_d: d until then; negative when it has ended, NULL for never
  ends: its password ends, or ended within the last day; what ended before is meant to
  left_over: it may not log in any more, and has sessions that are still open
  extend_sql: gives its password 30 days from now on; NULL if it never ends
  before_sql: sets the end that it has now
  sampled_at: the server's clock
rules:
  - title: Days until the password of a login ends
    column: valid_d
    where: {ends: true}
    agg: min
    by: login
    empty: .inf
    unit: d
    warn: 14
    critical: 3
    below: true
    cause: "The password of {top} ends in {value}; a negative figure has ended, and new sessions are refused"
    next_step: give it more time (VALID UNTIL), and begin its rotation
    opens: RUN-020
    source: rbkernel's choice; a rotation takes some days
  - title: Sessions of logins that were revoked
    name: left_over
    column: sessions
    where: {left_over: true}
    agg: sum
    by: login
    unit: sessions
    warn: 0
    cause: "{value} {is|are} still open, although the login was revoked: {top}"
    next_step: >-
      a session ends only when its client ends it; find out who it is, then terminate it
    opens: RUN-020
    source: the manual, ALTER ROLE; NOLOGIN is for new sessions
figure: {kind: bars, x: sessions, y: login, title: Sessions of each login}
source: PostgreSQL does not record when a password was changed
*/
SELECT r.rolname::text AS login,
       r.rolcanlogin AS can_login,
       coalesce(m.member_of, '') AS member_of,
       coalesce(a.sessions, 0) AS sessions,
       coalesce(a.systems, '') AS systems,
       coalesce(a.addresses, '') AS addresses,
       a.newest_s,
       v.valid_until,
       v.valid_d,
       coalesce(v.valid_d > -1, false) AS ends,
       NOT r.rolcanlogin AND coalesce(a.sessions, 0) > 0 AS left_over,
       CASE
           WHEN v.valid_until IS NOT NULL
               THEN format('ALTER ROLE %I VALID UNTIL %L', r.rolname,
                           date_trunc('second', statement_timestamp()) + interval '30 days')
       END AS extend_sql,
       format('ALTER ROLE %I VALID UNTIL %L', r.rolname, coalesce(r.rolvaliduntil, 'infinity')) AS before_sql,
       statement_timestamp() AS sampled_at
FROM pg_roles r
LEFT JOIN (
    SELECT usesysid,
           count(*)::int AS sessions,
           string_agg(DISTINCT nullif(application_name, ''), ', ') AS systems,
           string_agg(DISTINCT coalesce(host(client_addr), 'local'), ', ') AS addresses,
           min(extract(epoch FROM statement_timestamp() - backend_start))::float8 AS newest_s
    FROM pg_stat_activity
    WHERE backend_type IN ('client backend', 'walsender')
    GROUP BY usesysid
) a ON a.usesysid = r.oid
LEFT JOIN (
    SELECT member, string_agg(roleid::regrole::text, ', ' ORDER BY roleid::regrole::text) AS member_of
    FROM pg_auth_members
    GROUP BY member
) m ON m.member = r.oid
CROSS JOIN LATERAL (
    SELECT CASE WHEN isfinite(r.rolvaliduntil) THEN r.rolvaliduntil END AS valid_until,
           CASE
               WHEN isfinite(r.rolvaliduntil)
                   THEN extract(epoch FROM r.rolvaliduntil - statement_timestamp()) / 86400
           END::float8 AS valid_d
) v
WHERE r.rolcanlogin OR a.sessions > 0
ORDER BY ends DESC, v.valid_d, sessions DESC, login
