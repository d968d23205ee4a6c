"""Causes that each look of a run has found: those of before a change are no effect of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rbkernel.sources.postgres.causes import Cause
from rbkernel.sources.postgres.diagnosis import Diagnosis
from rbkernel.sources.postgres.history import Sighting


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

    def knows(self, cause: Cause) -> bool:
        """Return whether a cause was there already.

        One without a culprit, such as lag, must be no more urgent than it was. The wait behind a
        session becomes longer all by itself.
        """
        return any(
            _same(cause, one) and (cause.culprits or cause.verdict.rank <= one.verdict.rank)
            for one in self.causes
        )


def _same(one: Cause, other: Cause) -> bool:
    return Sighting.of(one).same(Sighting.of(other))
