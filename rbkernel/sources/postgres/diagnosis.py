"""Diagnose a server: take a snapshot of its sessions, and find the causes of problems.

These functions do not raise if the server fails: that a server does not answer, or has no free
slot, is itself a cause.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from rbkernel.checks.answer import Answer
from rbkernel.errors import DatabaseError
from rbkernel.model import Finding, Verdict, now
from rbkernel.sources.postgres import causes, diagnostics, row_holders, sampling, situation
from rbkernel.sources.postgres.causes import Cause, pair, transactions
from rbkernel.sources.postgres.causes.cause import REPLICATION, without_symptoms
from rbkernel.sources.postgres.causes.pair import Member
from rbkernel.sources.postgres.connection.session import Session
from rbkernel.sources.postgres.connection.troubles import DOWN, Trouble
from rbkernel.sources.postgres.situation import Measured, Situation

# s after which a healthy standby has the WAL that its primary had written (measured:
# replication/lag and this check were both within 0.5 s of the true value)
_ON_ITS_WAY_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """A snapshot of a server, and the causes of its problems, the most harmful first.

    ``sampled`` holds the waits of the busy sessions, if they were sampled. ``reached`` is false if
    the login failed, so that other queries would fail, too.
    """

    situation: Situation
    causes: tuple[Cause, ...]
    sampled: Answer | None = None
    reached: bool = True

    @property
    def verdict(self) -> Verdict:
        """The verdict of the worst cause; ok if there is no cause."""
        return Verdict.worst([Verdict.OK, *(cause.verdict for cause in self.causes)])

    @property
    def first(self) -> Cause | None:
        """The most harmful cause of the diagnosis; None if there is no cause."""
        return self.causes[0] if self.causes else None

    @property
    def holds_up_changes(self) -> bool:
        """Whether a cause may delay changes of data on this server, or their replay.

        A problem of a primary's standby does not delay changes on the primary.
        """
        return any(
            cause.verdict in {Verdict.WARNING, Verdict.CRITICAL}
            and (self.situation.standby or cause.explains != (REPLICATION,))
            for cause in self.causes
        )

    def explains(self, runbook: str) -> bool:
        """Return whether one of the causes explains the symptoms of the given runbook."""
        return any(runbook in cause.explains for cause in self.causes)

    def led_by(self, found: Sequence[Cause]) -> Diagnosis:
        """Return a copy of the diagnosis with these causes first, in place of causes about
        replication.
        """
        if not found:
            return self
        others = (cause for cause in self.causes if REPLICATION not in cause.explains)
        ranked = sorted([*found, *others], key=lambda cause: -cause.verdict.rank)
        return replace(self, causes=tuple(ranked))


def diagnose(session: Session, *, seconds: float = 0.0) -> Diagnosis:
    """Take a snapshot of a server, and find the causes of problems.

    Parameters
    ----------
    session
        The connection.
    seconds
        How long to sample the waits of the busy sessions. With 0, nothing is sampled, and a second
        snapshot is taken only if waits in the first are too short to count.

    Returns
    -------
    Diagnosis
        Without causes if sessions and replication show no problem.
    """
    try:
        _ = session.server
    except DatabaseError as error:
        return unanswered(session.connection.name, error)
    if not seconds:
        return _diagnosed(session, situation.look(session))
    first = situation.look_once(session)
    sampled = sampling.sample(session, seconds)
    seen = situation.settled(first, situation.look_once(session))
    return replace(_diagnosed(session, seen), sampled=sampled)


def followed(session: Session, before: Situation | None) -> tuple[Diagnosis, Situation | None]:
    """Diagnose a server with one snapshot, and use the previous snapshot to decide which waits
    count.

    This is for callers that take snapshots repeatedly: a short wait counts if both snapshots show
    it.

    Parameters
    ----------
    session
        The connection.
    before
        The situation that the previous call returned; None at the first call.
    """
    try:
        _ = session.server
    except DatabaseError as error:
        return unanswered(session.connection.name, error), None
    latest = situation.look_once(session)
    return _diagnosed(session, situation.settled(before or latest, before and latest)), latest


def looked(
    db: str,
    opened: Callable[[str], Session],
    *,
    standby: str = "",
    primary: str = "",
    seconds: float = 0.0,
) -> tuple[Diagnosis, ...]:
    """Diagnose a server and, if its standby is named, the standby too.

    Parameters
    ----------
    db
        Connection name.
    opened
        A function that returns the session of a connection.
    standby
        Connection name of its standby; empty for none.
    primary
        Connection name of the primary, if the server is configured as a standby. If the server is
        in fact not a standby, both servers are compared to find out which is the primary.
    seconds
        As for `diagnose`.

    Returns
    -------
    tuple of Diagnosis
        The diagnosis of the server, and that of its standby if one is named.
    """
    if standby:
        return both(opened(db), opened(standby), seconds=seconds)
    seen = diagnose(opened(db), seconds=seconds)
    if primary and seen.reached and not seen.situation.standby:
        seen = promoted(opened(db), seen, opened(primary))
    return (seen,)


def _diagnosed(session: Session, seen: Situation) -> Diagnosis:
    if not seen.reason:
        seen = replace(
            seen,
            replication=tuple(_replication(session, standby=seen.standby)),
            standby_name=session.connection.standby_name,
        )
    return judged(row_holders.completed(session, seen))


def judged(seen: Situation) -> Diagnosis:
    """Return the diagnosis of a snapshot of a server, for example a stored one."""
    return Diagnosis(situation=seen, causes=tuple(causes.find(seen)))


def unanswered(connection: str, error: DatabaseError) -> Diagnosis:
    """Return the diagnosis of a server that could not be queried."""
    return replace(judged(situation.unanswered(connection, error)), reached=False)


def _replication(session: Session, *, standby: bool) -> Iterator[Measured]:
    """Yield the replication problems of a standby, or of a primary that must have a standby."""
    name = session.connection.standby_name
    if not standby and not name:
        return
    found = _judged(session, standby=standby)
    late = found.get("replay_lag_s")
    if late and late.verdict is Verdict.WARNING:
        # may come from a burst of writes, so it is measured again
        time.sleep(_ON_ITS_WAY_S)
        found = _judged(session, standby=standby)
        since = found.get("replay_lag_s")
        if since and not (since.wrong and (since.value or 0.0) >= (late.value or 0.0)):
            found["replay_lag_s"] = replace(since, verdict=Verdict.OK)
    for column, one in found.items():
        if one.wrong:
            yield Measured(
                column=column,
                title=one.title,
                verdict=one.verdict.value,
                actual=one.actual,
                value=one.value,
                next_step=one.next_step,
            )


def _judged(session: Session, *, standby: bool) -> dict[str, Finding]:
    """Return the findings of the replication rules, by column; empty if all are ok."""
    topic = "replication/standby" if standby else "replication/lag"
    values = {} if standby else {"standby": session.connection.standby_name}
    answer = diagnostics.ask(session, topic, **values)
    declared = diagnostics.get(topic).rules
    if all(rule.surely_ok(answer) for rule in declared):
        return {}
    # imported late, because rules need pandas, which takes a second
    from rbkernel.checks import rules

    frame = diagnostics.framed(topic, answer)
    return {rule.column: rules.apply(rule, frame) for rule in declared}


def both(
    primary: Session, standby: Session, *, seconds: float = 0.0
) -> tuple[Diagnosis, Diagnosis]:
    """Diagnose a primary and its standby together, and compare them.

    The state of one server alone can be misleading, see `causes.pair`. ``seconds`` is the duration
    of the sampling on the primary, as for `diagnose`.
    """
    here, there = diagnose(primary, seconds=seconds), diagnose(standby)
    first, second = _member(primary, here), _member(standby, there)
    configured = standby.connection.name == primary.connection.standby
    if here.situation.trouble in DOWN and not here.reached:
        return here, _without_primary(there, here, configured=configured)
    if configured and there.situation.trouble in DOWN and not there.reached:
        left, down = pair.lost(here.causes, there.causes)
        return replace(here, causes=left), replace(there, causes=down)
    if first is None or second is None:
        return here, there
    if roles := list(pair.roles(first, second)):
        return here.led_by(roles), there
    if second.is_copy_of(first):
        here, there = with_replayed_locks(here, there)
    causes = [*there.causes, *(here.causes if configured else ())]
    meant_s = second.meant_s if configured else 0.0
    here = replace(here, causes=tuple(without_symptoms(here.causes, causes, meant_s)))
    causes = [*there.causes, *(here.causes if configured else ())]
    if any(REPLICATION in cause.explains for cause in causes) or not second.is_copy_of(first):
        return here, there
    return here, there.led_by(_behind(first, second, standby))


def _without_primary(there: Diagnosis, here: Diagnosis, *, configured: bool) -> Diagnosis:
    """Return the diagnosis of a standby whose primary is down, without the symptoms of that."""
    troubles = {here.situation.trouble, there.situation.trouble}
    if configured and troubles == {Trouble.CATALOGUE_LOCKED}:
        names = (here.situation.connection, there.situation.connection)
        return replace(there, causes=pair.locked(*names, there.causes))
    # that the primary sends nothing is only a symptom
    own = tuple(cause for cause in there.causes if cause.opens != REPLICATION)
    return replace(there, causes=own)


def with_replayed_locks(here: Diagnosis, there: Diagnosis) -> tuple[Diagnosis, Diagnosis]:
    """Move the cause for a replayed lock from the standby's diagnosis to the primary's."""
    for cause in there.causes:
        found = pair.replayed(here.situation, there.situation, cause)
        if found is None:
            continue
        there = replace(there, causes=tuple(one for one in there.causes if one is not cause))
        [holder] = found.culprits
        blocks = [one for one in here.causes if holder in one.culprits and one.victims.count]
        if blocks:
            merged = {id(blocks[0]): pair.with_victims(blocks[0], cause, there.situation)}
            here = replace(here, causes=tuple(merged.get(id(one), one) for one in here.causes))
            continue
        others = [one for one in here.causes if holder not in one.culprits]
        others += transactions.forgotten(here.situation, [found, *others])
        ranked = sorted([found, *others], key=lambda one: -one.verdict.rank)
        here = replace(here, causes=tuple(ranked))
    return here, there


def _behind(first: Member, second: Member, standby: Session) -> list[Cause]:
    found = list(pair.behind(first, second))
    if found:
        # waits, because WAL that is already sent arrives shortly
        time.sleep(_ON_ITS_WAY_S)
        found = list(pair.behind(first, _member(standby) or second))
    return found


def _member(session: Session, seen: Diagnosis | None = None) -> Member | None:
    """Return a server's identity and WAL position; None if the server does not answer."""
    if seen and not seen.reached:
        return None
    rows = diagnostics.ask(session, "situation/position").records()
    return Member(connection=session.connection.name, **rows[0]) if rows else None


