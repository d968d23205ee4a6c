"""`rb.check`: hold a frame against thresholds. What cannot be judged is ``unknown``, never ok.

A check takes the frame and not a scalar, because a scalar has forgotten that its query failed:
``max`` of nothing is NaN, and NaN > 15 is False.
"""

from __future__ import annotations

import dataclasses
import math

import pandas as pd
from IPython.display import display

from rbkernel.model import Finding, Verdict, now
from rbkernel.postgres.session import provenance
from rbkernel.triage import cards
from rbkernel.triage.context import triage

_WRONG = {Verdict.WARNING, Verdict.CRITICAL}
_NAMED_ROWS = 100


def check(
    title: str,
    frame: pd.DataFrame,
    column: str = "",
    *,
    agg: str = "max",
    where: pd.Series[bool] | None = None,
    by: str = "",
    each: str = "",
    warn: float | None = None,
    critical: float | None = None,
    below: bool = False,
    unit: str = "",
    expected: str = "",
    cause: str = "",
    next_step: str = "",
) -> Finding:
    """Judge one figure of a frame, show the finding, and keep it for the first screen.

    Parameters
    ----------
    title
        What is checked, in words.
    frame
        The result of `rb.query`, `rb.sample` or `rb.reconcile`.
    column
        Numeric or boolean column; not needed for ``agg="rows"``.
    agg
        ``max``, ``min``, ``sum``, ``mean``, ``last`` of the column, or ``rows``: how many rows.
        Only ``rows`` and ``sum`` have a value (0) when an answer has no row.
    where
        Boolean mask of the rows that count.
    by
        Column that groups the rows in the finding, largest first.
    each
        Column that names every single row, such as a process id or a key; listed unless the
        verdict is ok.
    warn, critical
        Thresholds; a value beyond one of them (above, or under with `below`) has that verdict.
    unit
        Unit for people, such as ``s`` or ``%``.
    expected
        Words for what is right; made from the thresholds when empty.
    cause, next_step
        Words for what is wrong and what to do, kept unless the verdict is ok. In the cause,
        ``{value}`` and ``{top}`` stand for the figure and the rows that `by` names.

    Returns
    -------
    Finding
        With verdict ok, warning, critical or unknown.
    """
    rows = frame if where is None else frame[where.fillna(False).astype(bool)]
    value, reason = _value(rows, frame, column, agg)
    verdict = judge(value, warn=warn, critical=critical, below=below)
    told = provenance(frame)
    top = _top(rows, by, column) if by else ""
    if column in frame and isinstance(frame[column].dtype, pd.BooleanDtype):
        shown = f"{column} is {str(bool(value)).lower()}"
    else:
        shown = _shown(value, unit, agg, capped=bool(told and told.capped))
    finding = Finding(
        title=title,
        verdict=verdict,
        expected=expected or _expected(warn, critical, unit, below=below),
        actual=reason if verdict is Verdict.UNKNOWN else shown + (f" ({top})" if top else ""),
        cause=_say(cause, shown, top) if verdict in _WRONG else told.reason if told else "",
        which=_which(rows, each, by) if each and verdict in _WRONG else "",
        next_step=_next_step(verdict, next_step, told.next_step if told else ""),
        value=value,
        at=now(),
    )
    triage().add_finding(finding)
    data = dataclasses.asdict(finding)
    text = cards.finding_text(finding)
    display(cards.bundle("finding", data, cards.finding_card(finding), text), raw=True)
    return finding


def judge(
    value: float | None, *, warn: float | None, critical: float | None, below: bool = False
) -> Verdict:
    """Hold one figure against its thresholds.

    >>> judge(3.0, warn=2, critical=15), judge(0, warn=None, critical=1, below=True)
    (<Verdict.WARNING: 'warning'>, <Verdict.CRITICAL: 'critical'>)
    >>> judge(None, warn=2, critical=15), judge(float("nan"), warn=2, critical=15)
    (<Verdict.UNKNOWN: 'unknown'>, <Verdict.UNKNOWN: 'unknown'>)

    Raises
    ------
    TypeError
        There is no threshold, so that nothing could ever be wrong.
    """
    if warn is None and critical is None:
        raise TypeError("rb.check needs warn=, critical= or both: without one it cannot fail")
    if value is None or math.isnan(value):
        return Verdict.UNKNOWN
    for threshold, verdict in ((critical, Verdict.CRITICAL), (warn, Verdict.WARNING)):
        if threshold is not None and (value < threshold if below else value > threshold):
            return verdict
    return Verdict.OK


