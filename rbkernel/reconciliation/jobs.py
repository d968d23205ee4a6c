"""Search the parts of a table for differing rows, one by one or several at the same time.

A job is a pair of connections that compares one part at a time. Invariants: parts are counted in
their order, not in the order in which they end, so that `Progress` always holds the first parts,
and the result does not depend on the number of jobs; the number of finished parts that wait for
earlier ones is bounded; if a job fails, or a human interrupts, the queries of the other jobs are
cancelled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from itertools import islice
from queue import SimpleQueue

from rbkernel import amounts
from rbkernel.errors import DatabaseError
from rbkernel.reconciliation import join, load, verdict
from rbkernel.reconciliation.layout import Layout
from rbkernel.reconciliation.outcome import Difference, Progress
from rbkernel.reconciliation.parts import Part
from rbkernel.reconciliation.question import Question
from rbkernel.reconciliation.search import Searched, Side
from rbkernel.reconciliation.snapshot import LONGEST_S, Reader, Readers, several, stop

MOST_JOBS = 8

Report = Callable[[Progress], None]


@dataclass(frozen=True, kw_only=True)
class Work:
    """The values that all steps of one comparison share."""

    question: Question
    layout: Layout
    both: Readers
    pair: tuple[Side, Side]
    max_load: float | None
    most: int
    report: Report


@dataclass(frozen=True, kw_only=True)
class _Found:
    """The result for one part of the tables: listed differences, and the number of unlisted
    ones.
    """

    searched: Searched
    differences: Sequence[Difference]
    beyond: int
    snapshots: int


def search_parts(work: Work, progress: Progress, jobs: int) -> Progress:
    """Compare the remaining parts of the tables, and report the progress after each part.

    Raises
    ------
    DatabaseError
        A part could not be compared; the message says how many parts were.
    """
    left = progress.parts[progress.done :]
    ranged = any(part.kind == "range" for part in progress.parts)
    prepare = Reader.read_by_index if ranged else Reader.begin
    with several(work.both, min(jobs, len(left))) as crew:
        for both in crew:
            both.both(prepare, prepare)
        with ThreadPoolExecutor(len(crew), thread_name_prefix="rbkernel-reconcile") as pool:
            return _in_order(_Jobs(work, crew, pool), progress)


def _in_order(jobs: _Jobs, progress: Progress) -> Progress:
    parts = iter(progress.parts[progress.done :])
    dense = False
    try:
        while progress.done < len(progress.parts):
            room = jobs.work.most - len(progress.differences)
            for part in islice(parts, jobs.free):
                jobs.ask(part, room=room, dense=dense)
            try:
                found = jobs.first()
            except DatabaseError as error:
                raise incomplete(error, progress) from error
            dense = found.searched.dense
            progress = _and(progress, found, jobs.work)
            jobs.work.report(progress)
    except BaseException:
        # cancels also if a human interrupts, so that no query continues
        jobs.stop()
        raise
    return progress


class _Jobs:
    """The connections that compare parts, and the parts that are being compared, in order."""

    def __init__(self, work: Work, crew: Sequence[Readers], pool: ThreadPoolExecutor) -> None:
        self.work = work
        self._crew = crew
        self._pool = pool
        self._asked: deque[Future[_Found]] = deque()
        self._idle: SimpleQueue[Readers] = SimpleQueue()
        for both in crew:
            self._idle.put(both)

    @property
    def free(self) -> int:
        """Return how many more parts may start: each job except the first may work one part
        ahead.
        """
        return 2 * len(self._crew) - 1 - len(self._asked)

    def ask(self, part: Part, *, room: int, dense: bool) -> None:
        """Start the comparison of one more part of the tables."""
        self._asked.append(self._pool.submit(self._compare, part, room, dense))

    def first(self) -> _Found:
        """Wait for the result of the first part, and return it; if a later part fails, raise at
        once.
        """
        while not self._asked[0].done():
            done, running = wait(self._asked, timeout=0)
            for later in done:
                later.result()
            wait(running, return_when=FIRST_COMPLETED)
        return self._asked.popleft().result()

    def stop(self) -> None:
        """Cancel the running queries of all jobs."""
        stop(self._asked, [one for both in self._crew for one in (both.source, both.target)])

    def _compare(self, part: Part, room: int, dense: bool) -> _Found:
        work, both = self.work, self._idle.get()
        try:
            if work.max_load is not None:
                load.wait_for_calm(both, work.max_load, own=self._crew)
            both.release(older_than_s=LONGEST_S)
            way = join if both.one_server else verdict
            searched = way.search(work.layout, work.pair, part, both, dense=dense)
            found = _keep(work, searched, room, both)
            if len(self._crew) > 1:
                # the thread may wait a long time for another part
                both.release()
            return found
        finally:
            self._idle.put(both)


def _keep(work: Work, searched: Searched, room: int, both: Readers) -> _Found:
    """Keep the differences of a part up to the limit, and count the others."""
    kept: list[Difference] = []
    beyond = surplus = 0
    for some in searched.differences:
        fit = some[: max(0, room - len(kept))]
        kept += fit
        beyond += len(some) - len(fit)
        kinds = [one.kind for one in some]
        surplus += kinds.count("extra") - kinds.count("missing")
    _check_balance(work, searched, surplus)
    return _Found(searched=searched, differences=kept, beyond=beyond, snapshots=both.taken())


def _and(progress: Progress, found: _Found, work: Work) -> Progress:
    """Return the progress of the comparison with the result of the next part added.

    The list of differences may have become longer since this part started, so the differences of
    this part are cut to the limit again.
    """
    kept = found.differences[: max(0, work.most - len(progress.differences))]
    beyond = found.beyond + len(found.differences) - len(kept)
    if progress.parts[progress.done].kind == "slice" and work.layout.integer_key:
        kept = sorted(kept, key=lambda one: int(one.key[0]))
    return replace(
        progress,
        done=progress.done + 1,
        source_rows=progress.source_rows + found.searched.source_rows,
        target_rows=progress.target_rows + found.searched.target_rows,
        differences=(*progress.differences, *kept),
        beyond=progress.beyond + beyond,
        snapshots=progress.snapshots + found.snapshots,
    )


def _check_balance(work: Work, searched: Searched, surplus: int) -> None:
    """Check that a part's missing and extra rows explain the row counts of both sides.

    The check is left out if there are conditions, because a condition may select a row on one side
    only.
    """
    counted = searched.target_rows - searched.source_rows
    if surplus != counted and not any(side.condition for side in work.pair):
        raise DatabaseError(
            f"the differences found by the key {', '.join(work.question.key)} do not explain the"
            f" row counts: {amounts.count(searched.source_rows, 'row')} in the source,"
            f" {amounts.count(searched.target_rows, 'row')} in the target",
            where=f"{work.question.target} against {work.question.source}",
            next_step="see whether the key is unique in both tables, and whether a view or a"
            " foreign table"
            " changes while it is read; then run it again",
        )


def incomplete(error: DatabaseError, progress: Progress) -> DatabaseError:
    """Return an error with the progress of the incomplete comparison added to its message."""
    advice = error.next_step
    if "statement timeout" in error.what:
        advice = (
            "the server is slow or blocked now, or statement_timeout_s of the connection is too"
            " low for tables of this size: check its load, then raise the limit, or narrow the"
            " comparison (--where, --window)"
        )
    return DatabaseError(
        f"incomplete, {progress.done} of {len(progress.parts)} parts compared: {error.what}",
        where=error.where,
        next_step=advice,
        sqlstate=error.sqlstate,
        trouble=error.trouble,
        opens=error.opens,
    )
