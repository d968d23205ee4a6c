"""The question of a comparison: which tables, columns and rows; checked before any query is sent.

Pure.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from rbkernel.errors import ParameterError, QueryError, SqlTextError
from rbkernel.sql import guard, lexer

_PART_OF_NAME = re.compile(r'"((?:[^"]|"")+)"|([^".]+)')


@dataclass(frozen=True, kw_only=True)
class Question:
    """The question whether the table `target` equals the table `source`, which is assumed to be
    right.

    Parameters
    ----------
    source, target
        Table names as PostgreSQL keeps them, possibly qualified: ``shop.orders``. A name that
        holds a dot is written in double quotes.
    key
        Columns of the source that identify a row in both tables.
    columns
        Columns of the source to compare. If empty, all columns are compared, and a column that the
        target lacks is a difference.
    ignore
        Columns of the source that are not compared; the target may lack them.
    mapping
        Source column → target column, if the names differ. A pair that is named here is compared
        even if the types differ: as numbers if both are numeric, else as text.
    where
        Condition on the rows of both sides, in SQL. The condition selects keys: a key that is
        selected on one side is compared even if the row on the other side does not meet the
        condition.
    target_where
        The condition for the target, if its columns have other names.
    window_s, window_column
        Compare only keys of rows whose ``window_column`` is at most this number of seconds old.
    tolerance
        Column → the largest absolute difference of two numbers that count as equal.
    time_zone
        The time zone of timestamps without time zone, if the other side's column has one.
    """

    source: str
    target: str
    key: tuple[str, ...] = ("id",)
    columns: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    mapping: Mapping[str, str] = field(default_factory=dict)
    where: str = ""
    target_where: str = ""
    window_s: float = 0.0
    window_column: str = ""
    tolerance: Mapping[str, float] = field(default_factory=dict)
    time_zone: str = ""

    def __post_init__(self) -> None:
        if not self.key or len(set(self.key)) < len(self.key):
            raise _wrong(
                "the key is empty, or contains a column twice",
                "name the columns that identify a row",
            )
        if bool(self.window_s) != bool(self.window_column):
            raise _wrong("a window needs its length and a column", "give both, or none")
        if not 0 <= self.window_s < float("inf"):
            raise _wrong(
                f"the window of {self.window_s} s is not a positive time", "give a positive length"
            )
        if "" in (*self.key, *self.columns) or len(set(self.columns)) < len(self.columns):
            raise _wrong("a column to compare has no name, or is named twice", "name each once")
        if both := sorted(set(self.ignore) & {*self.key, *self.columns}):
            raise _wrong(
                f"{', '.join(both)} is listed both to be compared and to be ignored", "list it once"
            )
        for column, most in self.tolerance.items():
            if not 0 <= most < float("inf"):
                raise _wrong(
                    f"{most} is not a valid tolerance for {column}", "give 0 or a positive number"
                )
            if column in self.key:
                raise _wrong(f"the key {column} cannot have a tolerance", "leave it out")
        for condition in filter(None, (self.where, self.target_where)):
            _check_brackets(condition)

    @property
    def name(self) -> str:
        """The name of the comparison in the provenance of the resulting frame."""
        return f"reconcile {self.source} with {self.target}"

    @property
    def digest(self) -> str:
        """A hash of the question; only a comparison with the same hash is resumed."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def check(self, allow_functions: tuple[str, ...] = ()) -> None:
        """Raise if a condition of the question does more than read.

        Raises
        ------
        QueryError, SqlTextError
            The guard refuses a condition.
        """
        for condition in filter(None, (self.where, self.target_where)):
            try:
                guard.check(f"SELECT 1 FROM t WHERE (\n{condition}\n)", allow_functions)
            except (QueryError, SqlTextError) as error:
                error.where = f"the condition {condition!r}"
                if any(word in error.next_step for word in ("rb.act", "Python")):
                    error.next_step = "write a condition that only reads"
                raise


def parts_of(name: str) -> list[str]:
    """Split a table's name into schema and table; upper and lower case are kept.

    >>> parts_of("shop.Orders"), parts_of('shop."a.b"'), parts_of("orders")
    (['shop', 'Orders'], ['shop', 'a.b'], ['orders'])
    """
    parts = [quoted.replace('""', '"') or plain for quoted, plain in _PART_OF_NAME.findall(name)]
    if not 1 <= len(parts) <= 2:
        raise _wrong(f"{name!r} is not a valid table name", "write table or schema.table")
    return parts


def _check_brackets(condition: str) -> None:
    """Raise if a condition is empty, has unbalanced brackets, or contains a placeholder."""
    if not condition.strip():
        raise _wrong("the condition is empty", "write one, or leave it out")
    depth = 0
    for kind, text in lexer.tokens(condition):
        if kind == "parameter" or text == "$":
            named = "$1" if text == "$" else text
            raise _wrong(f"{named} in a condition has no value", "write the value itself")
        depth += {"(": 1, ")": -1}.get(text, 0)
        if depth < 0 or text == ";":
            break
    if depth:
        raise _wrong(f"the condition {condition!r} is not one expression", "correct its brackets")


def _wrong(what: str, next_step: str) -> ParameterError:
    return ParameterError(what, where="reconcile", next_step=next_step)
