"""Find the keys of rows that may differ between two servers, by comparing hashes.

Each server adds up a 64-bit hash of its rows by buckets of about a thousand; only buckets with
different hashes are then compared row by row, by the hashes of the rows. A row that is not a
suspect is equal on both sides. A suspect may be equal or different (module verdict).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rbkernel.errors import QueryError
from rbkernel.reconciliation.encoding import Rule, fill, hashed, of_type
from rbkernel.reconciliation.layout import Column, Layout
from rbkernel.reconciliation.outcome import Difference
from rbkernel.reconciliation.parts import Part
from rbkernel.reconciliation.snapshot import Reader, Readers
from rbkernel.reconciliation.tables import Table
from rbkernel.sources.postgres.connection.capabilities import has

Key = tuple[str, ...]

_ROWS_OF_A_BUCKET = 1000
# if a larger fraction of the buckets differs, reading the whole part is faster than reading these
# buckets
_MANY = 0.1
_INT8 = 2**63
# test values: one for each kind of piece, and non-ASCII text
_VECTOR = {
    "(-7)::int8": "int8",
    "(-12.50)::numeric": "numeric",
    "'\\x00ff'::bytea": "bytea",
    "'Zoë'::text": "text",
    "'Zoë '::char(5)": "bpchar",
    "NULL::text": "text",
    "'00000000-0000-0000-0000-00000000002a'::uuid": "uuid",
}
# names that do not occur in conditions
_BAD = "unnest(%(lows)s::int8[], %(highs)s::int8[]) AS rb_bad (rb_low, rb_high)"

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True, kw_only=True)
class Searched:
    """The result for one part: row counts of both sides, and an iterator of differences.

    ``dense`` is true if there are so many differences that for the next part a direct search row by
    row is faster.
    """

    source_rows: int
    target_rows: int
    differences: Iterator[list[Difference]]
    dense: bool = False


@dataclass(frozen=True, kw_only=True)
class Suspects:
    """The keys in one part whose rows may differ, and the row counts of both sides."""

    source_rows: int
    target_rows: int
    keys: Sequence[Key]
    dense: bool


@dataclass(frozen=True, kw_only=True)
class Side:
    """The SQL for the rows and hashes of one side, source or target.

    ``portable`` is for servers with different hash functions: it selects MD5 of the text in UTF-8.
    """

    table: Table
    key: tuple[tuple[str, Rule], ...]
    columns: tuple[tuple[str, Rule], ...]
    condition: str
    portable: bool
    bytea: bool

    def rows(self, part: Part, *more: str) -> str:
        """Return the ``FROM … WHERE …`` that selects the rows of one part of a table."""
        conditions = [self.within(part), self.condition, *more]
        where = " AND ".join(f"({condition})" for condition in conditions if condition)
        return f"FROM {self.table.sql} t" + (f" WHERE {where}" if where else "")

    def within(self, part: Part) -> str:
        """Return the SQL condition that a row is in a part."""
        if part.kind == "range":
            edges = ((part.low, ">="), (part.high, "<"))
            return " AND ".join(
                f"{self.first} {sign} {edge}" for edge, sign in edges if edge is not None
            )
        # slices use the upper bits of the hash, since buckets use the lower bits
        return f"({self.key_hash} >> 40) & {part.of - 1} = {part.number}" if part.of > 1 else ""

    @property
    def first(self) -> str:
        """Return SQL for the first column of the key; a range has no other column."""
        return self.key[0][0]

    @property
    def key_hash(self) -> str:
        """Return SQL for a 64-bit hash of the key."""
        return self._hashed(self.key, "0")

    @property
    def key_texts(self) -> tuple[str, ...]:
        """Return SQL for each column of the key as text."""
        return tuple(fill(rule.text, column) for column, rule in self.key)

    @property
    def column_hashes(self) -> tuple[str, ...]:
        """Return SQL for a 64-bit hash of each column."""
        return tuple(self._hashed((one,), "0") for one in self.columns)

    def identity(self, part: Part) -> str:
        """Return SQL for a number that identifies the key: the key itself if it is an integer, else
        its hash.
        """
        return f"{self.first}::int8" if part.kind == "range" else self.key_hash

    def row_hash(self, part: Part) -> str:
        """Return SQL for a 64-bit hash of the row, including its key."""
        if part.kind == "range" and not self.portable:
            return self._hashed(self.columns, self.identity(part))
        # a different seed than the key's own hash: keys that collide in one do not collide in both
        return self._hashed((*self.key, *self.columns), "1")

    def _hashed(self, values: Sequence[tuple[str, Rule]], seed: str) -> str:
        if self.portable:
            return _md5([fill(rule.text, column) for column, rule in values])
        return hashed(values, seed, bytea=self.bytea)

    def bucket(self, part: Part) -> str:
        """Return SQL for the number of the bucket that a row belongs to."""
        if part.kind == "range":
            return f"{self.first}::int8 / {width(part)}"
        return f"{self.key_hash} & {buckets_of_a_slice(part) - 1}"


def _md5(texts: Sequence[str]) -> str:
    # lengths distinguish ('a|b', 'c') from ('a', 'b|c'); - is not a length and represents NULL
    row = " || ".join(f"coalesce(length({text}) || ':' || {text}, '-')" for text in texts)
    digest = f"substr(md5(convert_to({row}, 'UTF8')), 1, 16)"
    return f"('x' || {digest})::bit(64)::int8"


def sides(
    layout: Layout, both: Readers, conditions: tuple[str, str], *, portable: bool
) -> tuple[Side, Side]:
    """Return the SQL for the rows and hashes of both sides."""
    return (
        _side(layout, both.source, conditions[0], portable=portable, target=False),
        _side(layout, both.target, conditions[1], portable=portable, target=True),
    )


def _side(layout: Layout, reader: Reader, condition: str, *, portable: bool, target: bool) -> Side:
    def values(columns: tuple[Column, ...]) -> tuple[tuple[str, Rule], ...]:
        return tuple((column.target if target else column.source, column.rule)
                     for column in columns)  # fmt: skip

    return Side(
        table=layout.target if target else layout.source,
        key=values(layout.key),
        columns=values(layout.columns),
        condition=condition,
        portable=portable,
        bytea=has(reader.session.server, "hash_of_bytea"),
    )


def hash_alike(both: Readers) -> bool:
    """Return whether both servers compute the same hash for a test vector, in the same encoding."""
    one, other = both.both(_vector, _vector)
    return one == other


def _vector(reader: Reader) -> list[tuple[Any, ...]]:
    values = [(value, of_type(name)) for value, name in _VECTOR.items()]
    hashes = hashed(values, "42", bytea=has(reader.session.server, "hash_of_bytea"))
    return reader.rows(f"SELECT {hashes}, getdatabaseencoding()::text")


def twice(sides: Sequence[Side], reader: Reader) -> QueryError:
    """Return the error that a duplicate key has appeared since the key was checked."""
    names = " or ".join(side.table.shown for side in sides)
    return QueryError(
        f"the key does not identify a row of {names}: rows with an existing key were"
        " inserted since it was checked",
        where=f"connection {reader.name}",
        next_step="name more columns as the key, or remove the duplicates first",
    )


def apart(one: str, other: str, most: float) -> str:
    """Return the SQL condition that two numbers differ by more than ``most``, or one is NULL."""
    return f"(abs({one}::text::numeric - {other}::text::numeric) <= {most!r}) IS NOT TRUE"


def suspects(pair: tuple[Side, Side], part: Part, both: Readers, *, dense: bool) -> Suspects:
    """Search one part for keys whose rows may differ; ``dense`` is that of the previous part."""
    if dense:
        return _row_by_row(pair, part, both, [])
    source, target = pair
    left, right = both.both(
        lambda reader: _sums(reader, source, part), lambda reader: _sums(reader, target, part)
    )
    numbers = left.keys() | right.keys()
    bad = sorted(number for number in numbers if left.get(number) != right.get(number))
    many = len(bad) > _MANY * len(numbers)
    return Suspects(
        source_rows=sum(count for count, _ in left.values()),
        target_rows=sum(count for count, _ in right.values()),
        keys=_row_by_row(pair, part, both, [] if many else bad).keys if bad else (),
        dense=many,
    )


def _sums(reader: Reader, side: Side, part: Part) -> dict[int, tuple[int, str]]:
    rows = reader.rows(
        f"SELECT {side.bucket(part)}, count(*), sum({side.row_hash(part)})::text"
        f" {side.rows(part)} GROUP BY 1"
    )
    return {bucket: (count, total) for bucket, count, total in rows}


def _row_by_row(pair: tuple[Side, Side], part: Part, both: Readers, bad: list[int]) -> Suspects:
    """Compare the hashes of single rows in the given buckets, or in all; return unmatched keys."""
    source, target = pair
    left, right = both.both(
        lambda reader: _pairs(reader, source, part, bad),
        lambda reader: _pairs(reader, target, part, bad),
    )
    found = unmatched(left, right).tolist()
    rows = max(len(left[0]), len(right[0]))
    return Suspects(
        source_rows=len(left[0]),
        target_rows=len(right[0]),
        keys=_texts(pair, part, both, found),
        dense=len(found) > _MANY * rows / _ROWS_OF_A_BUCKET,
    )


def _texts(
    pair: tuple[Side, Side], part: Part, both: Readers, found: Sequence[int]
) -> Sequence[Key]:
    """Return the keys, as text, that these identifying numbers stand for."""
    if part.kind == "range":
        return [(str(key),) for key in found]
    if not found:
        return ()
    keys = both.both(
        lambda reader: _keys(reader, pair[0], part, found),
        lambda reader: _keys(reader, pair[1], part, found),
    )
    return sorted({*keys[0], *keys[1]})


def _pairs(reader: Reader, side: Side, part: Part, bad: list[int]) -> Pairs:
    """Fetch the hashes of keys and rows from one side, as one row per bucket."""
    values: dict[str, Any] = {}
    if not bad:
        rows = side.rows(part)
    elif part.kind == "range":
        # a join with the ranges of the bad buckets, which can use the index
        edges = [edges_of(number, width(part)) for number in bad]
        values = {"lows": [low for low, _ in edges], "highs": [high for _, high in edges]}
        within = side.rows(part, f"{side.first} BETWEEN rb_bad.rb_low AND rb_bad.rb_high")
        rows = within.replace("FROM ", f"FROM {_BAD}, ", 1)
    else:
        values = {"bad": bad}
        rows = side.rows(part, f"({side.bucket(part)}) = ANY(%(bad)s::int8[])")
    found = reader.rows(
        f"SELECT string_agg(int8send({side.identity(part)}), ''),"
        f" string_agg(int8send({side.row_hash(part)}), '') {rows} GROUP BY {side.bucket(part)}",
        values,
    )
    return _integers(keys for keys, _ in found), _integers(hashes for _, hashes in found)


def _integers(sent: Iterable[bytes]) -> NDArray[np.int64]:
    return np.frombuffer(b"".join(sent), ">i8").astype(np.int64)


def _keys(reader: Reader, side: Side, part: Part, hashes: Sequence[int]) -> list[Key]:
    texts = ", ".join(side.key_texts)
    rows = side.rows(part, f"{side.key_hash} = ANY(%(hashes)s::int8[])")
    return reader.rows(f"SELECT {texts} {rows}", {"hashes": list(hashes)})


def unmatched(left: Pairs, right: Pairs) -> NDArray[np.int64]:
    """Return all keys except those that exist once on both sides, with the same hash.

    >>> some, others = np.array([1, 2, 3]), np.array([10, 20, 30])
    >>> unmatched((some, others), (some[:2], others[1:])).tolist()
    [1, 2, 3]
    >>> unmatched((some, others), (some[::-1], others[::-1])).tolist()
    []
    """
    keys = np.concatenate([left[0], right[0]])
    hashes = np.concatenate([left[1], right[1]])
    # stable: of two equal keys the left one comes first, unless both are on the same side
    order = np.argsort(keys, kind="stable")
    on_left = order < len(left[0])
    unique, first, counts = np.unique(keys[order], return_index=True, return_counts=True)
    last = first + counts - 1
    matched = (counts == 2) & (on_left[first] != on_left[last])
    matched &= hashes[order[first]] == hashes[order[last]]
    found: NDArray[np.int64] = unique[~matched]
    return found


def width(part: Part) -> int:
    """Return the width of a bucket in keys, so that a bucket holds about a thousand rows.

    >>> width(Part(kind="range", rows=10_000, least=1, most=40_000))
    4000
    """
    buckets = max(1, part.rows // _ROWS_OF_A_BUCKET)
    return max(1, min(_INT8 - 1, (part.most - part.least) // buckets + 1))


def edges_of(bucket: int, wide: int) -> tuple[int, int]:
    """Return the first and the last key of a bucket.

    A key's bucket is the key divided by ``wide``. PostgreSQL's integer division rounds towards
    zero, so bucket 0 has keys on both sides of zero.

    >>> edges_of(2, 10), edges_of(0, 10), edges_of(-2, 10)
    ((20, 29), (-9, 9), (-29, -20))
    """
    low = bucket * wide if bucket > 0 else (bucket - 1) * wide + 1
    high = (bucket + 1) * wide - 1 if bucket >= 0 else bucket * wide
    return max(low, -_INT8), min(high, _INT8 - 1)


def buckets_of_a_slice(part: Part) -> int:
    """Return the number of buckets of a slice, which is a power of two.

    >>> buckets_of_a_slice(Part(kind="slice", rows=2_000_000))
    2048
    """
    return 1 << min(14, max(0, (part.rows // _ROWS_OF_A_BUCKET).bit_length()))
