"""The result of a comparison: frozen values, and the frame for a notebook."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rbkernel.errors import ConfigError
from rbkernel.reconciliation.parts import Part
from rbkernel.redact.columns import MASKED, Policy, Redaction, token

COLUMNS = ("key", "kind", "columns", "state")
_STRICTNESS = (Policy.KEEP, Policy.HASH, Policy.MASK, Policy.DROP)
# kinds for columns, not rows: the target lacks the column, or the type differs
OF_COLUMNS = ("column", "type")
KINDS = ("missing", "extra", "changed", *OF_COLUMNS)


class State(StrEnum):
    """What is known about a difference after several comparisons of the row."""

    ONCE = "seen once"
    UNSETTLED = "unsettled"
    PERSISTENT = "persistent"
    IN_FLIGHT = "in flight"


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A row, or a column, that differs between the source and the target.

    Parameters
    ----------
    key
        Texts of the key's columns.
    kind
        What is wrong in the target. For a row: ``missing``, ``extra`` or ``changed``. For a column
        whose values were not compared, which is reported once: ``column`` if the target lacks the
        column, ``type`` if its type differs.
    columns
        The columns that differ, by the source's names.
    version
        A fingerprint of the values of both sides. If it differs between two comparisons, a value
        has changed.
    state
        The state after several comparisons.
    """

    key: tuple[str, ...]
    kind: str
    columns: tuple[str, ...] = ()
    version: str = ""
    state: State = State.ONCE

    def become(self, state: State) -> Difference:
        """Return a copy of the difference with another state."""
        return dataclasses.replace(self, state=state)

    def settled(self, now: Difference | None) -> Difference:
        """Return the difference with its state after a later comparison (``None``: rows are equal).

        >>> one = Difference(key=("1",), kind="missing", version="a")
        >>> one.settled(None).state, one.settled(one).state
        (<State.IN_FLIGHT: 'in flight'>, <State.PERSISTENT: 'persistent'>)
        """
        if now is None:
            return self.become(State.IN_FLIGHT)
        return now.become(State.PERSISTENT if now.version == self.version else State.UNSETTLED)


def found_of(
    keys: Sequence[tuple[str, ...]],
    flags: NDArray[np.bool_],
    versions: NDArray[np.int64],
    names: Sequence[str],
) -> list[Difference]:
    """Return the differences among some rows that were compared.

    Parameters
    ----------
    keys
        The key of each row.
    flags
        (2 + columns) × rows: whether the source has the row, whether the target has it, and, for
        each column, whether the values differ.
    versions
        The version of each row, see `Difference`.
    names
        The names of the columns.

    >>> flags = np.array([[1, 1, 0], [1, 1, 1], [0, 1, 1]], dtype=bool)
    >>> found = found_of([("1",), ("2",), ("3",)], flags, np.array([7, 8, 9]), ["v"])
    >>> [(one.key, one.kind, one.columns) for one in found]
    [(('2',), 'changed', ('v',)), (('3',), 'extra', ())]
    """
    packed = np.packbits(flags, axis=0)
    bits: list[bytes] = packed.T.copy().view(f"V{len(packed)}").reshape(-1).tolist()
    # there are few distinct combinations
    kinds = {some: _kind(some, names) for some in set(bits)}
    rows = zip(keys, map(kinds.__getitem__, bits), versions.tolist(), strict=True)
    return [
        Difference(key=key, kind=kind, columns=columns, version=f"{version:x}")
        for key, (kind, columns), version in rows
        if kind
    ]


