"""``rb.actions``: plans of changes that fix a reported problem; a human executes them.

An action is a function that returns an `ActionPlan`. Actions that other packages add are found by
name.
"""

import functools
import keyword
from collections.abc import Callable
from typing import Any

from rbkernel.actions.configured import request, run
from rbkernel.actions.host import end_on_host, look_at_host
from rbkernel.actions.messages import requeue, set_failed
from rbkernel.actions.migrations import migration
from rbkernel.actions.plans import (
    cancel_queries,
    command,
    repair_rows,
    resume_replay,
    statement,
    terminate_sessions,
)
from rbkernel.actions.prepared import prepared
from rbkernel.actions.rows import set_flag
from rbkernel.arguments import must_fit
from rbkernel.errors import UnknownName
from rbkernel.extensions import GUIDE, Extension, Group, blaming, unusable
from rbkernel.model import ActionPlan
from rbkernel.spelling import did_you_mean

__all__ = [
    "ActionPlan",
    "cancel_queries",
    "command",
    "end_on_host",
    "look_at_host",
    "migration",
    "prepared",
    "repair_rows",
    "request",
    "requeue",
    "resume_replay",
    "run",
    "set_failed",
    "set_flag",
    "statement",
    "terminate_sessions",
]
_OURS = (
    *(cancel_queries, command, end_on_host, look_at_host, migration),
    *(prepared, repair_rows, request, requeue, resume_replay, run, set_failed, set_flag, statement),
    terminate_sessions,
)


def _unusable(name: str, action: Any) -> str:
    if not name.isidentifier() or keyword.iskeyword(name):
        return f"a cell cannot call rb.actions.{name}: it is not a valid name in Python"
    if isinstance(action, type):
        return f"it must be a function that returns an ActionPlan, not the class {action.__name__}"
    return ""


ACTIONS: Group[Callable[..., ActionPlan]] = Group(
    "rbkernel.actions", Callable, {one.__name__: one for one in _OURS}, unusable=_unusable
)


def __getattr__(name: str) -> Any:
    if name.startswith("_") or name not in ACTIONS:
        known = ", ".join(sorted(ACTIONS))
        raise UnknownName(
            f"there is no action rb.actions.{name}; there are {known}{did_you_mean(name, ACTIONS)}",
            next_step="use one of them; rb.actions.statement is for your own SQL, and"
            " rb.actions.command for a command",
        )
    extension = ACTIONS.extension(name)
    return ACTIONS[name] if extension is None else _held_to_signature(ACTIONS[name], extension)


def _held_to_signature(
    action: Callable[..., ActionPlan], extension: Extension
) -> Callable[..., ActionPlan]:
    """Wrap an action of another package, to check its arguments and its result.

    A call with wrong arguments raises an error that names the argument. If the action itself
    fails, or does not return an `ActionPlan`, the error names the package.
    """
    name = f"rb.actions.{extension.name}"

    @functools.wraps(action)
    def call(*args: Any, **kwargs: Any) -> ActionPlan:
        must_fit(action, name, args, kwargs)
        with blaming(extension, f"{name} failed"):
            plan = action(*args, **kwargs)
        if not isinstance(plan, ActionPlan):
            what = f"{name} returned a {type(plan).__name__}, not an ActionPlan"
            raise unusable(extension, what, f"correct {extension.package}: {GUIDE}")
        return plan

    return call


def __dir__() -> list[str]:
    return sorted({*__all__, *ACTIONS})
