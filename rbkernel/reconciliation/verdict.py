"""Compare rows that may differ on two servers, column by column, to find what differs.

Each side hashes each column of the suspects; different hashes mean different values (module
encoding). If PostgreSQL may treat differently encoded values as equal, or a tolerance was given,
the values themselves are fetched, and the source's server decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rbkernel.reconciliation.layout import Column, Layout
from rbkernel.reconciliation.lookup import batches, by_key, fetch
from rbkernel.reconciliation.outcome import Difference, found_of
from rbkernel.reconciliation.parts import Part
from rbkernel.reconciliation.search import Key, Searched, Side, apart, suspects, twice
from rbkernel.reconciliation.snapshot import Reader, Readers

# size of a row of hashes
_HASHED_BYTES = 200
Texts = tuple[str | None, str | None]


def search(
    layout: Layout, pair: tuple[Side, Side], part: Part, both: Readers, *, dense: bool
) -> Searched:
    """Compare one part of the tables; differences are read only when the caller iterates
    over them.
    """
    found = suspects(pair, part, both, dense=dense)
    return Searched(
        source_rows=found.source_rows,
        target_rows=found.target_rows,
        differences=examine(layout, pair, found.keys, both),
        dense=found.dense,
    )


def examine(
    layout: Layout, pair: tuple[Side, Side], keys: Sequence[Key], both: Readers
) -> Iterator[list[Difference]]:
    """Compare the rows with these keys in batches, and yield the differences.

    Parameters
    ----------
    layout, pair
        The two tables, and the SQL of their hashes.
    keys
        Texts of the key's columns; each key once.
    both
        The two sides.
    """
    for some in batches(keys, _HASHED_BYTES):
        yield _examine(layout, pair, some, both)


def _examine(
    layout: Layout, pair: tuple[Side, Side], keys: Sequence[Key], both: Readers
) -> list[Difference]:
    left, right = both.both(
        lambda reader: _see(reader, layout, pair[0], keys, target=False),
        lambda reader: _see(reader, layout, pair[1], keys, target=True),
    )
    unlike = (left.hashes != right.hashes) & left.present & right.present
    for i, column in enumerate(layout.columns):
        if column.rule.typed or column.tolerance is not None:
            _settle(layout, column, keys, unlike[i], both)
    # odd multipliers, so that the version depends on the position and side of each value
    factors = np.arange(1, 4 * len(unlike), 2, dtype=np.uint64)[:, None]
    version = (np.concatenate([left.hashes, right.hashes]).astype(np.uint64) * factors).sum(axis=0)
    flags = np.concatenate([[left.present, right.present], unlike])
    return found_of(keys, flags, version.astype(np.int64), layout.names)


@dataclass(frozen=True)
class _Seen:
    """The rows of one side, with the hashes of their columns (columns × rows)."""

    present: NDArray[np.bool_]
    hashes: NDArray[np.int64]


def _see(reader: Reader, layout: Layout, side: Side, keys: Sequence[Key], *, target: bool) -> _Seen:
    rows, values = by_key(layout, keys, target=target)
    hashes = (f", string_agg(int8send({one}), '')" for one in side.column_hashes)
    [(numbers, *found)] = reader.rows(
        f"SELECT string_agg(int4send(rb_w.rb_n::int4), ''){''.join(hashes)} {rows}", values
    )
    places = np.frombuffer(numbers or b"", ">i4") - 1
    seen = _Seen(np.zeros(len(keys), np.bool_), np.zeros((len(found), len(keys)), np.int64))
    if len(np.unique(places)) < len(places):
        raise twice([side], reader)
    seen.present[places] = True
    for row, sent in zip(seen.hashes, found, strict=True):
        row[places] = np.frombuffer(sent or b"", ">i8")
    return seen


def _settle(
    layout: Layout, column: Column, keys: Sequence[Key], unlike: NDArray[np.bool_], both: Readers
) -> None:
    """Clear the flags in `unlike` for values that differ in form but count as equal."""
    row_bytes = max(layout.source.row_bytes, layout.target.row_bytes)
    places: list[int] = np.flatnonzero(unlike).tolist()
    for some in batches(places, row_bytes):
        different = _different(column, _texts(layout, column, [keys[n] for n in some], both), both)
        for place, n in enumerate(some):
            unlike[n] = place in different


def _texts(
    layout: Layout, column: Column, keys: Sequence[Key], both: Readers
) -> list[tuple[str | None, str | None]]:
    """Fetch the values of one column on both sides, for the rows that both sides have."""
    left, right = both.both(
        lambda reader: fetch(reader, layout, keys, [column.text(target=False)], target=False),
        lambda reader: fetch(reader, layout, keys, [column.text(target=True)], target=True),
    )
    return [(left[key][0], right[key][0]) for key in keys]


def _different(
    column: Column, texts: Sequence[tuple[str | None, str | None]], both: Readers
) -> set[int]:
    kind = "numeric" if column.rule.number else column.type.shown
    differs = f"one::{kind} IS DISTINCT FROM other::{kind}"
    if column.tolerance is not None:
        differs += f" AND {apart('one', 'other', column.tolerance)}"
    rows = both.source.rows(
        "SELECT n FROM unnest(%(ones)s::text[], %(others)s::text[])"
        f" WITH ORDINALITY AS w (one, other, n) WHERE {differs}",
        {"ones": [one for one, _ in texts], "others": [other for _, other in texts]},
    )
    return {number - 1 for (number,) in rows}