def _kind(bits: bytes, names: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the kind of a row's difference and the differing columns; both empty for equal
    rows.
    """
    source, target, *unlike = np.unpackbits(np.frombuffer(bits, np.uint8), count=len(names) + 2)
    if source != target:
        return "missing" if source else "extra", ()
    columns = tuple(name for name, one in zip(names, unlike, strict=True) if one and source)
    return "changed" if columns else "", columns


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The progress of a comparison, from which a later run of the same question can continue.

    ``layout`` identifies both tables and how they are compared; ``since`` is the start of the time
    window.
    """

    digest: str
    layout: str
    parts: tuple[Part, ...]
    done: int = 0
    started_at: str = ""
    since: str = ""
    source_rows: int = 0
    target_rows: int = 0
    beyond: int = 0
    snapshots: int = 0
    differences: tuple[Difference, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the progress as the value that a state file contains."""
        rows = [[getattr(one, name) for name in _FIELDS] for one in self.differences]
        parts = [dataclasses.asdict(part) for part in self.parts]
        return {**vars(self), "parts": parts, "differences": rows}

    @classmethod
    def from_json(cls, found: Any) -> Progress:
        """Return the progress from the value that `as_json` returned.

        Raises
        ------
        ConfigError
            The text is not a state file of this version.
        """
        try:
            parts = tuple(Part(**part) for part in found["parts"])
            differences = tuple(map(_difference, found["differences"]))
            return cls(**{**found, "parts": parts, "differences": differences})
        except (TypeError, KeyError, ValueError) as error:
            raise ConfigError(
                f"the state of the earlier run cannot be read: {error}",
                where="reconcile",
                next_step="run it without --resume, from the beginning",
            ) from error


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a comparison that has reached the end of both tables.

    Parameters
    ----------
    differences
        The differences, up to the requested number.
    beyond
        The number of further differences. They are only counted, and not compared a second time.
    source_rows, target_rows
        Rows compared on each side.
    compared
        Columns that were compared, key first, by the source's names.
    notes
        Columns that were ignored, that only the target has, or that were compared as text.
    key_range
        The smallest and largest key of both tables, if the key is one integer.
    snapshots
        The number of pairs of snapshots, one snapshot on each side; each part of the tables was
        compared within one pair.
    how
        How the tables were compared, in words.
    """

    differences: tuple[Difference, ...]
    beyond: int
    source_rows: int
    target_rows: int
    key: tuple[str, ...]
    compared: tuple[str, ...]
    integer_key: bool
    notes: tuple[str, ...] = ()
    key_range: tuple[int | None, int | None] = (None, None)
    snapshots: int = 1
    parts: int = 1
    how: str = ""
    started_at: str = ""
    ended_at: str = ""
    duration_s: float = 0.0
    servers: tuple[str, str] = ("", "")
    role: str = ""
    resumed: bool = field(default=False)

    def __deepcopy__(self, _: object) -> Outcome:
        """Return the same object, because pandas copies the ``attrs`` of a frame at every step."""
        return self

    def policies(
        self, source: Redaction, target: Redaction, mapping: Mapping[str, str]
    ) -> Mapping[str, Policy]:
        """Return the column policies of both sides for the compared columns, if there are any.

        Parameters
        ----------
        source, target
            The policies of both connections; the stricter one counts.
        mapping
            Source column → target column, where the names differ.
        """
        found = {}
        for name in self.compared:
            text = not (self.integer_key and name in self.key)
            both = (source.policy(name, text=text),
                    target.policy(mapping.get(name, name), text=text))  # fmt: skip
            found[name] = max(both, key=_STRICTNESS.index)
        return {name: policy for name, policy in found.items() if policy is not Policy.KEEP}

    def protected(self, policies: Mapping[str, Policy], hash_key: bytes) -> Outcome:
        """Return the outcome with the column policies applied to the columns of the key.

        A key column is never left out: if its policy is to drop it, its values are masked.
        """
        if not any(name in policies for name in self.key):
            return self

        def seen(name: str, text: str) -> str:
            policy = policies.get(name, Policy.KEEP)
            if policy is Policy.HASH:
                return token(text, hash_key)
            return text if policy is Policy.KEEP else MASKED

        rows = (
            # a difference about a column has no key
            dataclasses.replace(one, key=tuple(map(seen, self.key, one.key)))
            for one in self.differences
        )
        return dataclasses.replace(
            self, differences=tuple(rows), integer_key=False, key_range=(None, None)
        )

    @property
    def standing(self) -> tuple[Difference, ...]:
        """All differences except those in flight, whose rows were equal in a later comparison."""
        return tuple(one for one in self.differences if one.state is not State.IN_FLIGHT)

    @property
    def same(self) -> bool:
        """Whether the comparison found no lasting difference."""
        return not self.standing and not self.beyond

    def counts(self) -> Mapping[str, int]:
        """Return the number of lasting differences of each kind."""
        found = Counter(one.kind for one in self.standing)
        return {kind: found[kind] for kind in KINDS if found[kind]}

    def columns(self) -> Mapping[str, int]:
        """Return the number of changed rows by differing column, the largest number first."""
        changed = (one for one in self.standing if one.kind == "changed")
        return dict(Counter(name for one in changed for name in one.columns).most_common())

    def frame(self) -> pd.DataFrame:
        """Return a frame with one row per difference: key, kind, columns, state (`COLUMNS`)."""
        rows = [(self._key(one), one.kind, ", ".join(one.columns), one.state.value)
                for one in self.differences]  # fmt: skip
        frame = pd.DataFrame(rows, columns=pd.Index(COLUMNS), dtype=object)
        if self.integer_key:
            frame["key"] = frame["key"].astype("Int64")
        frame.attrs.update(
            compared=self.compared,
            key_range=self.key_range,
            notes=self.notes,
            source_rows=self.source_rows,
            target_rows=self.target_rows,
            beyond=self.beyond,
        )
        return frame

    def listed(self, frame: pd.DataFrame) -> list[Difference]:
        """Return the differences that a frame still contains after a user has filtered it."""
        kept = set(zip(frame["key"].astype(object), frame["kind"], strict=True))
        return [one for one in self.differences if (self._key(one), one.kind) in kept]

    def _key(self, one: Difference) -> Any:
        if not one.key:
            return None
        if self.integer_key:
            return int(one.key[0])
        return one.key[0] if len(one.key) == 1 else one.key


_FIELDS = [field.name for field in dataclasses.fields(Difference)]


def _difference(row: Sequence[Any]) -> Difference:
    found = dict(zip(_FIELDS, row, strict=True))
    return Difference(
        key=tuple(found["key"]),
        kind=found["kind"],
        columns=tuple(found["columns"]),
        version=found["version"],
        state=State(found["state"]),
    )
