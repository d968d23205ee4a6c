"""Find the causes about idle open transactions that block no session yet. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from rbkernel import amounts
from rbkernel.model import Verdict
from rbkernel.sources.postgres.causes.cause import Cause, identity, level, worse
from rbkernel.sources.postgres.remedy import is_backup
from rbkernel.sources.postgres.situation import Backend, Doing, Situation

# s idle in transaction (pganalyze and pgwatch warn at 60 s; 10 min is the template's)
_IDLE_WARN_S, _IDLE_CRITICAL_S = 60.0, 600.0
# s that a session idle in transaction may hold a lock that blocks writers (own choice)
_STRONG_LOCK_WARN_S = 10.0
# s since a transaction was prepared (as locks/prepared)
_PREPARED_WARN_S, _PREPARED_CRITICAL_S = 30.0, 300.0

# the question to the owner of an open transaction: True for a backup
_ASK = {
    False: "to commit or roll back; terminate the session if nobody answers and its work may be"
    " lost",
    True: "whether the backup is still running; do not end a running backup",
}


# effects of an idle transaction; an aborted transaction holds only its slot
_MECHANISM = {
    Doing.HOLDS_LOCKS: "an open transaction keeps its locks, and keeps VACUUM from removing dead"
    " rows",
    Doing.HOLDS_HORIZON: "the snapshot of the transaction keeps VACUUM from removing dead rows",
}
_NOTHING_YET = "an open transaction holds a connection, and takes locks as soon as it continues"


def forgotten(situation: Situation, known: Iterable[Cause]) -> Iterator[Cause]:
    """Yield a cause for each application with idle open transactions that no known cause names.

    If a known cause has victims, the verdict of this cause is at most warning.
    """
    known = list(known)
    named = {culprit.pid for cause in known for culprit in cause.culprits}
    waiting = any(cause.victims.count for cause in known)
    at_work = {one.name for one in situation.clients if one.state == "active"}
    idle = [
        one
        for one in situation.clients
        if one.idle_in_transaction
        and one.pid not in named
        # the leader of pg_dump --jobs is idle in transaction while its workers read
        and not (is_backup(one) and one.name in at_work)
    ]
    late = [one for one in idle if _verdict(one) is not Verdict.OK]
    for name in dict.fromkeys(one.name for one in late):
        cause = _forgotten(situation, [one for one in late if one.name == name])
        yield replace(cause, verdict=Verdict.WARNING) if waiting else cause


def prepared(situation: Situation) -> Iterator[Cause]:
    """Yield a cause for the oldest prepared transaction that is left open."""
    late = [one for one in situation.prepared if one.prepared_s > _PREPARED_WARN_S]
    if not late:
        return
    first = max(late, key=lambda one: one.prepared_s)
    more = f"; {len(late) - 1} more" if len(late) > 1 else ""
    yield Cause(
        headline=f"The prepared transaction {first.name} (of {first.owner}) has been left open for"
        f" {amounts.duration(first.prepared_s)}{more}; no session waits for it yet",
        mechanism="a prepared transaction keeps its locks, and keeps VACUUM from removing dead"
        " rows",
        verdict=level(first.prepared_s, _PREPARED_WARN_S, _PREPARED_CRITICAL_S),
        next_step="Ask its coordinator whether to COMMIT PREPARED or ROLLBACK PREPARED; it has no"
        " session that could be ended",
        opens="RUN-007",
        explains=("RUN-007",),
        subject=f"prepared transaction {first.name}",
    )


def _verdict(one: Backend) -> Verdict:
    idle_s = one.state_s or 0.0
    verdict = level(idle_s, _IDLE_WARN_S, _IDLE_CRITICAL_S)
    if one.doing is Doing.HOLDS_HORIZON and verdict is Verdict.WARNING:
        return Verdict.CRITICAL
    if one.strong_lock and idle_s > _STRONG_LOCK_WARN_S:
        return worse(verdict, Verdict.WARNING)
    return verdict


def _forgotten(situation: Situation, sessions: list[Backend]) -> Cause:
    first = max(sessions, key=lambda one: (bool(one.strong_lock), one.state_s or 0.0))
    holds = f" and holds {first.strong_lock}" if first.strong_lock else ""
    others = len(sessions) - 1
    more = f"; the same is true of {others} more of its sessions" if others else ""
    return Cause(
        headline=f"{identity(first)} has a transaction open{holds}{more};"
        f" no session of {situation.connection} waits for it yet",
        mechanism=_MECHANISM.get(first.doing, _NOTHING_YET),
        verdict=max((_verdict(one) for one in sessions), key=lambda verdict: verdict.rank),
        culprits=tuple(sessions),
        next_step=f"Ask the owner of {first.name} {_ASK[is_backup(first)]}",
        opens="RUN-007",
        explains=("RUN-007",),
    )
