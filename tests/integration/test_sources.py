"""`rb.promql` on a real Prometheus, and what no answer of a monitoring system may be judged as."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError

import rbkernel as rb
from rbkernel.checks.answer import Provenance, provenance
from rbkernel.errors import ConfigError, ParameterError, QueryError
from rbkernel.model import Verdict
from rbkernel.runbook.catalogue import Runbook
from rbkernel.runbook.frontmatter import FrontMatter
from rbkernel.runbook.frontmatter_sections import Metric
from rbkernel.triage import undone
from rbkernel.triage.context import Triage
from tests.support import monitoring
from tests.support.monitoring import UNTIL, StandIn, of_query_api, stand_in
from tests.support.waiting import until

ALL_OF_IT: dict[str, Any] = {"last_s": 600, "step_s": 15, "until": UNTIL}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of a Prometheus that scrapes an exposition endpoint."""
    metrics = "shop_requests_total 42\nshop_latency_seconds NaN\n"
    with (
        stand_in(lambda _: (200, metrics)) as shop,
        monitoring.prometheus(
            tmp_path_factory.mktemp("prometheus"),
            target=shop.url.removeprefix("http://"),
            options=["--query.max-samples=5000"],
        ) as found,
    ):
        yield found


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Begin a run with these sources, each given by its fields."""

    return partial(monitoring.begin_run, tmp_path, monkeypatch)


@pytest.fixture
def run(begin: Any, address: str) -> Triage:
    fields = {"kind": "prometheus", "url": f"http://{address}", "timeout_s": 60.5}
    made: Triage = begin(prom=fields)
    return made


def origin(frame: pd.DataFrame) -> Provenance:
    found = provenance(frame)
    assert found is not None
    return found


class TestAnswers:
    def test_a_moment(self, run: Triage, address: str) -> None:
        frame = rb.promql("error_pct{service={service}}", service="shop", until=UNTIL)
        assert frame[["value", "service"]].to_numpy().tolist() == [[4.0, "shop"]]
        about = origin(frame)
        assert about.sql == 'error_pct{service="shop"}'
        assert (about.values, about.ends) == ({"service": "shop"}, UNTIL)
        assert (about.server, about.connection) == (f"prometheus http://{address}", "prom")
        assert rb.check("Errors", frame, "value", critical=1, unit="%").verdict is Verdict.CRITICAL

    def test_a_range(self, run: Triage, capsys: pytest.CaptureFixture[str]) -> None:
        frame = rb.promql("error_pct{service=~{services}}", services=["shop", "mail"], **ALL_OF_IT)
        assert frame.groupby("series")["value"].count().to_dict() == {"shop": 41, "mail": 41}
        about = origin(frame)
        assert (about.begins, about.ends, about.step_s) == ("2024-11-20T02:50:00+00:00", UNTIL, 15)
        # one row for each series, the largest value first
        rows = capsys.readouterr().out.split("'text/plain': ")[-1]
        assert re.findall(r"(shop|mail) +([\d.]+) +([\d.]+) +([\d.]+) +(\d+)", rows) == [
            ("shop", "4.00", "4.00", "4.00", "41"),
            ("mail", "0.25", "0.25", "0.25", "41"),
        ]
        drawn = rb.figure.of(frame, limit=1)
        assert "mail: 0.2 to 0.2; shop: 4.0 to 4.0" in drawn.caption

    def test_long_queries_are_sent_too(self, run: Triage) -> None:
        many = [f"service-{number}" for number in range(2000)]
        frame = rb.promql("error_pct{service=~{services}}", services=[*many, "shop"], until=UNTIL)
        assert frame["service"].tolist() == ["shop"]

    @pytest.mark.parametrize("text", ['"} or vector(1) #', "\\", "`", "a\nb", "é\x00", ".*", "{x}"])
    def test_no_text_ends_its_place(self, run: Triage, text: str) -> None:
        """Prometheus parses what was inserted: it finds exactly this text, and nothing else."""
        queries = (
            'label_replace(vector(1), "a", {text}, "", "")',
            'label_replace(vector(1), "a", "<{text}>", "", "")',
        )
        for query, expected in zip(queries, (text, f"<{text}>"), strict=True):
            if "$" not in text:
                assert rb.promql(query, text=text)["a"].tolist() == [expected]
        for query in ("error_pct{service={text}}", "error_pct{service=~{text}}"):
            found = origin(rb.promql(query, text=text, until=UNTIL))
            assert "no result" in found.reason


class TestNoAnswerIsNotOk:
    """Whatever the rule, no answer is unknown, with its reason and the next step."""

    def judged(self, frame: pd.DataFrame, reason: str, step: str) -> None:
        assert frame.empty
        about = origin(frame)
        assert reason in about.reason
        assert step in about.next_step
        rules = ({"agg": "sum"}, {"agg": "rows", "column": ""}, {"empty": 0}, {"below": True})
        for rule in rules:
            options: dict[str, Any] = {"column": "value", "warn": 1, **rule}
            finding = rb.check("Errors", frame, **options)
            assert (finding.verdict, finding.value) == (Verdict.UNKNOWN, None)
            assert finding.next_step == about.next_step
        assert about.reason in rb.figure.of(frame).caption
        assert frame["value"].empty

    def test_no_series(self, run: Triage) -> None:
        frame = rb.promql("no_such_metric")
        self.judged(frame, "the query has no result", "or vector(0)")
        assert rb.promql("no_such_metric or vector(0)")["value"].tolist() == [0.0]

    def test_no_series_in_the_range(self, run: Triage) -> None:
        self.judged(rb.promql("no_such_metric", last_s=300), "no result", "check the metric")

    def test_a_wrong_query(self, run: Triage) -> None:
        self.judged(rb.promql("sum("), "unclosed left parenthesis", "correct the query")
        assert run.findings[undone.QUERIES.title].verdict is Verdict.UNKNOWN

    def test_a_query_that_is_too_expensive(self, run: Triage) -> None:
        frame = rb.promql("count_over_time(error_pct[15m:100ms])", until=UNTIL)
        self.judged(frame, "would load too many samples", "correct the query")

    def test_no_server(self, begin: Any) -> None:
        with monitoring.unused_port() as port:
            begin(prom={"kind": "prometheus", "url": f"http://127.0.0.1:{port}"})
            self.judged(rb.promql("up"), "refused", "whether the system runs")

    def test_none_configured(self, begin: Any) -> None:
        begin()
        self.judged(rb.promql("up"), "no source of the kind prometheus", "[sources.prometheus]")

    def test_a_placeholder(self, run: Triage) -> None:
        frame = rb.promql("up{job={job}}", job="‹PLACEHOLDER: job›")
        self.judged(frame, "not filled in: job", "parameters cell")

    @pytest.mark.parametrize(
        ("code", "body", "reason", "step"),
        [
            (401, "Unauthorized", "answered 401: Unauthorized", "check the token"),
            (503, json.dumps({"error": "query timed out"}), "query timed out", "try again later"),
            (200, "<html>", "not of the query API", "check the url"),
            (200, of_query_api("vector", [{"metric": {}}]), "not of the query API", "the url"),
            (200, of_query_api("news", []), "'news' of the result", "check the url"),
            (200, of_query_api("vector", [], data=None), "not of the query API", "the url"),
            (200, of_query_api("scalar", [1e30, "1"]), "an impossible time", "check the url"),
            (200, of_query_api("scalar", [0, "one"]), "could not convert", "check the url"),
            (
                200,
                of_query_api("scalar", [0, "1"], status="error", error="no store answered"),
                "could not answer: no store answered",
                "check the url",
            ),
            (
                200,
                of_query_api("vector", [{"metric": {}, "histogram": [0, {}]}]),
                "a native histogram, not a figure",
                "check the url",
            ),
            (302, "", "answered 302", "to which the server redirects"),
        ],
    )
    def test_other_answers(self, begin: Any, code: int, body: str, reason: str, step: str) -> None:
        with stand_in(lambda _: (code, body)) as one:
            if code == 302:
                one.headers = {"Location": "http://elsewhere.invalid/"}
            begin(prom={"kind": "prometheus", "url": one.url})
            self.judged(rb.promql("up"), reason, step)
            assert len(one.asked) == 1

    def test_an_answer_that_is_too_large(self, begin: Any) -> None:
        huge = of_query_api("string", [0, "x" * 2_000_000])
        with stand_in(lambda _: (200, huge)) as one:
            begin(prom={"kind": "prometheus", "url": one.url, "size_cap_mb": 1})
            self.judged(rb.promql("up"), "size cap of 1 MB", "aggregate")

    def test_an_endless_answer(self, begin: Any) -> None:
        def talk() -> bool:
            """Tell whether the client hung up before 60 MB were sent."""
            connection, _ = endless.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                try:
                    for _ in range(60):
                        connection.sendall(b"x" * 1_000_000)
                except OSError:
                    return True
            return False

        with socket.create_server(("127.0.0.1", 0)) as endless, ThreadPoolExecutor(1) as thread:
            talking = thread.submit(talk)
            url = f"http://127.0.0.1:{endless.getsockname()[1]}"
            fields = {"size_cap_mb": 1, "timeout_s": 120.0}
            begin(prom={"kind": "prometheus", "url": url, **fields})
            self.judged(rb.promql("up"), "size cap of 1 MB", "aggregate")
            assert talking.result()

    def test_a_server_that_hangs(self, begin: Any) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            begin(prom={"kind": "prometheus", "url": url, "timeout_s": 0.2})
            self.judged(rb.promql("up"), "no answer within 0.2 s", "raise timeout_s")


class TestIncomplete:
    def test_the_series_cap_keeps_the_largest_and_names_others(
        self, begin: Any, address: str
    ) -> None:
        begin(prom={"kind": "prometheus", "url": f"http://{address}", "series_cap": 20})
        frame = rb.promql("depth", until=UNTIL)
        assert frame["value"].tolist() == list(range(29, 9, -1))
        assert origin(frame).cut_by == "the series cap of 20"
        assert "q09, q08, q07, q06, q05 and 5 more" in origin(frame).notes[0]
        assert rb.check("Depth", frame, "value", warn=100).verdict is Verdict.UNKNOWN
        assert rb.check("Depth", frame, "value", warn=20).verdict is Verdict.WARNING

    def test_the_row_cap(self, run: Triage) -> None:
        frame = rb.promql("depth", until=UNTIL, row_cap=10)
        assert (len(frame), origin(frame).cut_by) == (10, "the row cap of 10")
        assert rb.check("Depth", frame, "value", warn=100).verdict is Verdict.UNKNOWN

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            ({"warnings": ["store b did not answer"]}, "store b did not answer"),
            ({"warnings": ["PromQL warning: a mix of histograms"]}, "a mix of histograms"),
            ({"isPartial": True}, "says that its answer is partial"),
        ],
    )
    def test_a_partial_answer_is_not_ok(self, begin: Any, more: Any, said: str) -> None:
        result = [{"metric": {}, "value": [0, "0.5"]}]
        with stand_in(lambda _: (200, of_query_api("vector", result, **more))) as one:
            begin(prom={"kind": "prometheus", "url": one.url})
            frame = rb.promql("up")
        finding = rb.check("Errors", frame, "value", warn=1)
        assert finding.verdict is Verdict.UNKNOWN
        assert said in finding.actual
        assert rb.check("Errors", frame, "value", warn=0.4).verdict is Verdict.WARNING

    def test_histograms_among_the_values_are_not_dropped_in_silence(self, begin: Any) -> None:
        result = [{"metric": {}, "values": [[0, "0.5"]], "histograms": [[60, {"count": "9"}]]}]
        with stand_in(lambda _: (200, of_query_api("matrix", result))) as one:
            begin(prom={"kind": "prometheus", "url": one.url})
            finding = rb.check("Errors", rb.promql("up", last_s=60), "value", warn=1)
        assert finding.verdict is Verdict.UNKNOWN
        assert "native histograms among the values" in finding.actual

    def test_a_hint_about_the_query_is_a_note(self, begin: Any) -> None:
        result = [{"metric": {}, "value": [0, "0.5"]}]
        hinted = of_query_api("vector", result, infos=["PromQL info: not a counter"])
        with stand_in(lambda _: (200, hinted)) as one:
            begin(prom={"kind": "prometheus", "url": one.url})
            frame = rb.promql("up")
        assert origin(frame).notes == ("PromQL info: not a counter",)
        assert rb.check("Errors", frame, "value", warn=1).ok

    @pytest.mark.parametrize("value", ["vector(0)/0", "vector(1)/0"])
    def test_what_is_no_number_is_not_ok(self, run: Triage, value: str) -> None:
        finding = rb.check("Errors", rb.promql(value), "value", warn=1)
        assert finding.verdict is Verdict.UNKNOWN
        assert "NaN" in finding.actual

    def test_the_figure_draws_the_largest_and_names_others(self, run: Triage) -> None:
        frame = rb.promql("depth", last_s=60, step_s=15, until=UNTIL)
        drawn = rb.figure.of(frame)
        assert sorted(one.name for one in drawn.figure.data) == [f"q{n}" for n in range(18, 30)]
        assert drawn.caption.endswith("with smaller values: q17, q16, q15, q14, q13 and 13 more")


class TestForSomeTime:
    def judged(self, service: str, for_s: float = 300, **asked: Any) -> Any:
        frame = rb.promql("error_pct{service={s}}", s=service, unit="%", **{**ALL_OF_IT, **asked})
        return rb.check("Errors", frame, "value", critical=1, for_s=for_s)

    def test_beyond_for_all_of_it(self, run: Triage) -> None:
        found = self.judged("shop")
        assert (found.verdict, found.actual) == (Verdict.CRITICAL, "4 % for the last 5 min")
        assert found.expected == "at most 1 %, or beyond it for less than 5 min"

    def test_beyond_only_now(self, run: Triage) -> None:
        found = self.judged("cart")
        assert (found.verdict, found.actual) == (Verdict.UNKNOWN, "7 % now, but not for 5 min yet")
        assert "measure again" in found.next_step
        assert self.judged("cart", for_s=60).verdict is Verdict.CRITICAL

    def test_never_beyond(self, run: Triage) -> None:
        found = self.judged("mail")
        assert (found.verdict, found.actual) == (Verdict.OK, "0.2 %")

    def test_gaps(self, run: Triage) -> None:
        found = self.judged("gone", for_s=540)
        assert found.verdict is Verdict.UNKNOWN
        assert "values are missing in the last 9 min: service=gone" in found.actual
        assert self.judged("gone", for_s=60).ok

    def test_a_series_that_is_surely_wrong_counts_beside_a_gap(self, run: Triage) -> None:
        frame = rb.promql('error_pct{service=~"shop|gone"}', **ALL_OF_IT)
        found = rb.check("Errors", frame, "value", critical=1, for_s=540)
        assert found.verdict is Verdict.CRITICAL

    def test_a_range_that_is_too_short(self, run: Triage) -> None:
        found = self.judged("shop", last_s=120)
        assert (found.verdict, found.actual) == (Verdict.UNKNOWN, "the range is too short: 2 min")

    def test_one_sample_is_not_a_time(self, run: Triage) -> None:
        with pytest.raises(QueryError, match="a step of 300 s is longer than the range of 100 s"):
            rb.promql("error_pct", last_s=100, step_s=300)
        for last_s, why in ((150, "the range is too short"), (300, "is too few")):
            found = self.judged("shop", last_s=last_s, step_s=150)
            assert found.verdict is Verdict.UNKNOWN
            assert why in found.actual

    def test_a_default_step_covers_the_whole_time(self, run: Triage) -> None:
        """299 s are not a whole number of its steps of 5 s."""
        assert self.judged("shop", for_s=299, last_s=299, step_s=None).verdict is Verdict.CRITICAL

    def test_each_limit_has_its_verdict_and_the_worst_counts(self, run: Triage) -> None:
        frame = rb.promql("error_pct{service='cart'} + 2", **ALL_OF_IT)
        found = rb.check("Errors", frame, "value", warn=1, critical=8, for_s=300, unit="%")
        said = "9 % now, but not for 5 min yet; 2.5 % for the last 5 min (now 9 %)"
        assert (found.verdict, found.actual) == (Verdict.UNKNOWN, said)
        found = rb.check("Errors", frame, "value", warn=1, critical=8, for_s=60, unit="%")
        assert (found.verdict, found.actual) == (Verdict.CRITICAL, "9 % for the last 1 min")

    def test_a_mask_that_does_not_know(self, run: Triage) -> None:
        frame = rb.promql('error_pct{service=~"shop|mail"}', **ALL_OF_IT)
        mask = (frame["service"] == "mail").astype("boolean").where(frame["service"] == "mail")
        found = rb.check("Errors", frame, "value", where=mask, critical=1, for_s=300)
        assert found.verdict is Verdict.UNKNOWN
        assert "may match" in found.actual

    @pytest.mark.parametrize("agg", ["sum", "mean", "last", "rows"])
    def test_figures_of_several_moments_are_not_added_up(self, run: Triage, agg: Any) -> None:
        frame = rb.promql("error_pct{service='mail'}", **ALL_OF_IT)
        column = "" if agg == "rows" else "value"
        found = rb.check("Errors", frame, column, agg=agg, critical=1e9, for_s=300)
        assert found.verdict is Verdict.UNKNOWN

    def test_one_moment(self, run: Triage) -> None:
        frame = rb.promql("error_pct", until=UNTIL)
        found = rb.check("Errors", frame, "value", critical=1, for_s=300)
        assert found.verdict is Verdict.UNKNOWN
        assert "one moment" in found.actual

    def test_lower_limits(self, run: Triage) -> None:
        frame = rb.promql("error_pct{service='cart'}", **ALL_OF_IT)
        found = rb.check("Errors", frame, "value", warn=1, below=True, for_s=300)
        assert found.ok
        found = rb.check("Errors", frame, "value", warn=8, below=True, for_s=300)
        assert (found.verdict, found.actual) == (Verdict.WARNING, "7 for the last 5 min")


class TestBaseline:
    def test_it_is_the_median_at_this_time_of_the_last_days(self, run: Triage) -> None:
        frame = rb.promql("cost{tenant={t}}", t="a", baseline_days=7, until=UNTIL)
        assert frame[["value", "baseline", "ratio"]].to_numpy().tolist() == [[40, 10, 4]]
        assert frame["baseline_of"].tolist() == ["7 days"]
        assert "last 7 days, if at least half" in origin(frame).notes[0]
        found = rb.check("Cost", frame, "ratio", warn=2, unit="x")
        assert (found.verdict, found.actual) == (
            Verdict.WARNING,
            "4 times the usual; baseline 10 (median at this time of 7 days)",
        )

    def test_too_few_days_are_no_baseline(self, run: Triage) -> None:
        frame = rb.promql("cost", baseline_days=7, until=UNTIL)
        assert frame.set_index("series")["baseline_of"].to_dict() == {"a": "7 days", "b": "2 days"}
        found = rb.check("Cost", frame, "ratio", warn=5, unit="x")
        assert found.verdict is Verdict.UNKNOWN
        assert "in 1 of 2 rows" in found.actual

    @pytest.mark.parametrize(
        ("usual", "more", "why"),
        [
            (-10, {}, "a baseline is not above 0"),
            (0, {}, "a baseline is not above 0"),
            (1000, {"warnings": ["store b did not answer"]}, "the baseline is cut off by"),
        ],
    )
    def test_what_is_no_baseline_is_unknown(
        self, begin: Any, usual: float, more: Any, why: str
    ) -> None:
        def respond(asked: monitoring.Asked) -> tuple[int, str]:
            if not asked.path.endswith("_range"):
                return 200, of_query_api("vector", [{"metric": {}, "value": [0, "1000"]}])
            days = [[number * 86_400, str(usual)] for number in range(7)]
            return 200, of_query_api("matrix", [{"metric": {}, "values": days}], **more)

        with stand_in(respond) as one:
            begin(prom={"kind": "prometheus", "url": one.url})
            frame = rb.promql("cost", baseline_days=7)
        for options in ({"warn": 2}, {"warn": 0.5, "below": True}):
            found = rb.check("Cost", frame, "ratio", unit="x", **options)
            assert found.verdict is Verdict.UNKNOWN
            assert why in found.actual

    @pytest.mark.parametrize(
        ("now", "weeks", "verdict", "said"),
        [
            (6, [6, 5], Verdict.OK, "baseline 5.5 (median at this time of 2 Thursdays)"),
            (6, [6], Verdict.UNKNOWN, "disputed: 1 by the last days, 6 by the last Thursday"),
            (60, [6], Verdict.WARNING, "10 times the usual"),
            (6, [], Verdict.WARNING, "(median at this time of 7 days)"),
        ],
    )
    def test_work_that_comes_once_a_week(
        self, begin: Any, now: float, weeks: list[float], verdict: Verdict, said: str
    ) -> None:
        def respond(asked: monitoring.Asked) -> tuple[int, str]:
            if not asked.path.endswith("_range"):
                return 200, of_query_api("vector", [{"metric": {}, "value": [0, str(now)]}])
            values = weeks if float(asked.given["step"]) > 86_400 else [1.0] * 7
            each = [[number, str(one)] for number, one in enumerate(values)]
            return 200, of_query_api("matrix", [{"metric": {}, "values": each}] if each else [])

        with stand_in(respond) as one:
            begin(prom={"kind": "prometheus", "url": one.url})
            frame = rb.promql("cost", baseline_days=7, until="2026-11-19T03:00:00Z")
        found = rb.check("Cost", frame, "ratio", warn=2, unit="x")
        assert (found.verdict, said in found.actual) == (verdict, True), found.actual

    def test_a_range_of_too_many_values(self, run: Triage) -> None:
        with pytest.raises(QueryError, match="too many values"):
            rb.promql("cost", last_s=86_400, step_s=1)

    def test_no_range_is_compared(self, run: Triage) -> None:
        with pytest.raises(ParameterError, match="not a range"):
            rb.promql("cost", baseline_days=7, last_s=60)


class TestMetrics:
    """Metrics of the front matter; they are about now, so the values come from a stand-in."""

    def judged(
        self, begin: Any, respond: Any, **fields: Any
    ) -> tuple[Triage, list[dict[str, str]]]:
        with stand_in(respond) as one:
            run: Triage = begin(prom={"kind": "prometheus", "url": one.url})
            run.run = dataclasses.replace(run.run, parameters={"service": 'shop"'})
            metric = Metric.model_validate({"name": "Errors", **fields})
            needed = {"id": "RUN-008", "category": "incident", "severity": "P2", "owner": "Tests"}
            front = FrontMatter.model_validate(
                {**needed, "title": "t", "summary": "s", "metrics": [metric]}
            )
            run.document = Runbook(
                path=Path("x.ipynb"), document=b"", front_matter=front, parameters={}
            )
            rb.metrics()
            return run, [asked.given for asked in one.asked]

    @staticmethod
    def values(*values: float) -> Any:
        """Answer with these values, the last one at the end of the range that is asked for."""

        def respond(asked: monitoring.Asked) -> tuple[int, str]:
            if not asked.path.endswith("_range"):
                return 200, of_query_api("vector", [{"metric": {}, "value": [0, str(values[-1])]}])
            end, step = float(asked.given["end"]), float(asked.given["step"])
            places = range(1 - len(values), 1)
            samples = [[end + n * step, str(v)] for n, v in zip(places, values, strict=True)]
            return 200, of_query_api("matrix", [{"metric": {}, "values": samples}])

        return respond

    def test_a_moment_with_a_parameter_of_the_run(self, begin: Any) -> None:
        fields = {"promql": "x{service={service}} > {n}", "values": {"n": 3}, "unit": "s"}
        run, asked = self.judged(begin, self.values(2), **fields, warning="> 500ms")
        found = run.findings["Errors"]
        assert (found.verdict, found.actual) == (Verdict.WARNING, "2 s")
        assert [one["query"] for one in asked] == ['x{service="shop\\""} > 3']

    def test_for_5_min_looks_at_the_range(self, begin: Any) -> None:
        fields = {"promql": "x", "unit": "%", "critical": "> 1% for 1min"}
        for values, verdict, actual in (
            ([4.0] * 61, Verdict.CRITICAL, "4 % for the last 1 min"),
            ([*[0.5] * 30, *[4.0] * 31], Verdict.UNKNOWN, "4 % now, but not for 1 min yet"),
            ([0.5] * 61, Verdict.OK, "0.5 %"),
            (
                [*[4.0] * 30, math.nan, *[4.0] * 30],
                Verdict.UNKNOWN,
                "4 % now; values are missing in the last 1 min: value",
            ),
            ([4.0] * 20, Verdict.UNKNOWN, "4 % now; values are missing in the last 1 min: value"),
            (
                [*[4.0] * 30, math.nan, *[0.5] * 30],
                Verdict.UNKNOWN,
                "values are missing in the last 1 min: value",
            ),
        ):
            run, [asked] = self.judged(begin, self.values(*values), **fields)
            found = run.findings["Errors"]
            assert (found.verdict, found.actual) == (verdict, actual)
            assert float(asked["end"]) - float(asked["start"]) == 60

    def test_each_limit_has_its_own_time(self, begin: Any) -> None:
        fields = {"promql": "x", "unit": "%", "warning": "> 1% for 2min", "critical": "> 5%"}
        for values, verdict, actual in (
            ([*[2.0] * 60, 50.0], Verdict.CRITICAL, "50 %"),
            ([2.0] * 61, Verdict.WARNING, "2 % for the last 2 min"),
            ([*[9.0] * 60, 0.5], Verdict.OK, "0.5 %"),
        ):
            run, [asked] = self.judged(begin, self.values(*values), **fields)
            found = run.findings["Errors"]
            assert (found.verdict, found.actual) == (verdict, actual)
            assert asked["step"] == "2.000"
        assert found.expected.endswith("or beyond the limit of warn for less than 2 min")
        slow = {**fields, "critical": "> 5% for 1h"}
        _, [asked] = self.judged(begin, self.values(*[2.0] * 61), **slow)
        assert asked["step"] == "30.000"

    def test_the_last_values_of_several_series(self, begin: Any) -> None:
        """The series with the smallest values comes last, and hides none of the others."""

        def respond(_: monitoring.Asked) -> tuple[int, str]:
            services = [({"service": name}, n) for name, n in (("a", 99), ("b", 0))]
            found = [{"metric": labels, "value": [0, str(n)]} for labels, n in services]
            return 200, of_query_api("vector", found)

        fields = {"promql": "x", "agg": "last"}
        for limits in ({"critical": "> 5"}, {"critical": "< 5"}):
            run, _ = self.judged(begin, respond, **fields, **limits)
            assert run.findings["Errors"].verdict is Verdict.CRITICAL

    def test_a_multiple_of_the_baseline(self, begin: Any) -> None:
        fields = {"promql": "x", "unit": "$", "baseline_days": 7, "warning": "> 2x"}
        respond = self.values(10, 10, 10, 10, 30)
        run, asked = self.judged(begin, respond, **fields)
        found = run.findings["Errors"]
        said = "3 times the usual; baseline 10 $ (median at this time of 5 days)"
        assert (found.verdict, found.actual) == (Verdict.WARNING, said)
        assert [one.get("step") for one in asked] == [None, "86400", "604800"]

    def test_a_baseline_needs_a_multiple(self, begin: Any) -> None:
        fields = {"promql": "x", "baseline_days": 7, "warning": "> 40"}
        found = self.judged(begin, self.values(50), **fields)[0].findings["Errors"]
        assert found.verdict is Verdict.UNKNOWN
        assert "no multiple of the baseline" in found.actual

    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({"promql": "x{a={nobody}}"}, "needs a value for {nobody}"),
            ({"promql": "x", "source": "elsewhere"}, "no source is called 'elsewhere'"),
            ({"promql": "x", "column": "valeu"}, "no column 'valeu'"),
        ],
    )
    def test_what_is_wrong_is_unknown(
        self, begin: Any, fields: dict[str, str], reason: str
    ) -> None:
        run, _ = self.judged(begin, self.values(0), **fields, warning=1)
        assert run.findings["Errors"].verdict is Verdict.UNKNOWN
        assert reason in run.findings["Errors"].actual

    def test_no_answer_is_unknown(self, begin: Any) -> None:
        run, _ = self.judged(
            begin, lambda _: (200, of_query_api("vector", [])), promql="x", warning=1
        )
        assert run.findings["Errors"].verdict is Verdict.UNKNOWN
        assert "or vector(0)" in run.findings["Errors"].next_step

    @pytest.mark.parametrize(
        "fields",
        [{"promql": "x", "query": "SELECT 1"}, {"promql": "x", "diagnostic": "d"}, {"source": "a"}],
    )
    def test_one_question_each(self, fields: dict[str, str]) -> None:
        with pytest.raises(ValidationError, match="promql"):
            Metric.model_validate({"name": "Errors", **fields})


class TestCalls:
    def test_an_answer_takes_back_only_its_own_failure(self, begin: Any) -> None:
        """The queries are the same for more than what is shown of them."""
        query = f'sum(rate(http_requests_total{{job="{"x" * 60}", service={{service}}}}[5m]))'

        def respond(asked: monitoring.Asked) -> tuple[int, str]:
            fails = "shop" in asked.given["query"] and not mended
            found = [{"metric": {}, "value": [0, "1"]}]
            return (503, "") if fails else (200, of_query_api("vector", found))

        mended: list[bool] = []
        with stand_in(respond) as one:
            fields = {"kind": "prometheus", "url": one.url}
            run = begin(a={**fields, "default": True}, b=fields)

            def left() -> Any:
                found = run.findings[undone.QUERIES.title]
                return found.verdict, found.which

            rb.promql(query, service="shop")
            assert left() == (Verdict.UNKNOWN, f"{query[:59]}…")
            mended.append(True)
            rb.promql(query, service="cart")
            rb.promql(query, service="shop", source="b")
            rb.promql(query, service="shop", until=UNTIL)
            rb.promql(query + " > 0", service="shop")
            assert left()[0] is Verdict.UNKNOWN
            rb.promql(query, service="shop")
            assert left() == (Verdict.OK, "")

    def test_a_value_is_missing_or_unknown(self, run: Triage) -> None:
        with pytest.raises(QueryError, match=r"needs a value for \{job\}"):
            rb.promql("up{job={job}}")
        with pytest.raises(ParameterError, match="takes no keyword 'jobs'"):
            rb.promql("up{job={job}}", jobs="shop")

    def test_a_time_needs_a_zone(self, run: Triage) -> None:
        for wrong in ("yesterday", "2024-11-20T03:00:00"):
            with pytest.raises(ParameterError, match="not a time with a time zone"):
                rb.promql("up", until=wrong)

    def test_which_source(self, begin: Any, address: str) -> None:
        one = {"kind": "prometheus", "url": f"http://{address}"}
        begin(a=one, b=one, loki={"kind": "loki", "url": "http://127.0.0.1:1"})
        with pytest.raises(ConfigError, match="several sources of the kind prometheus: a, b"):
            rb.promql("vector(1)")
        with pytest.raises(ConfigError, match="is of the kind loki"):
            rb.promql("vector(1)", source="loki")
        with pytest.raises(ConfigError, match="no source is called"):
            rb.promql("vector(1)", source="c")
        assert origin(rb.promql("vector(1)", source="b")).connection == "b"
        begin(a=one, b={**one, "default": True})
        assert origin(rb.promql("vector(1)")).connection == "b"

    def test_rb_ask_asks_it_too(self, run: Triage) -> None:
        assert rb.ask("prom", "vector({n})", n=3)["value"].tolist() == [3.0]

    def test_columns_of_redaction_are_hidden_in_names_too(self, begin: Any, address: str) -> None:
        hidden = {"columns": {"service": "mask"}}
        begin(prom={"kind": "prometheus", "url": f"http://{address}", "redaction": hidden})
        frame = rb.promql("error_pct", until=UNTIL)
        assert frame["service"].unique().tolist() == ["[masked]"]
        assert not frame["series"].str.contains("shop").any()
        assert frame["series"].is_unique


class TestLogs:
    """A stand-in for Loki."""

    @pytest.fixture
    def loki(self, begin: Any) -> Iterator[StandIn]:
        with stand_in(monitoring.like_loki) as one:
            begin(loki={"kind": "loki", "url": one.url})
            yield one

    def test_the_newest_lines(self, loki: StandIn) -> None:
        frame = rb.logql("{app={app}} |= {text}", app="api", text="err", until=UNTIL, lines=5)
        assert frame["line"].tolist() == [f"error {number}: timeout" for number in range(5)]
        assert frame["pod"].tolist() == ["api-0", "api-1", "api-0", "api-1", "api-0"]
        assert frame["sampled_at"].iloc[0] == pd.Timestamp(UNTIL) - pd.Timedelta("30 s")
        about = origin(frame)
        assert about.cut_by == "the limit of 5 lines"
        assert (about.begins, about.ends) == ("2024-11-20T02:00:00+00:00", UNTIL)
        assert loki.asked[0].given["query"] == '{app="api"} |= "err"'
        assert rb.check("Errors", frame, agg="rows", warn=10).verdict is Verdict.UNKNOWN
        assert rb.check("Errors", frame, agg="rows", warn=2).verdict is Verdict.WARNING

    def test_all_lines(self, loki: StandIn) -> None:
        frame = rb.logql('{app="api"}', until=UNTIL)
        assert (len(frame), origin(frame).cut_by) == (30, "")

    def test_figures(self, loki: StandIn) -> None:
        query = 'sum(count_over_time({app="api"} [5m]))'
        frame = rb.logql(query, until=UNTIL, last_s=600, step_s=60)
        found = rb.check("Errors", frame, "value", warn=5, for_s=300)
        assert (found.verdict, found.actual) == (Verdict.WARNING, "10 for the last 5 min")

    def test_no_line_is_unknown(self, loki: StandIn) -> None:
        frame = rb.logql('{app="api"}', until="2024-11-19T00:00:00Z")
        assert "no result" in origin(frame).reason
        assert rb.check("Errors", frame, agg="rows", warn=0).verdict is Verdict.UNKNOWN

    def test_a_wrong_query_is_unknown(self, loki: StandIn) -> None:
        assert "syntax error" in origin(rb.logql("app")).reason


def like_store(store: StandIn, old: str, new: str) -> str:
    """Return the store's answer about the known trace, with one text replaced by another."""
    answer = str(store.respond(monitoring.ASKED)[1])
    assert old in answer
    return answer.replace(old, new)


