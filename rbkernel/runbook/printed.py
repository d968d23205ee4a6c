"""Compare figures that a program prints, such as a load test's p95, with their limits. Pure.

A figure is found by its name. If a program prints several figures of that name, such as k6 for each
part of a request, the figures of the whole request are used, else the worst figure. A figure that
is not found, or has a unit that cannot be converted, is unknown; nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from rbkernel.runbook.quantities import Threshold, converted, threshold

_NUMBER = r"(?P<number>\d[\d,]*(?:\.\d+)?)\s*(?P<unit>%|µs|[a-zA-Z]+)?"
_PERCENTILE = re.compile(r"p\s*\(?\s*(\d{2}(?:\.\d+)?)\s*\)?", re.IGNORECASE)
# names for figures of a whole request, in k6 and most other programs
_WHOLE = (
    re.compile(r"http_req_duration"),
    re.compile(r"latency|duration|response time|request time", re.IGNORECASE),
)
# common names → the names that programs print
_ALIASES = {
    "error rate": ("http_req_failed", "error rate", "errors", "failed requests", "failure rate"),
    "throughput": ("http_reqs", "throughput", "requests/sec", "requests per second"),
}


# from the worst result to the best
_RANK = {False: 0, None: 1, True: 2}


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The expected and the actual figure; ``met`` is None if the actual figure is unknown."""

    name: str
    limit: str
    actual: str
    met: bool | None


def judged(output: str, expected: Mapping[str, str]) -> tuple[Expected, ...]:
    """Compare the figures in a program's output with their limits.

    Parameters
    ----------
    output
        The text that the program printed.
    expected
        Name → limit, such as ``{"p95": "< 800ms", "error rate": "< 0.1%"}``. The name ``output``
        means the whole output, if it is only a figure. A limit may be a range: ``>= 2, <= 9``.

    >>> k6 = '''http_req_duration......: avg=130ms min=99ms med=121ms p(90)=201ms p(95)=1.2s
    ...   { expected_response:true }...: avg=100ms p(90)=150ms p(95)=160ms
    ... http_req_failed........: 0.07% 7 out of 10000
    ... iteration_duration.....: avg=3.1s p(95)=3.9s'''
    >>> [(one.actual, one.met) for one in judged(k6, {"p95": "< 800ms", "error rate": "< 0.1%"})]
    [('1.2 s', False), ('0.07 %', True)]
    >>> judged("done", {"p95": "< 800ms"})[0].met is None
    True
    >>> [judged(text, {"output": "< 9"})[0].met for text in ("8\\n", "9", "8 of 9")]
    [True, False, None]
    >>> [judged(text, {"output": ">= 2, <= 9"})[0].met for text in ("1", "2", "9", "10")]
    [False, True, True, False]
    """
    return tuple(_held(output, name, limit) for name, limit in expected.items())


def _held(output: str, name: str, words: str) -> Expected:
    """Compare a figure with its limits: ``< 9``, or the two of a range, ``>= 2, <= 9``."""
    judged = [_compared(output, name, part) for part in re.split(r",\s+(?=[<>≤≥])", words)]
    worst = min(judged, key=lambda one: _RANK[one.met])
    return replace(worst, limit=words)


def _compared(output: str, name: str, words: str) -> Expected:
    limit = threshold(words)
    if limit is None:
        return Expected(
            name=name, limit=words, actual="the expected value is not understood", met=None
        )
    found = list(_figures(output, name))
    if not found:
        return Expected(name=name, limit=words, actual="this figure is not in the output", met=None)
    values = [converted(value, unit, limit.unit) for value, unit in found]
    known = [value for value in values if value is not None]
    if len(known) < len(found):
        odd = next(unit for (_, unit), value in zip(found, values, strict=True) if value is None)
        said = f"in {odd or 'no unit'}, which cannot be compared with {words}"
        return Expected(name=name, limit=words, actual=said, met=None)
    worst = max(known) if limit.below else min(known)
    value, unit = found[values.index(worst)]
    said = f"{value:g} {unit}".strip()
    return Expected(name=name, limit=words, actual=said, met=_meets(worst, limit))


def _meets(value: float, limit: Threshold) -> bool:
    if limit.inclusive and value == limit.value:
        return True
    return value < limit.value if limit.below else value > limit.value


def _figures(output: str, name: str) -> Iterable[tuple[float, str]]:
    """Yield the figures with this name and their units, as printed."""
    lines = output.splitlines()
    if name == "output":
        if alone := re.fullmatch(_NUMBER, output.strip()):
            yield float(alone["number"].replace(",", "")), alone["unit"] or ""
        return
    if percentile := _PERCENTILE.fullmatch(name.strip()):
        figure = re.escape(percentile[1])
        pattern = (
            rf"(?:\bp\(?{figure}\)?|\b{figure}(?:th)?\s*(?:%|percentile))\s*[:=]?\s*(?:in\s+)?"
        )
        of_whole = (list(filter(whole.search, lines)) for whole in _WHOLE)
        chosen = ([line for line in some if re.search(pattern, line)] for some in of_whole)
        lines = next(filter(None, chosen), lines)
    else:
        names = _ALIASES.get(name.strip().lower(), (name.strip(),))
        words = "|".join(re.escape(one) for one in names)
        pattern = rf"(?:{words})[ \t.]*[:=][ \t]*"
    for line in lines:
        for found in re.finditer(pattern + _NUMBER, line, re.IGNORECASE):
            yield float(found["number"].replace(",", "")), found["unit"] or ""
