"""Split two tables into parts of a few hundred thousand rows, one statement for each part.

A part is a condition on the key. Each side of a part is read within one snapshot. The result for a
part does not depend on the other parts, so a long run can be resumed. A key of one integer with an
index is split into *ranges*, at the quantiles of a sample. Every other key is split into *slices*,
by a hash of the key; so is an integer key whose order differs from the order of the rows on disk. A
slice reads the whole table, so slices are larger than ranges. Text is never split into ranges: two
servers may sort it differently.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from rbkernel.reconciliation.layout import Layout
from rbkernel.reconciliation.snapshot import Reader, Readers
from rbkernel.reconciliation.tables import Table

ROWS_OF_A_RANGE = 500_000
ROWS_OF_A_SLICE = 2_000_000
# with a sample of this many pages per part, the sizes of ranges differ by a few percent only
_PAGES_OF_A_PART = 30
_IN_ORDER = 0.5
_CORRELATION = """
SELECT s.correlation::float8
FROM pg_stats s JOIN pg_class c ON c.relname = s.tablename
JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = s.schemaname
WHERE c.oid = %(oid)s AND s.attname = %(name)s
"""
_INTEGERS = frozenset({"int2", "int4", "int8"})


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of both tables: a range of an integer key, or slice `number` of `of`.

    A range is `low` ≤ key < `high`; None is no bound. ``rows`` is an estimate per side; ``least``
    and ``most`` are estimates of the first and the last key.
    """

    kind: str
    rows: int
    low: int | None = None
    high: int | None = None
    least: int = 0
    most: int = 0
    number: int = 0
    of: int = 1


def split(layout: Layout, both: Readers, *, filters: tuple[str, str], jobs: int = 1) -> list[Part]:
    """Split both tables into the same parts.

    Parameters
    ----------
    layout
        The two tables.
    both
        The two sides.
    filters
        Conditions on the rows of source and target, in SQL; empty for all.
    jobs
        The number of jobs; each job gets the same number of parts.
    """
    estimates = both.both(
        lambda reader: estimated_rows(reader, layout.source, filters[0]),
        lambda reader: estimated_rows(reader, layout.target, filters[1]),
    )
    rows = max(estimates)
    if not ranged(layout):
        return slices(rows, jobs)
    column = layout.key[0]
    ends = both.both(
        lambda reader: _ends(reader, layout.source, column.source),
        lambda reader: _ends(reader, layout.target, column.target),
    )
    known = [end for pair in ends for end in pair if end is not None]
    if not known:
        return slices(rows)
    samples: tuple[list[int], list[int]] = ([], [])
    if rows > ROWS_OF_A_RANGE:
        ordered = both.both(
            lambda reader: _in_order(reader, layout.source, column.name),
            lambda reader: _in_order(reader, layout.target, column.target_name),
        )
        if not all(ordered):
            return slices(rows, jobs)
    count = math.ceil(rows / ROWS_OF_A_RANGE / jobs) * jobs
    if count > 1:
        samples = both.both(
            lambda reader: _sample(reader, layout.source, column.source, count),
            lambda reader: _sample(reader, layout.target, column.target, count),
        )
    return ranges(min(known), max(known), sorted([*samples[0], *samples[1]]), count, rows)


def ranged(layout: Layout) -> bool:
    """Return whether the key is one integer with an index on both sides, so that ranges can be
    used.
    """
    if len(layout.key) != 1:
        return False
    column = layout.key[0]
    pairs = ((layout.source, column.name), (layout.target, column.target_name))
    found = [(of, name, of.column(name)) for of, name in pairs]
    return all(
        name in of.leading and one is not None and one.type.name in _INTEGERS
        for of, name, one in found
    )


def ranges(least: int, most: int, sample: Sequence[int], count: int, rows: int) -> list[Part]:
    """Split the integers between two keys into ranges, at the quantiles of a sample.

    >>> [(part.low, part.high) for part in ranges(1, 99, [10, 20, 30, 40], 2, 98)]
    [(None, 30), (30, None)]
    >>> [(part.low, part.high) for part in ranges(1, 99, [], 3, 98)]  # without one, evenly
    [(None, 33), (33, 66), (66, None)]
    """
    if sample:
        edges = {sample[len(sample) * i // count] for i in range(1, count)}
    else:
        edges = {least + (most - least) * i // count for i in range(1, count)}
    inner = [edge for edge in sorted(edges) if least < edge <= most]
    lows, highs = [None, *inner], [*inner, None]
    return [
        Part(
            kind="range",
            rows=max(1, rows // len(lows)),
            low=low,
            high=high,
            least=least if low is None else low,
            most=most if high is None else high - 1,
        )
        for low, high in zip(lows, highs, strict=True)
    ]


def slices(rows: int, jobs: int = 1) -> list[Part]:
    """Split the tables into slices by a hash of the key; their number is a power of two.

    >>> len(slices(10)), len(slices(10, jobs=3)), len(slices(10 * ROWS_OF_A_SLICE))
    (1, 4, 16)
    """
    count = 1 << math.ceil(math.log2(max(jobs, rows / ROWS_OF_A_SLICE)))
    return [
        Part(kind="slice", rows=rows // count, number=number, of=count) for number in range(count)
    ]


def estimated_rows(reader: Reader, of: Table, condition: str) -> int:
    """Return the planner's estimate of the number of rows of a table that meet a condition."""
    where = f" WHERE {condition}" if condition else ""
    [(plan,)] = reader.rows(f"EXPLAIN (FORMAT JSON) SELECT FROM {of.sql} t{where}")
    return int(plan[0]["Plan"]["Plan Rows"])


def _in_order(reader: Reader, of: Table, name: str) -> bool:
    """Return whether the rows of a table are stored roughly in the order of the key.

    If the order differs, each range would read all pages.
    """
    rows = reader.rows(_CORRELATION, {"oid": of.oid, "name": name})
    return all(correlation is None or abs(correlation) > _IN_ORDER for (correlation,) in rows)


def _ends(reader: Reader, of: Table, key: str) -> tuple[int | None, int | None]:
    [(least, most)] = reader.rows(f"SELECT min({key}), max({key}) FROM {of.sql} t")
    return least, most


def _sample(reader: Reader, of: Table, key: str, count: int) -> list[int]:
    if of.kind not in {"r", "m"}:
        return []
    [(pages,)] = reader.rows("SELECT pg_relation_size(%(oid)s::oid) / 8192", {"oid": of.oid})
    share = min(100.0, 100.0 * _PAGES_OF_A_PART * count / max(1, pages))
    # a fixed seed, so that the same table is always split in the same way
    seed = random.Random(of.shown).random()  # noqa: S311 - no secret
    rows = reader.rows(
        f"SELECT {key} FROM {of.sql} t TABLESAMPLE SYSTEM ({share:.6f}) REPEATABLE ({seed:.6f})"
    )
    return [key for (key,) in rows]
