"""The actions that rbkernel can execute, by the name of their function in `rb.actions`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rbkernel.config import Connection
from rbkernel.errors import ActionRefused
from rbkernel.execution import replay, sessions
from rbkernel.execution.document import Facts, Preview
from rbkernel.execution.outcome import Outcome
from rbkernel.execution.proposal import Proposal
from rbkernel.sources.postgres.connection.session import Session


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What an action does at each step; ``undo`` and ``watch_undo`` are None if irreversible.

    ``verification`` says how the effect is checked.
    """

    preview: Callable[[Session, Proposal], Preview]
    changed: Callable[[Facts, Preview], str]
    execute: Callable[[Connection, Facts], Facts]
    watch: Callable[[Session, Facts, float], Outcome]
    verification: str
    undo: Callable[[Connection, Facts], Facts] | None = None
    watch_undo: Callable[[Session, Facts, float], Outcome] | None = None


_SESSIONS = Kind(
    preview=sessions.preview,
    changed=sessions.changed,
    execute=sessions.execute,
    watch=sessions.watch,
    verification="the sessions, or their queries, are gone, and the sessions that waited are freed",
)
KINDS: Mapping[str, Kind] = {
    "cancel_queries": _SESSIONS,
    "terminate_sessions": _SESSIONS,
    "resume_replay": Kind(
        preview=replay.preview,
        changed=replay.changed,
        execute=replay.execute,
        watch=replay.watch,
        verification="replay is not paused after the time for which it is watched",
        undo=replay.undo,
        watch_undo=replay.watch_undo,
    ),
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
