/*
purpose: How far the rotation from one login to another is, and whether the old one is still in use
needs: [pg_monitor]
columns:
  old_exists: there is a role of this name
  old_can_login: it may open further sessions
  old_sessions: its open sessions
  old_systems: who has them
  new_exists: there is a role of this name
  ready: the new login may log in, and its password has not ended; only a login shows that it is right
  new_sessions: its open sessions
  lacking: rights and settings of the old login that the new one does not have
  lacks: which
  prepare_sql: creates the new login, which acts as the old one, or gives it the rights of the old one; NULL if there is nothing to do
  revoke_sql: keeps the old login from opening further sessions; NULL while it is in use
  undo_sql: allows the old login again
  sampled_at: the server's clock
parameters:
  old: {help: login that is to be revoked, default: ""}
  new: {help: "login that takes its place; empty for the old name and _2", default: ""}
rules:
  - title: The old login
    name: old_exists
    column: old_exists
    agg: min
    critical: 1
    below: true
    expected: exists
    cause: No role has the name of the old login
    next_step: correct the parameter; the name is that of the role, not of the service
    opens: RUN-020
    source: what is not there cannot be rotated
  - title: The new login
    name: ready
    column: ready
    agg: min
    warn: 1
    below: true
    expected: may log in
    cause: The new login does not exist, may not log in, or its password has ended
    next_step: create it, and set its password with \password in psql
    opens: RUN-020
    source: both must be valid while the clients are moved
  - title: Rights that the new login lacks
    name: lacking
    column: lacking
    empty: 0
    by: lacks
    unit: rights
    warn: 0
    cause: "The new login lacks {value} of the old one: {top}"
    next_step: make it a member of the old one, and set what is not inherited
    opens: RUN-020
    source: what is lacking fails after the clients were moved
  - title: Sessions of the old login
    name: in_use
    column: old_sessions
    by: old_systems
    unit: sessions
    warn: 0
    cause: "{value} of the old login {is|are} open: {top}"
    next_step: give these systems the new credential
    opens: RUN-020
    source: whoever uses it is locked out when it is revoked
*/
WITH given AS (
    SELECT CAST(:old AS text) AS old,
           coalesce(nullif(CAST(:new AS text), ''), CAST(:old AS text) || '_2') AS new
),
roles AS (
    SELECT o.oid AS old_oid, o.rolcanlogin AS old_can_login, n.oid AS new_oid,
           n.rolcanlogin AND coalesce(n.rolvaliduntil > now(), true) AS new_can_login,
           g.old, g.new
    FROM given g
    LEFT JOIN pg_roles o ON o.rolname = g.old
    LEFT JOIN pg_roles n ON n.rolname = g.new
),
sessions AS (
    SELECT count(*) FILTER (WHERE a.usesysid = r.old_oid)::int AS old_sessions,
           count(*) FILTER (WHERE a.usesysid = r.new_oid)::int AS new_sessions,
           string_agg(DISTINCT coalesce(nullif(a.application_name, ''), host(a.client_addr), 'local'), ', ')
               FILTER (WHERE a.usesysid = r.old_oid) AS old_systems
    FROM roles r
    LEFT JOIN pg_stat_activity a ON a.usesysid IN (r.old_oid, r.new_oid)
        AND a.backend_type IN ('client backend', 'walsender')
),
-- attributes and settings are not inherited by members
lacking AS (
    SELECT 'attribute ' || p.power AS what
    FROM roles r
    JOIN pg_roles o ON o.oid = r.old_oid
    JOIN pg_roles n ON n.oid = r.new_oid
    CROSS JOIN LATERAL (
        VALUES ('SUPERUSER', o.rolsuper, n.rolsuper), ('CREATEROLE', o.rolcreaterole, n.rolcreaterole),
               ('CREATEDB', o.rolcreatedb, n.rolcreatedb), ('REPLICATION', o.rolreplication, n.rolreplication),
               ('BYPASSRLS', o.rolbypassrls, n.rolbypassrls)
    ) p (power, of_old, of_new)
    WHERE p.of_old AND NOT p.of_new AND NOT n.rolsuper
    UNION ALL
    SELECT 'setting ' || split_part(s.setting, '=', 1)
    FROM roles r
    JOIN pg_db_role_setting d ON d.setrole = r.old_oid
    CROSS JOIN LATERAL unnest(d.setconfig) s (setting)
    WHERE r.new_oid IS NOT NULL
      AND NOT EXISTS (
          SELECT FROM pg_db_role_setting o
          WHERE o.setrole = r.new_oid AND o.setdatabase = d.setdatabase AND s.setting = ANY (o.setconfig)
      )
    UNION ALL
    SELECT 'membership of ' || m.roleid::regrole::text
    FROM roles r
    JOIN pg_auth_members m ON m.member = r.old_oid
    WHERE r.new_oid IS NOT NULL AND NOT pg_has_role(r.new_oid, m.roleid, 'MEMBER')
    UNION ALL
    SELECT CASE d.deptype WHEN 'o' THEN 'objects that it owns' ELSE 'objects granted to it' END
    FROM roles r
    JOIN pg_shdepend d ON d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.old_oid
        AND d.deptype IN ('o', 'a')
    WHERE r.new_oid IS NOT NULL AND NOT pg_has_role(r.new_oid, r.old_oid, 'MEMBER')
    GROUP BY d.deptype
)
SELECT r.old_oid IS NOT NULL AS old_exists,
       coalesce(r.old_can_login, false) AS old_can_login,
       s.old_sessions,
       coalesce(s.old_systems, '') AS old_systems,
       r.new_oid IS NOT NULL AS new_exists,
       coalesce(r.new_can_login, false) AS ready,
       s.new_sessions,
       l.lacking,
       coalesce(l.lacks, '') AS lacks,
       CASE
           WHEN NOT coalesce(r.old_can_login, false) THEN NULL
           WHEN r.new_oid IS NULL
               THEN format(E'CREATE ROLE %I LOGIN IN ROLE %I;\nALTER ROLE %I SET role = %L',
                           r.new, r.old, r.new, r.old)
           WHEN NOT r.new_can_login THEN format('ALTER ROLE %I LOGIN VALID UNTIL ''infinity''', r.new)
           WHEN l.lacking > 0 THEN format('GRANT %I TO %I', r.old, r.new)
       END AS prepare_sql,
       CASE
           WHEN r.old_can_login AND r.new_can_login AND s.old_sessions = 0
               THEN format('ALTER ROLE %I NOLOGIN', r.old)
       END AS revoke_sql,
       format('ALTER ROLE %I LOGIN', r.old) AS undo_sql,
       statement_timestamp() AS sampled_at
FROM roles r
CROSS JOIN sessions s
CROSS JOIN (SELECT count(*)::int AS lacking, string_agg(what, ', ' ORDER BY what) AS lacks FROM lacking) l
