"""Query Prometheus and Loki: PromQL and LogQL, at one moment or over a range of time.

The answer is a frame with its provenance. A system that does not answer, an error and an empty
answer give an empty frame with the reason, which every rule judges as unknown.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rbkernel import amounts
from rbkernel.checks.answer import Answer, Provenance
from rbkernel.config.sources import Source
from rbkernel.errors import ConfigError, QueryError, SourceError
from rbkernel.model import now
from rbkernel.queries import values
from rbkernel.redact.columns import Policy
from rbkernel.sources.monitoring import series, usual
from rbkernel.sources.monitoring.client import Client
from rbkernel.sources.monitoring.series import Found, Series
from rbkernel.sources.monitoring.usual import Baseline, Usual

if TYPE_CHECKING:
    import pandas as pd

_DAY_S = 86_400
# a range has about so many values; Prometheus refuses more than 11,000
_VALUES, _MOST_VALUES = 60, 10_000
#: The columns of an answer that is not there, by kind: those that do not depend on labels.
COLUMNS = {
    "prometheus": ("series", "sampled_at", "value"),
    "loki": ("series", "sampled_at", "line", "value"),
}
_PATHS = {"prometheus": "/api/v1/query", "loki": "/loki/api/v1/query"}


@dataclass(frozen=True, kw_only=True)
class _Compared:
    """The baselines, by series; notes about them, and why all are missing, if they are."""

    asked: int
    known: Mapping[Any, Baseline]
    notes: Sequence[str] = ()
    missing: str = ""

    def of(self, one: Series, value: float) -> tuple[float, str]:
        """Return the baseline of a series for a value of it, and of which days it is one."""
        found = self.usual(one, value)
        return found.value, found.of

    def usual(self, one: Series, value: float) -> Usual:
        """Return what is usual of a series."""
        return self.known.get(one.identity, Baseline(asked=self.asked)).usual(value)

    def without_ratio(self, found: Found) -> str:
        """Return why some ratios are missing; empty if none is."""
        if self.missing:
            return self.missing
        each = [
            self.usual(one, value)
            for one in found.series
            for _, value in one.samples
            if isinstance(value, float)
        ]
        if disputed := next((one.of for one in each if one.disputed), ""):
            return f"NaN (the baseline is {disputed})"
        return "NaN (a baseline is not above 0)" if any(one.value <= 0 for one in each) else ""

    def gone(self, found: Found) -> list[Series]:
        """Return the series of the last days that have no value now, with their baselines."""
        left = {*self.known} - {one.identity for one in found.series}
        return [
            Series(labels=dict(one), samples=[(0.0, self.known[one].by_days)])
            for one in sorted(left, key=sorted)
            if self.known[one].by_days > 0
        ]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What to ask about: the moment ``ends``, in s since 1970, or the ``last_s`` s before it.

    ``step_s`` is the distance of two values of a range. With ``baseline_days``, the answer about a
    moment is compared with the values at the same time of each of the last days. ``most_lines`` is
    the number of log lines, the newest first.
    """

    ends: float | None = None
    last_s: float | None = None
    step_s: float | None = None
    baseline_days: int = 0
    most_lines: int = 0

    @property
    def step(self) -> float:
        """The distance of two values: by default at least 1 s, and 60 in a range."""
        assert self.last_s is not None  # a moment has no step
        step = self.step_s or min(self.last_s, max(1.0, math.ceil(self.last_s / _VALUES)))
        if step > self.last_s:
            raise QueryError(
                f"a step of {step:g} s is longer than the range of {self.last_s:g} s",
                next_step="use a shorter step_s, or leave it out",
            )
        if self.last_s / step > _MOST_VALUES:
            raise QueryError(
                f"a range of {self.last_s:g} s with a step of {step:g} s has too many values",
                next_step="use a longer step_s, or leave it out",
            )
        return step

    def range(self) -> tuple[float, float]:
        """Return the first and the last moment: whole steps apart, and at least ``last_s``."""
        end = self.ends if self.ends is not None else float(math.floor(time.time()))
        if self.last_s is None:
            return end, end
        return end - math.ceil(self.last_s / self.step) * self.step, end


