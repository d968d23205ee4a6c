"""What is usual at this time: a step in the level, work of a weekday, and series that are gone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest

from rbkernel.checks.answer import provenance
from rbkernel.config.sources import Source
from rbkernel.errors import SourceError
from rbkernel.sources.monitoring import usual
from rbkernel.sources.monitoring.client import Reply
from rbkernel.sources.monitoring.queries import Asked, Queries, _Compared
from rbkernel.sources.monitoring.series import Found, Series
from rbkernel.sources.monitoring.usual import Baseline

_DAY_S = 86_400
_MONDAY = 1_795_402_800.0  # 2026-11-23T03:00:00Z


def baseline(days: Sequence[float], weeks: Sequence[float], asked: int = 7) -> Baseline:
    """The baseline of a series with these values, the newest first."""

    def of(values: Sequence[float], apart: int) -> list[Series]:
        samples = [(_MONDAY - n * apart * _DAY_S, float(v)) for n, v in enumerate(values, 1)]
        return [Series(labels={}, samples=samples)]

    found = usual.baselines(of(days, 1), of(weeks, 7), asked=asked, at=_MONDAY)
    return found[frozenset()]


class TestAStepInTheLevel:
    @pytest.mark.parametrize(
        ("new", "old", "now", "value"),
        [
            (100.0, 10.0, 100.0, math.nan),  # ten times as much by contract
            (20.0, 100.0, 90.0, math.nan),  # traffic moved away, and now loops
            (100.0, 10.0, 1000.0, 100.0),  # beyond both levels
            (20.0, 100.0, 20.0, 20.0),
        ],
    )
    @pytest.mark.parametrize("since", [3, 5, 7])
    def test_the_weekday_of_the_old_level_is_not_the_usual_one(
        self, since: int, new: float, old: float, now: float, value: float
    ) -> None:
        days = [new] * since + [old] * (10 - since)
        found = baseline(days, [old] * 4).usual(now)
        assert found.value == pytest.approx(value, nan_ok=True)
        assert found.disputed is math.isnan(value)

    def test_weekends_are_no_step(self) -> None:
        days = [0.0, 0.0, 50.0, 50.0, 50.0, 50.0, 50.0, 0.0, 0.0, 50.0]
        assert baseline(days, [50.0, 50.0]).usual(500.0).of == "2 Mondays"

    @pytest.mark.parametrize("missing", [2, 9])
    def test_a_day_without_a_value_shows_no_step(self, missing: int) -> None:
        days = [100.0] * 7 + [10.0] * 3
        days[missing - 1] = math.nan
        assert baseline(days, [10.0] * 4).usual(100.0).value == 10

    def test_days_before_those_asked_for_are_no_baseline(self) -> None:
        days = [math.nan] * 5 + [4.0, 4.0] + [9.0] * 3
        assert math.isnan(baseline(days, []).usual(9.0).value)


@pytest.mark.parametrize(
    ("weeks", "gone"), [([0.0, 0.0], []), ([], [100.0]), ([80.0, 90.0], [85.0])]
)
def test_a_series_that_is_gone_counts_as_usual_on_this_weekday(
    weeks: Sequence[float], gone: Sequence[float]
) -> None:
    """A tenant that is idle on Sundays hides no other one that has risen."""
    known: Mapping[frozenset[tuple[str, str]], Baseline] = {
        frozenset({("tenant", "acme")}): Baseline(asked=7, days=[100.0] * 5 + [0.0], weeks=weeks)
    }
    found = _Compared(asked=7, known=known).gone(Found(series=[]))
    assert [one.samples[0][1] for one in found] == gone


def test_a_baseline_that_does_not_answer_keeps_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Prometheus that is slow about the past is asked about it once, and about now all the same.

    The ratio is unknown.
    """
    one = Queries(Source(name="prom", kind="prometheus", url="http://127.0.0.1:9"))
    asked = []

    def get(path: str, given: Mapping[str, str]) -> Reply:
        asked.append(path)
        if path.endswith("_range"):
            raise SourceError("no answer within 10 s")
        vector = {"resultType": "vector", "result": [{"metric": {}, "value": [0, "7"]}]}
        return Reply({"status": "success", "data": vector}, "")

    monkeypatch.setattr(one.client, "get", get)
    frame = one.query("cost", {}, asked=Asked(ends=_MONDAY, baseline_days=7))
    source = provenance(frame)
    assert source is not None
    assert (frame["value"].tolist(), source.reason) == ([7.0], "")
    assert source.missing["ratio"] == "unknown: the baseline has no answer: no answer within 10 s"
    assert asked == ["/api/v1/query", "/api/v1/query_range"]
