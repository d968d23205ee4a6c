"""Format findings for a terminal: what was found, then its cause and next step; ok in one line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rbkernel import amounts
from rbkernel.displaytext import one_line
from rbkernel.model import Finding, Verdict, by_urgency, folded
from rbkernel.render import cards

_INDENT = " " * 9
# the longest line of ok checks where there is no terminal
_MOST = 160


def lines(findings: Iterable[Finding], width: int | None = None) -> Iterator[str]:
    """Yield findings as lines, the most urgent first; symptoms share one line, and so do ok checks.

    Parameters
    ----------
    findings
        The findings, in any order.
    width
        The width of the terminal, to which the line of ok checks is cut; None without one.

    >>> late = Finding(title="Lag", verdict=Verdict.CRITICAL, expected="below 2 s", actual="31 s",
    ...                next_step="resume replay")
    >>> fine = [Finding(title=name, verdict=Verdict.OK, expected="", actual="0") for name in "abc"]
    >>> print("\\n".join(lines([*fine, late])))
    CRITICAL Lag: 31 s (expected below 2 s)
             next: resume replay
    OK       3 checks: a · b · c
    """
    found = list(findings)
    ok = [one for one in found if one.verdict is Verdict.OK]
    wrong = [one for one in found if one.verdict is not Verdict.OK]
    for one in folded(by_urgency(one for one in wrong if not one.explained_by)):
        yield from _lines(one)
    if symptoms := [f"{one.title}: {one.actual}" for one in wrong if one.explained_by]:
        yield f"{_INDENT}explained by the cause above: {one_line('; '.join(symptoms))}"
    if len(ok) == 1:
        yield from _lines(ok[0])
    elif ok:
        yield passed((one.title for one in ok), len(ok), width)


def passed(titles: Iterable[str], number: int, width: int | None) -> str:
    """Return one line about the checks that are ok, cut to the width of the terminal.

    >>> passed(["disk", "slots", "locks"], 3, 30)
    'OK       3 checks: disk · slo…'
    """
    line = f"OK       {amounts.count(number, 'check')}: {one_line(' · '.join(titles))}"
    most = width or _MOST
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _lines(finding: Finding) -> Iterator[str]:
    yield f"{finding.verdict.value.upper():8} {one_line(cards.judged(finding))}"
    details = (
        ("why", finding.cause if cards.tells_more(finding) else ""),
        ("which", cards.rows_of(finding)),
        ("next", cards.step_of(finding)),
    )
    for name, words in details:
        if words:
            yield f"{_INDENT}{name}: {one_line(words)}"
