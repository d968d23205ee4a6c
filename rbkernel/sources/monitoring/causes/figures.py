"""Figures of the members of a group, such as tenants: now, and as usual at this hour. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rbkernel.checks.answer import provenance

if TYPE_CHECKING:
    import pandas as pd

#: A figure up to this multiple of its usual value is as usual (own choice).
AS_USUAL = 1.5
# a member with this share of a rise accounts for it (own choice)
_ACCOUNTS_FOR = 0.6
# a member with a smaller share of the sum decides nothing (own choice)
_MATTERS = 0.1
_NO_BASELINE = "what is usual at this hour is not known: too few days have values"
_LAST_WEEK = "compare with the same day of last week yourself: which of both is as usual?"
_KEEP = "keep the metrics for some days, or compare with the dashboard yourself"


def number(value: float) -> str:
    """Return a number with two digits, or without decimals from 100 on.

    >>> number(2.75), number(0.0123), number(1800.0)
    ('2.8', '0.012', '1,800')
    """
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure now, and as usual at this hour; None if that is not known."""

    now: float
    usual: float | None = None

    @property
    def times(self) -> float | None:
        """The multiple of the usual value; None if that is not known, or 0.

        >>> Figure(now=6, usual=2).times, Figure(now=6, usual=0).times, Figure(now=6).times
        (3.0, None, None)
        """
        return self.now / self.usual if self.usual else None

    @property
    def up(self) -> bool | None:
        """Whether it is clearly above its usual value; None if that is not known.

        >>> Figure(now=6, usual=2).up, Figure(now=2, usual=2).up, Figure(now=1, usual=0).up
        (True, False, True)
        """
        return None if self.usual is None else self.now > AS_USUAL * self.usual

    @property
    def rise(self) -> float:
        """By how much it is above its usual value."""
        return self.now - (self.usual or 0.0)

    def per(self, other: Figure) -> Figure | None:
        """Return the figure for each unit of another one; None if there is none now.

        >>> Figure(now=6, usual=2).per(Figure(now=3, usual=2))
        Figure(now=2.0, usual=1.0)
        """
        if not other.now:
            return None
        usual = self.usual / other.usual if self.usual is not None and other.usual else None
        return Figure(now=self.now / other.now, usual=usual)

    def compared(self) -> str:
        """Return in words how the figure compares with the usual one.

        >>> Figure(now=6, usual=2).compared(), Figure(now=6, usual=0).compared()
        ('3 times the usual', 'usually none')
        >>> Figure(now=366, usual=2).compared(), Figure(now=2.2, usual=2).compared()
        ('183 times the usual', 'about the usual')
        """
        if self.usual is None:
            return "what is usual is not known"
        if self.times is None:
            return "usually none"
        if 1 / AS_USUAL <= self.times <= AS_USUAL:
            return "about the usual"
        return f"{number(self.times)} times the usual"


@dataclass(frozen=True, kw_only=True)
class Group:
    """The figures of the members of a group, by their names, the largest first.

    ``reason`` says why the figures are not known, and ``next_step`` what to do about it; ``doubt``
    why it is not known what is usual.
    """

    members: Mapping[str, Figure]
    reason: str = ""
    next_step: str = ""
    doubt: str = ""

    @cached_property
    def total(self) -> Figure:
        """The sum of all members."""
        figures = [*self.members.values()]
        usual = [one.usual for one in figures]
        known = [one for one in usual if one is not None]
        return Figure(
            now=sum(one.now for one in figures),
            usual=sum(known) if known and len(known) == len(usual) else None,
        )

    @property
    def unknown(self) -> str:
        """Why a rise cannot be attributed to a member; empty if it can."""
        return self.reason or ((self.doubt or _NO_BASELINE) if self.total.usual is None else "")

    @property
    def advice(self) -> str:
        """What to do if a rise cannot be attributed."""
        return self.next_step or (_LAST_WEEK if self.doubt else _KEEP)

    def share(self, name: str) -> float:
        """The share of a member in the sum, from 0 to 1."""
        return self.members[name].now / self.total.now if self.total.now else 0.0

    def share_of_rise(self, name: str) -> float:
        """The share of a member in the rise of the sum; 0 if the sum has not risen."""
        rise = self.total.rise
        return self.members[name].rise / rise if rise > 0 and name in self.members else 0.0

    def leader(self) -> str:
        """Return the member that accounts for most of the rise; empty if none does."""
        if self.unknown or not self.total.up:
            return ""
        first = max(self.members, key=lambda name: self.members[name].rise)
        return first if self.share_of_rise(first) >= _ACCOUNTS_FOR else ""

    def culprit(self) -> str:
        """Return the member that has risen while the others are as usual; empty if there is none.

        A large member is no culprit if all members have risen alike, nor is a member without
        others that are still there: nothing shows that the rise is its own.

        >>> def group(**figures):
        ...     return Group(members={k: Figure(now=n, usual=u) for k, (n, u) in figures.items()})
        >>> group(a=(60, 6), b=(10, 10)).culprit(), group(a=(16, 8), b=(4, 2)).culprit()
        ('a', '')
        >>> group(a=(9, 1)).culprit(), group(new=(20, 0), b=(10, 10)).culprit()
        ('', 'new')
        >>> group(new=(60, 0), old=(0, 6)).culprit()
        ''
        """
        name = self.leader()
        others = {one: it for one, it in self.members.items() if one != name and it.now}
        rest = Group(members=others).total
        return name if rest.usual and not rest.up else ""


