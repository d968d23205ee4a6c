"""What the simulated shop keeps of single requests: their traces, and the lines of their log.

A trace has the span of the request, one for each call that it made, and one of the system that
answered the call with an error. As a tail sampler does, all failed and slow requests are kept, and
one of `_SAMPLED` others, until `_KEPT` newer ones have come.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

_SAMPLED, _KEPT = 10, 5000
_SLOW_S = 1.0


class Call(NamedTuple):
    """A call that a request made: of which system, what, for how long (s), and its HTTP status.

    ``error`` is what the shop logs of it, and ``theirs`` what the called system logs if it answers
    with an error; both are empty if there is none.
    """

    system: str
    operation: str
    took_s: float
    status: int = 0
    error: str = ""
    theirs: str = ""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """How a request was answered: its status, how long it took in s, its calls, and its error."""

    code: int
    took_s: float
    calls: Sequence[Call] = ()
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Span:
    """A span of a trace: begin and end in s since 1970; ``status`` is 0 if it has none."""

    id: str
    parent: str
    service: str
    operation: str
    begin: float
    end: float
    status: int
    error: bool


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request that ended at ``at``, in s since 1970."""

    trace: str
    at: float
    service: str
    operation: str
    version: str
    answered: Answered

    @property
    def failed(self) -> bool:
        """Whether the request was answered with an error of the service."""
        return self.answered.code >= 500

    def spans(self) -> Iterator[Span]:
        """Yield the spans of the trace, callers before those whom they call."""
        one = self.answered
        begin = self.at - one.took_s
        yield self._span(0, "", self.service, self.operation, begin, self.at, one.code)
        root = self._id(0)
        # one call after the other, with half of the service's own work before, and half after them
        begin += max(0.0, one.took_s - sum(call.took_s for call in one.calls)) / 2
        for number, call in enumerate(one.calls, 1):
            end, own = begin + call.took_s, 2 * number
            status = call.status or 500 * bool(call.error)
            yield self._span(own, root, self.service, call.operation, begin, end, status)
            if call.theirs:
                inside = (begin + 0.05 * call.took_s, end - 0.05 * call.took_s)
                operation = call.operation.removeprefix(f"{call.system}: ")
                theirs = (call.system, operation, *inside, call.status)
                yield self._span(own + 1, self._id(own), *theirs)
            begin = end

    def lines(self) -> Iterator[tuple[str, str, str]]:
        """Yield what was logged of the request: service, level and line."""
        one, of = self.answered, f"trace_id={self.trace}"
        for call in one.calls:
            if call.theirs:
                said = f'level=error {of} status={call.status} msg="{call.theirs}"'
                yield call.system, "error", said
            if call.error:
                yield self.service, "error", f'level=error {of} msg="{call.error}"'
        if one.error:
            yield self.service, "error", f'level=error {of} msg="{one.error}"'
        yield (
            self.service,
            "info",
            (
                f"level=info {of} version={self.version} status={one.code}"
                f' took_ms={one.took_s * 1000:.0f} msg="{self.operation}"'
            ),
        )

    def _id(self, number: int) -> str:
        return f"{int(self.trace[:12], 16):012x}{number:04x}"

    def _span(
        self,
        number: int,
        parent: str,
        service: str,
        operation: str,
        begin: float,
        end: float,
        status: int,
    ) -> Span:
        return Span(
            id=self._id(number),
            parent=parent,
            service=service,
            operation=operation,
            begin=begin,
            end=end,
            status=status,
            error=status >= 500,
        )


@dataclass
class Kept:
    """The requests that were kept, the oldest first."""

    seed: int
    requests: deque[Request] = field(default_factory=lambda: deque(maxlen=_KEPT))
    _number: int = 0

    def __post_init__(self) -> None:
        """Draw ids apart from the simulation, which is the same with and without traces."""
        self._random = random.Random(self.seed)  # noqa: S311 - ids, not secrets

    def add(
        self, answered: Answered, *, at: float, service: str, operation: str, version: str
    ) -> None:
        """Keep a request, if the sampler takes it."""
        self._number += 1
        unusual = answered.code >= 500 or answered.took_s > _SLOW_S
        if unusual or self._number % _SAMPLED == 0:
            trace = f"{self._random.getrandbits(128):032x}"
            request = Request(
                trace=trace,
                at=at,
                service=service,
                operation=operation,
                version=version,
                answered=answered,
            )
            self.requests.append(request)
