"""What is said minutes after a trouble began: the right cause, or when to look again."""

from __future__ import annotations

import dataclasses
import math

import pandas as pd
import pytest

from rbkernel.checks.answer import TIMESTAMPTZ, Answer, Column, Provenance
from rbkernel.checks.frames import to_frame
from rbkernel.checks.trend import trends
from rbkernel.sources.monitoring.causes import approvals, provider, safety
from rbkernel.sources.monitoring.causes.figures import Course
from rbkernel.sources.monitoring.causes.onset import onset, unless_early, window_s
from rbkernel.sources.monitoring.causes.suspect import Suspect

_ENDS = pd.Timestamp("2026-12-01T03:00:00Z")
_MINUTES = (1, 2, 5, 15)
_ORIGIN = Provenance(
    name="q",
    connection="prom",
    server="",
    role="",
    sql="sum(rate(x[5m]))",
    values={},
    at="",
    duration_s=0,
    rows=0,
    cut_by="",
)


def mixed(old: float, new: float, began: float) -> float:
    """Return what a rate over 5 min shows ``began`` min after the change."""
    return old + (new - old) * min(1.0, max(0.0, began / 5))


def at_once(by: tuple[str, ...], *rows: tuple[object, ...]) -> pd.DataFrame:
    """An answer about a moment: the labels, the value and what is usual."""
    columns = (
        Column("series", 25),
        *(Column(one, 25) for one in by),
        Column("value", 701),
        Column("baseline", 701),
    )
    made = [("/".join(map(str, row[: len(by)])), *row) for row in rows]
    return to_frame(Answer(columns=columns, rows=made, provenance=_ORIGIN))


def over(
    by: tuple[str, ...], minutes: int, *series: tuple[tuple[str, ...], float, float, float]
) -> pd.DataFrame:
    """An answer about a range: labels, the old and the new level, and min since the change."""
    columns = (Column("sampled_at", TIMESTAMPTZ), *(Column(one, 25) for one in by))
    rows = [
        (
            (_ENDS - pd.Timedelta(minutes=ago)).to_pydatetime(),
            *labels,
            mixed(old, new, since - ago),
        )
        for labels, old, new, since in series
        for ago in range(minutes, -1, -1)
    ]
    ranged = dataclasses.replace(_ORIGIN, step_s=60.0, ends=_ENDS.isoformat())
    return to_frame(Answer(columns=(*columns, Column("value", 701)), rows=rows, provenance=ranged))


def held(found: dict[str, Suspect]) -> dict[str, str]:
    return {name: one.which for name, one in found.items() if one.holds}


def right_or_later(found: dict[str, Suspect], wanted: dict[str, str], minutes: int) -> None:
    """Check that only the cause is told, and that it is told when the rates are settled."""
    told = held(found)
    assert told in ({"early": ""}, {}, wanted)
    if minutes < 5:
        assert told == {"early": ""}
        assert "look again at 03:0" in found["early"].next_step
    if minutes >= 15:
        assert told == wanted


def outage(minutes: float, failing: float = 100.0) -> dict[str, Suspect]:
    by = ("provider", "model")
    models = (("northwind", "large"), ("other", "small"))
    now = mixed(0.5, failing, minutes)
    none = math.nan
    suspects = provider.judged(
        errors=at_once(by, (*models[0], now / 100, none), (*models[1], 0.005, none)),
        requests=at_once(by, *((*one, 1.0, none) for one in models)),
        limited=at_once(by, *((*one, 0.0, none) for one in models)),
        cost=at_once(("model",), ("large", 1.0, none), ("small", 1.0, none)),
        tolerated=0.05,
        reported_well=None,
        fallback="",
    )
    course = over(by, 15, (models[0], 0.5, failing, minutes), (models[1], 0.5, 0.5, 0))
    return unless_early(provider.early(course=course, tolerated=0.05), suspects)


@pytest.mark.parametrize("minutes", _MINUTES)
def test_an_outage_is_never_called_a_failure_in_part(minutes: int) -> None:
    right_or_later(outage(minutes), {"total": "northwind"}, minutes)


@pytest.mark.parametrize("minutes", _MINUTES)
def test_a_failure_in_part_is_never_called_an_outage(minutes: int) -> None:
    right_or_later(outage(minutes, 30.0), {"partial": "northwind"}, minutes)


