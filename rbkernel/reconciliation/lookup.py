"""Read rows of a table by their keys, a limited number at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from rbkernel.reconciliation.encoding import fill
from rbkernel.reconciliation.layout import Layout
from rbkernel.reconciliation.search import Key
from rbkernel.reconciliation.snapshot import Reader

# limit in bytes for the rows of both sides, so that wide rows do not fill the memory
_BATCH_BYTES = 32 * 2**20
_LARGEST_BATCH = 20_000
Item = TypeVar("Item")
# the values of one row; None represents NULL
Line = tuple[str | None, ...]


def batches(items: Sequence[Item], row_bytes: float) -> Iterator[Sequence[Item]]:
    """Split keys into batches whose rows fit into memory.

    >>> [len(some) for some in batches([("1",)] * 10, 8 * 2**20)]
    [2, 2, 2, 2, 2]
    """
    size = int(min(_LARGEST_BATCH, max(1, _BATCH_BYTES / (2 * max(row_bytes, 1)))))
    return (items[start : start + size] for start in range(0, len(items), size))


def fetch(
    reader: Reader, layout: Layout, keys: Sequence[Key], texts: Sequence[str], *, target: bool
) -> dict[Key, Line]:
    """Fetch values of the rows with these keys from one side.

    Parameters
    ----------
    reader, target
        The side, and whether it is the target.
    layout
        The two tables.
    keys
        Texts of the key's columns.
    texts
        Expressions on ``t.``, each of type text.

    Returns
    -------
    dict
        The values of each row by its key; keys without a row are left out.
    """
    rows, values = by_key(layout, keys, target=target)
    aggregates = "".join(f", array_agg({text})" for text in texts)
    # one array per column: reading row by row would take several times as long
    [(numbers, *found)] = reader.rows(f"SELECT array_agg(rb_w.rb_n){aggregates} {rows}", values)
    if numbers is None:  # no row has this key
        return {}
    lines = zip(*found, strict=True) if found else ((),) * len(numbers)
    return {keys[n - 1]: line for n, line in zip(numbers, lines, strict=True)}


def wanted(layout: Layout, keys: Sequence[Key]) -> tuple[str, dict[str, list[str]]]:
    """Return SQL for a table ``rb_w`` of keys, numbered in column ``rb_n``, and the bound
    values.
    """
    names = [f"rb_k{i}" for i in range(len(layout.key))]
    values = {name: [key[i] for key in keys] for i, name in enumerate(names)}
    arrays = ", ".join(f"%({name})s::text[]" for name in names)
    return f"unnest({arrays}) WITH ORDINALITY AS rb_w ({', '.join(names)}, rb_n)", values


def sought(layout: Layout, *, target: bool) -> str:
    """Return the SQL condition that a row ``t`` has the key of the row of ``rb_w``."""
    return " AND ".join(
        fill(column.sought[target], f"rb_w.rb_k{i}") for i, column in enumerate(layout.key)
    )


def by_key(
    layout: Layout, keys: Sequence[Key], *, target: bool
) -> tuple[str, dict[str, list[str]]]:
    """Return ``FROM …`` for the rows with these keys, each with its key's number, and the bound
    values.
    """
    table, values = wanted(layout, keys)
    of = layout.target if target else layout.source
    return f"FROM {table} JOIN {of.sql} t ON {sought(layout, target=target)}", values