class Queries:
    """A source that is asked in PromQL or LogQL."""

    def __init__(self, configured: Source) -> None:
        self.configured = configured
        self.client = Client(configured)
        self._path = _PATHS[configured.kind]

    def parameters(self, question: str) -> Sequence[str]:
        """Return the names of the values that a query takes."""
        return values.parameters(question)

    def close(self) -> None:
        """Do nothing: every request has its own connection."""

    def query(
        self,
        question: str,
        given: Mapping[str, Any],
        *,
        row_cap: int | None = None,
        asked: Asked = Asked(),
        name: str = "",
    ) -> pd.DataFrame:
        """Ask, and return rows × (series, sampled_at, value, labels …).

        Log lines have the column ``line`` in place of ``value``. With a baseline, there are the
        columns ``baseline``, ``ratio`` (value divided by baseline) and ``baseline_of`` (of which
        days), too; and ``attrs["gone"]`` has the labels and the baseline of the series that have no
        value now. ``name`` is that of the question in the line below the answer; by default, its
        beginning.

        Raises
        ------
        QueryError
            A value is missing, or cannot be used at its place.
        """
        from rbkernel.checks import frames

        at, started = now(), time.monotonic()
        text = values.inserted(question, given)
        name = name or named(text)
        try:
            begin, end = asked.range()
            found = self._ask(text, asked, begin, end)
            past = self._baselines(text, asked.baseline_days, end)
        except (SourceError, ConfigError) as error:
            return frames.failed_frame(
                COLUMNS[self.configured.kind],
                error,
                name=name,
                connection=self.configured.name,
                sql=text,
            )
        cap = row_cap or self.configured.row_cap
        found = found.within(self.client.endpoint.series_cap, self._shown)
        rows = series.rows(found, past.of if past else None, self._shown)
        full = found.lines and len(rows) == asked.most_lines
        limit = f"the limit of {asked.most_lines} lines" if full else ""
        ranged = asked.last_s is not None
        provenance = Provenance(
            name=name,
            connection=self.configured.name,
            server=self.client.address,
            role="",
            sql=text,
            values=given,
            at=at,
            duration_s=round(time.monotonic() - started, 4),
            rows=min(len(rows), cap),
            cut_by=f"the row cap of {cap}" if len(rows) > cap else found.cut_by or limit,
            notes=(*found.notes, *(past.notes if past else ())),
            missing={"ratio": why} if past and (why := past.without_ratio(found)) else {},
            begins=_iso(begin) if ranged else "",
            ends=_iso(end),
            step_s=asked.step if ranged and not found.lines else 0.0,
        )
        columns = series.columns(found, compared=past is not None)
        answer = Answer(columns=columns, rows=rows[:cap], provenance=provenance)
        frame = frames.to_frame(answer.protected(self.configured.redaction))
        if past:
            frame.attrs["gone"] = [
                {**one.labels, "baseline": one.samples[0][1]}
                for one in past.gone(found)
                if all(map(self._shown, one.labels))
            ]
        return frame

    def _shown(self, label: str) -> bool:
        return self.configured.redaction.policy(label) is Policy.KEEP

    def _ask(self, text: str, asked: Asked, begin: float, end: float) -> Found:
        if asked.last_s is None:
            found = self._get("", text, {"time": f"{end:.3f}"})
        else:
            times = {"start": f"{begin:.3f}", "end": f"{end:.3f}", "step": f"{asked.step:.3f}"}
            lines = {"limit": str(asked.most_lines)} if asked.most_lines else {}
            found = self._get("_range", text, {**times, **lines})
        if not any(one.samples for one in found.series):
            step = (
                "check the labels; if no line is good news, count instead:"
                " sum(count_over_time(…)) or vector(0)"
                if self.configured.kind == "loki"
                else "check the metric and the labels; if no series means 0, write … or vector(0)"
            )
            raise self.client.error("the query has no result", step)
        return found

    def _get(self, which: str, text: str, given: Mapping[str, str]) -> Found:
        limit = f"{self.client.endpoint.timeout_s:.3f}"
        timeout = {"timeout": limit} if self.configured.kind == "prometheus" else {}
        reply = self.client.get(f"{self._path}{which}", {"query": text, **given, **timeout})
        try:
            return series.read(reply.value)
        except ValueError as error:
            raise self.client.error(
                str(error), "check the url and the kind of the source"
            ) from error

    def _baselines(self, text: str, days: int, end: float) -> _Compared | None:
        """Ask for the values at this time of the last days, and of this day of the last weeks."""
        if not days:
            return None
        last = f"{amounts.count(days, 'day')}, if at least half of them have one"
        said = f"baseline: median of the values at this time of each of the last {last}"
        by_day = self._each(text, end, days, _DAY_S)
        notes = [said, *(f"of the baseline: {note}" for note in by_day.notes)]
        if by_day.cut_by:  # a part of a sum can be too low or too high: there is no baseline
            why = f"unknown: the baseline is cut off by {by_day.cut_by}"
            return _Compared(asked=days, known={}, notes=notes, missing=why)
        weeks: Sequence[Series] = ()
        try:
            by_week = self._each(text, end, usual.WEEKS, 7 * _DAY_S)
        except SourceError as error:  # such as a range that the system refuses
            notes.append(f"the same day of the last weeks is not known: {error.what}")
        else:
            weeks = () if by_week.cut_by else by_week.series
            said = f"where the same weekday of the last {usual.WEEKS} weeks is steady, that of it"
            notes.append(said)
        known = usual.baselines(by_day.series, weeks, asked=days, at=end)
        return _Compared(asked=days, known=known, notes=notes)

    def _each(self, text: str, end: float, times: int, apart_s: int) -> Found:
        """Ask for the values at so many moments before ``end``, so far apart."""
        given = {"start": f"{end - times * apart_s:.3f}", "end": f"{end - apart_s:.3f}"}
        return self._get("_range", text, {**given, "step": str(apart_s)})


def named(text: str) -> str:
    """Return a short name for a query, for the line below its answer."""
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:59]}…"


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
