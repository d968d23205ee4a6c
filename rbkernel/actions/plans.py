"""Write plans of changes: exact SQL or a command, its targets, and its undo. Nothing is executed.

Pure: a plan is made from names and from the rows of a diagnostic. Process ids are
reused by the server, so a session is matched by ``(pid, backend_start)``, in the statement itself.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from rbkernel import amounts
from rbkernel.arguments import checked
from rbkernel.checks.frames import Frame
from rbkernel.config.quantities import Pause
from rbkernel.errors import ParameterError
from rbkernel.model import ActionPlan, plan_id
from rbkernel.reconciliation import Question
from rbkernel.runbook.placeholders import PLACEHOLDER, placeholder
from rbkernel.sources.postgres.connection.driver import quote_literal
from rbkernel.sources.postgres.diagnosis import Diagnosis
from rbkernel.sources.postgres.remedy import Verb
from rbkernel.sources.postgres.situation import Backend
from rbkernel.spelling import nearest
from rbkernel.sql import lexer

# characters that are not special in a shell, as in `shlex.quote`
_PLAIN_WORD = re.compile(r"[\w@%+=:,./-]+", re.ASCII)
# characters of a hint that might end a literal, a statement or a command
_NOT_IN_HINT = re.compile(r"[^\w .,/-]")
_TIME = "pg_catalog.timestamptz"
RESUME_REPLAY = "SELECT pg_catalog.pg_wal_replay_resume();"
PAUSE_REPLAY = "SELECT pg_catalog.pg_wal_replay_pause();"
_SESSION_COLUMNS = ["pid", "backend_start", "application", "username", "client", "state", "state_s"]


@checked
def terminate_sessions(
    db: str, sessions: Frame | Diagnosis, *, stuck_after_s: Pause = 5.0
) -> ActionPlan:
    """Plan to terminate sessions of a server; their open transactions are rolled back.

    Parameters
    ----------
    db
        Connection name.
    sessions
        The result of `rb.diagnose`, or rows of ``connections/sessions``. With a diagnosis, the plan
        follows its first cause: it terminates the sessions, and cancels the queries, that the
        recommended step of this cause names. Without sessions, the plan does nothing.
    stuck_after_s
        The threshold in seconds with which ``connections/sessions`` was queried. After the change,
        the check of the result queries it again with this threshold.
    """
    ended, cancelled, effect = _chosen(sessions, "terminate")
    title = f"Terminate {amounts.count(len(ended), 'session')}"
    arguments = {"terminate": _identified(ended), "cancel": _identified(cancelled, "query_start")}
    return planned(
        title=f"{title}, cancel {_queries(cancelled)}" if len(cancelled) else title,
        connection=db,
        sql=sessions_sql(arguments),
        action="terminate_sessions",
        arguments=arguments,
        targets=(
            *rows_of(ended, [*_SESSION_COLUMNS, "query"]),
            *rows_of(cancelled, [*_SESSION_COLUMNS, "query"]),
        ),
        effect=effect,
        undo="None: the clients must reconnect; uncommitted work is lost.",
        risk="A session that commits before you run the statement is still terminated."
        " Sessions are matched by pid and backend_start, so no other session is affected.",
        verify="connections/sessions",
        verify_values={"stuck_after_s": stuck_after_s},
    )


@checked
def cancel_queries(
    db: str, sessions: Frame | Diagnosis, *, stuck_after_s: Pause = 5.0
) -> ActionPlan:
    """Plan to cancel running queries; the sessions stay connected.

    Parameters
    ----------
    db
        Connection name.
    sessions
        The result of `rb.diagnose`, or rows of ``connections/sessions``. With a diagnosis, the plan
        cancels the queries that the recommended step of its first cause names.
    stuck_after_s
        The threshold in seconds with which ``connections/sessions`` was queried. After the change,
        the check of the result queries it again with this threshold.
    """
    given, cancelled, effect = _chosen(sessions, "cancel")
    running = cancelled if isinstance(sessions, Diagnosis) else given
    arguments = {"cancel": _identified(running, "query_start")}
    return planned(
        title=f"Cancel {_queries(running)}",
        connection=db,
        sql=sessions_sql(arguments),
        action="cancel_queries",
        arguments=arguments,
        targets=rows_of(running, [*_SESSION_COLUMNS, "query_start", "query"]),
        effect=effect,
        undo="None: the clients must run the query again.",
        risk="Only the query that was seen is cancelled: a session that now runs"
        " another query does not match.",
        verify="connections/sessions",
        verify_values={"stuck_after_s": stuck_after_s},
    )


@checked
def resume_replay(db: str, standby: Frame | None = None) -> ActionPlan:
    """Plan to resume the paused replay of WAL on a standby.

    Parameters
    ----------
    db
        Connection name of the standby.
    standby
        Rows of ``replication/standby``, to show the state of the replay; if there are several
        samples, the last is shown.
    """
    columns = ["paused", "stalled_s", "received_not_replayed_bytes", "last_replayed_at"]
    return planned(
        title="Resume replay",
        connection=db,
        sql=RESUME_REPLAY,
        action="resume_replay",
        targets=rows_of(standby.tail(1), columns) if standby is not None else (),
        undo=PAUSE_REPLAY,
        risk="If replay was paused on purpose (a backup, to read old rows, to stop before a"
        " mistake), that state is lost: ask who paused it.",
        verify="replication/standby",
    )


@checked
def repair_rows(
    differences: Frame,
    *,
    db: str = "",
    question: Question | None = None,
    sql: str = "",
    undo: str = "",
    why: str = "",
) -> ActionPlan:
    """Plan to make rows of the target equal to the source, with the SQL that `rb.repair` writes.

    Parameters
    ----------
    differences
        Rows of `rbkernel.reconciliation.Outcome.frame` to repair.
    db
        Connection name of the target.
    question
        The question of the comparison.
    sql, undo
        The repair script, and the script that undoes it (`rbkernel.reconciliation.repair`).
    why
        Why there is no script; used only if ``sql`` is empty.
    """
    must_have("differences", differences, ["key", "kind"], "what rb.reconcile returned")
    kinds = differences["kind"] if "kind" in differences else pd.Series(dtype=object)
    copied, extra = int(kinds.isin(["missing", "changed"]).sum()), int((kinds == "extra").sum())
    names = f" from {question.source} to {question.target}" if question else ""
    target = question.target if question else "the target"
    return planned(
        title=f"Copy {amounts.count(copied, 'row')}{names}, delete"
        f" {amounts.count(extra, 'extra row')} from {target}",
        connection=db,
        sql=sql or (f"-- no SQL: {why}" if why else ""),
        targets=rows_of(differences, ["key", "kind", "columns"]),
        undo=undo,
        risk="The source is assumed to be right. If a row has changed since it was read, the"
        " whole script stops and changes nothing.",
    )


@checked
def statement(
    db: str,
    sql: str,
    *,
    title: str = "",
    values: Mapping[str, Any] | None = None,
    undo: str = "",
    risk: str = "",
) -> ActionPlan:
    """Plan to execute one SQL statement that the caller wrote.

    Parameters
    ----------
    db
        Connection name.
    sql
        One statement, possibly with ``:name`` values. If it is empty, there is nothing to do.
    title
        The effect of the statement, in words; by default, its first line.
    values
        Name → value, written into the text as literals. A value that is None or a placeholder
        becomes a visible placeholder, which the server refuses, so that nobody runs the SQL by
        accident.
    undo, risk
        Texts for the person who copies the statement.

    >>> statement("orders", "DELETE FROM t WHERE id = :id", values={"id": "it's"}).sql
    "DELETE FROM t WHERE id = 'it''s'"
    """
    given = (values or {}) if sql else {}
    _must_occur("rb.actions.statement", given, lexer.parameters(sql))
    text = "".join(
        _unfilled(part, given.get(part[1:])) or quote_literal(given[part[1:]])
        if kind == "parameter"
        else part
        for kind, part in lexer.tokens(sql)
    ).strip()
    title = title or lexer.first_line(sql)
    return planned(title=title, connection=db, sql=text, undo=undo, risk=_fill_in_first(text, risk))


@checked
def command(
    title: str,
    text: str,
    *,
    values: Mapping[str, Any] | None = None,
    undo: str = "",
    risk: str = "",
) -> ActionPlan:
    """Plan a shell command that a human copies and runs.

    Parameters
    ----------
    title
        What the command does, in words.
    text
        The command, with its placeholders.
    values
        Placeholder in the text, such as ``<pod>``, → its value. A value with characters that are
        special in a shell is not inserted; the text then says so.
    undo, risk
        Texts for the person who copies the command.

    >>> command("Roll back", "kubectl rollout undo <name>", values={"<name>": "api"}).command
    'kubectl rollout undo api'
    """
    for place in values or {}:
        if not place or place not in text:
            holes = re.findall(r"<[\w -]+>|‹[^›]+›", text)
            _must_occur("rb.actions.command", [place], holes)
    for place, value in (values or {}).items():
        hole = _unfilled(place, value)
        if hole or _PLAIN_WORD.fullmatch(str(value)):
            text = text.replace(place, hole or str(value))
        else:
            odd = f"{place} is not filled in: its value has characters that are special in a shell"
            risk = "; ".join(filter(None, [risk, odd]))
    risk = _fill_in_first(text, risk)
    return planned(title=title, connection="", sql="", command=text.strip(), undo=undo, risk=risk)


def _must_occur(call: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Raise if a value has no placeholder in the text, so that it would be ignored."""
    for name in given:
        if name not in known:
            meant = nearest(name, known)
            places = ", ".join(known)
            raise ParameterError(
                f"{call}: the text has no placeholder for the value {name!r}"
                f"{f', only for {places}' if known else ''}",
                next_step=f"write {meant!r}"
                if meant
                else "write its placeholder into the text, or remove the value",
            )


