"""Sample the waits of a server's busy sessions for some seconds, and return a histogram.

Each sample is one short statement on one connection. A slow server is sampled less often: pauses
are at least `_REST` times as long as a sample.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

from rbkernel import amounts
from rbkernel.checks.answer import FLOAT8, TEXT, Answer, Column
from rbkernel.sources.postgres import diagnostics
from rbkernel.sources.postgres.connection.session import Session

WAITS = "activity/waits"
# s between two samples: 20 samples in 5 s, so that a share has an error of about 10 %
EVERY_S = 0.25
# pause as a multiple of a sample's duration: sampling takes at most a tenth of the time
_REST = 9.0
# rows of a histogram; the rest are merged into one row
_ROWS = 30
OTHERS = "others"
_NAMES = ("application", "wait_type", "wait")
_COLUMNS = (
    *(Column(name, TEXT) for name in _NAMES),
    *(Column(name, FLOAT8) for name in ("sessions", "share_pct")),
)


@dataclass(frozen=True, kw_only=True)
class Wait:
    """A kind of wait of one application: mean number of sessions, and % of all busy sessions."""

    application: str
    wait_type: str
    wait: str
    sessions: float
    share_pct: float


def sample(session: Session, seconds: float) -> Answer:
    """Sample the waits of busy sessions for some seconds.

    Parameters
    ----------
    session
        The connection.
    seconds
        The duration; at least one sample is taken.

    Returns
    -------
    Answer
        Rows with the columns of ``activity/waits``, sorted by share, the largest first. If the
        server stops answering, the samples taken until then are used. If it never answered, there
        are no rows, and the provenance has the reason.
    """
    began = time.monotonic()
    answers: list[Answer] = []
    while True:
        look_began = time.monotonic()
        answers.append(diagnostics.ask(session, WAITS))
        took_s = time.monotonic() - look_began
        pause_s = max(EVERY_S - took_s, _REST * took_s)
        if answers[-1].provenance.reason or time.monotonic() + pause_s - began > seconds:
            break
        time.sleep(pause_s)
    lasted_s = time.monotonic() - began
    seen = [answer for answer in answers if not answer.provenance.reason]
    if not seen:
        return answers[-1]
    note = f"the mean of {amounts.count(len(seen), 'sample')} in {lasted_s:.1f} s"
    rows = [astuple(wait) for wait in histogram([answer.records() for answer in seen])]
    provenance = replace(
        seen[-1].provenance, rows=len(rows), duration_s=round(lasted_s, 4), notes=(note,)
    )
    return Answer(columns=_COLUMNS, rows=rows, provenance=provenance)


def waits(answer: Answer) -> list[Wait]:
    """Convert the rows that `sample` returned to `Wait` objects."""
    return [Wait(**record) for record in answer.records()]


def histogram(looks: Sequence[Iterable[Mapping[str, Any]]]) -> list[Wait]:
    """Merge samples into a histogram of waits; each sample has a row per application and wait.

    >>> web = {"application": "web", "wait_type": "Lock", "wait": "Lock: tuple", "sessions": 3.0}
    >>> job = {"application": "job", "wait_type": "running", "wait": "running", "sessions": 1.0}
    >>> busy = [web, job]
    >>> [(one.wait, one.sessions, one.share_pct) for one in histogram([busy, []])]
    [('Lock: tuple', 1.5, 75.0), ('running', 0.5, 25.0)]
    """
    counts: dict[tuple[str, str, str], float] = defaultdict(float)
    for look in looks:
        for row in look:
            # a column policy may have dropped a column of names
            application, wait_type, wait = (str(row.get(name) or "") for name in _NAMES)
            counts[application, wait_type, wait] += row["sessions"]
    total = sum(counts.values())
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if rest := sum(count for _, count in ranked[_ROWS:]):
        ranked = [*ranked[:_ROWS], ((OTHERS, OTHERS, OTHERS), rest)]
    return [
        Wait(
            application=application,
            wait_type=wait_type,
            wait=wait,
            sessions=count / len(looks),
            share_pct=100.0 * count / total,
        )
        for (application, wait_type, wait), count in ranked
    ]
