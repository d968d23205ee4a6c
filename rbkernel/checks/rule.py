"""A rule about a figure of an answer, as a diagnostic's header declares it; `rules` applies it."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rbkernel.checks.answer import Answer


class Rule(BaseModel):
    """A rule about a figure: its thresholds, and the texts of the finding.

    Parameters
    ----------
    title
        What is checked, in words; a finding replaces an earlier one of the same title.
    column
        Numeric or boolean column. Optional with ``agg: rows``: if it is given, it is unknown
        whether a row with NULL in this column counts.
    name
        Short name, by which a runbook addresses the finding; by default, the name of the column.
    agg
        ``max``, ``min``, ``sum``, ``mean`` or ``last`` of the column, or ``rows``: the number of
        rows. If an answer has no row, only ``rows`` and ``sum`` have a value (0); see `empty`.
        NULLs make a figure ``unknown``, unless the known values alone are beyond a threshold.
    where
        Column → value or values that a row must have to count. If the column is NULL, it is
        unknown whether the row counts.
    ranked
        Whether the query sorts the rows worst first for this rule: the rows that count come first,
        and among them the largest figure. Rows beyond the cap are then no worse than those that
        were read.
    empty
        The figure if no row counts, such as 0 for the duration of the longest query.
    by
        Column by which the finding groups the rows; the largest group comes first.
    each
        Column that identifies each row, such as a process id or a key.
    warn, critical
        Thresholds; a value beyond one of them (above, or under with `below`) has that verdict.
    warn_at_limit, critical_at_limit
        Whether a value equal to the threshold has that verdict, too: ``n must be above 0`` is
        ``critical=0, critical_at_limit=True, below=True``.
    unit
        Unit for people, such as ``s`` or ``%``.
    expected
        Description of the ok state; derived from the thresholds if empty.
    cause, next_step
        Text of the finding: the cause of the problem, and the next step. In the cause, ``{value}``,
        ``{top}`` and ``{which}`` are replaced by the figure, the groups of `by`, and the rows of
        `each`; ``{is|are}`` by the first word if the figure is one, else by the second.
    opens
        The runbook to open if the figure is wrong.
    unseen
        Why the figure may be missing, and how to get it; shown if the figure is missing.
    source
        The origin of the thresholds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    column: str = ""
    name: str = Field(default_factory=lambda given: str(given.get("column", "")))
    agg: Literal["max", "min", "sum", "mean", "last", "rows"] = "max"
    where: dict[str, Any] = {}
    ranked: bool = False
    empty: float | None = None
    by: str = ""
    each: str = ""
    warn: float | None = None
    critical: float | None = None
    below: bool = False
    warn_at_limit: bool = False
    critical_at_limit: bool = False
    unit: str = ""
    expected: str = ""
    cause: str = ""
    next_step: str = ""
    opens: str = ""
    unseen: str = ""
    source: str = ""

    @model_validator(mode="after")
    def _can_fail(self) -> Rule:
        if self.warn is None and self.critical is None:
            raise ValueError("needs warn=, critical= or both: without one it cannot fail")
        if self.agg != "rows" and not self.column:
            raise ValueError(f"agg={self.agg!r} needs a column")
        if self.warn is not None and self.critical is not None:
            later, sooner = (self.warn, self.critical)[:: -1 if self.below else 1]
            if later > sooner:
                side = "below" if self.below else "above"
                raise ValueError(
                    f"warn={self.warn:g} is {side} critical={self.critical:g}, so it has no"
                    " effect; choose a warn that is reached first"
                )
        return self

    def surely_ok(self, answer: Answer) -> bool:
        """Return whether an answer is certainly ok, so that `rules` (slow: pandas) is not needed.

        The answer is complete, for each row it is known whether it counts, each counting row has a
        number, and no number is beyond a threshold. Sums, means and row counts are left to `rules`.
        """
        if not answer.complete or self.agg not in {"max", "min", "last"}:
            return False
        rows = answer.records()
        for column, wanted in self.where.items():
            values = wanted if isinstance(wanted, list) else [wanted]
            if any(row.get(column) is None for row in rows):
                return False
            rows = [row for row in rows if row[column] in values]
        figures = [row.get(self.column) for row in rows] or [self.empty]
        return all(map(self._within, figures))

    def _within(self, figure: Any) -> bool:
        limits = [
            (limit, at)
            for limit, at in (
                (self.warn, self.warn_at_limit),
                (self.critical, self.critical_at_limit),
            )
            if limit is not None
        ]
        if not isinstance(figure, int | float):
            return False
        if any(map(math.isnan, (figure, *(limit for limit, _ in limits)))):
            return False
        return not any(
            violates(figure, limit, below=self.below, at_limit=at) for limit, at in limits
        )


def violates(figure: float, limit: float, *, below: bool, at_limit: bool = False) -> bool:
    """Tell whether a figure is beyond a limit, or at it where that counts.

    >>> violates(0, 0, below=True), violates(0, 0, below=True, at_limit=True)
    (False, True)
    """
    return (at_limit and figure == limit) or (figure < limit if below else figure > limit)
