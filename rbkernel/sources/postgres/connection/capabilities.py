"""The features that a server and its login role have; they select which variant of SQL runs.

A diagnostic ``io/checkpoints`` may have a second file, ``io/checkpoints@pg_stat_checkpointer``:
this file is used if the server has the capability after the ``@``. ``needs`` in a header names the
capabilities that the diagnostic requires; the finding reports the missing ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rbkernel.sources.postgres.connection import driver
from rbkernel.sources.postgres.connection.settings import Override

OLDEST_SUPPORTED = 150000
_INHERITS_BY_GRANT = 160000


@dataclass(frozen=True, kw_only=True)
class Capability:
    """A feature that only some servers or roles have.

    ``since`` is the first ``server_version_num`` with this feature; ``extension`` names the
    extension and ``role`` the role that is needed in addition.
    """

    since: int = 0
    extension: str = ""
    role: str = ""


CAPABILITIES: Mapping[str, Capability] = {
    "pg_monitor": Capability(role="pg_monitor"),
    "pg_stat_statements": Capability(extension="pg_stat_statements"),
    # release notes of PostgreSQL 16, 17 and 18
    "pg_stat_io": Capability(since=160000),
    "confl_active_logicalslot": Capability(since=160000),
    "pg_stat_checkpointer": Capability(since=170000),
    "failover_slots": Capability(since=170000),
    "stat_statements_shared_blks": Capability(since=170000, extension="pg_stat_statements"),
    "pg_stat_io_bytes": Capability(since=180000),
    "wal_without_timing": Capability(since=180000),
    "hash_of_bytea": Capability(since=180000),
}


@dataclass(frozen=True, kw_only=True)
class Server:
    """The identity of a server and of the login role, as the server reports them.

    ``pooler`` is true if a pooler is between rbkernel and the server; ``managed`` is the name of
    the managed service, if it is a known one; ``not_inherited`` are roles of which the role is a
    member without their privileges; ``statements_schema`` is the schema of the pg_stat_statements
    views; ``overrides`` are settings of the role and the database that rbkernel's sessions
    override.
    """

    version: str
    version_num: int
    standby: bool
    default_read_only: bool
    role: str
    database: str
    address: str | None
    port: int | None
    superuser: bool
    roles: frozenset[str]
    extensions: frozenset[str]
    pooler: bool
    managed: str
    statements_schema: str | None = None
    overrides: tuple[Override, ...] = ()
    not_inherited: frozenset[str] = frozenset()

    def __str__(self) -> str:
        kind = "standby" if self.standby else "primary"
        through = " through a pooler" if self.pooler else ""
        on = f" on {self.managed}" if self.managed else ""
        place = f"{self.address or 'local socket'}:{self.port}/{self.database}"
        return f"PostgreSQL {self.version.split()[0]} {kind} at {place}{on}{through}"

    @property
    def monitor(self) -> bool:
        """Whether the role can see the sessions of other roles."""
        return "pg_monitor" in self.roles


def grant(server: Server, role: str) -> str:
    """Return the SQL that grants the diagnostic role the privileges of another role.

    For a member that does not inherit, inheritance is an option of the grant from PostgreSQL 16 on,
    and an attribute of the role before.
    """
    grantee = driver.quote_identifier(server.role)
    if role not in server.not_inherited:
        return f"GRANT {role} TO {grantee}"
    if server.version_num >= _INHERITS_BY_GRANT:
        return f"GRANT {role} TO {grantee} WITH INHERIT TRUE"
    return f"ALTER ROLE {grantee} INHERIT"


def has(server: Server, name: str) -> bool:
    """Return whether a server has the capability with this name."""
    return not lacking(server, [name])


def lacking(server: Server, names: Iterable[str]) -> str:
    """Return which capabilities a server lacks, and how to get them; empty if it has all."""
    reasons = (_reason(server, CAPABILITIES[name]) for name in names)
    return "; ".join(reason for reason in reasons if reason)


def _reason(server: Server, capability: Capability) -> str:
    if server.version_num < capability.since:
        return f"needs PostgreSQL {capability.since // 10000} or later"
    if capability.extension and capability.extension not in server.extensions:
        return (
            f"the extension {capability.extension} is not created in {server.database}"
            f" (CREATE EXTENSION {capability.extension}, and shared_preload_libraries)"
        )
    if capability.role and capability.role not in server.roles:
        lacks = (
            f"is a member of {capability.role} but does not inherit its privileges"
            if capability.role in server.not_inherited
            else f"lacks {capability.role}"
        )
        return f"the role {server.role} {lacks}, so it would see only a part"
    return ""
