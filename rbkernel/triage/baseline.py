"""`rb.baseline`: compare a figure with the usual one at this hour, as earlier runs measured it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated

import pandas as pd
from IPython.display import display
from pydantic import Field

from rbkernel.arguments import checked
from rbkernel.checks.answer import Provenance, provenance
from rbkernel.checks.frames import Frame
from rbkernel.checks.rules import numbers
from rbkernel.config.quantities import Number
from rbkernel.errors import EvidenceError, ParameterError, RbkernelError
from rbkernel.evidence import current
from rbkernel.evidence.baselines import MEASURED, Normal, Place, normal, samples
from rbkernel.model import Finding, Verdict, now
from rbkernel.render import cards
from rbkernel.sources.postgres.overview import cluster_of
from rbkernel.triage.check import keep
from rbkernel.triage.context import triage

_Multiple = Annotated[Number, Field(gt=1)]
_Least = Annotated[Number, Field(gt=0)]
_NEXT = (
    "find out who sends it (connections/holders): a deployment, a batch job, a campaign, retries"
)


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The result of `baseline`, which has already been shown.

    ``finding`` is None as long as there is no baseline: nothing is said then, neither ok nor wrong.
    ``median`` is the usual value; None without a baseline. ``words`` say what it rests on.
    """

    value: float
    median: float | None
    words: str
    finding: Finding | None = None

    @property
    def wrong(self) -> bool:
        """Whether the figure is far above the usual one."""
        return self.finding is not None and self.finding.wrong

    def _ipython_display_(self) -> None:
        """Show nothing as the last value of a cell: `rb.baseline` has shown the result."""


@checked
def baseline(
    what: Frame,
    column: str,
    *,
    title: str,
    at_least: _Least,
    unit: str = "",
    warn: _Multiple = 2.0,
    critical: _Multiple | None = 5.0,
) -> Baseline:
    """Compare a figure with the median of earlier runs at this hour, and record it for later runs.

    Sealed headless runs of the last 28 days count that measured the same figure on the same
    connection, server and database, an hour before or after this time of day, and that no alert
    started. At least 7 of them on 5 days are needed; of the same kind of day (workday or weekend)
    if there are enough. Without them, no finding is made.

    Parameters
    ----------
    what
        The result of `rb.query` or `rb.assess` whose rows hold the figure.
    column
        A numeric column; of several rows, the sum counts.
    title
        The title of the finding.
    at_least
        The figure below which nothing is judged: twice a very small figure means nothing.
    unit
        Unit for people, such as ``per s``.
    warn, critical
        Multiples of the median above which the finding has that verdict; None for no critical one.

    Returns
    -------
    Baseline
        ``.finding``, ``.median``, ``.value``, ``.wrong``, ``.words``.

    Raises
    ------
    ParameterError
        rbkernel did not make the frame, or it has no such column.
    """
    origin, value = _measure(what, column)
    usual: Normal | None = None
    try:
        usual = _usual(f"{origin.name} {column}", origin, value)
        words = usual.words
    except RbkernelError as error:
        words = f"no baseline: {error.what}"
    median = usual.median if usual else None
    if usual is None or median is None:
        text = f"{title}: {_figure(value, unit)}; {words}, so it is not judged"
        html = cards.message_card("baseline", text, "open")
        display({"text/html": html, "text/plain": text}, raw=True)
        return Baseline(value=value, median=None, words=words)
    multiples = (warn, math.inf if critical is None else critical)
    finding = keep(judged(title, value, median, words, unit, multiples, at_least))
    return Baseline(value=value, median=median, words=words, finding=finding)


def _measure(what: pd.DataFrame, column: str) -> tuple[Provenance, float]:
    """Return where a frame is from, and the sum of its column; NaN without a complete answer.

    Raises
    ------
    ParameterError
        rbkernel did not make the frame, or it has no such column.
    """
    origin = provenance(what)
    if origin is None:
        raise ParameterError(
            "rb.baseline needs the result of rb.query or rb.assess",
            next_step='pass, for example, rb.query("activity/rates", db)',
        )
    if column not in what.columns and not origin.reason:
        known = ", ".join(map(str, what.columns))
        raise ParameterError(
            f"rb.baseline: the answer has no column {column!r}, it has {known}",
            next_step="name one of these columns",
        )
    if what.empty or origin.cut_by or column not in what.columns:
        return origin, math.nan
    return origin, float(numbers(what[column]).sum(skipna=False))


def _usual(name: str, origin: Provenance, value: float) -> Normal:
    """Record a figure for later runs, and return the usual one at this hour.

    Raises
    ------
    RbkernelError
        It was not measured, the server does not tell who it is, or the evidence is damaged.
    """
    if origin.reason:
        raise EvidenceError(f"it was not measured: {origin.reason}")
    place, at = _place(origin.connection), datetime.now(UTC)
    if math.isfinite(value):
        current().event(MEASURED, name=name, value=value, at=now(), **asdict(place))
    return normal(samples(current().root, name, place, at), at)


def _place(connection: str) -> Place:
    """Return the server and database that a connection leads to.

    Raises
    ------
    RbkernelError
        The server does not answer, or does not tell its system identifier.
    """
    session = triage().session(connection)
    server = session.server
    return Place(
        connection=connection,
        cluster=cluster_of(session),
        database=server.database,
        standby=server.standby,
    )


def judged(
    title: str,
    value: float,
    median: float,
    words: str,
    unit: str,
    multiples: tuple[float, float],
    at_least: float,
) -> Finding:
    """Return the finding on a figure with a baseline.

    Parameters
    ----------
    title
        The title of the finding.
    value, median
        The figure, NaN if it has no value, and the usual one.
    words
        What the usual one rests on.
    unit
        Unit for people.
    multiples
        Multiples of the median for warning and critical; infinity for none.
    at_least
        The figure up to which the verdict is ok.

    >>> finding = judged("Load", 90.0, 30.0, "the median", "per s", (2, 5), 20.0)
    >>> finding.verdict.value, finding.expected, finding.actual
    ('warning', 'at most 2 × 30 per s', '90 per s, 3.0 times the usual')
    >>> judged("Load", 15.0, 0.0, "the median", "per s", (2, 5), 20.0).verdict.value
    'ok'
    >>> judged("Load", math.nan, 30.0, "the median", "per s", (2, 5), 20.0).verdict.value
    'unknown'
    """
    warn, critical = (max(one * median, at_least) for one in multiples)
    verdict = Verdict.CRITICAL if value > critical else Verdict.WARNING if value > warn else None
    verdict = verdict or (Verdict.OK if math.isfinite(value) else Verdict.UNKNOWN)
    ratio = f", {value / median:.1f} times the usual" if median > 0 and math.isfinite(value) else ""
    actual = f"{_figure(value, unit)}{ratio}"
    least = f", or {_figure(at_least, unit)}" if multiples[0] * median < at_least else ""
    fine = verdict is Verdict.OK
    return Finding(
        title=title,
        verdict=verdict,
        expected=f"at most {multiples[0]:g} × {_figure(median, unit)}{least}",
        actual=actual,
        cause="" if fine else f"{actual}; the usual is {words}",
        next_step="" if fine else _NEXT,
        value=value if math.isfinite(value) else None,
        at=now(),
    )


def _figure(value: float, unit: str) -> str:
    """Return a figure with its unit.

    >>> _figure(1234.5, "per s"), _figure(3.25, ""), _figure(math.nan, "s")
    ('1,234 per s', '3.25', 'no value')
    """
    if not math.isfinite(value):
        return "no value"
    number = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{number} {unit}".strip()
