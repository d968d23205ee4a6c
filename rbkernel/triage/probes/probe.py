"""Findings on systems that are not databases, such as an HTTP endpoint or a command."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from IPython.display import display

from rbkernel.checks import quoted as answers
from rbkernel.checks.quoted import Quoted
from rbkernel.model import Finding, Verdict, now
from rbkernel.render import cards
from rbkernel.triage.context import triage

# Bytes of an answer that are read and judged, so that an endless answer does not fill the memory.
READ_BYTES = 1_000_000
# Characters of an answer that are shown and stored; the answers of health endpoints are shorter.
KEPT_CHARACTERS = 20_000


class Seen(NamedTuple):
    """The result of checking a system: verdict, result in words, default next step, and output."""

    verdict: Verdict
    actual: str
    step: str = ""
    output: str = ""


def judged_as_quoted(seen: Seen, output: str, quoted: Quoted) -> Seen:
    """Return a result, made worse if the answer differs from the one that the runbook quotes.

    It becomes critical if the answer differs, and unknown if the answers cannot be compared. A
    result that is critical or unknown already stays unchanged.
    """
    if seen.verdict not in {Verdict.OK, Verdict.WARNING}:
        return seen
    missed = next((one for one in answers.judge(output, quoted) if one.met is not True), None)
    if missed is None:
        return seen
    verdict = Verdict.CRITICAL if missed.met is False else Verdict.UNKNOWN
    step = "compare the answer below with the expected one"
    return Seen(verdict, f"{seen.actual}: {missed.actual}", step, seen.output)


def keep(title: str, expected: str, seen: Seen, cause: str, next_step: str, asked: str) -> Finding:
    """Store the result of a check as a finding, and show the finding with request and answer."""
    wrong = seen.verdict in {Verdict.WARNING, Verdict.CRITICAL}
    finding = Finding(
        title=title,
        verdict=seen.verdict,
        expected=expected,
        actual=seen.actual,
        cause=cause if wrong else "",
        next_step="" if seen.verdict is Verdict.OK else next_step or seen.step,
        at=now(),
    )
    triage().add_finding(finding)
    html = cards.finding_card(finding) + cards.provenance_line([asked], seen.output)
    text = f"{cards.finding_text(finding)}\n{asked}\n{seen.output}".rstrip()
    data = dataclasses.asdict(finding)
    display(cards.bundle("finding", data, html, text), raw=True)
    return finding
