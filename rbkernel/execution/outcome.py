"""The outcome of an execution. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from rbkernel.errors import ActionRefused, RbkernelError
from rbkernel.evidence.incident import ActionState
from rbkernel.execution.document import Facts


class NotSent(ActionRefused):
    """The server took no action, because its precondition did not hold."""


class _Reported(RbkernelError):
    """An execution that did not succeed; ``facts`` are kept as evidence."""

    def __init__(self, what: str, *, facts: Facts | None = None) -> None:
        super().__init__(what)
        self.facts: Facts = facts or {}


class Unsuccessful(_Reported):
    """It was carried out, and reported its failure."""


class Unanswered(_Reported):
    """It was begun, and did not report its end: it may have had an effect."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an execution ended, in words for people, and with facts for programs.

    ``sent`` is false if nothing was sent, so that nothing can have changed. ``shown`` is false if
    what was seen says nothing about the execution: nothing was looked at, or it was so before.
    """

    state: ActionState
    result: str
    facts: Facts = field(default_factory=dict)
    sent: bool = True
    shown: bool = True


# of the action itself: an exit code or a status
UNSEEN = Outcome(state=ActionState.VERIFIED, result="nothing else shows its effect", shown=False)
