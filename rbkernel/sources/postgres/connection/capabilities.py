"""What a server, its role and its surroundings can do: the one table that variants are picked by.

A diagnostic ``io/checkpoints`` may have a second file, ``io/checkpoints@pg_stat_checkpointer``:
it is the one to use where the server has that capability. ``needs`` in a header names those
without which there is no answer at all, and what is missing is said in the finding.
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
    """Something that some servers or roles have.

    ``since`` is the first ``server_version_num`` that has it; ``extension`` and ``role`` name what
    must be created or granted in addition.
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
    """Whom we are talking to, as the server itself tells it.

    ``pooler`` is true when something between us and the server keeps the connections; ``managed``
    names the service that runs the server, if it is one of those that we know;
    ``not_inherited`` are roles of which the role is a member without their privileges;
    ``statements_schema`` is where the views of pg_stat_statements are; ``overrides`` are settings
    of the role and the database that our sessions replace by their own.
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
        """Whether the role sees other sessions."""
        return "pg_monitor" in self.roles


def grant(server: Server, role: str) -> str:
    """Return the SQL that gives our role the privileges of another one.

    A member that does not inherit needs an option of the grant itself from PostgreSQL 16 on,
    before with an attribute of the role.
    """
    ours = driver.quote_identifier(server.role)
    if role not in server.not_inherited:
        return f"GRANT {role} TO {ours}"
    if server.version_num >= _INHERITS_BY_GRANT:
        return f"GRANT {role} TO {ours} WITH INHERIT TRUE"
    return f"ALTER ROLE {ours} INHERIT"


def has(server: Server, name: str) -> bool:
    """Tell whether a server has a capability."""
    return not lacking(server, [name])


def lacking(server: Server, names: Iterable[str]) -> str:
    """Say what is missing of these capabilities and how to get it; empty when nothing is."""
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
