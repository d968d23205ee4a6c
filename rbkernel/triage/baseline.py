"""`rb.baseline`: compare a figure with the usual one at this hour, as earlier runs measured it."""

from __future__ import annotations

import hashlib
import json
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
from rbkernel.evidence.baselines import MEASURED, Figure, Normal, normal, samples
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

    ``finding`` is None if there is no baseline, or if the figure is far below the usual one:
    nothing is said then, neither ok nor wrong. ``median`` is the usual value; None without a
    baseline. ``words`` say what it rests on.
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
) -> Baseline:
    """Compare a figure with the median of earlier runs at this hour, and record it for later runs.

    Of each of the last 28 days, the sealed run nearest to this time of day counts, at most an hour
    before or after it, if a schedule started it, if it found nothing critical, and if it measured
    the same figure on the same connection, server and database. At least 7 days are needed; of the
    same kind of day (workday or weekend) if there are enough. Without them, no finding is made; nor
    for a figure far below the usual one, which is shown, but not judged.

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
    warn
        The multiple of the median above which the finding is a warning. It is never critical:
        more load alone harms nobody.

    Returns
    -------
    Baseline
        ``.finding``, ``.median``, ``.value``, ``.wrong``, ``.words``.

    Raises
    ------
    ParameterError
        rbkernel did not make the frame, it is only a part of an answer, or it has no such column.
    """
    origin, value = _measure(what, column)
    usual: Normal | None = None
    try:
        usual = _usual(f"{origin.name} {column}", unit, origin, value)
        words = usual.words
    except RbkernelError as error:
        words = f"no baseline: {error.what}"
    except OSError as error:
        words = f"no baseline: the evidence cannot be read: {error}"
    median = usual.median if usual else None
    if median is not None and is_far_below(value, median, warn, at_least):
        words = f"far below the usual {_figure(median, unit)} ({words})"
    elif median is not None:
        triage().volatile.add(title)
        finding = keep(judged(title, value, median, words, unit, warn, at_least))
        return Baseline(value=value, median=median, words=words, finding=finding)
    text = f"{title}: {_figure(value, unit)}; {words}, so it is not judged"
    html = cards.message_card("baseline", text, "open")
    display({"text/html": html, "text/plain": text}, raw=True)
    return Baseline(value=value, median=median, words=words)


def _measure(what: pd.DataFrame, column: str) -> tuple[Provenance, float]:
    """Return where a frame is from, and the sum of its column; NaN without a complete answer.

    Raises
    ------
    ParameterError
        rbkernel did not make the frame, it is only a part of an answer, or it has no such column.
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
    if len(what) != origin.rows:
        raise ParameterError(
            f"rb.baseline: the frame has {len(what)} rows, its answer had {origin.rows}: a part"
            " cannot be compared with the whole",
            next_step="pass the frame as rb.query returned it",
        )
    if what.empty or origin.cut_by or column not in what.columns:
        return origin, math.nan
    return origin, float(numbers(what[column]).sum(skipna=False))


def _usual(name: str, unit: str, origin: Provenance, value: float) -> Normal:
    """Record a figure for later runs, and return the usual one at this hour.

    Raises
    ------
    RbkernelError
        It was not measured, the server does not tell who it is, or the evidence is damaged.
    OSError
        The evidence cannot be read.
    """
    if origin.reason:
        raise EvidenceError(f"it was not measured: {origin.reason}")
    session = triage().session(origin.connection)
    server = session.server
    how = json.dumps([origin.sql, dict(origin.values)], sort_keys=True, default=str)
    figure = Figure(
        name=name,
        unit=unit,
        how=hashlib.sha256(how.encode()).hexdigest()[:16],
        connection=origin.connection,
        cluster=cluster_of(session),
        database=server.database,
        standby=server.standby,
    )
    if math.isfinite(value):
        current().event(MEASURED, value=value, at=now(), **asdict(figure))
    at = datetime.now(UTC)
    found = samples(current().root, figure, at)
    return normal(found.samples, at, found.cut_days)


def is_far_below(value: float, median: float, warn: float, at_least: float) -> bool:
    """Tell whether a figure that is usually large has dropped: that is neither ok nor wrong.

    >>> [is_far_below(value, 1000.0, 2.0, 20.0) for value in (0.0, 499.0, 500.0, math.nan)]
    [True, True, False, False]
    >>> is_far_below(0.0, 15.0, 2.0, 20.0)
    False
    """
    return median >= at_least and value < median / warn


def judged(
    title: str,
    value: float,
    median: float,
    words: str,
    unit: str,
    warn: float,
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
    warn
        The multiple of the median above which the verdict is warning.
    at_least
        The figure up to which the verdict is ok.

    >>> finding = judged("Load", 90.0, 30.0, "the median", "per s", 2, 20.0)
    >>> finding.verdict.value, finding.expected, finding.actual
    ('warning', 'at most 2 × 30 per s', '90 per s, 3.0 times the usual')
    >>> judged("Load", 15.0, 0.0, "the median", "per s", 2, 20.0).verdict.value
    'ok'
    >>> judged("Load", math.nan, 30.0, "the median", "per s", 2, 20.0).verdict.value
    'unknown'
    """
    verdict = Verdict.WARNING if value > max(warn * median, at_least) else Verdict.OK
    verdict = verdict if math.isfinite(value) else Verdict.UNKNOWN
    ratio = f", {value / median:.1f} times the usual" if median > 0 and math.isfinite(value) else ""
    actual = f"{_figure(value, unit)}{ratio}"
    least = f", or {_figure(at_least, unit)}" if warn * median < at_least else ""
    fine = verdict is Verdict.OK
    return Finding(
        title=title,
        verdict=verdict,
        expected=f"at most {warn:g} × {_figure(median, unit)}{least}",
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
