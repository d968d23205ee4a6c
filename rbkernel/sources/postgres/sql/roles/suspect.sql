/*
purpose: Whether a suspected login may still log in, what it may do, and the SQL that blocks it
needs: [pg_monitor]
columns:
  login: the name that was given
  known: there is a role of this name
  can_login: it may open further sessions
  sessions: its open sessions
  member_of: roles of which it is a direct member; empty for none
  members: roles that are direct members of it; empty for none
  owns: objects that it owns, in all databases
  last_admin: it is superuser, and no other one of :expected may log in
  block_sql: keeps it from opening further sessions; NULL if it may not, or is the last_admin
  undo_sql: allows it again
  sampled_at: the server's clock
parameters:
  login: {help: "login that may be in the wrong hands; empty for none", default: ""}
  expected: {help: "superusers that are trusted, with commas; empty for all others", default: ""}
rules:
  - title: The suspected login
    name: known
    column: known
    agg: min
    empty: 1
    critical: 1
    below: true
    expected: exists
    cause: No role has the name of the suspected login
    next_step: correct the parameter; the name is that of the role, not of the service. A role that was dropped is itself a trace, so keep the server's log
    opens: RUN-025
    source: what is not there cannot be blocked
  - title: The suspected login may log in
    name: may_log_in
    column: can_login
    where: {last_admin: false}
    agg: max
    empty: 0
    by: login
    critical: 0
    cause: "{top} may open further sessions"
    expected: blocked
    next_step: block it, then end its sessions
    opens: RUN-025
    source: contain first
  - title: Superusers left if it is blocked
    name: last_admin
    column: last_admin
    agg: max
    empty: 0
    critical: 0
    expected: another superuser may log in
    cause: It is the only trusted superuser that may log in; blocked, nobody could administer the server
    next_step: have a second superuser created and tested first, or block its source
    opens: RUN-025
    source: a server without a superuser must be started in single-user mode
*/
SELECT g.login,
       r.oid IS NOT NULL AS known,
       coalesce(r.rolcanlogin, false) AS can_login,
       (SELECT count(*)::int
        FROM pg_stat_activity a
        WHERE a.usesysid = r.oid AND a.backend_type IN ('client backend', 'walsender')
          AND a.pid <> pg_backend_pid()) AS sessions,
       coalesce((SELECT string_agg(DISTINCT m.roleid::regrole::text, ', ')
                 FROM pg_auth_members m WHERE m.member = r.oid), '') AS member_of,
       coalesce((SELECT string_agg(DISTINCT m.member::regrole::text, ', ')
                 FROM pg_auth_members m WHERE m.roleid = r.oid), '') AS members,
       (SELECT count(*)::int
        FROM pg_shdepend d
        WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid AND d.deptype = 'o') AS owns,
       l.last_admin,
       CASE WHEN r.rolcanlogin AND NOT l.last_admin THEN format('ALTER ROLE %I NOLOGIN', r.rolname) END AS block_sql,
       format('ALTER ROLE %I LOGIN', g.login) AS undo_sql,
       statement_timestamp() AS sampled_at
FROM (SELECT CAST(:login AS text) AS login, btrim(CAST(:expected AS text)) AS expected) g
LEFT JOIN pg_roles r ON r.rolname = g.login
CROSS JOIN LATERAL (
    SELECT coalesce(r.rolsuper AND r.rolcanlogin, false) AND NOT EXISTS (
        SELECT FROM pg_roles o
        WHERE o.rolsuper AND o.rolcanlogin AND o.oid <> r.oid
          AND (g.expected = '' OR o.rolname = ANY (regexp_split_to_array(g.expected, '\s*,\s*')))
    ) AS last_admin
) l
WHERE g.login <> ''
