"""The rule of a check: what cannot be judged is unknown, never ok."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbkernel.checks.answer import FLOAT8, TEXT, Answer, Column, Provenance
from rbkernel.checks.frames import failed_frame, to_frame
from rbkernel.checks.rule import Rule
from rbkernel.checks.rules import apply, judge
from rbkernel.errors import QueryError
from rbkernel.model import Verdict

OK, WARNING, CRITICAL, UNKNOWN = Verdict.OK, Verdict.WARNING, Verdict.CRITICAL, Verdict.UNKNOWN
FIGURES = st.floats(allow_nan=False)


@pytest.mark.parametrize("value", [None, float("nan"), math.nan])
@pytest.mark.parametrize("below", [True, False])
def test_nothing_to_judge_is_unknown(value: float | None, below: bool) -> None:
    assert judge(value, warn=1, critical=2, below=below) is UNKNOWN


@pytest.mark.parametrize("column", ["n", ""])
def test_a_failed_query_of_sql_text_is_unknown_by_group_too(column: str) -> None:
    """Its frame has no columns, since nothing declares them."""
    error = QueryError("there is no such table", where="db", next_step="correct its name")
    frame = failed_frame((), error, name="", connection="db", sql="SELECT a, n FROM t")
    rule = Rule(title="n", column=column, agg="max" if column else "rows", by="a", warn=1)
    found = apply(rule, frame)
    assert (found.verdict, found.actual) == (UNKNOWN, "there is no such table (db)")


@pytest.mark.parametrize(
    ("value", "warn", "critical", "below", "verdict"),
    [
        (2, 2, 15, False, OK),  # the threshold itself is still right
        (2.001, 2, 15, False, WARNING),
        (15, 2, 15, False, WARNING),
        (15.001, 2, 15, False, CRITICAL),
        (float("inf"), 2, 15, False, CRITICAL),
        (float("-inf"), 2, 15, False, OK),
        (1, None, 1, True, OK),
        (0, None, 1, True, CRITICAL),
        (5, 10, None, True, WARNING),
        (1, 0, None, False, WARNING),
        (0, 0, None, False, OK),
    ],
)
def test_thresholds(
    value: float, warn: float | None, critical: float | None, below: bool, verdict: Verdict
) -> None:
    assert judge(value, warn=warn, critical=critical, below=below) is verdict


def test_a_rule_that_cannot_fail_is_an_error() -> None:
    with pytest.raises(ValueError, match="cannot fail"):
        Rule(title="x", column="y")


@given(value=FIGURES, warn=FIGURES, critical=FIGURES)
def test_worse_figures_never_read_better(value: float, warn: float, critical: float) -> None:
    warn, critical = sorted((warn, critical))
    here = judge(value, warn=warn, critical=critical)
    worse = judge(math.nextafter(value, math.inf), warn=warn, critical=critical)
    assert here is not UNKNOWN
    assert worse.rank >= here.rank
    assert judge(-value, warn=-warn, critical=-critical, below=True) is here


def answer(rows: list[dict[str, Any]], *, cut_by: str = "") -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    frame.attrs["rbkernel"] = Provenance(
        name="", connection="", server="", role="", sql="", values={}, at="",
        duration_s=0, rows=len(rows), cut_by=cut_by,
    )  # fmt: skip
    return frame


ROWS: list[dict[str, Any]] = [{"n": 9.0, "kind": "bad"}, {"n": 1.0, "kind": "good"}]


class TestOkIsEarned:
    """What was cut, or may count, leaves ok open; what is wrong already stays wrong."""

    @pytest.mark.parametrize(
        ("rule", "whole", "cut"),
        [
            ({"agg": "max", "warn": 10}, OK, UNKNOWN),
            ({"agg": "max", "warn": 5}, WARNING, WARNING),
            ({"agg": "sum", "warn": 20}, OK, UNKNOWN),
            ({"agg": "sum", "critical": 5}, CRITICAL, CRITICAL),
            ({"agg": "rows", "warn": 2}, OK, UNKNOWN),
            ({"agg": "rows", "warn": 1}, WARNING, WARNING),
            # more rows can lift these, and make right what looks wrong
            ({"agg": "mean", "warn": 4}, WARNING, UNKNOWN),
            ({"agg": "min", "warn": 0}, WARNING, UNKNOWN),
            ({"agg": "max", "warn": 10, "below": True}, WARNING, UNKNOWN),
            ({"agg": "sum", "warn": 20, "below": True}, WARNING, UNKNOWN),
            ({"agg": "last", "warn": 0}, WARNING, UNKNOWN),
            ({"agg": "min", "warn": 2, "below": True}, WARNING, WARNING),
            # the worst come first: what was cut is no worse
            ({"agg": "max", "warn": 10, "ranked": True}, OK, OK),
            ({"agg": "rows", "where": {"kind": "bad"}, "warn": 1, "ranked": True}, OK, OK),
            ({"agg": "rows", "where": {"kind": "good"}, "warn": 1, "ranked": True}, OK, UNKNOWN),
            ({"agg": "sum", "warn": 20, "ranked": True}, OK, UNKNOWN),
        ],
    )
    def test_of_an_answer_that_was_cut(
        self, rule: dict[str, Any], whole: Verdict, cut: Verdict
    ) -> None:
        made = Rule(title="x", column="n", **rule)
        assert apply(made, answer(ROWS)).verdict is whole
        found = apply(made, answer(ROWS, cut_by="the row cap of 2"))
        assert found.verdict is cut
        if cut is UNKNOWN:
            assert "the row cap of 2" in found.actual
            assert "raise the cap" in found.next_step

    def test_of_rows_that_may_count(self) -> None:
        rows: list[dict[str, Any]] = [{"n": 1.0, "kind": "good"}, {"n": 9.0, "kind": None}]
        for warn, verdict in ((5, UNKNOWN), (0.5, WARNING)):
            rule = Rule(title="x", column="n", where={"kind": "good"}, warn=warn)
            found = apply(rule, answer(rows))
            assert found.verdict is verdict
        other = Rule(title="x", column="n", where={"kind": "good", "n": 1.0}, warn=5)
        assert apply(other, answer(rows)).verdict is OK  # it has another n


SOME = st.none() | st.integers(-2, 4) | st.floats(-2, 4) | st.just(math.nan) | st.booleans()
ANSWERS = st.lists(st.tuples(SOME, st.sampled_from(["a", "b", None])), max_size=4)


@given(
    rows=ANSWERS,
    agg=st.sampled_from(["max", "min", "last", "sum", "rows"]),
    where=st.sampled_from([{}, {"kind": "a"}, {"kind": ["a", "b"]}]),
    empty=st.sampled_from([None, 0.0, 3.0]),
    limits=st.tuples(st.none() | st.integers(0, 2), st.integers(0, 3)),
    below=st.booleans(),
    cut_by=st.sampled_from(["", "", "the row cap of 4"]),
)
def test_what_is_surely_ok_is_ok(
    rows: list[Any],
    agg: Any,
    where: dict[str, Any],
    empty: float | None,
    limits: tuple[int | None, int],
    below: bool,
    cut_by: str,
) -> None:
    warn, critical = limits
    if warn is not None:  # the limit that is reached first comes first
        warn, critical = sorted((warn, critical), reverse=below)
    rule = Rule(
        title="x",
        column="n",
        agg=agg,
        where=where,
        empty=empty,
        warn=warn,
        critical=critical,
        below=below,
    )
    told = Provenance(
        name="x",
        connection="db",
        server="",
        role="",
        sql="",
        values={},
        at="",
        duration_s=0.0,
        rows=len(rows),
        cut_by=cut_by,
    )
    answer = Answer(columns=(Column("n", TEXT), Column("kind", TEXT)), rows=rows, provenance=told)
    if rule.surely_ok(answer):
        assert apply(rule, to_frame(answer)).verdict is OK


def test_a_healthy_answer_is_surely_ok() -> None:
    told = Provenance(
        name="x",
        connection="db",
        server="",
        role="",
        sql="",
        values={},
        at="",
        duration_s=0.0,
        rows=2,
        cut_by="",
    )
    columns = (Column("n", FLOAT8), Column("kind", TEXT))
    answer = Answer(columns=columns, rows=[(1.0, "a"), (9.0, "b")], provenance=told)
    assert Rule(title="x", column="n", where={"kind": "a"}, warn=2).surely_ok(answer)
    assert not Rule(title="x", column="n", warn=2).surely_ok(answer)


@pytest.mark.parametrize(
    ("rows", "actual"),
    [
        ([], "0 %"),
        ([(18.75, "small")], "not judged: no row has kind = large"),
        ([(18.75, "small"), (40.0, "large")], "40 %"),
    ],
)
def test_a_figure_of_no_row_is_not_shown_as_a_figure(
    rows: list[tuple[float, str]], actual: str
) -> None:
    """A folder that is at 19 % of its limit was reported with 0 %, because it is too small."""
    told = Provenance(
        name="x",
        connection="db",
        server="",
        role="",
        sql="",
        values={},
        at="",
        duration_s=0.0,
        rows=len(rows),
        cut_by="",
    )
    answer = Answer(columns=(Column("n", FLOAT8), Column("kind", TEXT)), rows=rows, provenance=told)
    rule = Rule(title="x", column="n", where={"kind": "large"}, empty=0, unit="%", warn=50)
    found = apply(rule, to_frame(answer))
    assert (found.verdict, found.actual) == (OK, actual)


@pytest.mark.parametrize(
    ("below", "figure", "verdict"),
    [(False, 5.0, CRITICAL), (False, 4.9, OK), (True, 5.0, CRITICAL), (True, 5.1, OK)],
)
def test_a_figure_at_the_limit_is_wrong_where_the_rule_says_so(
    below: bool, figure: float, verdict: Verdict
) -> None:
    frame = answer([{"n": figure}])
    rule = Rule(title="t", column="n", critical=5, below=below, critical_at_limit=True)
    found = apply(rule, frame)
    assert found.verdict is verdict
    assert found.expected == f"{'more' if below else 'less'} than 5"
    assert apply(rule.model_copy(update={"critical_at_limit": False}), frame).verdict is OK