def group(frame: pd.DataFrame, by: str, within: Mapping[str, str] | None = None) -> Group:
    """Read the figures of a group from an answer, as the sums of its rows by a label.

    A member without values on most days is usually 0, if other members have a baseline: the
    history is there. Members of the last days that have no value now are 0. Of a member of which
    the last days and the same weekday disagree, nothing is usual, unless it is too small to matter.
    If rows were cut, or a value is missing, nothing is known of the group.

    Parameters
    ----------
    frame
        The result of `rb.promql`: rows × (value, labels …), with ``baseline`` and ``days`` if it
        was asked for baselines.
    by
        The label that names the members; empty for one member without a name.
    within
        Label → value of the rows that count.
    """
    source = provenance(frame)
    if source is None or source.reason or source.cut_by:
        why = source.reason or f"the answer is cut by {source.cut_by}" if source else "no answer"
        return Group(members={}, reason=why, next_step=source.next_step if source else "")
    rows = _rows(frame, within)
    if missing := [row["series"] for row in rows if not math.isfinite(row["value"])]:
        return Group(members={}, reason=f"no value for {', '.join(missing[:3])}")
    if not rows:
        wanted = ", ".join(f"{label} {value}" for label, value in (within or {}).items())
        return Group(members={}, reason=f"there are no values of {wanted}")
    history = any(_known(row.get("baseline")) for row in rows) and "ratio" not in {
        column for column, why in source.missing.items() if why.startswith("unknown")
    }
    found: dict[str, Figure] = {}
    for row in rows:
        name = str(row.get(by) or "(none)") if by else ""
        usual = _usual(row, history=history, total=sum(float(one["value"]) for one in rows))
        old = found.get(name, Figure(now=0.0, usual=0.0))
        both = old.usual is not None and usual is not None
        total = (old.usual or 0.0) + (usual or 0.0) if both else None
        found[name] = Figure(now=old.now + float(row["value"]), usual=total)
    ranked = sorted(found.items(), key=lambda one: -one[1].now)
    doubts = [f"{row['series']} ({row['baseline_of']})" for row in rows if _disputed(row)]
    doubt = f"what is usual is not known of {', '.join(doubts[:3])}" if doubts else ""
    return Group(members=dict(ranked), doubt=doubt)


def _known(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _usual(row: Mapping[str, Any], *, history: bool, total: float) -> float | None:
    value = row.get("baseline")
    if _known(value):
        return float(value)  # type: ignore[arg-type]  # it is a float
    if _disputed(row):
        return None if row["value"] >= _MATTERS * total else float(row["value"])
    return 0.0 if history else None


def _disputed(row: Mapping[str, Any]) -> bool:
    return str(row.get("baseline_of") or "").startswith("disputed")


@dataclass(frozen=True, kw_only=True)
class Course:
    """The values of a series over time, as (s since 1970, value), the oldest first."""

    values: Sequence[tuple[float, float]]

    def between(self, begin: float, end: float) -> list[float]:
        """Return the values after ``begin`` and up to ``end``."""
        return [value for at, value in self.values if begin < at <= end]


def courses(
    frame: pd.DataFrame, by: str, within: Mapping[str, str] | None = None
) -> dict[str, Course]:
    """Read the series of a range, by a label; empty if nothing is known.

    Parameters
    ----------
    frame, by, within
        As for `group`; the frame is the result of `rb.promql` with ``last_s``.
    """
    source = provenance(frame)
    if source is None or source.reason or source.cut_by or not source.step_s:
        return {}
    found: dict[str, list[tuple[float, float]]] = {}
    for row in _rows(frame, within):
        if math.isfinite(row["value"]):
            at = row["sampled_at"].timestamp()
            found.setdefault(str(row.get(by) or "(none)"), []).append((at, float(row["value"])))
    return {name: Course(values=sorted(values)) for name, values in found.items()}


def _rows(frame: pd.DataFrame, within: Mapping[str, str] | None) -> list[dict[str, Any]]:
    """Return the rows with these labels."""
    wanted = (within or {}).items()
    now = ({str(name): value for name, value in row.items()} for row in frame.to_dict("records"))
    gone = ({"series": "", "value": 0.0, **one} for one in frame.attrs.get("gone", ()))
    return [row for row in (*now, *gone) if all(row.get(label) == value for label, value in wanted)]
