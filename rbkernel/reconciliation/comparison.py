"""Compare two tables row by row; the package's docstring lists the steps.

Ordering: the question and both catalogues are checked before any row is read; then the parts are
searched (module jobs); suspects are compared again after all parts.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import replace

from rbkernel.errors import ConfigError, DatabaseError, ParameterError, QueryError
from rbkernel.model import now
from rbkernel.reconciliation import conditions, join, parts, search, verdict
from rbkernel.reconciliation import layout as layouts
from rbkernel.reconciliation.jobs import MOST_JOBS, Report, Work, incomplete, search_parts
from rbkernel.reconciliation.layout import Layout
from rbkernel.reconciliation.locked import holders_named
from rbkernel.reconciliation.outcome import Difference, Outcome, Progress, State
from rbkernel.reconciliation.question import Question
from rbkernel.reconciliation.snapshot import Readers, readers
from rbkernel.sources.postgres.connection.session import Session

_LOOKS = 3
_OPEN = frozenset({State.ONCE, State.UNSETTLED})
MOST = 100_000


def compare(
    source: Session,
    target: Session,
    question: Question,
    *,
    recheck_after_s: float = 5.0,
    max_load: float | None = None,
    jobs: int = 1,
    most: int = MOST,
    resume: Progress | None = None,
    report: Report = lambda _: None,
    portable: bool = False,
) -> Outcome:
    """Compare two tables, and return the rows that differ permanently.

    Parameters
    ----------
    source, target
        The connections; the same session if one server holds both tables.
    question
        The tables, and the options of the comparison.
    recheck_after_s
        Seconds between two comparisons of a suspect; must exceed the delay of replication. With 0,
        suspects are compared once.
    max_load
        If more sessions of a server are active or wait for a lock, the comparison pauses.
    jobs
        How many parts are compared at the same time, 1 to `MOST_JOBS`; each job has its own session
        on each server, open for the whole comparison.
    most
        The maximum number of differences that are listed and compared again; others are only
        counted.
    resume
        The progress of an earlier run of the same question.
    report
        Called after each part, with the progress that a later run needs.
    portable
        Use the hash that all servers have, even if these two have a faster one.

    Returns
    -------
    Outcome
        The result; it is returned only if every part was compared.

    Raises
    ------
    DatabaseError
        A server fails or refuses: the comparison is incomplete.
    QueryError, ParameterError, ConfigError
        The question is not valid, or its conditions select no row.
    """
    _check_jobs(jobs)
    for session in (source, target):
        question.check(session.connection.allow_functions)
    began = time.monotonic()
    with holders_named(source, target, question), readers(source, target) as both:
        _check_time_zone(question, both)
        layout = layouts.read(question, both)
        layouts.check_key(layout, both)
        progress = _begin(question, layout, both, resume)
        filters = conditions.read(question, layout, both, progress.since)
        if not progress.parts:
            split = parts.split(layout, both, filters=filters, jobs=jobs)
            progress = replace(progress, parts=tuple(split))
        portable = portable or (not both.one_server and not search.hash_alike(both))
        pair = search.sides(layout, both, filters, portable=portable)
        work = Work(
            question=question, layout=layout, both=both, pair=pair, max_load=max_load,
            most=most, report=report,
        )  # fmt: skip
        progress = search_parts(work, progress, jobs)
        if any(filters) and not (progress.source_rows or progress.target_rows):
            raise conditions.nothing_compared(question)
        progress = _recheck(work, progress, recheck_after_s)
    return _outcome(work, progress, time.monotonic() - began, portable, resumed=resume is not None)


def _check_jobs(jobs: int) -> None:
    if not 1 <= jobs <= MOST_JOBS:
        raise ParameterError(
            f"{jobs} is not a valid number of jobs",
            where="reconcile",
            next_step=f"ask for 1 to {MOST_JOBS}",
        )


def _begin(question: Question, layout: Layout, both: Readers, resume: Progress | None) -> Progress:
    fingerprint = hashlib.sha256(repr(layout).encode()).hexdigest()[:16]
    if resume is None:
        since = _window_start(question, both)
        return Progress(
            digest=question.digest, layout=fingerprint, parts=(), started_at=now(), since=since
        )
    if (resume.digest, resume.layout) != (question.digest, fingerprint):
        raise ConfigError(
            "the earlier run had other options, or a table was changed since",
            where="reconcile",
            next_step="run it without --resume, from the beginning",
        )
    return resume


def _check_time_zone(question: Question, both: Readers) -> None:
    if not question.time_zone:
        return
    try:
        both.source.rows("SELECT now() AT TIME ZONE %(zone)s::text", {"zone": question.time_zone})
    except QueryError as error:
        raise ParameterError(
            f"there is no time zone {question.time_zone!r}",
            where="time zone",
            next_step="use a PostgreSQL name, such as Europe/Berlin or UTC",
        ) from error


def _window_start(question: Question, both: Readers) -> str:
    if not question.window_s:
        return ""
    [(since,)] = both.source.rows(
        "SELECT (now() - make_interval(secs => %(window_s)s))::text",
        {"window_s": question.window_s},
    )
    return str(since)


def _recheck(work: Work, progress: Progress, delay_s: float) -> Progress:
    """Compare the differences again until they are settled, at most `_LOOKS` - 1 times."""
    seen: Sequence[Difference] = progress.differences
    for _ in range(_LOOKS - 1):
        if delay_s <= 0 or not any(one.state in _OPEN for one in seen):
            break
        work.both.release()
        time.sleep(delay_s)
        try:
            seen = _look_again(work, seen)
        except DatabaseError as error:
            raise incomplete(error, progress) from error
    return replace(progress, differences=tuple(seen))


def _look_again(work: Work, seen: Sequence[Difference]) -> list[Difference]:
    """Compare unsettled differences in a new snapshot; return all differences with new states."""
    open_keys = [one.key for one in seen if one.state in _OPEN]
    way = join if work.both.one_server else verdict
    examined = way.examine(work.layout, work.pair, open_keys, work.both)
    now = {one.key: one for some in examined for one in some}
    return [one.settled(now.get(one.key)) if one.state in _OPEN else one for one in seen]


def _outcome(
    work: Work, progress: Progress, duration_s: float, portable: bool, *, resumed: bool
) -> Outcome:
    layout, both = work.layout, work.both
    of_columns = tuple(
        Difference(key=(), kind=kind, columns=(name,), state=State.PERSISTENT)
        for kind, names in (("column", layout.lacking), ("type", layout.odd))
        for name in names
    )
    hashed = "MD5 of rows" if portable else "hashes of rows"
    ends = [part for part in progress.parts if part.kind == "range"]
    return Outcome(
        differences=(*of_columns, *progress.differences),
        beyond=progress.beyond,
        source_rows=progress.source_rows,
        target_rows=progress.target_rows,
        key=tuple(column.name for column in layout.key),
        compared=tuple(column.name for column in layout.everything),
        integer_key=layout.integer_key,
        notes=layout.notes,
        key_range=(ends[0].least, ends[-1].most) if ends else (None, None),
        snapshots=progress.snapshots,
        parts=len(progress.parts),
        how="full join" if both.one_server else f"{hashed} on two servers",
        started_at=progress.started_at,
        ended_at=now(),
        duration_s=round(duration_s, 3),
        servers=(str(both.source.session.server), str(both.target.session.server)),
        role=both.source.session.server.role,
        resumed=resumed,
    )
