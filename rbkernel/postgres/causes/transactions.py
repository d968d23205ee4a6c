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
    """Yield each session that is idle in transaction for too long, but for those named before."""
    for one in situation.clients:
        if one.pid in named or not one.idle_in_transaction:
            continue
        idle_s = one.state_s or 0.0
        verdict = level(idle_s, _IDLE_WARN_S, _IDLE_CRITICAL_S)
        if one.doing is Doing.HOLDS_HORIZON and verdict is Verdict.WARNING:
            verdict = Verdict.CRITICAL
        if one.strong_lock and idle_s > _STRONG_LOCK_WARN_S:
            verdict = worse(verdict, Verdict.WARNING)
        if verdict is not Verdict.OK:
            yield _forgotten(one, verdict)


def _forgotten(one: Backend, verdict: Verdict) -> Cause:
    holds = f" and holds {one.strong_lock}" if one.strong_lock else ""
    loss = "what it has not committed is lost" if one.writes else "it has changed nothing"
    return Cause(
        headline=f"{identity(one)} has a transaction open{holds}; no session waits for it yet",
        mechanism="an open transaction keeps its locks, and keeps VACUUM from removing dead rows",
        verdict=verdict,
        culprits=(one,),
        next_step=f"Ask its owner to commit, or terminate pid {one.pid}; {loss}",
        opens="RUN-007",
    )
