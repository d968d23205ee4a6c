"""The actions that rbkernel can execute, by the name of their function in `rb.actions`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from rbkernel.config import Connection
from rbkernel.errors import ActionRefused
from rbkernel.execution import sessions
from rbkernel.execution.document import Facts, Preview
from rbkernel.execution.outcome import Outcome
from rbkernel.execution.proposal import Proposal
from rbkernel.sources.postgres.connection.session import Session


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What an action does at each step; ``verification`` says how the effect is checked.

    ``execute`` takes the server's time after which nothing may be sent.
    """

    preview: Callable[[Session, Proposal], Preview]
    changed: Callable[[Facts, Preview], str]
    execute: Callable[[Connection, Facts, datetime], Facts]
    watch: Callable[[Session, Facts, float], Outcome]
    verification: str


_SESSIONS = Kind(
    preview=sessions.preview,
    changed=sessions.changed,
    execute=sessions.execute,
    watch=sessions.watch,
    verification="the sessions, or their queries, are gone, and no session that was to be freed at"
    " once still waits in that query",
)
KINDS: Mapping[str, Kind] = {
    "cancel_queries": _SESSIONS,
    "terminate_sessions": _SESSIONS,
}


def get(action: str) -> Kind:
    """Return the steps of an action.

    Raises
    ------
    ActionRefused
        rbkernel does not execute this action.
    """
    if action not in KINDS:
        raise ActionRefused(
            f"rbkernel does not execute {action or 'plans of this kind'}",
            next_step="copy the SQL, and record what you did with rb.done",
        )
    return KINDS[action]
