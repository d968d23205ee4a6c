"""The command `rbkernel reconcile`: compare two tables, and write an SQL repair to review.

A long comparison stores its progress in a file in the user's state folder. `--resume` continues
from this file, if the tables and options are the same and the file is less than a day old.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Annotated

import platformdirs
import typer

from rbkernel import amounts, config
from rbkernel.cli.output import AsJson, Ending, complain, print_json, print_table
from rbkernel.cli.terminal import styled
from rbkernel.errors import DatabaseError, EvidenceError, ParameterError, RbkernelError

if TYPE_CHECKING:
    from rbkernel.reconciliation import Difference, Outcome, Progress, Question
    from rbkernel.sources.postgres.connection.session import Session

_STALE_S = 24 * 3600
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LISTED = 5


def reconcile(
    source: Annotated[str, typer.Argument(help="The reference table, as CONNECTION:table.")],
    target: Annotated[str, typer.Argument(help="The table to compare, as CONNECTION:table.")],
    key: Annotated[
        str, typer.Option(help="Columns of the key, which identify a row: id or a,b.")
    ] = "id",
    columns: Annotated[
        str, typer.Option(help="Columns to compare: a,b. Default: all of the source.")
    ] = "",
    ignore: Annotated[
        str,
        typer.Option(
            help="Columns of the source that are not compared, and may be missing in the target:"
            " a,b."
        ),
    ] = "",
    mapping: Annotated[
        list[str],
        typer.Option(
            "--map", help="old=new: a column with another name in the target; repeatable."
        ),
    ] = [],  # noqa: B006  # typer reads the default, nobody changes it
    where: Annotated[str, typer.Option(help="SQL condition on the rows of both tables.")] = "",
    target_where: Annotated[
        str, typer.Option(help="The condition for the target, if it differs from --where.")
    ] = "",
    window: Annotated[
        str, typer.Option(help="Compare only rows that are not older than this: 90s, 30m, 24h, 7d.")
    ] = "",
    window_column: Annotated[
        str, typer.Option(help="The column with the time of a row, for --window.")
    ] = "",
    tolerance: Annotated[
        list[str],
        typer.Option(
            help="column=0.01: ignore differences of at most 0.01 in this column; repeatable."
        ),
    ] = [],  # noqa: B006
    time_zone: Annotated[
        str, typer.Option(help="The time zone of columns of type timestamp without time zone.")
    ] = "",
    recheck_after: Annotated[
        float,
        typer.Option(help="Seconds until differing rows are compared again; 0: no recheck.", min=0),
    ] = 5.0,
    max_load: Annotated[
        float | None,
        typer.Option(
            help="Pause while more sessions than this are active or wait for a lock.", min=0
        ),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(
            help="Parts compared in parallel, each with one connection per server.",
            min=1,
            max=8,
        ),
    ] = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume an interrupted comparison.")
    ] = False,
    repair: Annotated[
        Path | None,
        typer.Option(help="Write SQL that repairs the target, and SQL that undoes the repair."),
    ] = None,
    limit: Annotated[int, typer.Option(help="The most differing rows to show.", min=0)] = 20,
    as_json: AsJson = False,
) -> None:
    """Compare two tables row by row.

    Exit codes: 0 same, 1 different, 3 incomplete or error.

    Example: rbkernel reconcile orders-old:shop.orders orders-new:shop.orders --key id
    """
    from rbkernel.reconciliation import Question, compare

    source_db, source_table = _place(source)
    target_db, target_table = _place(target, default=source_db)
    question = Question(
        source=source_table,
        target=target_table,
        key=_names(key),
        columns=_names(columns),
        ignore=_names(ignore),
        mapping=dict(_assigned(text, "--map") for text in mapping),
        where=where,
        target_where=target_where,
        window_s=_seconds(window),
        window_column=window_column,
        tolerance=dict(_tolerated(text) for text in tolerance),
        time_zone=time_zone,
    )
    if repair:
        _check_writable(repair)
    state = _State(question, (source_db, target_db))
    with _sessions(source_db, target_db) as sessions, _bar() as show:

        def report(progress: Progress) -> None:
            state.save(progress)
            show(progress)

        try:
            outcome = compare(
                *sessions,
                question,
                recheck_after_s=recheck_after,
                max_load=max_load,
                jobs=jobs,
                resume=state.load() if resume else None,
                report=report,
            )
        except DatabaseError as error:
            raise state.resumable(error) from error
        files = _write_repair(repair, sessions, question, outcome) if repair else ()
    state.remove()
    _print(question, outcome, files, limit=limit, as_json=as_json)
    raise Ending(0 if outcome.same else 1)


class _State:
    """The file that stores the progress of a table comparison, for `--resume`."""

    def __init__(self, question: Question, connections: tuple[str, str]) -> None:
        name = hashlib.sha256(f"{connections} {question.digest}".encode()).hexdigest()[:16]
        self._file = platformdirs.user_state_path("rbkernel") / "reconcile" / f"{name}.json"

    def load(self) -> Progress | None:
        """Return a comparison's stored progress; if there is none to use, say why, return None."""
        from rbkernel.reconciliation import Progress

        if not self._file.is_file():
            complain("there is no interrupted comparison to resume; starting over")
            return None
        age_s = time() - self._file.stat().st_mtime
        if age_s > _STALE_S:
            complain(f"the interrupted comparison is {age_s / 3600:.0f} h old; starting over")
            return None
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        progress = Progress.from_json(found)
        complain(
            f"resuming after {progress.done} of {len(progress.parts)} parts, started"
            f" {progress.started_at}; parts that were equal are not compared again"
        )
        return progress

    def save(self, progress: Progress) -> None:
        """Store the progress of the comparison, for `--resume`."""
        from rbkernel.evidence import store

        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        data = json.dumps(progress.as_json()).encode()
        store.write_atomically(self._file, data)

    def remove(self) -> None:
        """Delete the stored progress, because the comparison is complete."""
        self._file.unlink(missing_ok=True)

    def resumable(self, error: DatabaseError) -> RbkernelError:
        """Return a database error; if the comparison can be resumed, with advice to resume it."""
        if not self._file.is_file():
            return error
        step = f"{error.next_step}; then run the same command with --resume"
        return DatabaseError(error.what, where=error.where, next_step=step)


