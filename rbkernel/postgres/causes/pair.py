"""A primary and its standby, looked at through both connections. Pure.

Each server alone can be wrong about the other: a standby that was cut off from its sender, or whose
sender is cut off itself, has replayed all that it received; and two servers that both accept writes
are each a healthy primary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rbkernel import amounts
from rbkernel.model import Verdict
from rbkernel.postgres.causes.cause import Cause, level

# s that a standby may be behind (as replication/standby: seeds 001 and 003, and a burst)
_WARN_S, _CRITICAL_S = 2.0, 15.0


@dataclass(frozen=True, kw_only=True)
class Member:
    """One server of a cluster; the fields are the columns of ``situation/position``."""

    connection: str
    standby: bool
    system_identifier: str | None = None
    timeline: int | None = None
    lsn: str | None = None
    position: int | None = None
    newest_commit_s: float | None = None
    started_at: Any = None
    address: str | None = None

    def is_copy_of(self, other: Member) -> bool:
        """Whether both are copies of one cluster, as far as that can be known."""
        mine, its = self.system_identifier, other.system_identifier
        return mine is not None and mine == its

    def is_same_server(self, other: Member) -> bool:
        """Whether two connections lead to one and the same server."""
        return self.is_copy_of(other) and self.started_at == other.started_at


def roles(primary: Member, standby: Member) -> Iterator[Cause]:
    """Yield what is wrong with who of the two accepts writes.

    >>> def member(name, standby, start=0):
    ...     return Member(connection=name, standby=standby, system_identifier="7", timeline=1,
    ...                   started_at=start)
    >>> [cause] = roles(member("one", False), member("two", False, 1))
    >>> cause.headline
    'Two writable primaries of one cluster: one (timeline 1) and two (timeline 1)'
    >>> list(roles(member("one", False), member("two", True, 1)))
    []
    """
    if not standby.is_copy_of(primary):
        return
    if standby.is_same_server(primary):
        yield Cause(
            headline=f"{standby.connection} leads to the same server as {primary.connection},"
            " so no standby was looked at",
            mechanism="two connections lead to one server",
            verdict=Verdict.UNKNOWN,
            next_step=f"correct host and port of {standby.connection} in rbkernel.toml",
        )
    elif not primary.standby and not standby.standby:
        named = " and ".join(
            f"{one.connection} (timeline {one.timeline})" for one in (primary, standby)
        )
        yield Cause(
            headline=f"Two writable primaries of one cluster: {named}",
            mechanism=f"{standby.connection} was promoted, and {primary.connection} still accepts"
            " writes: what is written to one is missing on the other",
            verdict=Verdict.CRITICAL,
            next_step="Decide which of them is the primary, and stop all writes to the other one at"
            " once; keep its data until what was written there is saved, then rebuild it as a"
            " standby (pg_rewind or a new base backup)",
            opens="RUN-005",
            explains=("RUN-005", "RUN-018"),
        )
    elif primary.standby and not standby.standby:
        yield Cause(
            headline=f"{standby.connection} is the primary now, and {primary.connection} a standby",
            mechanism="a failover has happened, and the connections still have their old roles",
            verdict=Verdict.WARNING,
            next_step="check that the applications write to the new primary; then exchange the two"
            " connections in rbkernel.toml",
            opens="RUN-005",
            explains=("RUN-005",),
        )


def alone(primary: str, standby: Member) -> Iterator[Cause]:
    """Yield that a standby was promoted, where the primary that it belongs to does not answer."""
    if not standby.standby:
        yield Cause(
            headline=f"{standby.connection} accepts writes (timeline {standby.timeline}): it is no"
            f" standby of {primary} any more, which does not answer",
            mechanism="it was promoted, and its old primary was not seen",
            verdict=Verdict.WARNING,
            next_step=f"make sure that {primary} does not come back as a primary; then correct the"
            " connections in rbkernel.toml",
            opens="RUN-005",
            explains=("RUN-005",),
        )


def behind(primary: Member, standby: Member) -> Iterator[Cause]:
    """Yield how far the standby is behind what the primary had written before it was looked at.

    >>> had = Member(connection="one", standby=False, position=5000)
    >>> has = Member(connection="two", standby=True, position=3000, newest_commit_s=6.8)
    >>> [cause] = behind(had, has)
    >>> cause.headline, cause.verdict.value
    ('two is up to 6 s behind one (2,000 bytes of WAL not replayed)', 'warning')
    """
    if not standby.standby or primary.position is None or standby.position is None:
        return
    missing = primary.position - standby.position
    lag_s = standby.newest_commit_s
    if missing <= 0 or lag_s is None:
        return
    verdict = level(lag_s, _WARN_S, _CRITICAL_S)
    if verdict is not Verdict.OK:
        yield Cause(
            headline=f"{standby.connection} is up to {amounts.duration(lag_s)} behind"
            f" {primary.connection} ({missing:,} bytes of WAL not replayed)",
            mechanism="its newest commit is that old, and the primary has written more since",
            verdict=verdict,
            next_step="see whether it receives (its WAL receiver, and that of the standby that it"
            " receives from), and whether it replays",
            opens="RUN-005",
            explains=("RUN-005",),
            late=True,
        )
