"""Identify a server: the first query of every session, and the reading of its answer. Pure.

The query runs after the session's settings are set, so that all names resolve to objects of
PostgreSQL itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rbkernel.sources.postgres.connection import settings
from rbkernel.sources.postgres.connection.capabilities import Server

PROBE = """
SELECT current_setting('server_version') AS version,
       current_setting('server_version_num')::int AS version_num,
       pg_is_in_recovery() AS standby,
       current_setting('default_transaction_read_only') = 'on' AS default_read_only,
       current_user::text AS role,
       current_database()::text AS database,
       host(inet_server_addr()) AS address,
       inet_server_port() AS port,
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
       ARRAY(SELECT rolname::text FROM pg_roles WHERE pg_has_role(current_user, oid, 'USAGE'))
           AS roles,
       ARRAY(SELECT rolname::text FROM pg_roles
             WHERE pg_has_role(current_user, oid, 'MEMBER')
               AND NOT pg_has_role(current_user, oid, 'USAGE')) AS not_inherited,
       ARRAY(SELECT extname::text FROM pg_extension) AS extensions,
       (SELECT n.nspname::text
        FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname = 'pg_stat_statements'
          -- the views of the extension itself, not other objects of these names
          AND 2 = (SELECT count(*)
                   FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
                   WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e'
                     AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
                     AND c.relnamespace = e.extnamespace
                     AND c.relname IN ('pg_stat_statements', 'pg_stat_statements_info'))
       ) AS statements_schema,
       ARRAY(SELECT CASE WHEN s.setrole = 0 THEN 'database'
                         WHEN s.setdatabase = 0 THEN 'role'
                         ELSE 'role in this database' END || ':' || setting
             FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) AS setting
             WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database
                                         WHERE datname = current_database()))
               AND s.setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = session_user))
       ) AS overrides,
       ARRAY(SELECT name FROM pg_settings WHERE name IN
           ('rds.extensions', 'cloudsql.iam_authentication', 'azure.extensions')) AS marks,
       pg_backend_pid() AS backend_pid
"""
# settings that exist only in these managed services
_MANAGED = {"rds": "Amazon RDS", "cloudsql": "Google Cloud SQL", "azure": "Azure Database"}


def read(row: Mapping[str, Any], *, reported_pid: int | None) -> Server:
    """Return the server's identity from the row that `PROBE` returns.

    Parameters
    ----------
    row
        Its single row.
    reported_pid
        The process id that was reported at connect. A pooler reports an invented id, to route
        cancels.
    """
    fields = dict(row)
    marks, backend_pid = fields.pop("marks"), fields.pop("backend_pid")
    overrides = settings.overrides(fields.pop("overrides"))
    roles, extensions = frozenset(fields.pop("roles")), frozenset(fields.pop("extensions"))
    not_inherited = frozenset(fields.pop("not_inherited"))
    managed = [_MANAGED[mark.split(".")[0]] for mark in marks]
    return Server(
        **fields,
        roles=roles,
        not_inherited=not_inherited,
        extensions=extensions,
        overrides=overrides,
        pooler=reported_pid is not None and reported_pid != backend_pid,
        managed="".join(managed[:1]),
    )
