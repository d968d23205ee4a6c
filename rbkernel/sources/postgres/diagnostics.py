"""Run a named diagnostic of the `library` on a server.

A diagnostic does not raise if the server fails. It returns an empty frame with the columns that its
header declares and the reason attached; every rule then returns ``unknown``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from rbkernel.checks.answer import Answer, failed
from rbkernel.errors import DatabaseError, QueryError, RbkernelError
from rbkernel.sources.postgres import apptable
from rbkernel.sources.postgres.connection import driver, troubles
from rbkernel.sources.postgres.connection.capabilities import grant, lacking
from rbkernel.sources.postgres.connection.driver import quote_identifier
from rbkernel.sources.postgres.connection.session import Session
from rbkernel.sources.postgres.connection.troubles import Trouble
from rbkernel.sources.postgres.library import (
    Batch,
    Diagnostic,
    complete,
    filled,
    get,
    names,
    parse,
    typed,
    use,
)
from rbkernel.sources.postgres.twice import PAUSE
from rbkernel.sql import lexer

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Diagnostic",
    "ask",
    "begun",
    "framed",
    "get",
    "inapplicable",
    "names",
    "parse",
    "run",
    "typed",
    "use",
]

# character_not_in_repertoire, untranslatable_character; undefined_function: no such conversion
_NOT_IN_ENCODING = frozenset({"22021", "22P05", "42883"})


def inapplicable(session: Session, name: str) -> str:
    """Return why a diagnostic does not apply to this database; empty if it does.

    An overview leaves out inapplicable diagnostics. The overview must not leave out a diagnostic
    that applies but fails, for example because a privilege or an extension is missing.

    Raises
    ------
    DatabaseError
        The server does not answer.
    """
    diagnostic = get(name)
    if reason := _wrong_kind(session, diagnostic):
        return reason
    table = diagnostic.requires_table
    return apptable.lacks(session, table) if table else ""


def _wrong_kind(session: Session, diagnostic: Diagnostic) -> str:
    kind = "standby" if session.server.standby else "primary"
    if diagnostic.runs_on in {"any", kind}:
        return ""
    return f"{diagnostic.name} runs only on a {diagnostic.runs_on}, and this is a {kind}"


def _statements_schema(session: Session) -> str:
    """Return the quoted schema of pg_stat_statements, which replaces ``{schema}`` in SQL."""
    if schema := session.server.statements_schema:
        return quote_identifier(schema)
    raise DatabaseError(
        "the views of the extension pg_stat_statements are not in its schema",
        where=f"connection {session.connection.name}",
        next_step="have an administrator drop the extension and create it again",
    )


def _not_applicable(reason: str, where: str) -> DatabaseError:
    return DatabaseError(
        f"not applicable: {reason}",
        where=where,
        next_step="give the connection of the right server and database; if primary and standby"
        " have changed roles, a failover has happened",
    )


def run(session: Session, name: str, **values: Any) -> pd.DataFrame:
    """Run a diagnostic, twice if its header says so, and return the answer as a frame.

    Returns
    -------
    pandas.DataFrame
        Rows × the header's columns; empty, with a reason in its provenance, if the server could
        not answer or refused.
    """
    return begun(session, name, **values)()


def begun(session: Session, name: str, **values: Any) -> Callable[[], pd.DataFrame]:
    """Begin to run a diagnostic, and return a function that returns the answer, as `run` does.

    If the diagnostic runs twice, the first sample is taken now, and the function takes the second
    one. It waits only for what is left of the time between the two.
    """
    diagnostic = get(name)
    if not diagnostic.twice:
        return lambda: framed(name, ask(session, name, **values))
    first = _ask(session, diagnostic, values, texts=False)
    if first.provenance.reason:
        return lambda: framed(name, first)
    due = time.monotonic() + values.get(PAUSE, diagnostic.twice.every_s)
    return partial(_second, session, diagnostic, values, first, due)


def framed(name: str, answer: Answer) -> pd.DataFrame:
    """Return the answer of a diagnostic as a frame of its header's columns."""
    # imported late, because importing pandas takes a second, and a diagnosis needs no frame
    from rbkernel.checks import frames

    # if a policy has dropped a column that the rules need, the frame has an empty column instead
    return frames.to_frame(answer).reindex(columns=list(get(name).columns))


def _second(
    session: Session, diagnostic: Diagnostic, values: Mapping[str, Any], first: Answer, due: float
) -> pd.DataFrame:
    """Wait without an open transaction, run a diagnostic again, and return the changes."""
    from rbkernel.checks import frames
    from rbkernel.sources.postgres import rates

    assert diagnostic.twice
    time.sleep(max(0.0, due - time.monotonic()))
    second = _ask(session, diagnostic, values)
    if second.provenance.reason:
        return framed(diagnostic.name, second)
    looks = (frames.to_frame(first), frames.to_frame(second))
    try:
        changed = rates.between(*looks, diagnostic.twice)
    except DatabaseError as error:
        return framed(diagnostic.name, _failed(session, diagnostic, error))
    return changed.reindex(columns=list(diagnostic.columns))


def ask(session: Session, name: str, **values: Any) -> Answer:
    """Run a diagnostic once, and return its answer with the column policies applied.

    Returns
    -------
    Answer
        Without rows, with a reason in its provenance, if the server could not answer or refused.

    Raises
    ------
    QueryError
        Unknown name, missing or unknown parameter: a programming error.
    """
    return _ask(session, get(name), values)


