"""Find who holds most connection slots, and which connection limits are reached. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from rbkernel import amounts
from rbkernel.model import Verdict
from rbkernel.sources.postgres.causes.cause import (
    EXPLAINS,
    Cause,
    Victims,
    applications,
    level,
)
from rbkernel.sources.postgres.remedy import Remedy, forbidden, loss
from rbkernel.sources.postgres.situation import Backend, Doing, Situation

# % of the slots for ordinary roles (template RUN-001; 80 % is the field's usual warning)
_WARN_PCT, _CRITICAL_PCT = 80.0, 90.0

# mechanism and next step if most sessions are in the same state
_MECHANISM = {
    Doing.IDLE: "a pool keeps more connections open than it uses",
    Doing.IDLE_IN_TRANSACTION: "sessions hold a transaction open and do nothing",
    Doing.RUNNING: "queries run for long and arrive faster than they end",
}
_ADVICE = {
    Doing.IDLE: "Reduce the pool size of {}",
    Doing.IDLE_IN_TRANSACTION: "Ask the owner of {} why its transactions stay open",
    Doing.RUNNING: "Stop the job of {} that sends these queries",
}
_ASK = "Ask the owner of {} what these sessions do"
_BUSY = {Doing.RUNNING, Doing.IO, Doing.OTHER_WAIT}
# s in one state after which a session counts as stuck (template RUN-001)
_STUCK_S = 5.0


def limits(situation: Situation) -> Iterator[Cause]:
    """Yield a cause for each role or database that has reached its connection limit.

    Raising the limit is recommended only if the server has enough free slots, and if most sessions
    under the limit neither idle in a transaction nor wait for another session.
    """
    spare = level(situation.share_of_slots(situation.used), _WARN_PCT, _CRITICAL_PCT) is Verdict.OK
    for kind, field, names in (
        ("role", "username", situation.limited_roles),
        ("database", "database", situation.limited_databases),
    ):
        for name in names:
            own = name.rpartition(" (")[0] or name
            under = [one for one in situation.clients if getattr(one, field) == own]
            held = sum(one.idle_in_transaction or one.held_up for one in under)
            yield Cause(
                headline=f"The connection limit of the {kind} {name} is reached",
                mechanism=f"the {kind} has a CONNECTION LIMIT of its own",
                verdict=Verdict.CRITICAL,
                ruled_out=(f"max_connections: {situation.used} of {situation.usable} slots used",),
                next_step=f"{held} of its sessions are stuck: see what holds them up (RUN-007);"
                " a higher limit only lets more of them in"
                if 2 * held > len(under)
                else f"Free connections of this {kind}, or have its limit raised"
                f" (ALTER {kind.upper()} … CONNECTION LIMIT)",
                opens="RUN-001",
                explains=("RUN-001",),
                option="raise" if spare and 2 * held <= len(under) else "",
                subject=f"connection limit of the {kind} {name}",
            )


def taken(situation: Situation, victims: set[int], found: Iterable[Cause]) -> Iterator[Cause]:
    """Yield a cause about the sessions that hold the slots, unless known causes explain that."""
    used_pct = situation.share_of_slots(situation.used)
    verdict = level(used_pct, _WARN_PCT, _CRITICAL_PCT)
    explained = sum(cause.victims.count for cause in found)
    if verdict is Verdict.OK or explained >= EXPLAINS * situation.used:
        return
    # sessions with short waits are victims of a cause that is not known yet
    briefly = [one for one in situation.clients if one.held_up and one.pid not in victims]
    if len(briefly) >= EXPLAINS * situation.used:
        yield _brief_waits(situation, briefly, verdict)
        return
    victims = victims | {one.pid for one in briefly}
    groups = Counter((one.name, _kind(one)) for one in situation.clients if one.pid not in victims)
    [(largest, size)] = groups.most_common(1) or [(("", Doing.UNKNOWN), 0)]
    if size < EXPLAINS * situation.used:
        yield _many(situation, groups, verdict)
        return
    name, kind = largest
    members = tuple(one for one in situation.clients if (one.name, _kind(one)) == largest)
    remedy = _remedy(kind, members)
    known = _ADVICE.get(kind, _ASK) if remedy else _ASK
    advice = known.format(name)
    longest_s = max(one.state_s or 0.0 for one in members)
    yield Cause(
        headline=f"{name} holds {situation.share_of_slots(size):.0f} % of the slots:"
        f" {amounts.count(size, 'session')}, {_doing(kind)}, for up to"
        f" {amounts.duration(longest_s)}",
        mechanism=_mechanism(kind, stuck=remedy is not None),
        verdict=verdict,
        culprits=members,
        victims=Victims(slots_pct=used_pct),
        ruled_out=("waits for locks: such sessions hold less than half of the slots",),
        remedies=(remedy,) if remedy else (),
        next_step=f"{remedy.sentence}. {advice}" if remedy else advice,
        opens="RUN-001",
        explains=("RUN-001",),
    )


def _brief_waits(situation: Situation, waiting: list[Backend], verdict: Verdict) -> Cause:
    """Return the cause for slots that are full of sessions with short waits for locks."""
    share = situation.share_of_slots(len(waiting))
    return Cause(
        headline=f"{amounts.clause(len(waiting), 'session', 'wait')} for a lock, each for less than"
        f" a second, and hold {share:.0f} % of the slots ({', '.join(applications(waiting))})",
        mechanism="the sessions retry, or take turns; this sample shows no session that holds"
        " the lock"
        " for long",
        verdict=verdict,
        victims=Victims(count=len(waiting), applications=applications(waiting), slots_pct=share),
        ruled_out=(f"ending any of the sessions that only wait ({len(waiting)})",),
        next_step="Run this again with --seconds 5 (in a notebook: seconds=5), to see who"
        " holds the lock",
        opens="RUN-007",
        explains=("RUN-001", "RUN-007"),
    )


def _mechanism(kind: Doing, *, stuck: bool) -> str:
    if kind not in _MECHANISM:
        return f"the sessions of the application are in one state: {_doing(kind)}"
    return (
        _MECHANISM[kind]
        if stuck
        else "the sessions of the application are working: none is in one state for long"
    )


def _doing(kind: Doing) -> str:
    """Return the state of sessions as words that continue a sentence.

    >>> _doing(Doing.SYNCHRONOUS), _doing(Doing.IDLE_IN_TRANSACTION)
    ('waiting for a synchronous standby', 'idle in transaction')
    """
    return str(kind).replace("waits for", "waiting for")


def _many(situation: Situation, groups: Counter[tuple[str, Doing]], verdict: Verdict) -> Cause:
    used_pct = situation.share_of_slots(situation.used)
    largest = ", ".join(
        f"{name} {size} {_doing(kind)}" for (name, kind), size in groups.most_common(3)
    )
    return Cause(
        headline=f"{used_pct:.0f} % of the slots are taken, by many applications together"
        f" ({largest})",
        mechanism="no application holds most of the slots",
        verdict=verdict,
        victims=Victims(slots_pct=used_pct),
        next_step="Ask which application grew, and limit its pool",
        opens="RUN-001",
        explains=("RUN-001",),
    )


def _kind(backend: Backend) -> Doing:
    """Return the state of a session; all idle-in-transaction states count as one, all busy ones as
    one.
    """
    if backend.idle_in_transaction:
        return Doing.IDLE_IN_TRANSACTION
    return Doing.RUNNING if backend.doing in _BUSY else backend.doing


def _remedy(kind: Doing, members: tuple[Backend, ...]) -> Remedy | None:
    """Return the step that ends stuck sessions, to free their slots; None if none is stuck."""
    stuck = tuple(one for one in members if (one.state_s or 0.0) > _STUCK_S and not forbidden(one))
    if kind not in _MECHANISM or not stuck:
        return None
    return Remedy(targets=stuck, slots=len(stuck), loss=loss(stuck))
