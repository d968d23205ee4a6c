"""Compare causes over time: since when a present cause exists, and which causes are over. Pure.

Two causes count as the same when they share a culprit, identified by process id and start, since
process ids are reused. Causes without a culprit are the same if they are about the same subject.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rbkernel.model import Finding, Verdict, now
from rbkernel.sources.postgres.causes import Cause
from rbkernel.sources.postgres.diagnosis import Diagnosis

# s between two snapshots; with a longer gap, the state in between is not known
_GAP = timedelta(minutes=6)
# maximum number of causes that are over and are shown one by one
_MOST_SHOWN = 3
_OVER = "over by now"


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """A cause as seen in one snapshot; each text of ``culprits`` identifies a session."""

    verdict: str
    headline: str
    subject: str
    culprits: tuple[str, ...] = ()

    @classmethod
    def of(cls, cause: Cause) -> Sighting:
        """Return the summary of a cause for the history."""
        culprits = tuple(f"{one.pid} {one.backend_start}" for one in cause.culprits)
        return cls(
            verdict=cause.verdict.value,
            headline=cause.headline,
            subject=cause.lasting,
            culprits=culprits,
        )

    def same(self, other: Sighting) -> bool:
        """Return whether two sightings, made at different times, are of the same cause."""
        if self.culprits or other.culprits:
            return not set(self.culprits).isdisjoint(other.culprits)
        return self.subject == other.subject


@dataclass(frozen=True, kw_only=True)
class Glance:
    """The summary of a snapshot that is kept for the history; ``reason`` is set if the snapshot
    failed.
    """

    at: str
    verdict: str
    used: int
    usable: int
    waiting: int
    causes: tuple[Sighting, ...] = ()
    reason: str = ""

    @classmethod
    def of(cls, seen: Diagnosis) -> Glance:
        """Return the summary of a diagnosis for the history."""
        situation = seen.situation
        return cls(
            at=situation.at,
            verdict=seen.verdict.value,
            used=situation.used,
            usable=situation.usable,
            waiting=sum(1 for one in situation.backends if one.blocked_by),
            causes=tuple(map(Sighting.of, seen.causes)),
            reason=situation.reason,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the summary as a value that can be written as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Glance:
        """Return the summary of a snapshot from the value that `to_json` returned."""
        # version 0.1.0 stored the mechanism as the subject
        causes = (
            Sighting(
                verdict=one["verdict"],
                headline=one["headline"],
                subject=one.get("subject") or one.get("mechanism", ""),
                culprits=tuple(one["culprits"]),
            )
            for one in stored["causes"]
        )
        return cls(**{**stored, "causes": tuple(causes)})


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """An earlier diagnosis of the server, and the occasion on which it was made, in words."""

    diagnosis: Diagnosis
    occasion: str


def first_seen(cause: Cause, glances: Sequence[Glance]) -> str:
    """Return the time since which all snapshots show a cause; empty if the last one lacks the
    cause.

    Parameters
    ----------
    cause
        A present cause.
    glances
        Earlier snapshots, the oldest first. Failed snapshots are ignored.

    >>> held = Sighting(verdict="critical", headline="", subject="m")
    >>> def glance(minute, *causes):
    ...     return Glance(at=f"2026-11-20T03:0{minute}:00+00:00", verdict="ok", used=0, usable=9,
    ...                   waiting=0, causes=causes)
    >>> cause = Cause(headline="", mechanism="m", verdict=Verdict.CRITICAL)
    >>> first_seen(cause, [glance(1, held), glance(2), glance(3, held), glance(4, held)])
    '2026-11-20T03:03:00+00:00'
    >>> first_seen(cause, [glance(1, held), glance(2)])
    ''
    """
    wanted, since, later = Sighting.of(cause), "", None
    for glance in reversed(glances):
        at = datetime.fromisoformat(glance.at)
        if later is not None and later - at > _GAP:
            break
        if any(wanted.same(one) for one in glance.causes):
            since = glance.at
        elif not glance.reason:
            break
        later = at
    return since


def before(present: Diagnosis, earlier: Iterable[Earlier]) -> list[tuple[Earlier, Cause]]:
    """Return the earlier causes that do not exist now, the most harmful first, without
    duplicates.
    """
    found: list[tuple[Earlier, Cause]] = []
    for look in earlier:
        for cause in look.diagnosis.causes:
            known = [*present.causes, *(one for _, one in found)]
            wrong = cause.verdict in {Verdict.WARNING, Verdict.CRITICAL}
            if wrong and not any(Sighting.of(cause).same(Sighting.of(one)) for one in known):
                found.append((look, cause))
    return sorted(found, key=lambda one: (-one[1].verdict.rank, -one[1].victims.count))


def findings(
    present: Diagnosis,
    earlier: Iterable[Earlier],
    solved: Callable[[Earlier, Cause], str] = lambda _look, _cause: "",
) -> Iterator[Finding]:
    """Yield a finding for each earlier cause that does not exist now.

    A cause that is over is a warning, because it may come back. It is ok if it is known how it was
    solved. If the server does not answer now, these findings are unknown.

    Parameters
    ----------
    present
        The present diagnosis.
    earlier
        Earlier diagnoses.
    solved
        Returns what ended a cause, in words; empty if nothing is known.
    """
    db = present.situation.connection
    left = "unknown: the server does not answer now" if present.situation.reason else ""
    for place, (look, cause) in enumerate(before(present, earlier)[:_MOST_SHOWN]):
        at = f"at {clock(look.diagnosis.situation.at)}, {look.occasion}"
        how = "" if left else solved(look, cause)
        over = "" if left else f", over by now{how and f': {how}'}"
        yield Finding(
            title=title(db, place),
            verdict=Verdict.OK if how else Verdict.WARNING,
            expected="none",
            actual=left or _OVER,
            cause=f"{at}: {cause.headline}{over}",
            which=", ".join(f"pid {culprit.pid}" for culprit in cause.culprits[:5]),
            next_step=_next_step(cause),
            at=now(),
        )


def is_over(finding: Finding) -> bool:
    """Return whether a finding says that an earlier problem is over."""
    return finding.actual == _OVER


def title(db: str, place: int) -> str:
    """Return the title of the finding about a cause that is over; ``place`` counts from 0.

    >>> title("orders", 0), title("orders", 1)
    ('Earlier cause on orders', 'Earlier cause 2 on orders')
    """
    return f"Earlier cause on {db}" if place == 0 else f"Earlier cause {place + 1} on {db}"


def clock(at: str) -> str:
    """Return the time of day of a UTC time, as text for people.

    >>> clock("2026-11-20T04:02:11.5+01:00")
    '03:02:11 UTC'
    """
    return f"{datetime.fromisoformat(at).astimezone(UTC):%H:%M:%S} UTC"


def _next_step(cause: Cause) -> str:
    names = list(dict.fromkeys(culprit.name for culprit in cause.culprits))
    who = f"Ask the owner of {' and '.join(names[:3])}" if names else "Find out"
    return f"{who} what happened then, to prevent a repetition; end no session for a past cause"
