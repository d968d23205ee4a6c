"""The statements of an action on rows, from the facts of its table. Pure.

Each statement takes the rows as arrays of texts, in the order of the targets: ``k0``, ``k1`` … are
the key, ``e0`` … the expected values, ``a0`` … the values to set. Values are read and written by
the input and output functions of their types, under the settings of rbkernel's own SQL, so that
what was read can be restored exactly. Names in the texts are looked up in ``pg_catalog`` only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rbkernel.execution.document import Facts
from rbkernel.execution.server import SAME_SERVER

Columns = Sequence[Mapping[str, Any]]


def look(table: Facts) -> str:
    """Return the query that reads rows, and their expected and new values as the server has them.

    Columns: n; xmin (NULL if there is no such row); then for each set column: present value,
    expected value, new value, and the new value before it is cut to the column's length.
    """
    shown = [
        part
        for place, one in enumerate(table["sets"])
        for part in (
            _text(f"t.{one['name']}"),
            _text(f"w.e{place}::{one['exact']}"),
            _text(f"w.a{place}::{one['exact']}"),
            _text(f"w.a{place}::{one['type']}"),
        )
    ]
    columns = ",\n       ".join(["w.n", "t.xmin::text", *shown])
    return (
        f"SELECT {columns}\nFROM {_given(table, 'e', 'a')}\n"
        f"LEFT JOIN {table['table']} AS t ON {_same_key(table['key'])}\nORDER BY w.n"
    )


def lock(table: Facts) -> str:
    """Return the statement that locks rows and reads them: n, xmin, and each set column.

    The lock is that of an UPDATE that leaves the key, so that rows which refer to these can still
    be inserted.
    """
    columns = ",\n       ".join(
        ["w.n", "t.xmin::text", *(_text(f"t.{one['name']}") for one in table["sets"])]
    )
    return (
        f"SELECT {columns}\nFROM {_given(table)}\n"
        f"JOIN {table['table']} AS t ON {_same_key(table['key'])}\n"
        "ORDER BY w.n\nFOR NO KEY UPDATE OF t"
    )


def change(table: Facts) -> str:
    """Return the statement that sets the columns, if the rows, the server and the time are right.

    It returns n and each set column as it is then.
    """
    sets = ",\n    ".join(
        f"{one['name']} = w.a{place}::{one['type']}" for place, one in enumerate(table["sets"])
    )
    returned = ",\n       ".join(["w.n", *(_text(f"t.{one['name']}") for one in table["sets"])])
    return (
        f"UPDATE {table['table']} AS t\nSET {sets}\nFROM {_given(table, 'a', xmins=True)}\n"
        f"WHERE {_same_key(table['key'])}\n   AND t.xmin::text = w.xmin\n"
        f"   AND clock_timestamp() < :until::timestamptz\n   AND {SAME_SERVER.strip()}\n"
        f"RETURNING {returned}"
    )


def values(table: Facts, targets: Sequence[Facts]) -> dict[str, Any]:
    """Return the values of `lock` and `change`, except for ``until`` and those of the server."""
    return {
        "ns": list(range(len(targets))),
        "xmins": [one["xmin"] for one in targets],
        **columns("k", [in_order(one["key"], table["key"]) for one in targets], len(table["key"])),
        **columns(
            "a", [in_order(one["after"], table["sets"]) for one in targets], len(table["sets"])
        ),
    }


def in_order(cells: Mapping[str, str | None], of: Columns) -> tuple[str | None, ...]:
    """Return values in the order of their columns; a document is sorted by name.

    >>> in_order({"a": "1", "b": None}, [{"name": "b"}, {"name": "a"}])
    (None, '1')
    """
    return tuple(cells[one["name"]] for one in of)


def columns(letter: str, rows: Sequence[Sequence[str | None]], width: int) -> dict[str, Any]:
    """Return rows as an array for each column.

    >>> columns("k", [["1", "a"], ["2", None]], 2)
    {'k0': ['1', '2'], 'k1': ['a', None]}
    """
    return {f"{letter}{place}": [row[place] for row in rows] for place in range(width)}


def _given(table: Facts, *letters: str, xmins: bool = False) -> str:
    """Return the rows of a statement as a table w."""
    names = [f"k{place}" for place in range(len(table["key"]))]
    names += [f"{one}{place}" for one in letters for place in range(len(table["sets"]))]
    arrays = [":ns::int[]", *([":xmins::text[]"] if xmins else [])]
    arrays += [f":{name}::text[]" for name in names]
    named = ["n", *(["xmin"] if xmins else []), *names]
    return f"unnest({', '.join(arrays)})\n    AS w ({', '.join(named)})"


def _same_key(key: Columns) -> str:
    return "\n   AND ".join(
        f"t.{one['name']} = w.k{place}::{one['type']}" for place, one in enumerate(key)
    )


def _text(value: str) -> str:
    """Return the expression for a value as its output function writes it; NULL for NULL.

    A composite value of NULLs IS NULL, but is not NULL.
    """
    return f"CASE WHEN num_nulls({value}) = 0 THEN format('%s', {value}) END"
