"""The library of named diagnostics: one `.sql` file each, described by a YAML header of its own.

A diagnostic never raises because the patient is sick. It returns an empty frame with the columns
that its header declares and the reason attached, which every rule reads as ``unknown``.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from rbkernel.config.words import did_you_mean
from rbkernel.errors import DatabaseError, QueryError, RbkernelError
from rbkernel.postgres import apptable, driver
from rbkernel.postgres.answer import Answer, failed
from rbkernel.postgres.apptable import Table
from rbkernel.postgres.capabilities import CAPABILITIES, Server, has, lacking
from rbkernel.postgres.driver import quote_identifier
from rbkernel.postgres.rule import Rule
from rbkernel.postgres.session import Session
from rbkernel.postgres.twice import LONGEST_S, PAUSE, SHORTEST_S, Twice

if TYPE_CHECKING:
    import pandas as pd

_PLACE = re.compile(r"\{(\w+)\}")
# character_not_in_repertoire, untranslatable_character; undefined_function: no such conversion
_NOT_IN_ENCODING = frozenset({"22021", "22P05", "42883"})


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Parameter(_Part):
    """A value that a diagnostic is asked with; without a default it must be given."""

    help: str
    default: str | int | float | None = None


class Figure(_Part):
    """The picture that shows a diagnostic's result at a glance; see `rbkernel.triage.figure`."""

    kind: Literal["timeline", "bars", "strip"]
    x: str = ""
    y: str = ""
    by: str = ""
    unit: str = ""
    title: str = ""


class Again(_Part):
    """When to ask again: what one look shows may have passed within a moment.

    While the ``column`` is not NULL, it is asked again every ``every_s`` seconds, with the first
    value of it as ``parameter``, and ``times`` times at the most.
    """

    column: str
    parameter: str
    every_s: float
    times: int


class Batch(_Part):
    """An answer that is asked for in parts, each in a transaction of its own, to hold few locks.

    The SQL takes ``:after`` and ``:batch``, and returns one more column ``batch_key``, the largest
    of which is the next ``:after``. The whole is sorted by `worst_first`, unknown values first.
    """

    rows: int
    worst_first: str