class TestTraces:
    """Stand-ins for Jaeger and Tempo."""

    @pytest.fixture(params=["jaeger", "tempo"])
    def store(self, request: pytest.FixtureRequest, begin: Any) -> Iterator[StandIn]:
        with stand_in(getattr(monitoring, f"like_{request.param}")) as one:
            begin(store={"kind": request.param, "url": one.url})
            yield one

    def test_the_spans(self, store: StandIn) -> None:
        frame = rb.traces(monitoring.TRACE.upper())
        shown = ["service", "operation", "duration_ms", "own_ms", "error", "status", "parent"]
        assert frame[shown].to_numpy().tolist() == [
            ["gateway", "POST /orders", 900, 70, True, "504", ""],
            ["orders", "create", 830, 80, True, "500", "000000000000000a"],
            ["orders", "INSERT", 750, 750, False, "0", "000000000000000b"],
        ]
        assert frame["started_at"].iloc[0] == pd.Timestamp(UNTIL)
        assert rb.check("Errors", frame, "error", agg="sum", warn=0).value == 2

    def test_a_trace_with_gaps_is_not_ok(self, store: StandIn) -> None:
        parent = "000000000000000b"
        if "AAAAAAAAAAs=" in (known := str(store.respond(monitoring.ASKED)[1])):
            parent = "AAAAAAAAAAs="
        key = '"parentSpanId": ' if "parentSpanId" in known else '"refType": "CHILD_OF", "spanID": '
        gone = known.replace(f'{key}"{parent}"', f'{key}"00000000000000ff"')
        assert gone != known
        store.respond = lambda _: (200, gone)
        frame = rb.traces(monitoring.TRACE)
        found = rb.check("Errors", frame, "error", agg="sum", warn=2)
        assert found.verdict is Verdict.UNKNOWN
        assert "gaps in the trace: at least 1 span" in found.actual
        found = rb.check("Errors", frame, "error", agg="sum", warn=0)
        assert found.verdict is Verdict.WARNING

    @pytest.mark.parametrize("place", ["errors", "warnings"])
    def test_what_a_store_says_beside_the_spans(self, begin: Any, place: str) -> None:
        answer = json.loads(monitoring.like_jaeger(monitoring.ASKED)[1])
        said = [{"msg": "a shard is down"}] if place == "errors" else ["a shard is down"]
        (answer if place == "errors" else answer["data"][0])[place] = said
        with stand_in(lambda _: (200, json.dumps(answer))) as one:
            begin(store={"kind": "jaeger", "url": one.url})
            found = rb.check("Errors", rb.traces(monitoring.TRACE), "error", agg="sum", warn=2)
        assert found.verdict is Verdict.UNKNOWN
        assert "warns: a shard is down" in found.actual

    def test_another_trace_is_unknown(self, store: StandIn) -> None:
        frame = rb.traces("0" * 32)
        assert "trace not found" in origin(frame).reason
        assert rb.check("Errors", frame, "error", agg="sum", warn=0).verdict is Verdict.UNKNOWN

    @pytest.mark.parametrize("wrong", ["", "../admin", "xyz", "5b8efff7", "a" * 33])
    def test_what_is_no_id_is_not_asked(self, store: StandIn, wrong: str) -> None:
        with pytest.raises(QueryError, match="not the id of a trace"):
            rb.traces(wrong)
        assert store.asked == []

    def test_an_answer_of_another_api_is_unknown(self, store: StandIn) -> None:
        late = like_store(store, "1732071600000000", "9" * 30)
        for body in ("<html>", "[]", '{"data": 3}', '{"batches": [{"scopeSpans": [{}]}]}', late):
            store.respond = lambda _, body=body: (200, body)  # type: ignore[misc]  # its own body
            assert origin(rb.traces(monitoring.TRACE)).reason


class TestLive:
    """Last in the file: Prometheus scrapes its targets from 5 s after its start on."""

    def test_now_on_a_server_that_scrapes(self, run: Triage) -> None:
        until(lambda: not rb.promql("shop_requests_total").empty, "a value was scraped")
        assert rb.promql("shop_requests_total")["value"].tolist() == [42.0]
        assert undone.QUERIES.title not in run.findings or run.findings[undone.QUERIES.title].ok
