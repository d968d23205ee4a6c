"""Read the values and log lines in the answers of Prometheus and Loki. Pure.

Each row has the name of its series, a time, and a value or a line; then one column for each label.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from rbkernel.checks.answer import FLOAT8, TEXT, TIMESTAMPTZ, Column

# so many series that were left out are named
_NAMED = 5
#: Tells whether a label may be shown, by its name; labels with a policy of `[redaction]` are not.
Shown = Callable[[str], bool]
_METRIC = "__name__"
#: The end of the year 9999, in s since 1970: Python has no later time.
LAST_S = 253_402_300_800
# begins a text about the query that does not mean that something is missing; "PromQL warning:" does
_ABOUT_THE_QUERY = "PromQL info:"
_HISTOGRAM = "the result is a native histogram, not a figure: use histogram_quantile or similar"


@dataclass(frozen=True, kw_only=True)
class Series:
    """A series: its labels, and its samples as (seconds since 1970, value or line)."""

    labels: Mapping[str, str]
    samples: Sequence[tuple[float, float | str]]

    @property
    def rank(self) -> float:
        """The largest value; series with larger values come first."""
        values = [value for _, value in self.samples if isinstance(value, float)]
        return max(filter(math.isfinite, values), default=-math.inf)

    @property
    def identity(self) -> frozenset[tuple[str, str]]:
        """The labels, by which the series of two answers to one query are joined."""
        return frozenset(self.labels.items())


#: Returns the baseline of a series for a value, and of which days it is one.
Known = Callable[[Series, float], tuple[float, str]]


@dataclass(frozen=True, kw_only=True)
class Found:
    """The series of an answer, or its log lines (``lines``).

    ``cut_by`` says why the answer is not whole.
    """

    series: Sequence[Series]
    lines: bool = False
    cut_by: str = ""
    notes: tuple[str, ...] = ()

    def within(self, cap: int, shown: Shown) -> Found:
        """Return the series with the largest values, these first, and name the others."""
        if self.lines:
            return self
        ranked = sorted(self.series, key=lambda one: one.rank, reverse=True)
        if len(ranked) <= cap:
            return replace(self, series=ranked)
        rest = some(names(ranked, shown)[cap:])
        return replace(
            self,
            series=ranked[:cap],
            cut_by=self.cut_by or f"the series cap of {cap}",
            notes=(*self.notes, f"left out, with smaller values: {rest}"),
        )


def read(answer: Any) -> Found:
    """Read an answer of the query API.

    Raises
    ------
    ValueError
        It is not an answer of this API, or it says that the query failed.
    """
    try:
        if answer["status"] != "success":
            raise ValueError(f"the system could not answer: {answer.get('error', 'no reason')}")
        data = answer["data"]
        kind, result = data["resultType"], data["result"]
        if kind in {"scalar", "string"}:
            series = [Series(labels={}, samples=[_sample(result)])]
        elif kind == "vector":
            series = [_series(one, [one.get("value")]) for one in result]
        elif kind == "matrix":
            series = [_series(one, one.get("values")) for one in result]
        elif kind == "streams":
            series = [_stream(one) for one in result]
        else:
            raise ValueError(f"the type {kind!r} of the result is not known")
        said = (answer.get("warnings") or (), answer.get("infos") or ())
        warnings = [str(one) for one in chain.from_iterable(said)]
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError("the answer is not of the query API") from error
    return Found(
        series=series,
        lines=kind == "streams",
        cut_by=_cut_by(answer, warnings, result),
        notes=(*_infinite(series), *warnings),
    )


def _infinite(series: Sequence[Series]) -> list[str]:
    """Return a note if a value is infinite, such as a quantile above all buckets."""
    values = [value for one in series for _, value in one.samples if isinstance(value, float)]
    return ["an infinite value is no figure: it counts as missing"] * any(map(math.isinf, values))


def _cut_by(answer: Mapping[str, Any], warnings: Sequence[str], result: Any) -> str:
    """Return why an answer is not whole, as Thanos, VictoriaMetrics and Prometheus say it."""
    partial = [one for one in warnings if not one.startswith(_ABOUT_THE_QUERY)]
    if partial:
        return f"the system, which warns: {partial[0]}"
    if answer.get("isPartial"):
        return "the system, which says that its answer is partial"
    if any(isinstance(one, dict) and "histograms" in one for one in result):
        return "native histograms among the values, which are no figures"
    return ""


def _series(one: Mapping[str, Any], samples: Iterable[Sequence[Any]]) -> Series:
    named = {str(name): str(value) for name, value in one["metric"].items()}
    if not {"value", "values"} & {*one} and {"histogram", "histograms"} & {*one}:
        raise ValueError(_HISTOGRAM)
    return Series(labels=named, samples=[_sample(one) for one in samples])


def _sample(pair: Sequence[Any]) -> tuple[float, float]:
    """Return time and value; the API writes values, also NaN and infinity, as text."""
    return _moment(float(pair[0])), float(pair[1])


def _moment(at: float) -> float:
    """Return a time in s since 1970, if it is one of the years 1970 to 9999."""
    if not 0 <= at < LAST_S:
        raise ValueError(f"the answer has an impossible time: {at:g}")
    return at


def _stream(one: Mapping[str, Any]) -> Series:
    labels = {str(name): str(value) for name, value in one["stream"].items()}
    # Loki's times are whole nanoseconds, as text
    lines = [(_moment(int(pair[0]) / 1e9), str(pair[1])) for pair in one["values"]]
    return Series(labels=labels, samples=lines)


def some(items: Sequence[str]) -> str:
    """Return the first items as text, and how many more there are.

    >>> some(["a", "b"]), some(list("abcdefg"))
    ('a, b', 'a, b, c, d, e and 2 more')
    """
    more = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return ", ".join(items[:_NAMED]) + more


def names(series: Sequence[Series], shown: Shown) -> list[str]:
    """Return a short name for each series: the labels in which they differ.

    >>> shop = Series(labels={"job": "web", "service": "shop"}, samples=[])
    >>> cart = Series(labels={"job": "web", "service": "cart"}, samples=[])
    >>> names([shop, cart], bool), names([shop], bool)
    (['shop', 'cart'], ['job=web, service=shop'])
    >>> names([shop, cart], lambda label: label == "job")
    ['value', 'value (2)']
    """
    keys = [key for key in dict.fromkeys(k for one in series for k in one.labels) if shown(key)]
    if len(series) > 1:
        keys = [key for key in keys if len({one.labels.get(key) for one in series}) > 1]
    else:
        keys = [key for key in keys if key != _METRIC]
    bare = len(keys) == 1 and len(series) > 1
    given = [_name(one, keys, bare=bare) for one in series]
    seen: Counter[str] = Counter()
    unique = []
    for name in given:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return unique


def _name(one: Series, keys: Sequence[str], *, bare: bool) -> str:
    if bare:
        return one.labels.get(keys[0]) or "(none)"
    said = ", ".join(f"{key}={one.labels[key]}" for key in keys if one.labels.get(key))
    return said or one.labels.get(_METRIC, "") or "value"


def columns(found: Found, *, compared: bool) -> tuple[Column, ...]:
    """Return the columns of the table of an answer; labels come last."""
    fixed = [Column("series", TEXT), Column("sampled_at", TIMESTAMPTZ)]
    fixed.append(Column("line", TEXT) if found.lines else Column("value", FLOAT8))
    if compared:
        fixed += [Column("baseline", FLOAT8), Column("ratio", FLOAT8), Column("baseline_of", TEXT)]
    return (*fixed, *(Column(name, TEXT) for name in _labels(found)))


def _labels(found: Found) -> list[str]:
    every = dict.fromkeys(key for one in found.series for key in one.labels)
    return sorted(key for key in every if key != _METRIC)


def rows(found: Found, usual: Known | None, shown: Shown) -> list[tuple[Any, ...]]:
    """Return the rows of the table of an answer: values by series, log lines by time.

    ``usual`` returns the baseline of a series for a value of it, and of which days it is one.
    """
    labels = _labels(found)
    made = [
        row
        for name, one in zip(names(found.series, shown), found.series, strict=True)
        for row in _rows_of(name, one, labels, usual)
    ]
    return sorted(made, key=lambda row: row[1], reverse=True) if found.lines else made


def _rows_of(
    name: str, one: Series, labels: Sequence[str], usual: Known | None
) -> Iterator[tuple[Any, ...]]:
    of_labels = [one.labels.get(label) for label in labels]
    for at, raw in one.samples:
        value = math.nan if isinstance(raw, float) and math.isinf(raw) else raw
        compared: list[Any] = []
        if usual is not None and isinstance(value, float):
            baseline, of = usual(one, value)
            ratio = value / baseline if baseline > 0 else math.nan
            compared = [baseline, ratio, of]
        yield (name, datetime.fromtimestamp(at, UTC), value, *compared, *of_labels)
