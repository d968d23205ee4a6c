"""`rb.query` and `rb.sample`: query a server, and show the result with its provenance."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from IPython.display import display

from rbkernel.arguments import checked, unknown_keyword
from rbkernel.checks.answer import Provenance, provenance
from rbkernel.checks.frames import failed_frame
from rbkernel.config.quantities import Count, Pause
from rbkernel.errors import (
    DatabaseError,
    ParameterError,
    QueryError,
    RbkernelError,
    SqlTextError,
)
from rbkernel.evidence import current
from rbkernel.render import cards, frames
from rbkernel.runbook.placeholders import hints, unfilled
from rbkernel.sources.postgres import diagnostics
from rbkernel.sources.postgres.twice import PAUSE
from rbkernel.sql import lexer
from rbkernel.triage import undone
from rbkernel.triage.context import triage
from rbkernel.triage.shown import shown

_SHOWN_ROWS = 20


@checked
def query(
    what: str, db: str, *, row_cap: Count | None = None, untried: bool = False, **values: Any
) -> pd.DataFrame:
    """Run a named diagnostic, or SQL text with ``:name`` values, and show the result.

    Parameters
    ----------
    what
        A diagnostic's name, such as ``connections/holders``, or SQL.
    db
        Connection name.
    row_cap
        The maximum number of rows; by default, the connection's setting.
    untried
        True for SQL that nobody has run yet, such as imported SQL. An error in the SQL then does
        not raise: the result is a frame without an answer.
    values
        The diagnostic's parameters, or the values of ``:name`` in the SQL.

    Returns
    -------
    pandas.DataFrame
        Rows × columns as the server returns them. If the server cannot answer, the frame is empty
        with the reason attached, and `rb.check` returns ``unknown`` for it. If a value is still a
        placeholder, no query is sent, and the result is such an empty frame.

    Raises
    ------
    QueryError, SqlTextError
        The SQL, the name or a value is wrong.
    ParameterError
        A keyword is neither an argument of this function nor a value in the SQL.
    """
    _must_know("rb.query", what, values, "row_cap", "untried")
    try:
        frame = ask(what, db, row_cap, values)
    except (QueryError, SqlTextError) as error:
        if not untried:
            raise
        frame = _failed(what, db, error)
    show(frame)
    if untried or triage().unfilled(values):
        origin = provenance(frame)
        answered = origin is None or not origin.reason
        undone.note(undone.QUERIES, {lexer.first_line(" ".join(what.split())): answered})
    return shown(frame)


@checked
def sample(
    what: str, db: str, *, n: Count = 3, every_s: Pause = 2.0, **values: Any
) -> pd.DataFrame:
    """Run a diagnostic several times, to see changes, and show the last result.

    Parameters
    ----------
    what, db, values
        As for `query`.
    n
        The number of samples, at least 1.
    every_s
        Seconds between the starts of two samples; for a diagnostic of rates, between the two
        queries of each sample.

    Returns
    -------
    pandas.DataFrame
        The rows of all samples in their order, with the column ``sample`` (1 … n).
    """
    _must_know("rb.sample", what, values, "n", PAUSE)
    if PAUSE in (_asked_for(what) or ()):
        values = {**values, PAUSE: every_s}
    frames: list[pd.DataFrame] = []
    due = time.monotonic()
    for number in range(1, n + 1):
        time.sleep(max(0.0, due - time.monotonic()))
        due += every_s
        frame = ask(what, db, None, values)
        frames.append(frame.assign(sample=number))
        if (origin := provenance(frame)) and origin.reason:
            break  # the sampling stops if the server does not answer
    show(frames[-1])
    filled = [frame for frame in frames if not frame.empty] or frames[-1:]
    joined = pd.concat(filled, ignore_index=True)
    joined.attrs = dict(frames[-1].attrs)
    cuts = [origin.cut_by for frame in frames if (origin := provenance(frame)) and origin.cut_by]
    if cuts:
        joined.attrs["rbkernel"] = replace(joined.attrs["rbkernel"], cut_by=cuts[0])
    if origin := provenance(joined):
        joined.attrs["rbkernel"] = replace(origin, missing=_missing(filled))
    return shown(joined)


def _missing(frames: Sequence[pd.DataFrame]) -> dict[str, str]:
    """Return, for float columns with missing values, whether the missing values are NULL or NaN."""
    found: dict[str, str] = {}
    for origin in filter(None, map(provenance, frames)):
        found |= origin.missing
    return found if len(frames) == 1 else dict.fromkeys(found, "NULL or NaN")


def show(frame: pd.DataFrame) -> pd.DataFrame:
    """Show the first rows of a frame, and below them SQL, server, role, time and number of rows.

    The frame is returned; the same cell does not show it again.
    """
    origin = provenance(frame)
    if origin is None:
        display(frame)
        return shown(frame)
    source = traced(frame)
    if origin.reason:
        asked = f" from {origin.connection}" if origin.connection else ""
        text = f"no answer{asked}: {origin.reason}. Next: {origin.next_step}."
        html = cards.message_card("unknown", text)
    elif frame.empty:
        text = "no rows"
        html = cards.message_card("no rows", f"{origin.name} returned no rows", "open")
    else:
        text = frame.head(_SHOWN_ROWS).to_string(max_colwidth=60)
        html = _table(frame)
    html += source
    display({"text/html": html, "text/plain": text}, raw=True)
    return shown(frame)


def traced(frame: pd.DataFrame) -> str:
    """Journal the provenance of a frame, and return the provenance as a line of HTML."""
    origin = provenance(frame)
    if origin is None:
        return ""
    current().event("query", **_journaled(origin))
    return cards.provenance_line(_facts(frame, origin), origin.sql)


def ask(what: str, db: str, row_cap: int | None, values: Mapping[str, Any]) -> pd.DataFrame:
    """Run a diagnostic or SQL as `query` does, but show nothing."""
    if unfilled(db):
        return _failed(what, db, _not_filled_in(hints(db)))
    if not db:
        return _failed(what, db, _NO_CONNECTION)
    session = triage().session(db)
    named = what in diagnostics.names()
    if not named and re.fullmatch(r"[\w-]+/[\w-]+", what):
        diagnostics.get(what)  # a misspelt name, not SQL: the error lists the known names
    if holes := triage().unfilled(values):
        return _failed(what, db, _not_filled_in(holes))
    if named:
        return diagnostics.run(session, what, **values)
    lexer.bind(what, values)  # an error in the text is reported even if the server does not answer
    try:
        _ = session.server
        return session.query(what, values, row_cap=row_cap)
    except QueryError:
        raise
    except DatabaseError as error:
        return _failed(what, db, error)


def _must_know(call: str, what: str, values: Mapping[str, Any], *own: str) -> None:
    """Raise an error if a value is given that the diagnostic or SQL does not use.

    Its name is probably misspelt; the error suggests a similar name.
    """
    known = _asked_for(what)
    for name in values:
        if known is not None and name not in known:
            raise unknown_keyword(call, name, [*own, *known])


def _asked_for(what: str) -> Sequence[str] | None:
    """Return the names of the values in a diagnostic or SQL; None if the SQL cannot be parsed."""
    if what in diagnostics.names():
        return list(diagnostics.get(what).parameters)
    try:
        return lexer.parameters(what)
    except SqlTextError:
        return None  # the error is reported when the query runs


def _failed(what: str, db: str, error: RbkernelError) -> pd.DataFrame:
    known = list(diagnostics.get(what).columns) if what in diagnostics.names() else []
    return failed_frame(known, error, name=lexer.first_line(what), connection=db, sql=what)


_NO_CONNECTION = ParameterError(
    "no connection was given, so no query was sent",
    next_step="give the name of a connection as a parameter of the runbook; for a standby, write"
    " `standby = …` into the connection of its primary in rbkernel.toml",
)


def _not_filled_in(names: list[str]) -> ParameterError:
    one = len(names) == 1
    return ParameterError(
        f"the {'parameter' if one else 'parameters'} {', '.join(names)} {'is' if one else 'are'}"
        " not filled in, so no query was sent",
        next_step=f"write a value for {'it' if one else 'them'} into the parameters cell",
    )


def _table(frame: pd.DataFrame) -> str:
    shown = frame.head(_SHOWN_ROWS).copy()
    for column in shown.select_dtypes(["datetime", "datetimetz"]):
        shown[column] = shown[column].dt.strftime("%Y-%m-%d %H:%M:%S")
    return frames.table(shown)


def _facts(frame: pd.DataFrame, origin: Provenance) -> list[str]:
    shown = f", first {_SHOWN_ROWS} shown" if len(frame) > _SHOWN_ROWS else ""
    cut = f", TRUNCATED by {origin.cut_by}" if origin.cut_by else ""
    return [
        origin.name,
        f"{origin.rows} row{'' if origin.rows == 1 else 's'}{shown}{cut}",
        f"{origin.duration_s * 1000:.0f} ms",
        f"{origin.connection} {origin.server}".strip(),
        f"as {origin.role}" if origin.role else "",
        _range(origin),
        f"at {origin.at}",
        ", ".join(f"{column}: {policy}" for column, policy in origin.protected.items()),
        f"names looked up in {origin.search_path}" if origin.search_path else "",
        f"from {origin.origin}" if origin.origin else "",
        *origin.notes,
    ]


def _range(origin: Provenance) -> str:
    """Return the time range of an answer as text, or its moment; empty if it has neither."""
    if not origin.begins:
        return f"values of {origin.ends}" if origin.ends else ""
    every = f", every {origin.step_s:g} s" if origin.step_s else ""
    return f"{origin.begins} to {origin.ends}{every}"


def _journaled(origin: Provenance) -> dict[str, Any]:
    return {field: getattr(origin, field) for field in origin.__dataclass_fields__}
