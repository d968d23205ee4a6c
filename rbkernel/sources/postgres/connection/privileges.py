"""The privileges that a diagnostic role must not have, and the query that checks for them.

A read-only transaction is no protection: a role that may write can also end the transaction. So the
role itself must not be able to write, to signal other sessions, or to use the files and programs of
the server. The check includes all roles to which the role can change with SET ROLE, whether or not
it inherits their privileges.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

ADVICE = (
    "connect as a role of least privilege: `rbkernel grant DB --diagnostic rb_diag` prints its SQL"
)
# Predefined roles that do more than read, and the administrators of managed services.
_POWERFUL = (
    "pg_checkpoint",
    "pg_create_subscription",
    "pg_execute_server_program",
    "pg_maintain",
    "pg_read_server_files",
    "pg_signal_autovacuum_worker",
    "pg_signal_backend",
    "pg_write_all_data",
    "pg_write_server_files",
    "azure_pg_admin",
    "cloudsqlsuperuser",
    "rds_replication",
    "rds_superuser",
)
# Functions that PUBLIC may not execute; EXECUTE may have been granted on each separately.
_FUNCTIONS = (
    "lo_export",
    "lo_import",
    "pg_backup_start",
    "pg_backup_stop",
    "pg_create_restore_point",
    "pg_log_backend_memory_contexts",
    "pg_log_standby_snapshot",
    "pg_ls_dir",
    "pg_promote",
    "pg_read_binary_file",
    "pg_read_file",
    "pg_reload_conf",
    "pg_rotate_logfile",
    "pg_stat_reset",
    "pg_stat_reset_shared",
    "pg_stat_reset_single_table_counters",
    "pg_stat_statements_reset",
    "pg_switch_wal",
    "pg_wal_replay_pause",
    "pg_wal_replay_resume",
)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


PROBE = f"""
WITH self AS MATERIALIZED (
    SELECT oid, rolname::text AS role, rolsuper, rolcreaterole, rolcreatedb, rolreplication,
           rolbypassrls
    FROM pg_roles
    -- a setting of the role or the database may have changed the role, which RESET ROLE undoes
    WHERE pg_has_role(current_user, oid, 'MEMBER') OR pg_has_role(session_user, oid, 'MEMBER')
), acting AS MATERIALIZED (
    -- the predefined roles are known by name
    SELECT * FROM self WHERE role !~ '^pg_'
), spaces AS MATERIALIZED (
    SELECT oid, nspname, nspowner FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
)
SELECT role, 'is' AS may, unnest(array_remove(ARRAY[
           CASE WHEN rolsuper THEN 'superuser' END,
           CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
           CASE WHEN rolcreatedb THEN 'CREATEDB' END,
           CASE WHEN rolreplication THEN 'REPLICATION' END,
           CASE WHEN rolbypassrls THEN 'BYPASSRLS' END], NULL)) AS what
FROM acting
UNION ALL
SELECT role, 'is a member of', role FROM self WHERE role IN ({_listed(_POWERFUL)})
UNION ALL
(SELECT a.role, 'may write to', c.oid::regclass::text
 FROM acting a JOIN pg_class c ON c.relowner = a.oid OR c.relacl IS NOT NULL
 JOIN spaces s ON s.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
   AND (c.relowner = a.oid
        OR has_table_privilege(a.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER'))
 LIMIT 4)
UNION ALL
-- a privilege that older servers do not know by name
(SELECT a.role, 'may maintain', c.oid::regclass::text
 FROM acting a JOIN pg_class c ON c.relacl IS NOT NULL
 JOIN spaces s ON s.oid = c.relnamespace
 WHERE EXISTS (SELECT FROM aclexplode(c.relacl) x
               WHERE x.privilege_type = 'MAINTAIN' AND x.grantee IN (a.oid, 0))
 LIMIT 4)
UNION ALL
(SELECT a.role, 'may write to', 'large object ' || l.oid
 FROM acting a JOIN pg_largeobject_metadata l ON l.lomowner = a.oid
   OR EXISTS (SELECT FROM aclexplode(l.lomacl) x
              WHERE x.privilege_type = 'UPDATE' AND x.grantee IN (a.oid, 0))
 LIMIT 4)
UNION ALL
(SELECT a.role, 'may reach out through', f.fdwname::text FROM acting a, pg_foreign_data_wrapper f
 WHERE has_foreign_data_wrapper_privilege(a.oid, f.oid, 'USAGE') LIMIT 4)
UNION ALL
(SELECT a.role, 'may reach out through', f.srvname::text FROM acting a, pg_foreign_server f
 WHERE has_server_privilege(a.oid, f.oid, 'USAGE') LIMIT 4)
UNION ALL
(SELECT a.role, 'may grant membership in', m.roleid::regrole::text
 FROM acting a JOIN pg_auth_members m ON m.member = a.oid AND m.admin_option LIMIT 4)
UNION ALL
(SELECT a.role, 'may write to', format('%s (%I)', t.attrelid::regclass, t.attname)
 FROM acting a, pg_attribute t
 WHERE t.attacl IS NOT NULL AND has_column_privilege(a.oid, t.attrelid, t.attnum, 'INSERT, UPDATE')
 LIMIT 4)
UNION ALL
(SELECT a.role, 'may advance', c.oid::regclass::text
 FROM acting a JOIN pg_class c ON c.relowner = a.oid OR c.relacl IS NOT NULL
 JOIN spaces s ON s.oid = c.relnamespace
 WHERE c.relkind = 'S'
   AND (c.relowner = a.oid OR has_sequence_privilege(a.oid, c.oid, 'USAGE, UPDATE'))
 LIMIT 4)
UNION ALL
(SELECT a.role, 'may create in schema', s.nspname::text FROM acting a, spaces s
 WHERE has_schema_privilege(a.oid, s.oid, 'CREATE') LIMIT 4)
UNION ALL
(SELECT a.role, 'may create in database', current_database()::text FROM acting a
 WHERE has_database_privilege(a.oid, current_database(), 'CREATE') LIMIT 4)
UNION ALL
-- also in extensions, but not other functions of these names
(SELECT a.role, 'may call', p.oid::regprocedure::text
 FROM acting a, pg_proc p JOIN pg_roles o ON o.oid = p.proowner
 WHERE p.proname IN ({_listed(_FUNCTIONS)}) AND o.rolsuper
   AND has_function_privilege(a.oid, p.oid, 'EXECUTE') LIMIT 4)
UNION ALL
-- tables and sequences are reported above
(SELECT a.role, 'owns', pg_describe_object(d.classid, d.objid, d.objsubid)
 FROM acting a JOIN pg_shdepend d ON d.refobjid = a.oid AND d.deptype = 'o'
 WHERE d.refclassid = 'pg_authid'::regclass AND d.classid <> 'pg_class'::regclass
   AND d.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())) LIMIT 4)