def _value(
    rows: pd.DataFrame, frame: pd.DataFrame, column: str, agg: str
) -> tuple[float | None, str]:
    """Return the figure, or None and the reason why there is none."""
    told = provenance(frame)
    if told is None:
        return None, "the frame does not come from rb.query, rb.sample or rb.reconcile"
    if told.reason:
        return None, told.reason
    if agg == "rows":
        return float(len(rows)), ""
    if column not in frame.columns:
        raise TypeError(f"rb.check: the frame has no column {column!r}: {list(frame.columns)}")
    figures = pd.to_numeric(rows[column].astype(object), errors="coerce").astype(float)
    if agg == "sum" and len(rows) == 0:
        return 0.0, ""
    if len(rows) == 0:
        return None, "no rows"
    if figures.isna().any():
        return None, f"{column} is NULL in {int(figures.isna().sum())} of {len(rows)} rows"
    if agg == "last":
        return float(figures.iloc[-1]), ""
    if agg not in {"max", "min", "sum", "mean"}:
        raise TypeError(f"rb.check: agg={agg!r}: use max, min, sum, mean, last or rows")
    return float(getattr(figures, agg)()), ""


def _top(rows: pd.DataFrame, by: str, column: str) -> str:
    if not column:
        counts = rows[by].value_counts()
        return ", ".join(f"{name} {count}" for name, count in counts.head(3).items())
    figures = pd.to_numeric(rows[column].astype(object), errors="coerce")
    largest = rows.assign(_figure=figures).sort_values("_figure", ascending=False)
    named = largest[largest["_figure"] > 0].drop_duplicates(by).head(3)
    return ", ".join(f"{row[by]} {_number(row['_figure'])}" for _, row in named.iterrows())


def _which(rows: pd.DataFrame, each: str, by: str) -> str:
    """Name every row, grouped.

    >>> _which(pd.DataFrame({"key": [3, 1], "kind": ["extra", "missing"]}), "key", "kind")
    'extra: 3; missing: 1'
    """
    named = rows.head(_NAMED_ROWS)
    groups = named.groupby(by, dropna=False, sort=True) if by else [("", named)]
    lists = [", ".join(str(value) for value in group[each]) for _, group in groups]
    labels = [f"{name}: " if by else "" for name, _ in groups]
    rest = f"; and {len(rows) - len(named)} more" if len(rows) > len(named) else ""
    return "; ".join(map("".join, zip(labels, lists, strict=True))) + rest


def _shown(value: float | None, unit: str, agg: str, *, capped: bool) -> str:
    if value is None:
        return ""
    at_least = "at least " if capped else ""
    words = unit or ("rows" if agg == "rows" else "")
    return f"{at_least}{_number(value)} {words}".strip()


def _number(value: float) -> str:
    """Write a figure for people.

    >>> _number(12.345), _number(3.0), _number(1234567.0)
    ('12.3', '3', '1234567')
    """
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.1f}"


def _expected(warn: float | None, critical: float | None, unit: str, *, below: bool) -> str:
    limit = warn if warn is not None else critical
    assert limit is not None
    if limit == 0 and not below:
        return "none" if warn is None or critical is None else f"none, critical above {critical:g}"
    words = f"{'at least' if below else 'at most'} {_number(limit)} {unit}".strip()
    if warn is None or critical is None:
        return words
    return f"{words}, critical {'under' if below else 'above'} {_number(critical)}"


def _say(cause: str, value: str, top: str) -> str:
    return cause.replace("{value}", value).replace("{top}", top)


def _next_step(verdict: Verdict, next_step: str, advice: str) -> str:
    if verdict is Verdict.OK:
        return ""
    if verdict is Verdict.UNKNOWN:
        return advice or "find out why this could not be seen; do not take it for healthy"
    return next_step
