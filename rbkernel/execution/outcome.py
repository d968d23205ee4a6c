"""The outcome of an execution. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from rbkernel.errors import ActionRefused
from rbkernel.evidence.incident import ActionState
from rbkernel.execution.document import Facts


class NotSent(ActionRefused):
    """The server took no action, because its precondition did not hold."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an execution ended, in words for people, and with facts for programs."""

    state: ActionState
    result: str
    facts: Facts = field(default_factory=dict)
