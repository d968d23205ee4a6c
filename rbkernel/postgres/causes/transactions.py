"""Transactions that are open and do nothing, before any session waits for them. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from rbkernel.model import Verdict
from rbkernel.postgres.causes.cause import Cause, identity, level, worse
from rbkernel.postgres.situation import Backend, Doing, Situation

# s idle in transaction (pganalyze and pgwatch warn at 60 s; 10 min is the template's)
_IDLE_WARN_S, _IDLE_CRITICAL_S = 60.0, 600.0
# s that a session idle in transaction may hold a lock that blocks writers (ours)
_STRONG_LOCK_WARN_S = 10.0


def forgotten(situation: Situation, named: set[int]) -> Iterator[Cause]:
    """Yield each application that leaves transactions open, without the sessions named before."""
    idle = [one for one in situation.clients if one.idle_in_transaction and one.pid not in named]
    late = [one for one in idle if _verdict(one) is not Verdict.OK]
    for name in dict.fromkeys(one.name for one in late):
        yield _forgotten([one for one in late if one.name == name])


def _verdict(one: Backend) -> Verdict:
    idle_s = one.state_s or 0.0
    verdict = level(idle_s, _IDLE_WARN_S, _IDLE_CRITICAL_S)
    if one.doing is Doing.HOLDS_HORIZON and verdict is Verdict.WARNING:
        return Verdict.CRITICAL
    if one.strong_lock and idle_s > _STRONG_LOCK_WARN_S:
        return worse(verdict, Verdict.WARNING)
    return verdict


def _forgotten(sessions: list[Backend]) -> Cause:
    first = max(sessions, key=lambda one: (bool(one.strong_lock), one.state_s or 0.0))
    holds = f" and holds {first.strong_lock}" if first.strong_lock else ""
    more = f"; {len(sessions) - 1} more of its sessions do the same" if len(sessions) > 1 else ""
    return Cause(
        headline=f"{identity(first)} has a transaction open{holds}{more};"
        " no session waits for it yet",
        mechanism="an open transaction keeps its locks, and keeps VACUUM from removing dead rows",
        verdict=max((_verdict(one) for one in sessions), key=lambda verdict: verdict.rank),
        culprits=tuple(sessions),
        next_step=f"Ask the owner of {first.name} to commit or roll back; terminate the session if"
        " nobody answers and its work may be lost",
        opens="RUN-007",
        explains=("RUN-007",),
    )
