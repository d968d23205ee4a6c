"""What two samples make of counters: a right rate, or none."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from rbkernel.checks import rules
from rbkernel.checks.answer import BOOLEAN, FLOAT8, TEXT, TIMESTAMPTZ, Answer, Column, Provenance
from rbkernel.checks.frames import to_frame
from rbkernel.errors import DatabaseError
from rbkernel.model import Finding, Verdict
from rbkernel.sources.postgres import diagnostics, overview, rates
from rbkernel.sources.postgres.twice import Twice
from rbkernel.triage import query

OK, WARNING, UNKNOWN = Verdict.OK, Verdict.WARNING, Verdict.UNKNOWN
BEGAN = datetime(2026, 11, 29, 3, tzinfo=UTC)
LOOKED_TWICE = [name for name in diagnostics.names() if diagnostics.get(name).twice]


_OIDS = {int: 20, float: FLOAT8, bool: BOOLEAN, datetime: TIMESTAMPTZ}


def look(
    columns: dict[str, list[Any]], *, second: float = 0.0, server: str = "one", cut_by: str = ""
) -> pd.DataFrame:
    """What one look brings back, as the server would."""
    rows = len(next(iter(columns.values())))
    columns = {**columns, "sampled_at": [BEGAN + timedelta(seconds=second)] * rows}
    told = Provenance(
        name="", connection="db", server=server, role="", sql="", values={}, at="",
        duration_s=0.25, rows=rows, cut_by=cut_by,
    )  # fmt: skip
    typed = [
        Column(name, _OIDS.get(type(next(iter(values), None)), TEXT))
        for name, values in columns.items()
    ]
    return to_frame(
        Answer(
            columns=tuple(typed), rows=list(zip(*columns.values(), strict=True)), provenance=told
        )
    )


def counters(deadlocks: list[Any], *, since: Any = "then", **options: Any) -> pd.DataFrame:
    names = ["shop", "copy"][: len(deadlocks)]
    columns = {"database": names, "deadlocks": deadlocks, "since": [since] * len(names)}
    return look(columns, **options)


TWICE = Twice(every_s=5, key=("database",), counters=("deadlocks",), since=("since",))


class TestBetween:
    def test_growth_rate_and_the_value_before(self) -> None:
        found = rates.between(counters([4, 1]), counters([10, 1], second=4), TWICE)
        assert found["deadlocks"].tolist() == [6, 0]
        assert found["deadlocks_per_s"].tolist() == [1.5, 0]
        assert found["deadlocks_before"].tolist() == [4, 1]
        assert found["window_s"].tolist() == [4, 4]
        told = found.attrs["rbkernel"]
        assert told.notes == ("two samples, 4.0 s apart",)
        assert told.duration_s == 0.5

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (counters([9]), counters([2], second=4)),  # smaller
            (counters([1]), counters([2], second=4, since="later")),  # larger by now
            (counters([1], since=None), counters([2], second=4)),  # the first reset ever
        ],
    )
    def test_a_reset_gives_no_rate(self, first: pd.DataFrame, second: pd.DataFrame) -> None:
        found = rates.between(first, second, TWICE)
        assert found[["deadlocks", "deadlocks_per_s"]].isna().all(axis=None)
        assert (
            "1 row unknown: the counters were reset between the two samples"
            in found.attrs["rbkernel"].notes
        )

    def test_one_counter_that_shrinks_makes_the_whole_row_unknown(self) -> None:
        twice = TWICE.model_copy(update={"counters": ("deadlocks", "commits")})
        first, second = counters([4]).assign(commits=90), counters([5], second=4).assign(commits=3)
        assert rates.between(first, second, twice)["deadlocks"].isna().all()

    def test_what_is_new_has_grown_from_zero(self) -> None:
        found = rates.between(counters([4]), counters([4, 8], second=4, since="x"), TWICE)
        assert found["deadlocks"].isna().tolist() == [True, False]
        assert found["deadlocks_per_s"].tolist()[1] == 2
        assert found["deadlocks_before"].tolist()[1] == 0

    def test_a_clock_that_was_set_back_gives_growth_and_no_rate(self) -> None:
        found = rates.between(counters([4], second=9), counters([5], second=4), TWICE)
        assert found["deadlocks"].tolist() == [1]
        assert found["deadlocks_per_s"].isna().all()

    def test_no_rows_are_an_answer(self) -> None:
        assert rates.between(counters([]), counters([], second=4), TWICE).empty
        found = rates.between(counters([]), counters([3], second=4), TWICE)
        assert found["deadlocks"].tolist() == [3]

    def test_two_servers_are_refused(self) -> None:
        with pytest.raises(DatabaseError, match="first one, then two"):
            rates.between(counters([1]), counters([9], second=4, server="two"), TWICE)

    def test_rows_whose_key_is_masked_are_refused(self) -> None:
        first, second = (counters(n).assign(database="[masked]") for n in ([1, 2], [3, 4]))
        with pytest.raises(DatabaseError, match="matched by database") as caught:
            rates.between(first, second, TWICE)
        assert "[redaction]" in caught.value.next_step

    def test_a_column_that_a_policy_masked_or_dropped_is_unknown(self) -> None:
        made = TWICE.model_copy(update={"made": {"double": "2 * deadlocks", "other": "2 * gone"}})
        for change in ({"deadlocks": "[masked]"}, {}):
            first, second = (
                one.drop(columns="deadlocks").assign(**change)
                for one in (counters([1]), counters([2], second=4))
            )
            found = rates.between(first, second, made)
            assert found[["deadlocks", "double", "other"]].isna().all(axis=None)

    def test_a_gauge_may_shrink_and_stays_as_it_is(self) -> None:
        twice = Twice(every_s=5, counters=("n",), gauges=("mb",))
        first, second = look({"n": [1], "mb": [48.0]}), look({"n": [1], "mb": [32.0]}, second=4)
        row = rates.between(first, second, twice).iloc[0]
        assert row[["mb", "mb_before", "mb_per_s"]].tolist() == [32, 48, -4]

    def test_a_cut_look_cuts_the_answer(self) -> None:
        found = rates.between(counters([1], cut_by="the row cap"), counters([1], second=4), TWICE)
        assert found.attrs["rbkernel"].cut_by == "the row cap"

    def test_rows_of_which_nobody_knows_are_kept(self) -> None:
        twice = TWICE.model_copy(update={"keep": "deadlocks > 0"})
        names = ["a", "b", "c"]
        one = {"database": names, "since": ["then"] * 3}
        before = look({**one, "deadlocks": [1, 5, 1]})
        after = look({**one, "deadlocks": [1, 2, 2]}, second=4)
        assert rates.between(before, after, twice)["database"].tolist() == ["b", "c"]


@pytest.mark.parametrize("name", LOOKED_TWICE)
def test_a_header_declares_only_columns_that_there_are(name: str) -> None:
    declared = diagnostics.get(name)
    twice = declared.twice
    assert twice is not None
    counted = (*twice.counters, *twice.gauges)
    made = {f"{column}{ending}" for column in counted for ending in ("", "_before", "_per_s")}
    for sql in (declared.sql, *declared.variants.values()):
        selected = set(re.findall(r"(?:\bAS |\b\w\.|^SELECT | {7})(\w+),?$", sql, re.MULTILINE))
        assert {*twice.key, *twice.since, *counted, "sampled_at"} <= selected
        assert set(declared.columns) <= selected | made | twice.made.keys() | {"window_s"}


CALLS: dict[str, list[Any]] = {
    "query_id": ["7"],
    "user_id": [1],
    "database_id": [1],
    "toplevel": [True],
}


def calls(
    count: int, *, ms: float, rows: int = 1, pages: int = 3, spread_ms: float = 0.1, **others: Any
) -> dict[str, list[Any]]:
    """The counters of one statement, from calls that are all alike."""
    facts: dict[str, Any] = {
        "calls": count,
        "total_ms": count * ms,
        "rows": count * rows,
        "pages": count * pages,
        "spread_ms": spread_ms,
        "longest_ms": 2 * ms,
        "running_s": 0.0,
        "past_s": 86_400.0,
        "counted_since": BEGAN - timedelta(days=1),
        "query": "SELECT 1 FROM orders WHERE customer_id = $1",
        "username": "shop_app",
        "applications": "",
        "busy_sessions": 0.02,
        "least_calls": 5,
        "least_share": 0,
        "single_spreads": 0,
        **others,
    }
    return {**CALLS, **{name: [value] for name, value in facts.items()}}


def judged(
    before: dict[str, list[Any]], during: dict[str, list[Any]], **others: Any
) -> dict[str, Finding]:
    """What the rules of queries/regression say of a past and of what came on top in 10 s."""
    grown = {
        name: [before[name][0] + during[name][0]] for name in ("calls", "total_ms", "rows", "pages")
    }
    after = {**before, **grown, **{name: [value] for name, value in others.items()}}
    declared = diagnostics.get("queries/regression")
    assert declared.twice is not None
    frame = rates.between(look(before), look(after, second=10), declared.twice)
    frame = frame.reindex(columns=list(declared.columns))
    return {rule.title: rules.apply(rule, frame) for rule in declared.rules}


def verdicts(found: dict[str, Finding]) -> list[Verdict]:
    """Reads more, returns more, takes longer for the same, does not end."""
    return [finding.verdict for finding in found.values()]


class TestRegression:
    PAST = calls(1000, ms=2.0)

    def test_another_plan(self) -> None:
        found = judged(self.PAST, calls(50, ms=30.0, pages=900))
        assert verdicts(found) == [WARNING, OK, OK, OK]
        cause = found["Statements that read more than before"].cause
        assert "15 times as long" in cause
        assert "SELECT 1 FROM orders WHERE customer_id = $1 (id 7)" in cause

    def test_another_question(self) -> None:
        found = judged(self.PAST, calls(50, ms=30.0, pages=900, rows=400))
        assert verdicts(found) == [OK, WARNING, OK, OK]
        cause = found["Statements that return more than before"].cause
        assert ": shop_app: SELECT 1 FROM orders" in cause
        known = calls(1000, ms=2.0, applications="carts, mails")
        found = judged(known, calls(50, ms=30.0, pages=900, rows=400))
        cause = found["Statements that return more than before"].cause
        assert ": shop_app (carts, mails): SELECT 1 FROM orders" in cause

    @pytest.mark.parametrize("past", [calls(1000, ms=1.0, spread_ms=10, longest_ms=100.0)])
    @pytest.mark.parametrize(("count", "mean_ms"), [(5, 21.0), (300, 21.0)])
    def test_a_wide_past_is_no_change_for_the_overview(
        self, past: dict[str, list[Any]], count: int, mean_ms: float
    ) -> None:
        """One long call among five; and many, of a statement that is quick or slow by turns."""
        sure = {
            name: [value]
            for name, value in overview.VALUES["queries/regression"].items()
            if name in past
        }
        found = judged({**past, **sure}, calls(count, ms=mean_ms, pages=900))
        assert verdicts(found)[:3] == [OK, OK, OK]
        slower = judged({**past, **sure}, calls(300, ms=40.0, pages=900))
        assert verdicts(slower)[0] is WARNING

    def test_one_long_call_is_no_regression(self) -> None:
        one = calls(20, ms=10.0, pages=900)
        assert verdicts(judged(self.PAST, one, longest_ms=180.0))[:3] == [OK, OK, OK]
        assert verdicts(judged(self.PAST, one, longest_ms=12.0))[0] is WARNING

    def test_the_same_work_takes_longer(self) -> None:
        assert verdicts(judged(self.PAST, calls(50, ms=30.0))) == [OK, OK, WARNING, OK]

    @pytest.mark.parametrize(
        ("past", "during"),
        [
            (PAST, calls(1000, ms=2.1)),
            (PAST, calls(500, ms=3.5, pages=900)),  # not twice as long
            (PAST, calls(4, ms=90.0, pages=900)),  # too few calls
            (PAST, calls(30, ms=5.0, pages=900)),  # 1.5 % of a session
            (calls(19, ms=2.0), calls(50, ms=30.0)),  # too short a past
            (calls(1000, ms=2.0, spread_ms=200.0), calls(50, ms=30.0)),  # it always varied so much
            (PAST, calls(0, ms=0.0)),
        ],
    )
    def test_noise_is_no_finding(
        self, past: dict[str, list[Any]], during: dict[str, list[Any]]
    ) -> None:
        assert verdicts(judged(past, during)) == [OK] * 4

    def test_after_a_reset_there_is_no_past(self) -> None:
        found = judged(calls(3, ms=2.0, past_s=60.0), calls(50, ms=30.0))
        assert UNKNOWN in verdicts(found)
        assert "no history to compare with" in next(
            one.actual for one in found.values() if one.verdict is UNKNOWN
        )
        # one call, such as our own first look, tells nothing either way
        assert verdicts(judged(calls(3, ms=2.0, past_s=60.0), calls(1, ms=900.0))) == [OK] * 4
        # what takes hardly any time does not matter
        assert verdicts(judged(calls(3, ms=2.0, past_s=60.0), calls(9, ms=1.0))) == [OK] * 4

    def test_a_reset_between_the_looks(self) -> None:
        reset = {"counted_since": BEGAN + timedelta(seconds=5)}
        found = judged(self.PAST, calls(50, ms=30.0), **reset)
        assert OK not in verdicts(found)[:3]

    def test_a_call_that_does_not_end(self) -> None:
        for running_s, verdict in ((7.0, WARNING), (4.0, OK)):
            found = judged(self.PAST, calls(0, ms=0.0), running_s=running_s)
            assert found["Longest running call"].verdict is verdict
        # it has taken as long before
        found = judged(calls(1000, ms=5000.0), calls(0, ms=0.0), running_s=7.0)
        assert found["Longest running call"].verdict is OK


def test_a_sample_of_rates_looks_so_far_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def ask(what: str, db: str, row_cap: int | None, values: dict[str, Any]) -> pd.DataFrame:
        asked.append(values)
        return pd.DataFrame({"n": [1]})

    monkeypatch.setattr(query, "ask", ask)
    query.sample("activity/rates", "db", n=2, every_s=0.01)
    assert asked == [{"every_s": 0.01}] * 2
    query.sample("replication/slots", "db", n=1, every_s=0.01)
    assert asked[2:] == [{}]


class TestConflicts:
    @pytest.mark.parametrize(
        ("before", "during", "waits_s", "verdict"),
        [
            (0, 0, 30.0, OK),
            (3, 0, 0.7, OK),
            (3, 0, 30.0, UNKNOWN),  # one in 30 s is not seen within 10 s
            (3, 0, 0.0, OK),  # replay waits for ever
            (3, 2, 30.0, WARNING),
        ],
    )
    @pytest.mark.parametrize("avoidable", [True, False])
    def test_too_short_a_look_proves_nothing(
        self, before: int, during: int, waits_s: float, verdict: Verdict, avoidable: bool
    ) -> None:
        told: dict[str, list[Any]] = {
            "database": ["shop"],
            "kind": ["snapshot"],
            "cancelled": [before],
            "avoidable": [avoidable],
            "replay_waits_s": [waits_s],
            "stats_reset": [BEGAN - timedelta(days=1)],
        }
        declared = diagnostics.get("replication/conflicts")
        assert declared.twice is not None
        later = look({**told, "cancelled": [before + during]}, second=10)
        frame = rates.between(look(told), later, declared.twice)
        found = {rule.name: rules.apply(rule, frame).verdict for rule in declared.rules}
        both = {"rows_removed": verdict, "cancelled": OK}
        assert found == (both if avoidable else {"rows_removed": OK, "cancelled": verdict})