class Diagnostic(_Part):
    """A named query and what its header says of it.

    ``columns`` maps each column to its meaning with its unit; ``variants`` maps a capability to
    the SQL for servers that have it, newest first. Without its ``requires_table`` a diagnostic
    makes no sense for a database, which is no defect of the database: see `inapplicable`.
    ``{schema}`` in the SQL stands for the schema of that table, or of the extension that is needed.
    SQL with a LIMIT returns one more column, ``of_all``: how many rows there would be without it.
    ``cut`` maps a column to the characters that are kept of its text: functions of the server that
    count characters fail on text of another database that is not valid in the encoding of this one.
    With ``twice`` there are two looks, ``every_s`` apart, and the answer is what has changed.
    """

    name: str
    purpose: str
    runs_on: Literal["primary", "standby", "any"] = "any"
    needs: tuple[str, ...] = ()
    requires_table: Table | None = None
    columns: dict[str, str]
    parameters: dict[str, Parameter] = Field(default_factory=dict)
    again: Again | None = None
    rules: tuple[Rule, ...] = ()
    figure: Figure | None = None
    source: str = ""
    cut: dict[str, int] = Field(default_factory=dict)
    batch: Batch | None = None
    twice: Twice | None = None
    sql: str
    variants: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _with_parameters_of_the_asking(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        own: dict[str, Any] = {}
        if told := data.get("requires_table"):
            table = Table.model_validate(told)
            own |= {n: {"help": words, "default": ""} for n, words in table.parameters().items()}
        if told := data.get("twice"):
            pause_s = Twice.model_validate(told).every_s
            own[PAUSE] = {"help": "s between the two looks", "default": pause_s}
        return {**data, "parameters": {**data.get("parameters", {}), **own}}

    @property
    def shown_sql(self) -> str:
        """The text for people."""
        return self.shown(self.sql)

    def shown(self, sql: str) -> str:
        """Return one of its texts with the usual names in the place of what is found."""
        fills = {"texts": "true"}
        if table := self.requires_table:
            fills["table"] = table.name
            fills |= {meaning: column.names[0] for meaning, column in table.columns.items()}
        return filled(sql.replace("{schema}.", ""), fills)

    def sql_for(self, server: Server) -> str:
        """Return the text for this server: the newest variant that it is capable of."""
        fitting = (sql for name, sql in self.variants.items() if has(server, name))
        return next(fitting, self.sql)


def filled(sql: str, fills: Mapping[str, str]) -> str:
    """Put SQL in the place of each ``{name}``.

    >>> filled("SELECT {at} FROM {table}", {"at": '"queued_at"', "table": '"shop"."outbox"'})
    'SELECT "queued_at" FROM "shop"."outbox"'
    """
    # in one pass: a team's column may itself be called "{table}"
    return _PLACE.sub(lambda found: fills.get(found[1], found[0]), sql)


def names() -> list[str]:
    """Return the names of all diagnostics, sorted."""
    return sorted(_sources())


@cache
def get(name: str) -> Diagnostic:
    """Return a diagnostic by name, such as ``replication/lag``.

    Raises
    ------
    QueryError
        There is none of that name; the message lists those there are.
    """
    if name not in names():
        raise QueryError(
            f"no diagnostic is called {name!r}; there are {', '.join(names())}"
            f"{did_you_mean(name, names())}",
            next_step="use one of these names, or write the query in a %%sql cell",
        )
    base, variants = _sources()[name]
    newest_first = sorted(variants, key=lambda variant: -CAPABILITIES[variant].since)
    texts = {variant: _without_comment(variants[variant]) for variant in newest_first}
    return parse(name, base, texts)


def parse(name: str, source: str, variants: Mapping[str, str] | None = None) -> Diagnostic:
    """Read a diagnostic: a YAML header in a comment, then the SQL.

    >>> text = "/*\\npurpose: x\\ncolumns: {n: how many}\\n*/\\nSELECT 1 AS n"
    >>> parse("a/b", text).columns
    {'n': 'how many'}
    """
    header, _, sql = source.lstrip().removeprefix("/*").partition("*/")
    fields = yaml.safe_load(header)
    return Diagnostic(name=name, sql=sql.strip(), variants=dict(variants or {}), **fields)


def inapplicable(session: Session, name: str) -> str:
    """Say why a diagnostic has nothing to say of this database; empty when it has.

    An overview leaves out what is inapplicable. What is applicable and cannot be answered, for
    want of a privilege or an extension, it must not leave out.

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
    return f"{diagnostic.name} can only be asked of a {diagnostic.runs_on}, and this is a {kind}"


def _statements_schema(session: Session) -> str:
    """Return what ``{schema}`` stands for: the schema of pg_stat_statements, quoted."""
    if schema := session.server.statements_schema:
        return quote_identifier(schema)
    raise DatabaseError(
        "the extension pg_stat_statements has not its own views in its schema",
        where=f"connection {session.connection.name}",
        next_step="have an administrator drop the extension and create it anew",
    )


def _not_applicable(reason: str, where: str) -> DatabaseError:
    return DatabaseError(
        f"not applicable: {reason}",
        where=where,
        next_step="give the connection name of the server and database that it is about; if"
        " primary and standby have changed roles, a failover has happened",
    )


def run(session: Session, name: str, **values: Any) -> pd.DataFrame:
    """Run a diagnostic, as `ask` does; twice, with a pause, where its header says so.

    Returns
    -------
    pandas.DataFrame
        Rows × the header's columns; empty, with a reason in its provenance, when the patient
        could not or would not answer.
    """
    if get(name).twice:
        return _twice(session, get(name), values)
    return framed(name, ask(session, name, **values))


def framed(name: str, answer: Answer) -> pd.DataFrame:
    """Return the answer of a diagnostic as a frame of its header's columns."""
    # imported late: pandas takes a second, and a look at a server needs no frame
    from rbkernel.postgres import frames

    # a policy may have dropped a column that the rules ask for: they find it empty
    return frames.to_frame(answer).reindex(columns=list(get(name).columns))


def _twice(session: Session, diagnostic: Diagnostic, values: Mapping[str, Any]) -> pd.DataFrame:
    """Look, wait with nothing open on the server, look again, and return what has changed."""
    from rbkernel.postgres import frames, rates

    assert diagnostic.twice
    first = _ask(session, diagnostic, values, texts=False)
    if first.told.reason:
        return framed(diagnostic.name, first)
    time.sleep(values.get(PAUSE, diagnostic.twice.every_s))
    second = _ask(session, diagnostic, values)
    if second.told.reason:
        return framed(diagnostic.name, second)
    looks = (frames.to_frame(first), frames.to_frame(second))
    try:
        changed = rates.between(*looks, diagnostic.twice)
    except DatabaseError as error:
        return framed(diagnostic.name, _failed(session, diagnostic, error))
    return changed.reindex(columns=list(diagnostic.columns))


def ask(session: Session, name: str, **values: Any) -> Answer:
    """Ask a diagnostic's question once, and return what may be shown of the answer.

    Returns
    -------
    Answer
        Without rows, with a reason in its provenance, when the patient could not or would not
        answer.

    Raises
    ------
    QueryError
        Unknown name, missing or unknown parameter: a programming error.
    """
    return _ask(session, get(name), values)


def _ask(
    session: Session, diagnostic: Diagnostic, given: Mapping[str, Any], *, texts: bool = True
) -> Answer:
    """Ask as `ask` does, without the texts of statements where nobody will read them."""
    values = _complete(diagnostic, given)
    values.pop(PAUSE, None)
    try:
        sql = diagnostic.sql_for(session.server)
        if not texts:
            sql = filled(sql, {"texts": "false"})
        _check_fit(session, diagnostic)
        ask_all = _answered_in_batches if diagnostic.batch else _answered
        answer = _told_of_all(ask_all(session, diagnostic, sql, values))
        answer = _asked_again(session, diagnostic, sql, values, answer)
        return answer.protected(session.connection.redaction)
    # the text is ours and tested on all versions, so a server that finds it wrong is a strange one
    except (DatabaseError, QueryError) as error:
        return _failed(session, diagnostic, error)


def _failed(session: Session, diagnostic: Diagnostic, error: RbkernelError) -> Answer:
    return failed(
        list(diagnostic.columns),
        error,
        name=diagnostic.name,
        connection=session.connection.name,
        sql=diagnostic.shown_sql,
    )


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
    if table := diagnostic.requires_table:
        given = {name: str(values[name]) for name in table.parameters()}
        values = {name: value for name, value in values.items() if name not in given}
        found = apptable.find(session, table, given)
        fills, notes = {**fills, **found.fills}, found.notes
    elif "{schema}" in sql:
        fills["schema"] = _statements_schema(session)
    try:
        answer = session.answer(filled(sql, fills), values, name=diagnostic.name)
    except QueryError as error:
        if "{texts}" not in sql or driver.sqlstate(error) not in _NOT_IN_ENCODING:
            raise
        sql = filled(sql, {**fills, "texts": "false"})
        answer = session.answer(sql, values, name=diagnostic.name)
        notes = (*notes, "query: left out, since a text is not valid in the encoding here")
    return replace(answer.cut(diagnostic.cut), told=replace(answer.told, notes=notes))


def _answered_in_batches(
    session: Session, diagnostic: Diagnostic, sql: str, values: Mapping[str, Any]
) -> Answer:
    """Ask for one part after the other, until one is not full or the row cap is reached."""
    batch = diagnostic.batch
    assert batch
    parts: list[Answer] = []
    after = rows = 0
    row_cap = session.connection.row_cap
    while True:
        part = _answered(session, diagnostic, sql, {**values, "after": after, "batch": batch.rows})
        parts.append(part)
        rows += len(part.rows)
        if part.told.cut_by or len(part.rows) < batch.rows or rows >= row_cap:
            break
        after = max(part.values("batch_key"))
    return replace(
        parts[0],
        rows=_worst_first([row for part in parts for row in part.rows], parts[0], batch),
        told=replace(
            parts[0].told,
            rows=rows,
            duration_s=round(sum(part.told.duration_s for part in parts), 4),
            cut_by=part.told.cut_by or (f"the row cap of {row_cap}" if rows >= row_cap else ""),
        ),
    )


def _worst_first(
    rows: Sequence[Sequence[Any]], answer: Answer, batch: Batch
) -> list[Sequence[Any]]:
    [place] = [at for at, one in enumerate(answer.columns) if one.name == batch.worst_first]
    return sorted(rows, key=lambda row: (row[place] is None, row[place] or 0), reverse=True)


def _told_of_all(answer: Answer) -> Answer:
    """Read how many rows there would be without the LIMIT of the SQL, and say what it cut."""
    of_all = max(answer.values("of_all"), default=0)
    if of_all <= len(answer.rows) or answer.told.cut_by:
        return answer
    limit = f"the limit of this diagnostic: {len(answer.rows)} of {of_all} rows"
    return replace(answer, told=replace(answer.told, cut_by=limit))


def typed(name: str, values: Mapping[str, str]) -> dict[str, Any]:
    """Turn text from a command line into the types of a diagnostic's defaults.

    Raises
    ------
    QueryError
        A value is no number where a number is wanted.
    """
    declared = get(name).parameters
    try:
        return {
            key: float(value)
            if key in declared and isinstance(declared[key].default, int | float)
            else value
            for key, value in values.items()
        }
    except ValueError as error:
        raise QueryError(
            f"{name} wants numbers: {error}", next_step="pass a number, such as 5"
        ) from error


def _sources() -> dict[str, tuple[str, dict[str, str]]]:
    """Return the text of each base file, and of its variants by capability."""
    found: dict[str, tuple[str, dict[str, str]]] = {}
    for file in _sql_files():
        stem, _, capability = file.name.removesuffix(".sql").partition("@")
        name = f"{_folder(file)}/{stem}"
        base, variants = found.get(name, ("", {}))
        text = file.read_text(encoding="utf-8")
        found[name] = (base, {**variants, capability: text}) if capability else (text, variants)
    return found


def _sql_files() -> list[Traversable]:
    root = files("rbkernel.postgres").joinpath("sql")
    folders = (folder for folder in root.iterdir() if folder.is_dir())
    return [file for folder in folders for file in folder.iterdir() if file.name.endswith(".sql")]


def _folder(file: Traversable) -> str:
    return str(file).replace("\\", "/").split("/")[-2]


def _without_comment(source: str) -> str:
    return source.partition("*/")[2].strip() if source.lstrip().startswith("/*") else source.strip()


def _complete(diagnostic: Diagnostic, values: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in defaults, and refuse what is missing or unknown."""
    declared = diagnostic.parameters
    defaults = {name: p.default for name, p in declared.items() if p.default is not None}
    complete = {**defaults, **values}
    if set(complete) != set(declared):
        raise QueryError(
            f"{diagnostic.name} takes the parameters {', '.join(declared) or 'none'}; it was given"
            f" {', '.join(values) or 'none'}",
            next_step="pass those without a default as keywords, and no others",
        )
    for name, value in complete.items():
        # NaN is neither above nor below anything: it would hide every row
        if isinstance(value, float) and not math.isfinite(value):
            raise QueryError(
                f"{name}={value} is no number to compare with",
                where=diagnostic.name,
                next_step="pass a finite number, such as 5",
            )
    if diagnostic.twice and not SHORTEST_S <= complete[PAUSE] <= LONGEST_S:
        raise QueryError(
            f"{PAUSE}={complete[PAUSE]} is no time between two looks",
            where=diagnostic.name,
            next_step=f"pass {SHORTEST_S:g} to {LONGEST_S:g} s",
        )
    return complete


def _check_fit(session: Session, diagnostic: Diagnostic) -> None:
    """Refuse before asking what the server could only answer wrongly."""
    where = f"connection {session.connection.name}"
    if reason := _wrong_kind(session, diagnostic):
        raise _not_applicable(reason, where)
    if reason := lacking(session.server, diagnostic.needs):
        raise DatabaseError(
            f"{diagnostic.name} cannot be answered: {reason}",
            where=where,
            next_step="have an administrator provide it, or do without this look",
        )
