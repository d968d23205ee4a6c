"""Look at a server, and say what is wrong: one look, the causes that explain it.

Never raises because the server is sick: a server that does not answer, or whose slots are all
taken, is a cause itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from rbkernel.errors import DatabaseError
from rbkernel.model import Finding, Verdict, now
from rbkernel.postgres import causes, row_holders, sampling, situation
from rbkernel.postgres.answer import Answer
from rbkernel.postgres.causes import Cause
from rbkernel.postgres.session import Session
from rbkernel.postgres.situation import Situation


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """A look at a server, and the causes of what it shows, the most harmful first.

    ``sampled`` is what the busy sessions waited for, where the look took some seconds.
    """

    situation: Situation
    causes: tuple[Cause, ...]
    sampled: Answer | None = None

    @property
    def verdict(self) -> Verdict:
        """The verdict of the worst cause; ok where there is none."""
        return Verdict.worst([Verdict.OK, *(cause.verdict for cause in self.causes)])

    @property
    def first(self) -> Cause | None:
        """The most harmful cause."""
        return self.causes[0] if self.causes else None


def diagnose(session: Session, *, seconds: float = 0.0, again: bool = True) -> Diagnosis:
    """Look at a server and find the causes of what is wrong.

    Parameters
    ----------
    session
        The connection.
    seconds
        How long to look: what the busy sessions wait for is sampled meanwhile. 0 for a fast look.
    again
        Whether a fast look is made twice where waits are too young to count.

    Returns
    -------
    Diagnosis
        Without causes where nothing is wrong that a look at its sessions can show.
    """
    try:
        _ = session.server
    except DatabaseError as error:
        return unanswered(session, error)
    if not seconds:
        return judged(row_holders.completed(session, situation.look(session, again=again)))
    first = situation.look_once(session)
    sampled = sampling.sample(session, seconds)
    seen = situation.settled(first, situation.look_once(session))
    return replace(judged(row_holders.completed(session, seen)), sampled=sampled)


def judged(seen: Situation) -> Diagnosis:
    """Return the causes of what a situation shows, whenever it was."""
    return Diagnosis(situation=seen, causes=tuple(causes.find(seen)))


def unanswered(session: Session, error: DatabaseError) -> Diagnosis:
    """Return what is known of a server that could not be asked."""
    return judged(situation.unanswered(session.connection.name, error))


def findings(seen: Diagnosis) -> list[Finding]:
    """Return the causes as findings, the most harmful first; one that is ok where there is none."""
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
        cause=cause.mechanism,
        which=", ".join(f"pid {culprit.pid}" for culprit in cause.culprits[:5]),
        next_step=cause.next_step,
        opens=cause.opens,
        value=float(cause.victims.count),
        at=now(),
        explains=cause.explains,
    )


def none_found(title: str) -> Finding:
    """Return the finding that a look has found no cause."""
    return Finding(title=title, verdict=Verdict.OK, expected="none", actual="none found", at=now())


def title(db: str, place: int) -> str:
    """Return the title of the finding on one cause of a connection, counted from 0.

    >>> title("orders", 0), title("orders", 1)
    ('Cause on orders', 'Cause 2 on orders')
    """
    return f"Cause on {db}" if place == 0 else f"Cause {place + 1} on {db}"