def wrong_guardrail(minutes: float) -> dict[str, Suspect]:
    """A guardrail that flags right requests, 2 in a min, of which all are reviewed."""
    by, within = ("guardrail", "source", "outcome"), ("toxicity", "web")
    old = {"confirmed": 18.0, "false_positive": 2.0}
    left = 1 - minutes / 60
    now = {"confirmed": 18.0 * left, "false_positive": 2.0 * left + 4 * minutes}
    course = over(("guardrail",), 120, (("toxicity",), 0.01, 0.2, minutes))
    began = safety.began(course, "toxicity")
    share = mixed(0.01, 0.2, minutes)
    suspects = safety.judged(
        events=at_once(("guardrail",), ("toxicity", share, 0.01)),
        sources=at_once(by[:2], (*within, share, 0.01), ("toxicity", "app", share, 0.01)),
        reviews=at_once(by, *((*within, one, n, math.nan) for one, n in now.items())),
        course=course,
        deployed=at_once(("version",), ("1", 0.0, math.nan)),
        guardrail="toxicity",
        began=began,
        before=at_once(by, *((*within, one, n, math.nan) for one, n in old.items())),
    )
    return unless_early(safety.early(began, "toxicity"), suspects)


@pytest.mark.parametrize("minutes", _MINUTES)
def test_reviews_of_before_do_not_make_a_wrong_guardrail_a_wave(minutes: int) -> None:
    right_or_later(wrong_guardrail(minutes), {"mistuned": "toxicity"}, minutes)


def absence(minutes: float, of: str = "ann", silent_s: float = 900) -> dict[str, Suspect]:
    """Ann of two approvers stops; 108 tasks in an hour are created and decided before."""
    decided = {"ann": 0.015, "bob": 0.015}
    lately = {one: mixed(n, 0.0 if one == of else n, minutes) for one, n in decided.items()}
    by = ("queue", "approver")
    return approvals.judged(
        waiting=at_once(("queue",), ("refunds", 90.0, math.nan)),
        oldest=at_once(("queue",), ("refunds", 9000.0, math.nan)),
        created=at_once(("queue",), ("refunds", 0.03, 0.03)),
        decided=at_once(("queue",), ("refunds", sum(lately.values()), 0.03)),
        agents=at_once(
            ("queue", "agent"), ("refunds", "x", 0.015, 0.015), ("refunds", "y", 0.015, 0.015)
        ),
        approvers=over(
            by,
            240,
            *(
                (("refunds", one), n, 0.0 if one == of else n, minutes)
                for one, n in decided.items()
            ),
        ),
        recent=over(("queue",), 15, (("refunds",), 0.03, 0.03, 0)),
        queue="",
        by_age=False,
        silent_s=silent_s,
    )


@pytest.mark.parametrize("minutes", [1, 2, 5, 8, 10, 15])
def test_approvers_are_not_added_while_one_may_be_absent(minutes: int) -> None:
    found = absence(minutes)
    assert not found["more"].holds
    assert held(found) in ({}, {"early": ""})
    if minutes >= 5:
        assert held(found) == {"early": ""}
        assert "ann decides fewer tasks" in found["early"].said


def test_an_approver_is_absent_after_the_time_of_silence() -> None:
    assert held(absence(25)) == {"absent": "ann"}


def test_an_old_trouble_and_noise_have_no_beginning() -> None:
    steady = Course(values=[(60.0 * n, 0.3 + 0.02 * (n % 5)) for n in range(60)])
    assert onset(steady, 300) is None
    assert onset(Course(values=[]), 300) is None


def test_the_window_is_that_of_the_query() -> None:
    short = over(("model",), 5, (("m",), 0, 0, 0))
    assert window_s(short) == 300
    short.attrs["rbkernel"] = dataclasses.replace(
        short.attrs["rbkernel"], sql="rate(a[20s]) / rate(b[20s])"
    )
    assert window_s(short) == 20


class TestTrend:
    def line(self, *values: float) -> dict[str, float]:
        at = pd.date_range("2026-12-01", periods=len(values), freq="min", tz="UTC")
        frame = pd.DataFrame({"series": "/", "sampled_at": at, "value": values})
        [row] = trends(frame, 100.0).to_dict("records")
        return {str(name): value for name, value in row.items() if name != "series"}

    def test_a_disk_that_was_cleaned_begins_anew(self) -> None:
        filling = [60.0 + n for n in range(38)]
        assert math.isnan(self.line(*filling, 55.0, 55.0)["left_h"])
        assert self.line(*filling, *[55.0] * 6)["left_h"] == math.inf

    def test_growth_after_the_drop_counts(self) -> None:
        grown = self.line(*[97.0] * 30, *(50.0 + n / 2 for n in range(10)))
        assert grown["per_h"] == pytest.approx(30.0)

    def test_a_small_fall_is_no_new_beginning(self) -> None:
        assert self.line(*(50.0 + n for n in range(20)), 68.0)["per_h"] > 0
