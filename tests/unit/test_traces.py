"""Where the time of a trace went, if calls run at the same time."""

from __future__ import annotations

from functools import partial

from rbkernel.sources.monitoring import traces
from rbkernel.sources.monitoring.traces import Span

_MS = 1000.0
_fine = partial(Span, error=False, status="200")


def _span(name: str, service: str, begin_ms: float, end_ms: float) -> Span:
    parent = "" if service == "gateway" else "0"
    made = partial(_fine, id=name, parent=parent, service=service, operation="call")
    return made(start_us=begin_ms * _MS, end_us=end_ms * _MS)


def test_calls_at_the_same_time_count_once() -> None:
    whole = _span("0", "gateway", 0, 900)
    parallel = [_span(f"{n}", "inventory", 5, 35) for n in range(1, 51)]
    bank = _span("b", "bank", 40, 890)
    table = traces.rows([whole, *parallel, bank])
    column, which = traces.SPANS.index("total_ms"), traces.SPANS.index("which")
    total = {row[which]: row[column] for row in table}
    assert total == {"gateway: call": 20.0, "inventory: call": 30.0, "bank: call": 850.0}


def test_calls_one_after_the_other_are_added_up() -> None:
    table = traces.rows([_span(f"{n}", "shop", 70 * n, 70 * n + 60) for n in range(1, 41)])
    assert {row[traces.SPANS.index("total_ms")] for row in table} == {2400.0}
