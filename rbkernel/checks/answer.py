"""The answer to a query: rows within caps, and their provenance. Pure, and without pandas.

This module does not use pandas, because importing pandas takes a second: the search for causes
reads rows, and only notebooks need frames (`rbkernel.checks.frames`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from sys import getsizeof
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from rbkernel.checks.values import AsText, plain
from rbkernel.errors import RbkernelError
from rbkernel.model import now
from rbkernel.redact.columns import MASKED, Policy, Redaction, token

if TYPE_CHECKING:
    import pandas as pd

# OIDs of PostgreSQL's built-in types, which are fixed (src/include/catalog/pg_type.dat)
INTEGERS = frozenset({20, 21, 23, 26})
FLOAT8 = 701
FLOATS = frozenset({700, FLOAT8})
BOOLEAN = 16
TIMESTAMPTZ = 1184
TIMESTAMPS: Mapping[int, bool] = {1114: False, TIMESTAMPTZ: True}
INTERVAL = 1186
TEXT = 25
_NO_TEXT = INTEGERS | FLOATS | {BOOLEAN, INTERVAL, *TIMESTAMPS}
# The factor by which batches grow, after the size of a row is known.
_GROWTH = 8


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The query, connection and time of an answer; in a frame: ``frame.attrs["rbkernel"]``.

    ``cut_by`` names the cap that cut the rows. If there is no answer, ``reason`` says why,
    ``trouble`` is the kind of the problem, ``next_step`` says what to do, and ``opens`` is the
    runbook about the problem.

    ``protected`` maps each column that ``[redaction]`` changed or dropped to its policy. ``notes``
    says which values are shown as text, and why. ``search_path`` is the search path of the SQL, if
    names were not only looked up in ``pg_catalog``. ``missing`` maps each float column that
    contains NaN to what its missing values are: ``NaN``, or ``NULL or NaN``. ``origin`` is the
    file of a team's diagnostic with its SHA-256, or the package of a source. Each of these is
    empty by default.

    ``begins`` and ``ends`` are the time range of an answer with values over time, and ``step_s``
    is the distance of two values, in s; 0 if the answer is about one moment.
    """

    name: str
    connection: str
    server: str
    role: str
    sql: str
    values: Mapping[str, Any]
    at: str
    duration_s: float
    rows: int
    cut_by: str
    reason: str = ""
    next_step: str = ""
    trouble: str = ""
    opens: str = ""
    protected: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    search_path: str = ""
    missing: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""
    begins: str = ""
    ends: str = ""
    step_s: float = 0.0


class Column(NamedTuple):
    """A column of an answer: its name, and the OID of its type."""

    name: str
    oid: int


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The rows of one query, as the driver reads them, and their provenance."""

    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Any]]
    provenance: Provenance

    @property
    def complete(self) -> bool:
        """Whether the server answered, and no cap cut the answer."""
        return not self.provenance.reason and not self.provenance.cut_by

    def records(self) -> list[dict[str, Any]]:
        """Return a mapping of column to value for each row; NULL is None."""
        names = [column.name for column in self.columns]
        return [dict(zip(names, map(plain, row), strict=True)) for row in self.rows]

    def values(self, column: str) -> list[Any]:
        """Return the values of a column; empty if there is no such column."""
        places = [place for place, one in enumerate(self.columns) if one.name == column]
        return [row[place] for place in places for row in self.rows]

    def cut(self, lengths: Mapping[str, int]) -> Answer:
        """Return the answer with the texts in these columns cut to a number of characters."""
        if not lengths:
            return self
        limits = [lengths.get(column.name) for column in self.columns]
        rows = [list(map(_beginning, row, limits)) for row in self.rows]
        return replace(self, rows=rows)

    def protected(self, redaction: Redaction) -> Answer:
        """Return the answer with the column policies applied: values shown, hashed or masked.

        Raises
        ------
        ConfigError
            A column must be hashed, but the key is missing.
        """
        policies = {
            place: policy
            for place, (name, oid) in enumerate(self.columns)
            if (policy := redaction.policy(name, text=oid not in _NO_TEXT)) is not Policy.KEEP
        }
        if not policies:
            return self
        changes = {place: _change(policy, redaction) for place, policy in policies.items()}
        kept = [place for place in range(len(self.columns)) if changes.get(place, True)]
        applied = {self.columns[place].name: policy.value for place, policy in policies.items()}
        return Answer(
            columns=tuple(
                self.columns[place]._replace(oid=TEXT) if place in changes else self.columns[place]
                for place in kept
            ),
            rows=[
                [_changed(row[place], changes.get(place)) for place in kept] for row in self.rows
            ],
            provenance=replace(self.provenance, protected=applied),
        )


def _beginning(value: Any, limit: int | None) -> Any:
    if limit is None or not isinstance(value, str):
        return value
    return AsText(value[:limit], value.why) if isinstance(value, AsText) else value[:limit]


def _change(policy: Policy, redaction: Redaction) -> Callable[[Any], str] | None:
    """Return the function that protects a value; None for a dropped column."""
    if policy is Policy.DROP:
        return None
    return (lambda _: MASKED) if policy is Policy.MASK else partial(token, key=redaction.key())


def _changed(value: Any, change: Callable[[Any], str] | None) -> Any:
    return value if value is None or change is None else change(value)


class Fetching(Protocol):
    """An object from which rows can be fetched: a result of SQLAlchemy, or a cursor."""

    def fetchmany(self, size: int, /) -> Sequence[Sequence[Any]]:
        """Return the next rows, at most the given number."""
        ...


def within_caps(
    result: Fetching, row_cap: int, size_cap_mb: int
) -> tuple[list[Sequence[Any]], str]:
    """Fetch rows in batches until a cap is reached; return the rows and the name of that cap.

    A batch is one round trip; its size follows from the row sizes so far. So the total stays near
    the cap, unless a few rows are far larger than those before.
    """
    rows: list[Sequence[Any]] = []
    cap_bytes, held_bytes, batch = size_cap_mb * 1_000_000, 0, 1
    while True:
        fetched = result.fetchmany(batch)
        rows += fetched
        held_bytes += sum(getsizeof(value) for row in fetched for value in row)
        if len(rows) > row_cap:
            return rows[:row_cap], f"the row cap of {row_cap}"
        if held_bytes > cap_bytes:
            return rows, f"the size cap of {size_cap_mb} MB"
        if len(fetched) < batch:
            return rows, ""
        room = (cap_bytes - held_bytes) * len(rows) // (held_bytes or 1)
        batch = max(1, min(batch * _GROWTH, room, row_cap + 1 - len(rows)))


def failed(
    columns: Sequence[str], error: RbkernelError, *, name: str, connection: str, sql: str
) -> Answer:
    """Return an answer without rows for a query that failed, with the reason in its provenance."""
    return Answer(
        columns=tuple(Column(one, TEXT) for one in columns),
        rows=[],
        provenance=Provenance(
            name=name,
            connection=connection,
            server="",
            role="",
            sql=sql.strip(),
            values={},
            at=now(),
            duration_s=0.0,
            rows=0,
            cut_by="",
            reason=f"{error.what} ({error.where})" if error.where else error.what,
            next_step=error.next_step,
            trouble=getattr(error, "trouble", ""),
            opens=getattr(error, "opens", ""),
        ),
    )


def provenance(frame: pd.DataFrame) -> Provenance | None:
    """Return the provenance of a frame; None if rbkernel did not make the frame."""
    found = frame.attrs.get("rbkernel")
    return found if isinstance(found, Provenance) else None
