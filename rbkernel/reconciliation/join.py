"""Compare two tables on one server with a full join, which returns the rows that differ.

PostgreSQL compares the values with ``IS DISTINCT FROM``. For each suspect row the server returns a
few numbers: which sides have it, which columns differ, and a version that represents its values; so
no further look-up is needed. With conditions, a side may have a row that was not selected; suspects
are then looked up by their keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from rbkernel.reconciliation.encoding import fill, hashed
from rbkernel.reconciliation.layout import Column, Layout
from rbkernel.reconciliation.lookup import batches, sought, wanted
from rbkernel.reconciliation.outcome import Difference, found_of
from rbkernel.reconciliation.parts import Part
from rbkernel.reconciliation.search import Key, Searched, Side, apart, twice
from rbkernel.reconciliation.snapshot import Reader, Readers
from rbkernel.sources.postgres.connection.capabilities import has

# usable bits of an int8, without its sign
_BITS = 62
# the first two flags: which sides have the row
_LEFT, _RIGHT = 1, 2
# size of a row of numbers
_NUMBERS_BYTES = 200


def search(
    layout: Layout, pair: tuple[Side, Side], part: Part, both: Readers, *, dense: bool
) -> Searched:
    """Compare one part of the tables.

    ``dense`` is ignored, because a join is not slower if there are many differences.
    """
    reader = both.source
    differing = " FILTER (WHERE packed IS NOT NULL)"
    ends, texts, on = [], [], []
    for i, column in enumerate(layout.key):
        ends.append(f"l.c{i} AS l{i}, r.c{i} AS r{i}")
        texts.append(f"array_agg({fill(column.rule.text, f'coalesce(l{i}, r{i})')}){differing}")
        on.append(" = ".join(fill(column.rule.compared, f"{of}.c{i}") for of in "lr"))
    # checked because rows with a duplicate key would be joined with each other
    alone = [] if layout.proven else [f"(SELECT count(*) {side.rows(part)})" for side in pair]
    # OFFSET 0 prevents PostgreSQL from passing all columns of all rows out of the join
    [found] = reader.rows(
        f"SELECT string_agg(packed, ''){differing}, {', '.join([*texts, 'count(*)', *alone])}"
        f" FROM (SELECT {', '.join(ends)}, {_packed(layout, reader)} AS packed"
        f" FROM (SELECT {_columns(layout, target=False)} {pair[0].rows(part)}) l"
        f" FULL JOIN (SELECT {_columns(layout, target=True)} {pair[1].rows(part)}) r"
        f" ON {' AND '.join(on)} OFFSET 0) rb_j"
    )
    packed, keys, (joined, *alone_rows) = (
        found[0],
        found[1 : len(texts) + 1],
        found[len(texts) + 1 :],
    )
    numbers = _numbers(layout, packed)
    # each row of the join has a row of both sides, except for rows that exist on one side only
    rows = [joined - int(np.count_nonzero(~numbers[:, 0] & flag)) for flag in (_LEFT, _RIGHT)]
    if rows != (alone_rows or rows):
        raise twice(pair, reader)
    suspects: list[Key] = list(zip(*(some or () for some in keys), strict=True))
    if any(side.condition for side in pair):
        differences = examine(layout, pair, suspects, both)
    else:
        differences = _differences(layout, suspects, numbers)
    return Searched(source_rows=rows[0], target_rows=rows[1], differences=differences, dense=dense)


def examine(
    layout: Layout, pair: tuple[Side, Side], keys: Sequence[Key], both: Readers
) -> Iterator[list[Difference]]:
    """Compare the rows with these keys in batches, and yield the differences.

    Parameters
    ----------
    layout, pair
        The two tables, and the SQL of their rows.
    keys
        Texts of the key's columns; each key once.
    both
        The two sides, which share one connection.
    """
    for some in batches(keys, _NUMBERS_BYTES):
        yield from _examine(layout, pair, some, both.source)


def _examine(
    layout: Layout, pair: tuple[Side, Side], keys: Sequence[Key], reader: Reader
) -> Iterator[list[Difference]]:
    table, values = wanted(layout, keys)
    joins = " ".join(
        f"LEFT JOIN LATERAL (SELECT {_columns(layout, target=target)} FROM {side.table.sql} t"
        f" WHERE {sought(layout, target=target)}) {alias} ON true"
        for side, alias, target in zip(pair, "lr", (False, True), strict=True)
    )
    [(numbers, packed)] = reader.rows(
        "SELECT array_agg(rb_n), string_agg(packed, '')"
        f" FROM (SELECT rb_n, {_packed(layout, reader)} AS packed FROM {table} {joins}) rb_j"
        " WHERE packed IS NOT NULL",
        values,
    )
    found = numbers or []
    if len(set(found)) < len(found):
        raise twice(pair, reader)
    return _differences(layout, [keys[n - 1] for n in found], _numbers(layout, packed))


def _columns(layout: Layout, *, target: bool) -> str:
    names = (column.target if target else column.source for column in layout.everything)
    return ", ".join(f"{name} AS c{i}" for i, name in enumerate(names))


def _packed(layout: Layout, reader: Reader) -> str:
    """Return SQL that packs the numbers of a suspect row into bytes; NULL for rows that are
    equal.
    """
    first = len(layout.key)
    places = range(first, first + len(layout.columns))
    differs = [_differs(column, i) for i, column in zip(places, layout.columns, strict=True)]
    flags = ["l.c0 IS NOT NULL", "r.c0 IS NOT NULL", *differs]
    masks = [
        " | ".join(
            f"CASE WHEN {flag} THEN {1 << bit}::int8 ELSE 0::int8 END"
            for bit, flag in enumerate(flags[start : start + _BITS])
        )
        for start in range(0, len(flags), _BITS)
    ]
    values = [
        (f"{of}.c{i}", column.rule)
        for of in "lr"
        for i, column in zip(places, layout.columns, strict=True)
    ]
    version = hashed(values, "0", bytea=has(reader.session.server, "hash_of_bytea"))
    numbers = " || ".join(f"int8send({number})" for number in [*masks, version])
    suspect = " OR ".join(["l.c0 IS NULL", "r.c0 IS NULL", *differs])
    return f"CASE WHEN {suspect} THEN {numbers} END"


def _differs(column: Column, place: int) -> str:
    one, other = (fill(column.rule.compared, f"{of}.c{place}") for of in "lr")
    differs = f"{one} IS DISTINCT FROM {other}"
    if column.tolerance is None:
        return differs
    return f"({differs} AND {apart(one, other, column.tolerance)})"


def _numbers(layout: Layout, packed: bytes | None) -> NDArray[np.int64]:
    """Unpack the numbers of suspect rows: for each row, bit masks of differences, and the
    version.
    """
    masks = -(-(len(layout.columns) + 2) // _BITS)
    return np.frombuffer(packed or b"", ">i8").astype(np.int64).reshape(-1, masks + 1)


def _differences(
    layout: Layout, keys: Sequence[Key], numbers: NDArray[np.int64]
) -> Iterator[list[Difference]]:
    for places in batches(range(len(keys)), _NUMBERS_BYTES):
        start, stop = places[0], places[-1] + 1
        some = numbers[start:stop]
        # the flags of a mask; the first flag is the lowest bit
        flags = some[:, :-1, None] >> np.arange(_BITS) & 1
        bits = flags.reshape(len(some), -1)[:, : len(layout.columns) + 2].astype(np.bool_)
        yield found_of(keys[start:stop], bits.T, some[:, -1], layout.names)
