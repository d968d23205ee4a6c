"""RUN-026 on traces: which service it names, and when it says that nothing is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from rbkernel import config
from rbkernel.model import Verdict
from tests.support import monitoring
from tests.support.monitoring import ASKED, AT, TRACE, Asked, stand_in
from tests.support.runbooks import Found, look

pytestmark = pytest.mark.usefixtures("evidence")

# span, parent, service, operation, begin and end in ms, HTTP status
Spans = list[tuple[str, str, str, str, int, int, int]]
FINE: Spans = [
    ("a", "", "gateway", "POST /orders", 0, 90, 200),
    ("b", "a", "orders", "create", 5, 80, 200),
]
#: The error arises in the third service, and goes up; the second has an error of its own later.
FAILED: Spans = [
    ("a", "", "gateway", "POST /orders", 0, 90, 502),
    ("b", "a", "orders", "create", 5, 80, 500),
    ("c", "b", "stock", "reserve", 10, 60, 503),
    ("d", "b", "orders", "compensate", 62, 79, 500),
]
SLOW: Spans = [
    ("a", "", "gateway", "POST /orders", 0, 3000, 200),
    ("b", "a", "orders", "create", 5, 2950, 200),
    ("c", "b", "bank", "charge", 10, 2900, 200),
]
#: Forty queries in place of one: each is quick.
MANY: Spans = [
    ("a", "", "gateway", "POST /orders", 0, 3000, 200),
    *((f"{n:02}", "a", "orders", "SELECT", 70 * n, 70 * n + 60, 200) for n in range(40)),
]


def jaeger(spans: Spans) -> str:
    """Return an answer of Jaeger with these spans."""
    answer = json.loads(monitoring.like_jaeger(ASKED)[1])
    [trace] = answer["data"]
    example = trace["spans"][0]
    trace["spans"] = [
        {
            **example,
            "spanID": (span * 16)[:16],
            "operationName": operation,
            "references": [{"refType": "CHILD_OF", "spanID": parent * 16}] if parent else [],
            "startTime": round(AT * 1e6) + begin * 1000,
            "duration": (end - begin) * 1000,
            "processID": service,
            "tags": [
                {"key": "http.status_code", "type": "int64", "value": status},
                {"key": "error", "type": "bool", "value": status >= 500},
            ],
        }
        for span, parent, service, operation, begin, end, status in spans
    ]
    trace["processes"] = {one[2]: {"serviceName": one[2]} for one in spans}
    return json.dumps(answer)


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Found]]:
    """Run the runbook on a store that has these spans, and on the log lines of `monitoring`."""
    with ExitStack() as stack:

        def run(spans: Spans | None = None, **values: Any) -> Found:
            def store(asked: Asked) -> tuple[int, str]:
                known, answer = monitoring.like_jaeger(asked)
                return known, jaeger(spans) if spans and known == 200 else answer

            traces = stack.enter_context(stand_in(store))
            loki = stack.enter_context(stand_in(monitoring.like_loki))
            file = tmp_path / "rbkernel.toml"
            file.write_text(
                f'[sources.traces]\nkind = "jaeger"\nurl = "{traces.url}"\n'
                f'[sources.loki]\nkind = "loki"\nurl = "{loki.url}"\n'
            )
            monkeypatch.setenv("RBKERNEL_CONFIG", str(file))
            made = look("RUN-026", config.load(), **{"trace_id": TRACE, **values})
            run.asked = [one.given["query"] for one in loki.asked]  # type: ignore[attr-defined]
            return made

        yield run


def test_the_service_in_which_the_error_arose_is_named(found: Callable[..., Found]) -> None:
    failed = found(FAILED)
    assert failed.recommended == "RUN-008"
    first = failed.finding("Span that failed first")
    assert first.cause == "stock: reserve failed first"
    every, own = found.asked  # type: ignore[attr-defined]
    assert every == f'{{app=~"gateway|orders|stock"}} |= "{TRACE}"'
    assert own == '{app="stock"} |~ `(?i)error`'


def test_a_caller_that_gave_up_is_a_victim(found: Callable[..., Found]) -> None:
    """The INSERT of the known trace did not fail: it took the time."""
    gave_up = found(slow_ms=500.0)
    assert gave_up.recommended == "RUN-009"
    assert "orders: create gave up" in gave_up.finding("Span that failed while it waited").cause
    assert "INSERT" in gave_up.finding("Longest own time of an operation").cause


@pytest.mark.parametrize(("spans", "named"), [(SLOW, "bank: charge"), (MANY, "orders: SELECT")])
def test_a_slow_trace_without_an_error(
    found: Callable[..., Found], spans: Spans, named: str
) -> None:
    slow = found(spans)
    assert slow.recommended == "RUN-009, for the slow span"
    assert named in slow.finding("Longest own time of an operation").cause
    assert slow.finding("Span that failed first").ok


def test_a_healthy_trace(found: Callable[..., Found]) -> None:
    fine = found(FINE)
    assert (fine.outcome.verdict, fine.recommended) == (Verdict.OK, "wait")
    assert len(found.asked) == 1  # type: ignore[attr-defined]  # no error is looked for


def test_a_trace_that_is_not_there(found: Callable[..., Found]) -> None:
    lost = found(trace_id="0" * 32)
    assert (lost.outcome.verdict, lost.recommended) == (Verdict.UNKNOWN, "escalate")


def test_without_an_id_only_the_log_is_read(found: Callable[..., Found]) -> None:
    lines = found(trace_id="", service="api", until=monitoring.UNTIL)
    assert lines.recommended == "give the id of a trace"
    assert found.asked == ['{app="api"} |~ `(?i)error`']  # type: ignore[attr-defined]
