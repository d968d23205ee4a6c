"""Counters, histograms and gauges, and their text in the format of Prometheus. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Series(NamedTuple):
    """A metric with its labels, as pairs of name and value."""

    name: str
    labels: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        """Return the series as Prometheus writes it.

        >>> str(Series("up", (("job", "shop"), ("path", 'a"b'))))
        'up{job="shop",path="a\\\\"b"}'
        """
        pairs = (f'{key}="{_escaped(value)}"' for key, value in self.labels)
        return f"{self.name}{{{','.join(pairs)}}}"


class Counters:
    """Values that only grow; histograms are counters of their buckets."""

    def __init__(self, begin: Mapping[Series, float] | None = None) -> None:
        self.values: dict[Series, float] = dict(begin or {})

    def add(self, name: str, amount: float = 1.0, /, **labels: str) -> None:
        """Add to a counter, which begins at 0."""
        series = Series(name, tuple(labels.items()))
        self.values[series] = self.values.get(series, 0.0) + amount

    def observe(self, name: str, seconds: float, /, **labels: str) -> None:
        """Count a duration in a histogram."""
        for limit in BUCKETS:
            self.add(f"{name}_bucket", float(seconds <= limit), **labels, le=f"{limit:g}")
        self.add(f"{name}_bucket", 1.0, **labels, le="+Inf")


def text(counters: Mapping[Series, float], gauges: Mapping[Series, float]) -> str:
    """Return values in the text format of Prometheus, each metric with its type."""
    lines: list[str] = []
    for kind, values in (("counter", counters), ("gauge", gauges)):
        for name, found in _by_name(values).items():
            lines.append(f"# TYPE {name} {kind}")
            lines += (f"{series} {value!r}" for series, value in found)
    return "\n".join([*lines, ""])


def _by_name(values: Mapping[Series, float]) -> dict[str, list[tuple[Series, float]]]:
    found: dict[str, list[tuple[Series, float]]] = {}
    for series, value in values.items():
        found.setdefault(series.name, []).append((series, value))
    return found


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