def _unfilled(place: str, value: object) -> str:
    """Return the visible placeholder for a value that is None or, as a whole, a placeholder.

    Empty for every other value, which must be quoted: it may be a name that an attacker chose.

    >>> _unfilled("<pod>", None), _unfilled(":id", "‹x; id›")
    ('‹PLACEHOLDER: pod›', '')
    >>> _unfilled("<pod>", "‹PLACEHOLDER: x; id|sh›")
    '‹PLACEHOLDER: x id sh›'
    """
    if value is None:
        return placeholder(re.sub(r"^[^0-9A-Za-z]+|[^0-9A-Za-z]+$", "", place))
    found = PLACEHOLDER.fullmatch(str(value))
    return placeholder(_NOT_IN_HINT.sub(" ", found["hint"])) if found else ""


def _fill_in_first(text: str, risk: str) -> str:
    """Return the risk of a plan, preceded by the placeholders that must be filled in first.

    >>> _fill_in_first("rm ‹PLACEHOLDER: file›", "It is gone.")
    'Fill in first: file. It is gone.'
    """
    asked = dict.fromkeys(re.findall(r"‹PLACEHOLDER: ([^›]+)›", text))
    return " ".join(filter(None, [f"Fill in first: {', '.join(asked)}." if asked else "", risk]))


