"""Find the last run of each chain of runs that continue one another. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from rbkernel.evidence.reading import Record


def last_of_each(runs: Iterable[Record]) -> list[Record]:
    """Return the last run of each chain of runs, in the order of their start.

    Two runs that continue the same run were made in one working copy: the later run counts.
    """
    in_order = sorted(runs, key=lambda run: run.run_id)
    continues = {run.run_id: run.run.continues for run in in_order if run.run}
    last = {_first(run.run_id, continues): run for run in in_order}
    return sorted(last.values(), key=lambda run: run.run_id)


def _first(run_id: str, continues: dict[str, str]) -> str:
    """Return the id of the first run in the chain of a run, even if that first run is missing.

    >>> _first("c", {"c": "b", "b": "a"}), _first("c", {"c": "d", "d": "c"})
    ('a', 'd')
    """
    seen = {run_id}
    while (before := continues.get(run_id)) and before not in seen:
        seen.add(before)
        run_id = before
    return run_id
