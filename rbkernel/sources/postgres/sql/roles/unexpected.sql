/*
purpose: Logins that can read or change everything, and which of them nobody expects
needs: [pg_monitor]
columns:
  role: the login
  can_login: it may open further sessions; false for a blocked login that still has sessions
  power: superuser, createrole, bypassrls, replication, or a predefined role
  through: the role that gives it to the login, as a direct member; empty for a privilege of its own
  privilege: the role and, in brackets, the power
  sessions: its open sessions
  unexpected: it is not in :expected; NULL if :expected is empty
  superuser: it is superuser, or may become one as a member
  revoke_sql: takes the privilege; NULL for the superuser of initdb, which cannot lose it
  undo_sql: gives it back
  sampled_at: the server's clock
parameters:
  expected: {help: "logins that may have such privileges, with commas; empty if nobody knows", default: ""}
rules:
  - title: Superusers that nobody expects
    name: superuser
    agg: rows
    where: {superuser: true, unexpected: true}
    each: role
    unit: logins
    critical: 0
    cause: "{value} {is|are} superuser, or can become it, and {is|are} not expected: {which}"
    next_step: block the login and end its sessions; ask its owner by another channel
    unseen: nobody said which logins are expected
    opens: RUN-025
    source: a superuser can read, change and hide everything
  - title: Far-reaching privileges that nobody expects
    name: power
    agg: rows
    where: {superuser: false, unexpected: true}
    each: privilege
    unit: privileges
    warn: 0
    cause: "{value} {is|are} not expected: {which}"
    next_step: ask who granted it and for what; else revoke it
    unseen: nobody said which logins are expected
    opens: RUN-025
    source: the manual's chapter on predefined roles; with one of them a login reads or writes every table, or more
figure: {kind: bars, x: sessions, y: privilege, title: Open sessions of logins with far-reaching privileges}
source: PostgreSQL does not record when a role was created, or a privilege was granted
*/
WITH RECURSIVE membership (member, power, via, grantor) AS (
    SELECT m.member, m.roleid, m.roleid, m.grantor
    FROM pg_auth_members m
    UNION
    SELECT m.member, r.power, m.roleid, m.grantor
    FROM membership r
    JOIN pg_auth_members m ON m.roleid = r.member
),
powers AS (
    SELECT r.oid, p.power, '' AS through, p.power = 'superuser' AS superuser,
           CASE WHEN r.oid <> 10 THEN format('ALTER ROLE %I NO%s', r.rolname, upper(p.power)) END AS revoke_sql,
           format('ALTER ROLE %I %s', r.rolname, upper(p.power)) AS undo_sql
    FROM pg_roles r
    CROSS JOIN LATERAL (
        VALUES ('superuser', r.rolsuper),
               ('createrole', r.rolcreaterole AND NOT r.rolsuper),
               ('replication', r.rolreplication AND NOT r.rolsuper),
               ('bypassrls', r.rolbypassrls AND NOT r.rolsuper)
    ) p (power, has)
    WHERE p.has
    UNION ALL
    SELECT m.member, p.rolname::text, m.via::regrole::text, p.rolsuper,
           -- since version 16 a grant belongs to its grantor, and only that one is revoked
           concat(format('REVOKE %I FROM %I', v.rolname, r.rolname), format(' GRANTED BY %I', g.rolname)),
           concat(format('GRANT %I TO %I', v.rolname, r.rolname), format(' GRANTED BY %I', g.rolname))
    FROM membership m
    JOIN pg_roles p ON p.oid = m.power
    JOIN pg_roles v ON v.oid = m.via
    JOIN pg_roles r ON r.oid = m.member
    JOIN pg_roles g ON g.oid = m.grantor
    WHERE NOT r.rolsuper
      AND (p.rolsuper OR p.rolname IN (
          'pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files',
          'pg_write_all_data', 'pg_read_all_data', 'pg_create_subscription', 'rds_superuser',
          'cloudsqlsuperuser', 'azure_pg_admin'))
)
SELECT r.rolname::text AS role,
       r.rolcanlogin AS can_login,
       p.power,
       p.through,
       r.rolname::text || ' (' || p.power || ')' AS privilege,
       coalesce(a.sessions, 0) AS sessions,
       CASE
           WHEN btrim(e.expected) <> ''
               THEN r.rolname <> ALL (regexp_split_to_array(btrim(e.expected), '\s*,\s*'))
       END AS unexpected,
       p.superuser,
       p.revoke_sql,
       p.undo_sql,
       statement_timestamp() AS sampled_at
FROM powers p
JOIN pg_roles r ON r.oid = p.oid
CROSS JOIN (SELECT CAST(:expected AS text) AS expected) e
LEFT JOIN (
    SELECT usesysid, count(*)::int AS sessions
    FROM pg_stat_activity
    WHERE backend_type IN ('client backend', 'walsender')
    GROUP BY usesysid
) a ON a.usesysid = r.oid
WHERE r.rolcanlogin OR a.sessions > 0
ORDER BY unexpected DESC NULLS LAST, p.superuser DESC, sessions DESC, role, p.power