def promoted(standby: Session, seen: Diagnosis, primary: Session) -> Diagnosis:
    """Add a cause to the diagnosis of a server that should be a standby but is not in recovery."""
    second = _member(standby, seen)
    first = _member(primary)
    if second is None:
        return seen
    if first is None:
        return seen.led_by(list(pair.alone(primary.connection.name, second)))
    return seen.led_by(list(pair.roles(first, second)))


def findings(seen: Diagnosis) -> list[Finding]:
    """Return the causes of a diagnosis as findings, the worst first; without causes, one ok
    finding.
    """
    db = seen.situation.connection
    if not seen.causes:
        return [none_found(title(db, 0))]
    return [_finding(title(db, place), cause) for place, cause in enumerate(seen.causes)]


def _finding(title: str, cause: Cause) -> Finding:
    return Finding(
        title=title,
        verdict=cause.verdict,
        expected="none",
        actual=cause.headline,
        # findings that no cause explains are shown unchanged
        cause=cause.mechanism if cause.explains else cause.headline,
        which=", ".join(f"pid {culprit.pid}" for culprit in cause.culprits[:5]),
        next_step=cause.next_step,
        opens=cause.opens,
        value=float(cause.victims.count),
        at=now(),
        explains=cause.explains,
    )


def unreached(connection: str, error: DatabaseError) -> Finding:
    """Return the finding about a server that does not answer or cannot be queried."""
    [found] = findings(unanswered(connection, error))
    return found if found.is_cause else replace(found, title=f"{connection} answers")


def none_found(title: str) -> Finding:
    """Return the ok finding for a diagnosis without causes."""
    return Finding(title=title, verdict=Verdict.OK, expected="none", actual="none found", at=now())


def title(db: str, place: int) -> str:
    """Return the title of the finding about a cause; ``place`` counts the causes from 0.

    >>> title("orders", 0), title("orders", 1)
    ('Cause on orders', 'Cause 2 on orders')
    """
    return f"Cause on {db}" if place == 0 else f"Cause {place + 1} on {db}"