def _chosen(
    sessions: pd.DataFrame | Diagnosis, verb: Verb
) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Return the sessions that a plan acts on, and the effect of the plan in words.

    With a diagnosis, the first value holds the sessions to terminate, and the second those whose
    queries are to be cancelled. Sessions passed as rows are all in the first value, whatever the
    verb; the other two values are then empty.
    """
    if not isinstance(sessions, Diagnosis):
        _must_identify(sessions, verb)
        return sessions, _targets(()), ""
    remedies = sessions.first.remedies if sessions.first else ()
    remedy = next((remedy for remedy in remedies if remedy.verb == verb), None)
    if remedy is None:
        return _targets(()), _targets(()), ""
    return _targets(remedy.terminated), _targets(remedy.cancelled), remedy.effect


def _must_identify(sessions: pd.DataFrame, verb: Verb) -> None:
    """Raise if the rows come from a diagnostic that does not identify sessions."""
    started = ["query_start"] if verb == "cancel" else []
    origin = 'the rows of rb.assess("connections/sessions", db), or the result of rb.diagnose'
    must_have("sessions", sessions, ["pid", "backend_start", *started], origin)


def must_have(argument: str, frame: pd.DataFrame, needed: Sequence[str], origin: str) -> None:
    """Raise if a frame lacks required columns; an empty frame of a failed query is not checked."""
    if missing := [] if frame.empty else [one for one in needed if one not in frame]:
        raise ParameterError(
            f"{argument} has no column {' and '.join(missing)}; it has"
            f" {', '.join(map(str, frame.columns))}",
            where="rb.actions",
            next_step=f"pass {origin}",
        )


def _targets(backends: Sequence[Backend]) -> pd.DataFrame:
    rows = [dataclasses.asdict(one) for one in backends]
    return pd.DataFrame(rows or None, columns=[field.name for field in dataclasses.fields(Backend)])


def _queries(sessions: pd.DataFrame) -> str:
    return f"{len(sessions)} {'query' if len(sessions) == 1 else 'queries'}"


def sessions_sql(arguments: Mapping[str, Any]) -> str:
    """Return the SQL to copy, which terminates and cancels sessions. Pure.

    Parameters
    ----------
    arguments
        ``terminate``: rows of pid and backend_start; ``cancel``: rows of pid, backend_start and
        query_start. Times are ISO 8601. A missing list is empty.
    """
    return _script(_terminate(arguments.get("terminate", ())), _cancel(arguments.get("cancel", ())))


def _terminate(rows: Sequence[Mapping[str, Any]]) -> str:
    identities = _identities(rows, ["pid", "backend_start"], ["int", _TIME])
    return _signal("pg_terminate_backend", "(a.pid, a.backend_start)", identities)


def _cancel(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = ["pid", "backend_start", "query_start"]
    identities = _identities(rows, columns, ["int", _TIME, _TIME])
    return _signal("pg_cancel_backend", "(a.pid, a.backend_start, a.query_start)", identities)


def _script(*signals: str) -> str:
    """Join queries into one SQL statement, so that all sessions are matched at the same moment."""
    written = "\nUNION ALL\n".join(filter(None, signals))
    return f"{written};" if written else ""


def _signal(function: str, identity: str, identities: Sequence[str]) -> str:
    """Write the query that cancels or terminates sessions; all names are qualified, for any search
    path.
    """
    if not identities:
        return ""
    sessions = "\n     OR ".join(f"{identity} OPERATOR(pg_catalog.=) {one}" for one in identities)
    return (
        f"SELECT a.pid, a.application_name, pg_catalog.{function}(a.pid)\n"
        f"  FROM pg_catalog.pg_stat_activity a\n"
        f" WHERE (\n        {sessions}\n       )\n"
        f"   AND a.backend_type OPERATOR(pg_catalog.=) 'client backend'\n"
        f"   AND a.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()"
    )


def _identities(
    rows: Sequence[Mapping[str, Any]], columns: list[str], types: list[str]
) -> list[str]:
    lines = []
    for row in rows:
        values = (
            f"{_literal(row[name])}::{kind}" for name, kind in zip(columns, types, strict=True)
        )
        lines.append(f"({', '.join(values)})")
    return lines


def _literal(value: int | str | None) -> str:
    return quote_literal(value.replace("T", " ", 1) if isinstance(value, str) else value)


def _identified(sessions: pd.DataFrame, *more: str) -> list[dict[str, Any]]:
    """Return the columns that identify sessions, as JSON values."""
    rows = rows_of(sessions, ["pid", "backend_start", *more])
    return [
        {
            name: value.isoformat() if name != "pid" and value else value
            for name, value in row.items()
        }
        for row in rows
    ]


def rows_of(frame: pd.DataFrame, columns: list[str]) -> tuple[Mapping[str, Any], ...]:
    """Return these columns of a frame as the targets of a plan; unknown values are None."""
    shown = frame[[column for column in columns if column in frame]]
    plain = shown.astype(object).where(shown.notna(), None)
    return tuple({str(k): v for k, v in row.items()} for row in plain.to_dict("records"))


def planned(*, title: str, connection: str, sql: str, **fields: Any) -> ActionPlan:
    """Return the plan with its id."""
    name = plan_id(title, connection, sql or str(fields.get("command", "")))
    return ActionPlan(id=name, title=title, connection=connection, sql=sql, **fields)
