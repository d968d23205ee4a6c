"""``rb.actions``: plans that fix a reported problem. A human reads and executes them.

An action is a function that returns an `ActionPlan`. Actions of other packages are found by name.
"""

from collections.abc import Callable
from typing import Any

from rbkernel.actions.plans import (
    cancel_queries,
    command,
    repair_rows,
    resume_replay,
    statement,
    terminate_sessions,
)
from rbkernel.extensions import Group
from rbkernel.model import ActionPlan
from rbkernel.spelling import did_you_mean

__all__ = [
    "ActionPlan",
    "cancel_queries",
    "command",
    "repair_rows",
    "resume_replay",
    "statement",
    "terminate_sessions",
]
_OURS = (cancel_queries, command, repair_rows, resume_replay, statement, terminate_sessions)
ACTIONS: Group[Callable[..., ActionPlan]] = Group(
    "rbkernel.actions", Callable, {one.__name__: one for one in _OURS}
)


def __getattr__(name: str) -> Any:
    if name.startswith("_") or name not in ACTIONS:
        meant = did_you_mean(name, ACTIONS)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{meant}")
    return ACTIONS[name]


def __dir__() -> list[str]:
    return sorted({*__all__, *ACTIONS})