def _ask(
    session: Session, diagnostic: Diagnostic, given: Mapping[str, Any], *, texts: bool = True
) -> Answer:
    """Run a diagnostic once, as `ask` does; without ``texts``, the texts of statements are left
    out.
    """
    values = complete(diagnostic, given)
    try:
        sql = diagnostic.sql_for(session.server)
        if PAUSE not in lexer.parameters(sql):
            values.pop(PAUSE, None)
        if not texts:
            sql = filled(sql, {"texts": "false"})
        _check_fit(session, diagnostic)
        ask_all = _answered_in_batches if diagnostic.batch else _answered
        answer = _with_limit(ask_all(session, diagnostic, sql, values))
        answer = _asked_again(session, diagnostic, sql, values, answer)
        return answer.protected(session.connection.redaction)
    # our SQL is tested on all versions, so an error in it means an unusual server; an error in a
    # team's SQL becomes the reason why there is no answer
    except (DatabaseError, QueryError) as error:
        return _failed(session, diagnostic, error)


def _failed(session: Session, diagnostic: Diagnostic, error: RbkernelError) -> Answer:
    answer = failed(
        list(diagnostic.columns),
        error,
        name=diagnostic.name,
        connection=session.connection.name,
        sql=diagnostic.shown_sql,
    )
    return replace(answer, provenance=replace(answer.provenance, origin=diagnostic.origin))


def _asked_again(
    session: Session, diagnostic: Diagnostic, sql: str, values: Mapping[str, Any], answer: Answer
) -> Answer:
    again = diagnostic.again
    if again is None:
        return answer
    seen: Any = None
    for _ in range(again.times):
        waiting = [value for value in answer.values(again.column) if value is not None]
        if not waiting:
            break
        seen = seen or waiting[0]
        time.sleep(again.every_s)
        answer = _answered(session, diagnostic, sql, {**values, again.parameter: seen})
    return answer


def _answered(
    session: Session, diagnostic: Diagnostic, sql: str, values: Mapping[str, Any]
) -> Answer:
    notes: tuple[str, ...] = ()
    fills = {"texts": "true"}
    answered = partial(session.answer, name=diagnostic.name, team=bool(diagnostic.origin))
    if table := diagnostic.requires_table:
        given = {name: str(values[name]) for name in table.parameters()}
        values = {name: value for name, value in values.items() if name not in given}
        found = apptable.find(session, table, given)
        fills, notes = {**fills, **found.fills}, found.notes
    elif "{schema}" in sql:
        fills["schema"] = _statements_schema(session)
    try:
        answer = answered(filled(sql, fills), values)
    except QueryError as error:
        if "{texts}" not in sql or driver.sqlstate(error) not in _NOT_IN_ENCODING:
            raise
        sql = filled(sql, {**fills, "texts": "false"})
        answer = answered(sql, values)
        notes = (*notes, "query: left out, because a text is not valid in this database's encoding")
    provenance = replace(answer.provenance, notes=notes, origin=diagnostic.origin)
    return replace(answer.cut(diagnostic.cut), provenance=provenance)


def _answered_in_batches(
    session: Session, diagnostic: Diagnostic, sql: str, values: Mapping[str, Any]
) -> Answer:
    """Run a diagnostic batch by batch, until a batch is not full or the row cap is reached."""
    batch = diagnostic.batch
    assert batch
    parts: list[Answer] = []
    after = rows = 0
    row_cap = session.connection.row_cap
    while True:
        part = _answered(session, diagnostic, sql, {**values, "after": after, "batch": batch.rows})
        parts.append(part)
        rows += len(part.rows)
        if part.provenance.cut_by or len(part.rows) < batch.rows or rows >= row_cap:
            break
        after = max(part.values("batch_key"))
    return replace(
        parts[0],
        rows=_worst_first([row for part in parts for row in part.rows], parts[0], batch),
        provenance=replace(
            parts[0].provenance,
            rows=rows,
            duration_s=round(sum(part.provenance.duration_s for part in parts), 4),
            cut_by=part.provenance.cut_by
            or (f"the row cap of {row_cap}" if rows >= row_cap else ""),
        ),
    )


def _worst_first(
    rows: Sequence[Sequence[Any]], answer: Answer, batch: Batch
) -> list[Sequence[Any]]:
    [place] = [at for at, one in enumerate(answer.columns) if one.name == batch.worst_first]
    return sorted(rows, key=lambda row: (row[place] is None, row[place] or 0), reverse=True)


def _with_limit(answer: Answer) -> Answer:
    """Return the answer of a query with a LIMIT; its provenance says how many rows were cut."""
    of_all = max(answer.values("of_all"), default=0)
    if of_all <= len(answer.rows) or answer.provenance.cut_by:
        return answer
    limit = f"the limit of this diagnostic: {len(answer.rows)} of {of_all} rows"
    return replace(answer, provenance=replace(answer.provenance, cut_by=limit))


def _check_fit(session: Session, diagnostic: Diagnostic) -> None:
    """Raise if a diagnostic's answer would be wrong on this server or with this role."""
    where = f"connection {session.connection.name}"
    if reason := _wrong_kind(session, diagnostic):
        raise _not_applicable(reason, where)
    server = session.server
    if "pg_monitor" in diagnostic.needs and not server.monitor:
        # the same words for every diagnostic, so that one reason is shown once
        raise troubles.error(
            Trouble.FORBIDDEN,
            lacking(server, ["pg_monitor"]),
            where=where,
            next_step=f"ask an administrator to run {grant(server, 'pg_monitor')}, or connect as a"
            " role that has it",
        )
    if reason := lacking(server, diagnostic.needs):
        raise DatabaseError(
            f"{diagnostic.name} cannot be answered: {reason}",
            where=where,
            next_step="have an administrator provide what is missing, or skip this diagnostic",
        )
