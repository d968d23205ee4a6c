"""Causes that each look of a run has found: those of before a change are no effect of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rbkernel.sources.postgres.causes import Cause
from rbkernel.sources.postgres.diagnosis import Diagnosis
from rbkernel.sources.postgres.history import Sighting

# a cause is worse if it holds up more than twice as many sessions and these, or has this much more
# of the slots (own choice)
_MORE, _MORE_PCT = 3, 20.0
# s between the time of a look and that of its statements
_INEXACT_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Lasting:
    """The causes on one server that all looks of a run have found since ``since`` (UTC)."""

    since: str
    causes: tuple[Cause, ...]

    @classmethod
    def of(cls, seen: Diagnosis, before: Lasting | None = None) -> Lasting:
        """Return what lasts after one more look; ``before`` is what has lasted until then.

        >>> from rbkernel.model import Verdict
        >>> from rbkernel.sources.postgres.situation import Situation
        >>> def look(*subjects):
        ...     causes = (Cause(headline="", mechanism=one, verdict=Verdict.WARNING)
        ...               for one in subjects)
        ...     situation = Situation(connection="db", at="2026-11-20T03:00:00+00:00")
        ...     return Diagnosis(situation=situation, causes=tuple(causes))
        >>> [one.mechanism for one in Lasting.of(look("b", "c"), Lasting.of(look("a", "b"))).causes]
        ['b']
        """
        if before is None:
            return cls(since=seen.situation.at, causes=seen.causes)
        kept = (one for one in before.causes if any(_same(one, other) for other in seen.causes))
        return cls(since=before.since, causes=tuple(kept))

    def was_before(self, at: str) -> bool:
        """Return whether the first look was before a time."""
        return datetime.fromisoformat(self.since) < datetime.fromisoformat(at)

    def known(self, cause: Cause, at: str) -> Cause | None:
        """Return the cause of before that a cause seen at ``at`` is; None if it is new, or worse.

        One without a culprit, such as lag, must be no more urgent than it was. The wait behind a
        session becomes longer all by itself: but it must be the same transaction, which began
        before the first look, and not hold up many more sessions.
        """
        no_worse = (one for one in self.causes if _same(cause, one) and not _grown(cause, one))
        return next(no_worse, None) if self._began_before(cause, at) else None

    def _began_before(self, cause: Cause, at: str) -> bool:
        if not cause.culprits or not cause.victims.count:
            return True
        passed = datetime.fromisoformat(at) - datetime.fromisoformat(self.since)
        # a session without a transaction may hold an advisory lock, or a slot
        return any(
            one.transaction_s is None or one.transaction_s + _INEXACT_S > passed.total_seconds()
            for one in cause.culprits
        )


def _grown(cause: Cause, before: Cause) -> bool:
    if not cause.culprits:
        return cause.verdict.rank > before.verdict.rank
    now, then = cause.victims, before.victims
    return now.count > 2 * then.count + _MORE or now.slots_pct > then.slots_pct + _MORE_PCT


def _same(one: Cause, other: Cause) -> bool:
    return Sighting.of(one).same(Sighting.of(other))
