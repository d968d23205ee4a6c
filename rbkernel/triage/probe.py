"""What a look at something that is no database saw, as a finding like any other."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from IPython.display import display

from rbkernel.model import Finding, Verdict, now
from rbkernel.render import cards
from rbkernel.triage.context import triage

# What is judged of an answer, so that an endless one does not fill the memory,
READ_BYTES = 1_000_000
# and what is shown and kept of it; a health endpoint says less.
KEPT_CHARACTERS = 20_000


class Seen(NamedTuple):
    """What a look saw, what to do about it unless the caller says more, and what was answered."""

    verdict: Verdict
    actual: str
    step: str = ""
    output: str = ""


def keep(title: str, expected: str, seen: Seen, cause: str, next_step: str, asked: str) -> Finding:
    """Keep what was seen as a finding, and show it with what was asked and answered."""
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