UNION ALL
(SELECT a.role, 'may set', p.parname FROM acting a, pg_parameter_acl p
 WHERE has_parameter_privilege(a.oid, p.parname, 'SET, ALTER SYSTEM') LIMIT 4)
"""


# Partitions are left out, since they are read through their parent, and so are tables of
# extensions.
TABLES = """
SELECT n.nspname::text AS schema, pg_get_userbyid(c.relowner)::text AS owner,
       count(*)::int AS tables,
       count(*) FILTER (WHERE has_schema_privilege(n.oid, 'USAGE')
           AND has_any_column_privilege(c.oid, 'SELECT'))::int AS readable,
       pg_has_role(current_user, 'pg_read_all_data', 'USAGE') OR EXISTS (
           SELECT FROM pg_default_acl d, aclexplode(d.defaclacl) a
           WHERE d.defaclrole = c.relowner AND d.defaclnamespace IN (0, n.oid)
             AND d.defaclobjtype = 'r' AND a.privilege_type = 'SELECT'
             AND (a.grantee = 0 OR pg_has_role(current_user, a.grantee, 'USAGE'))) AS later,
       EXISTS (SELECT FROM pg_default_acl d, aclexplode(d.defaclacl) a
               WHERE d.defaclnamespace IN (0, n.oid) AND d.defaclobjtype = 'r'
                 AND a.grantee = CAST(CAST(current_user AS regrole) AS oid)) AS meant
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND (:all OR n.nspname = ANY (:schemas))
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e'
                  AND d.classid = 'pg_class'::regclass)
GROUP BY n.oid, n.nspname, c.relowner
ORDER BY 1, 2
"""


@dataclass(frozen=True, kw_only=True)
class Tables:
    """How many tables one owner has in a schema, and how many of them the diagnostic role can read.

    ``readable`` counts the tables that the diagnostic role can read. ``later``: the role can read
    tables that this owner creates later. ``meant``: the role has default privileges in this schema
    for tables of at least one owner.
    """

    schema: str
    owner: str
    tables: int
    readable: int
    later: bool
    meant: bool


@dataclass(frozen=True, kw_only=True)
class Power:
    """A privilege that the diagnostic role has itself, or through a role to which it can change."""

    role: str
    may: str
    what: str


def excess(user: str, powers: Iterable[Power]) -> list[str]:
    """Return the privileges that a diagnostic role must not have, the worst first; empty if none.

    Parameters
    ----------
    user
        The role that logged in.
    powers
        The rows of `PROBE`.

    >>> excess("diag", [Power(role="diag", may="may write to", what="orders"),
    ...                 Power(role="boss", may="is", what="CREATEDB")])
    ['through boss is CREATEDB', 'may write to orders']
    >>> excess("diag", [Power(role=name, may="is", what="superuser") for name in ("boss", "diag")])
    ['is superuser']
    >>> excess("diag", [])
    []
    """
    found = sorted(powers, key=lambda power: (power.may != "is", power.may, power.role))
    # a superuser has all other privileges, so only this one is reported
    superusers = [power for power in found if power.what == "superuser"]
    found = [power for power in superusers if power.role == user] or superusers or found
    groups: dict[str, list[str]] = {}
    for power in found:
        groups.setdefault(_clause(user, power), []).append(power.what)
    return [f"{clause} {_some(things)}" for clause, things in groups.items()]


def _clause(user: str, power: Power) -> str:
    direct = power.role in {user, power.what}
    return power.may if direct else f"through {power.role} {power.may}"


def _some(things: list[str], named: int = 3) -> str:
    return ", ".join(sorted(things)[:named]) + (", …" if len(things) > named else "")
