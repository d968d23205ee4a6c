"""The actions that rbkernel can execute, by the name of their function in `rb.actions`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from rbkernel.config import Connection, Settings
from rbkernel.config.actions import REQUEST, RUN
from rbkernel.errors import ActionRefused
from rbkernel.execution import replay, server, session_words, sessions
from rbkernel.execution.configured import commands, place, requests
from rbkernel.execution.document import Facts, Preview
from rbkernel.execution.outcome import Outcome
from rbkernel.execution.proposal import Proposal
from rbkernel.execution.rows import change, words
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

    ``judge`` returns what an outcome of ``watch`` means after an ``execute`` without an error.

    ``where``, ``target`` and ``foretold`` describe the server of a document, one of its targets,
    and its effect, as rows of name and text. The fields of a target in ``free_text`` are texts of
    applications and people, from which secrets are removed; all others identify it exactly. With
    ``is_data``, the targets hold values of users, and an action is refused if one of these looks
    like a secret.

    ``inverse`` returns the fields of the proposal that undoes a document, None if none can;
    ``touched`` identifies what a document changed, across documents.
    ``rehearse`` adds to a preview what is found out only for people, not again at each step.
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
    judge: Callable[[Facts, Outcome], Outcome] = lambda _, seen: seen
    free_text: frozenset[str] = frozenset()
    rehearse: Callable[[Place, Preview], Preview] | None = None
    is_data: bool = False
    inverse: Callable[[Facts], Facts] | None = None
    touched: Callable[[Facts], frozenset[Any]] = lambda _: frozenset()


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


def on_host(**steps: Any) -> Kind[Any]:
    """Return a kind of actions that the configuration names, and that this process carries out."""
    return Kind(
        role=lambda _: place.os_user(), inverse=place.undoing, touched=place.touched, **steps
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
_COMMAND = on_host(
    place=place.command,
    longest_s=commands.longest_s,
    preview=commands.preview,
    rehearse=commands.rehearse,
    changed=commands.changed,
    execute=commands.execute,
    watch=commands.watch,
    verification="the exit code is 0, and that of `verify`, too, if there is one",
    where=commands.where,
    target=commands.target,
    foretold=commands.foretold,
)
_REQUEST = on_host(
    place=place.request,
    longest_s=requests.longest_s,
    preview=requests.preview,
    changed=requests.changed,
    execute=requests.execute,
    watch=requests.watch,
    verification="the status is one of `expect`, and `verify` sees its value, if there is one",
    where=requests.where,
    target=requests.target,
    foretold=requests.foretold,
)
_ROWS = on_server(
    preview=change.preview,
    changed=change.changed,
    execute=change.execute,
    watch=change.watch,
    judge=change.committed,
    verification="the commit, which returned the new values",
    target=words.target,
    foretold=words.foretold,
    is_data=True,
    inverse=change.inverse,
    touched=change.touched,
)
_REPLAY = on_server(
    preview=replay.preview,
    changed=replay.changed,
    execute=replay.execute,
    watch=replay.watch,
    verification="replay is not paused, and it moves or has replayed all that is received",
    target=replay.target,
    foretold=replay.foretold,
    inverse=replay.inverse,
    touched=replay.touched,
)
KINDS: Mapping[str, Kind[Any]] = {
    "cancel_queries": _SESSIONS,
    "requeue": _ROWS,
    "resume_replay": _REPLAY,
    "set_failed": _ROWS,
    "set_flag": _ROWS,
    "terminate_sessions": _SESSIONS,
    RUN: _COMMAND,
    REQUEST: _REQUEST,
}


def of(document: Facts) -> Kind[Any] | None:
    """Return the steps of the action of a document; None if rbkernel does not execute it."""
    return KINDS.get(str(document.get("action")).partition(":")[0])


def get(action: str) -> Kind[Any]:
    """Return the steps of an action.

    Raises
    ------
    ActionRefused
        rbkernel does not execute this action.
    """
    kind = of({"action": action})
    if kind is None:
        raise ActionRefused(
            f"rbkernel does not execute {action or 'plans of this kind'}",
            next_step="copy its text, and record what you did with rb.done",
        )
    return kind
