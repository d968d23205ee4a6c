"""The actions that rbkernel can execute, by the name of their function in `rb.actions`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from rbkernel.config import Connection, Settings
from rbkernel.errors import ActionRefused
from rbkernel.execution import server, session_words, sessions
from rbkernel.execution.document import Facts, Preview
from rbkernel.execution.outcome import Outcome
from rbkernel.execution.proposal import Proposal
from rbkernel.sources.postgres.connection.session import Session

Place = TypeVar("Place")


@dataclass(frozen=True, kw_only=True)
class Kind(Generic[Place]):
    """What the actions of one kind do at each step, and how they are described.

    ``place`` returns what the configuration says about where a proposal is executed, such as a
    connection; if it changes between two steps, the second is refused. ``role`` names who executes
    there, and raises an error if nobody may; ``longest_s`` is the longest that an execution takes
    there, without the time for which its effect is watched.

    ``preview`` looks at the targets, and changes nothing; ``changed`` compares a document with a
    new preview. ``execute`` makes the change once; it takes the time of the place after which
    nothing may be sent. ``watch`` looks at the effect for some seconds; ``verification`` describes
    it.

    ``where``, ``target`` and ``foretold`` describe the server of a document, one of its targets,
    and its effect, as rows of name and text. The fields of a target in ``free_text`` are texts of
    applications and people, from which secrets are removed; all others identify it exactly.
    """

    place: Callable[[Settings, Proposal], Place]
    role: Callable[[Place], str]
    longest_s: Callable[[Place], float]
    preview: Callable[[Place, Proposal], Preview]
    changed: Callable[[Facts, Preview], str]
    execute: Callable[[Place, Facts, datetime], Facts]
    watch: Callable[[Place, Facts, float], Outcome]
    verification: str
    where: Callable[[Facts], str]
    target: Callable[[Facts], str]
    foretold: Callable[[Facts], tuple[tuple[str, str], ...]]
    free_text: frozenset[str] = frozenset()


def on_server(
    *,
    preview: Callable[[Session, Proposal], Preview],
    execute: Callable[[Connection, Facts, datetime], Facts],
    watch: Callable[[Session, Facts, float], Outcome],
    **more: Any,
) -> Kind[Connection]:
    """Return a kind of actions on a server of PostgreSQL.

    The diagnostic role looks: ``preview`` and ``watch`` get a session of it. The role for actions
    changes: ``execute`` gets a connection with this role.
    """

    def looked(connection: Connection, proposal: Proposal) -> Preview:
        with server.looking(connection) as session:
            return preview(session, proposal)

    def watched(connection: Connection, document: Facts, watch_s: float) -> Outcome:
        with server.looking(connection) as session:
            return watch(session, document, watch_s)

    return Kind(
        place=lambda settings, found: settings.connection(found.connection),
        role=lambda connection: connection.for_actions().user or "",
        longest_s=lambda connection: server.longest_s(connection.for_actions()),
        preview=looked,
        execute=lambda connection, document, until: execute(
            connection.for_actions(), document, until
        ),
        watch=watched,
        where=server.described,
        **more,
    )


_SESSIONS = on_server(
    preview=sessions.preview,
    changed=sessions.changed,
    execute=sessions.execute,
    watch=sessions.watch,
    verification="the sessions, or their queries, are gone, and no session that was to be freed at"
    " once still waits in that query",
    target=session_words.target,
    foretold=session_words.foretold,
    free_text=session_words.FREE_TEXT,
)
KINDS: Mapping[str, Kind[Any]] = {
    "cancel_queries": _SESSIONS,
    "terminate_sessions": _SESSIONS,
}


def get(action: str) -> Kind[Any]:
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