@contextmanager
def _sessions(source_db: str, target_db: str) -> Iterator[tuple[Session, Session]]:
    from rbkernel.sources.postgres.connection.session import Session

    settings = config.load()
    with ExitStack() as stack:

        def opened(name: str) -> Session:
            session = Session(settings.connection(name), application_name="rbkernel/reconcile")
            return stack.enter_context(closing(session))

        source = opened(source_db)
        yield source, source if target_db == source_db else opened(target_db)


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    """Show the progress bar of a comparison, but only on a terminal."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(file=styled(sys.stderr))
    with Bar(console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("comparing", total=None)

        def show(progress: Progress) -> None:
            text = (
                f"{amounts.count(progress.source_rows, 'row')} compared,"
                f" {len(progress.differences):,} may differ"
            )
            bar.update(task, total=len(progress.parts), completed=progress.done, description=text)

        yield show


def _check_writable(path: Path) -> None:
    """Raise an error if the repair script cannot be written to this path."""
    folder = path.absolute().parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        why = "is a folder" if path.is_dir() else "is not in a writable folder"
        raise ParameterError(
            f"{path} {why}", where="--repair", next_step="name a file in a folder that exists"
        )


def _write_repair(
    path: Path, sessions: tuple[Session, Session], question: Question, outcome: Outcome
) -> tuple[Path, ...]:
    from rbkernel.evidence import store
    from rbkernel.reconciliation import repair

    if outcome.beyond:
        raise ParameterError(
            f"{len(outcome.standing) + outcome.beyond} rows differ: too many for a script",
            where="--repair",
            next_step="find the cause first; or compare fewer rows with --where or --window",
        )
    written = repair.write(*sessions, question, outcome.standing)
    if not written.rows:
        return ()
    inverse = path.with_name(f"{path.stem}.inverse{path.suffix or '.sql'}")
    try:
        store.write_atomically(path.absolute(), written.sql.encode())
        store.write_atomically(inverse.absolute(), written.inverse.encode())
    except EvidenceError as error:
        raise ParameterError(
            f"the repair cannot be written: {error.__cause__}",
            where="--repair",
            next_step="name a file where there is space, and run the command again",
        ) from error
    for obstacle in written.obstacles:
        complain(f"the repair has an obstacle: {obstacle}")
    return path, inverse


def _print(
    question: Question, outcome: Outcome, files: tuple[Path, ...], *, limit: int, as_json: bool
) -> None:
    if as_json:
        print_json(
            {
                **dataclasses.asdict(outcome),
                "same": outcome.same,
                "counts": outcome.counts(),
                "columns": outcome.columns(),
                "repair": [str(path) for path in files],
            }
        )
        return
    for line in _summary(question, outcome):
        typer.echo(line)
    shown = outcome.standing[:limit]
    if shown:
        names = ("key", "kind", "columns", "state")
        print_table(names, [_row(one) for one in shown])
        if (more := len(outcome.standing) - len(shown) + outcome.beyond) > 0:
            typer.echo(f"… and {more} more (--limit, --json)")
    typer.echo(f"next: {_next_step(outcome, files)}")


def _summary(question: Question, outcome: Outcome) -> Iterator[str]:
    counts = ", ".join(f"{count} {kind}" for kind, count in outcome.counts().items())
    more = f", {outcome.beyond} more not rechecked" if outcome.beyond else ""
    verdict = "SAME" if outcome.same else f"DIFFERENT: {counts}{more}"
    yield f"{verdict}  ({question.target} against {question.source})"
    if columns := outcome.columns():
        per_column = ", ".join(f"{name} in {count}" for name, count in columns.items())
        yield f"columns that differ: {per_column}"
    if in_flight := len(outcome.differences) - len(outcome.standing):
        rows = amounts.count(in_flight, "row")
        yield f"in flight: {rows} differed at first but matched when rechecked"
    yield (
        f"compared: {amounts.count(outcome.source_rows, 'row')} of the source with"
        f" {amounts.count(outcome.target_rows, 'row')} of the target,"
        f" {amounts.count(len(outcome.compared), 'column')}, {outcome.how},"
        f" in {outcome.duration_s:.1f} s"
    )
    if outcome.snapshots > 1 or outcome.resumed:
        again = ", resumed" if outcome.resumed else ""
        yield (
            f"read from {outcome.started_at} to {outcome.ended_at}{again}, in"
            f" {amounts.count(outcome.parts, 'part')} and"
            f" {amounts.count(outcome.snapshots, 'snapshot')}: each part as of the time it was read"
        )
    if outcome.resumed and outcome.same:
        yield (
            "note: parts compared before the resume were not compared again; run without"
            " --resume to be sure"
        )
    for note in outcome.notes:
        yield f"note: {note}"


def _row(one: Difference) -> tuple[str, ...]:
    key = ", ".join(one.key)
    return key, one.kind, ", ".join(one.columns[:_LISTED]), one.state.value


def _next_step(outcome: Outcome, files: tuple[Path, ...]) -> str:
    if outcome.same:
        return "nothing to do"
    if "column" in outcome.counts():
        return "add those columns to the target, or exclude them (--ignore)"
    if "type" in outcome.counts():
        return "compare those columns with --map old=new, or exclude them with --columns"
    if files:
        return f"read {files[0]}, then run it with psql; {files[1].name} undoes it"
    return "few rows: write a repair with --repair FILE; many: halt the migration (RUN-006)"


def _place(text: str, default: str = "") -> tuple[str, str]:
    """Split ``connection:table`` into connection and table.

    >>> _place("orders-db:shop.orders"), _place("orders", default="db")
    (('orders-db', 'shop.orders'), ('db', 'orders'))
    """
    connection, colon, table = text.partition(":")
    if not colon:
        connection, table = default, text
    if not connection or not table:
        raise ParameterError(
            f"{text!r} is not of the form CONNECTION:table",
            where="rbkernel reconcile",
            next_step="write CONNECTION:table or CONNECTION:schema.table",
        )
    return connection, table


def _names(text: str) -> tuple[str, ...]:
    """Split a list of names at its commas.

    >>> _names("a, b"), _names("")
    (('a', 'b'), ())
    """
    names = tuple(name.strip() for name in text.split(","))
    return names if text else ()


def _assigned(text: str, option: str) -> tuple[str, str]:
    name, equals, value = (part.strip() for part in text.partition("="))
    if not (name and equals and value):
        raise ParameterError(
            f"{text!r} is not name=value", where=option, next_step=f"write {option} name=value"
        )
    return name, value


def _tolerated(text: str) -> tuple[str, float]:
    name, most = _assigned(text, "--tolerance")
    try:
        return name, float(most)
    except ValueError:
        raise ParameterError(
            f"{most!r} is not a number",
            where="--tolerance",
            next_step="write, for example, --tolerance amount=0.01",
        ) from None


def _seconds(text: str) -> float:
    """Convert a duration such as ``24h`` to seconds.

    >>> _seconds("24h"), _seconds("90s"), _seconds("")
    (86400.0, 90.0, 0.0)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if text and not found:
        raise ParameterError(
            f"{text!r} is not a duration",
            where="--window",
            next_step="write, for example, 30m, 24h or 7d",
        )
    return float(found[1]) * _UNITS[found[2]] if found else 0.0
