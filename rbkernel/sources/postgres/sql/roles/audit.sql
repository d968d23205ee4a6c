/*
purpose: Which roles can do more than read and write tables, and which logins never expire
columns:
  role: the role
  can_login: it can open a session
  power: superuser, createrole, createdb, replication, bypassrls, no expiry, or a predefined role
  through: the roles by which it is a member; empty for a privilege granted directly to it
  far_reaching: with it one can become superuser, pass row security, write every table, or touch the server's files
  reaches_host: with it one can run programs, or read or write files, on the server's host
  privilege: the role and, in brackets, the power
  valid_until: when its password ends; NULL for never
  count: 1, for the figure
rules:
  - title: Superusers that can log in
    name: superusers
    agg: rows
    where: {power: superuser, can_login: true}
    each: role
    unit: roles
    warn: 1
    cause: "{value} {is a superuser|are superusers} and can log in"
    next_step: one for the administrator is enough; remove the attribute from the others
    opens: RUN-027
    source: rbkernel's choice; the first is made by initdb
  - title: Logins that reach the server's host
    name: reaches_host
    agg: rows
    where: {reaches_host: true, can_login: true}
    each: privilege
    unit: privileges
    warn: 0
    cause: "{value} {lets|let} a login run programs or access files on the server's host: {which}"
    next_step: find out whether its owner needs that; else revoke it
    opens: RUN-027
    source: the manual's chapter on predefined roles; such a login can become superuser
  - title: Logins with far-reaching privileges
    name: far_reaching
    agg: rows
    where: {far_reaching: true, reaches_host: false, can_login: true}
    each: privilege
    unit: privileges
    warn: 0
    cause: >-
      {value} {lets|let} a login become superuser, bypass row security, or write every table: {which}
    next_step: find out who needs them, and revoke them from the others
    opens: RUN-027
    source: the manual's chapter on predefined roles
figure: {kind: bars, x: count, y: power, by: role, title: Powers of the roles}
*/
WITH RECURSIVE membership (member, power, via) AS (
    SELECT m.member, m.roleid, ''
    FROM pg_auth_members m
    UNION
    SELECT m.member, r.power, concat_ws(' -> ', r.member::regrole::text, nullif(r.via, ''))
    FROM membership r
    JOIN pg_auth_members m ON m.roleid = r.member
),
powers AS (
    SELECT r.oid, p.power, '' AS through
    FROM pg_roles r
    CROSS JOIN LATERAL (
        VALUES ('superuser', r.rolsuper),
               ('createrole', r.rolcreaterole),
               ('createdb', r.rolcreatedb),
               ('replication', r.rolreplication),
               ('bypassrls', r.rolbypassrls),
               ('no expiry', r.rolcanlogin
                   AND (r.rolvaliduntil IS NULL OR r.rolvaliduntil = 'infinity'))
    ) p (power, has)
    WHERE p.has
    UNION ALL
    SELECT m.member, p.rolname::text, string_agg(DISTINCT m.via, ', ')
    FROM membership m
    JOIN pg_roles p ON p.oid = m.power
    WHERE p.rolsuper
       OR p.rolname IN (
           'pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files',
           'pg_write_all_data', 'pg_read_all_data', 'pg_signal_backend', 'pg_checkpoint',
           'pg_maintain', 'pg_create_subscription', 'pg_database_owner', 'rds_superuser',
           'cloudsqlsuperuser', 'azure_pg_admin')
    GROUP BY 1, 2
)
SELECT r.rolname::text AS role,
       r.rolcanlogin AS can_login,
       p.power,
       p.through,
       NOT r.rolsuper
           AND (p.power IN ('createrole', 'bypassrls', 'pg_execute_server_program',
                            'pg_read_server_files', 'pg_write_server_files', 'pg_write_all_data')
                OR p.power IN (SELECT rolname FROM pg_roles WHERE rolsuper)) AS far_reaching,
       NOT r.rolsuper
           AND p.power IN ('pg_execute_server_program', 'pg_read_server_files',
                           'pg_write_server_files') AS reaches_host,
       r.rolname::text || ' (' || p.power || ')' AS privilege,
       CASE WHEN isfinite(r.rolvaliduntil) THEN r.rolvaliduntil END AS valid_until,
       1 AS count
FROM powers p
JOIN pg_roles r ON r.oid = p.oid
-- left() and starts_with() fail on a name that is not valid in the encoding of this database
WHERE r.rolname !~ '^pg_'
ORDER BY far_reaching DESC, p.power = 'no expiry', role, p.power
