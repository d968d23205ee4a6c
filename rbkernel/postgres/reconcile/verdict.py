"""Say of each suspect what differs: its values are compared, not hashes of them.

Both sides send the values as text, which keeps every two values apart (module encoding). Where
PostgreSQL calls values equal whose texts differ, and where a tolerance was given, the source's
server settles it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rbkernel.postgres.reconcile.encoding import fill
from rbkernel.postgres.reconcile.layout import Column, Layout
from rbkernel.postgres.reconcile.outcome import Difference, State
from rbkernel.postgres.reconcile.search import Key, apart
from rbkernel.postgres.reconcile.snapshot import Reader, Readers

# of both sides together, so that wide rows do not fill the memory
_BATCH_BYTES = 32 * 2**20
_LARGEST_BATCH = 20_000
# of one row; None is NULL
Line = tuple[str | None, ...]
Texts = tuple[str | None, str | None]


def examine(layout: Layout, keys: Sequence[Key], both: Readers) -> Iterator[list[Difference]]:
    """Compare the rows of these keys, a batch after the other; those that are equal are left out.

    Parameters
    ----------
    layout
        The two tables.
    keys
        Texts of the key's columns; each key once.
    both
        The two sides.
    """
    for some in batches(keys, max(layout.source.row_bytes, layout.target.row_bytes)):
        yield _examine(layout, some, both)


def look_again(layout: Layout, seen: Sequence[Difference], both: Readers) -> list[Difference]:
    """Look at unsettled differences in a new snapshot, and say what has become of them."""
    unsettled = [one.key for one in seen if one.state in {State.UNSETTLED, State.ONCE}]
    now = {one.key: one for some in examine(layout, unsettled, both) for one in some}
    asked = set(unsettled)
    return [settled(one, now.get(one.key)) if one.key in asked else one for one in seen]


def settled(before: Difference, now: Difference | None) -> Difference:
    """Say what a later look makes of a difference.

    >>> one = Difference(key=("1",), kind="missing", version="a")
    >>> settled(one, None).state, settled(one, one).state
    (<State.IN_FLIGHT: 'in flight'>, <State.PERSISTENT: 'persistent'>)
    """
    if now is None:
        return before.become(State.IN_FLIGHT)
    return now.become(State.PERSISTENT if now.version == before.version else State.UNSETTLED)


def batches(keys: Sequence[Key], row_bytes: float) -> Iterator[Sequence[Key]]:
    """Split keys so that the rows of a batch fit into memory.

    >>> [len(some) for some in batches([("1",)] * 10, 8 * 2**20)]
    [2, 2, 2, 2, 2]
    """
    size = int(min(_LARGEST_BATCH, max(1, _BATCH_BYTES / (2 * max(row_bytes, 1)))))
    return (keys[start : start + size] for start in range(0, len(keys), size))


def _examine(layout: Layout, keys: Sequence[Key], both: Readers) -> list[Difference]:
    texts = [[column.text(target=target) for column in layout.columns] for target in (False, True)]
    left, right = both.both(
        lambda reader: fetch(reader, layout, keys, texts[0], target=False),
        lambda reader: fetch(reader, layout, keys, texts[1], target=True),
    )
    changed = {key: _unlike(left[key], right[key]) for key in left.keys() & right.keys()}
    same = _same_after_all(layout, left, right, changed, both.source)
    found = []
    for key in left.keys() | right.keys():
        unlike = [i for i in changed.get(key, ()) if (key, i) not in same]
        if unlike or key not in changed:
            kind = "changed" if key in changed else "missing" if key in left else "extra"
            found.append(
                Difference(
                    key=key,
                    kind=kind,
                    columns=tuple(layout.columns[i].name for i in unlike),
                    version=_version(left.get(key), right.get(key)),
                )
            )
    return sorted(found, key=lambda one: one.key)


def fetch(
    reader: Reader, layout: Layout, keys: Sequence[Key], texts: Sequence[str], *, target: bool
) -> dict[Key, Line]:
    """Fetch values of rows by key.

    Parameters
    ----------
    reader, target
        Where to ask, and which side that is.
    layout
        The two tables.
    keys
        Texts of the key's columns.
    texts
        Expressions on ``t.``, each of type text.

    Returns
    -------
    dict
        Key → values; without the keys that are not there.
    """
    names = [f"rb_k{i}" for i in range(len(layout.key))]
    values: Mapping[str, Any] = dict(
        zip(names, (list(part) for part in zip(*keys, strict=True)), strict=True)
    )
    arrays = ", ".join(f"%({name})s::text[]" for name in names)
    sought = " AND ".join(
        fill(column.sought[target], f"rb_w.{name}")
        for column, name in zip(layout.key, names, strict=True)
    )
    told = [*(column.text(target=target) for column in layout.key), *texts]
    of = layout.target if target else layout.source
    # an array a column: one by one, rows would take a driver several times as long
    [found] = reader.rows(
        f"SELECT {', '.join(f'array_agg({text})' for text in told)}"
        f" FROM unnest({arrays}) AS rb_w ({', '.join(names)})"
        f" JOIN {of.sql} t ON {sought}",
        values,
    )
    width = len(layout.key)
    lines = zip(*(column or () for column in found), strict=True)
    return {line[:width]: line[width:] for line in lines}


def _unlike(one: Line, other: Line) -> list[int]:
    if one == other:
        return []
    return [i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]


def _same_after_all(
    layout: Layout,
    left: Mapping[Key, Line],
    right: Mapping[Key, Line],
    changed: Mapping[Key, list[int]],
    reader: Reader,
) -> set[tuple[Key, int]]:
    """Return the (key, column) whose texts differ, but whose values are held to be the same."""
    same: set[tuple[Key, int]] = set()
    for i, column in enumerate(layout.columns):
        if column.tolerance is None and not column.rule.typed:
            continue
        keys = [key for key, unlike in changed.items() if i in unlike]
        if keys:
            texts = [(left[key][i], right[key][i]) for key in keys]
            different = _different(column, texts, reader)
            same |= {(key, i) for n, key in enumerate(keys) if n not in different}
    return same


def _different(column: Column, texts: Sequence[Texts], reader: Reader) -> set[int]:
    kind = "numeric" if column.rule.number else column.type.shown
    differs = f"one::{kind} IS DISTINCT FROM other::{kind}"
    if column.tolerance is not None:
        differs += f" AND {apart('one', 'other', column.tolerance)}"
    rows = reader.rows(
        "SELECT n FROM unnest(%(ones)s::text[], %(others)s::text[])"
        f" WITH ORDINALITY AS w (one, other, n) WHERE {differs}",
        {"ones": [one for one, _ in texts], "others": [other for _, other in texts]},
    )
    return {number - 1 for (number,) in rows}


def _version(one: Line | None, other: Line | None) -> str:
    told = repr((one, other)).encode()
    return hashlib.blake2b(told, digest_size=8).hexdigest()
