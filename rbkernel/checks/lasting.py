"""Judge how long a figure has been beyond a threshold, from its values over a range of time. Pure.

A limit such as ``> 1 % for 5 min`` is exceeded if each value of the last 5 min is beyond it. So the
value of each series is the one nearest to ok. With a gap in the values, it is not known.
"""

from __future__ import annotations

import dataclasses
import math
from datetime import datetime
from itertools import pairwise

import pandas as pd

from rbkernel import amounts
from rbkernel.checks import rules
from rbkernel.checks.answer import provenance
from rbkernel.checks.rule import Rule
from rbkernel.model import Finding, Verdict

# of a step: two values that are farther apart have a gap between them
_GAP = 1.5
_RANGE = "ask for a longer range: rb.promql(…, last_s=…)"


def judged(rule: Rule, frame: pd.DataFrame, for_s: float) -> Finding:
    """Apply a rule to the values of the last ``for_s`` s, and return the finding.

    Parameters
    ----------
    rule
        The rule; its column has the values.
    frame
        Rows × (series, sampled_at, the rule's column), with the `Provenance` of a range.
    for_s
        How long the figure must have been beyond a threshold, in s.

    Returns
    -------
    Finding
        As that of `rules.apply`; unknown if the figure is beyond a threshold now, but not for so
        long yet, if there is a gap, or if the frame has no range that long.
    """
    source = provenance(frame)
    if source is None or source.reason:
        return rules.apply(rule, frame)
    span = amounts.duration(for_s)
    if why := _too_short(source.begins, source.ends, source.step_s, for_s):
        return _unknown(rules.apply(rule, frame), why, _RANGE)
    end = datetime.fromisoformat(source.ends).timestamp()
    kept, latest, gaps = [], [], []
    for name, rows in frame.groupby("series", sort=False):
        times = rows["sampled_at"].map(lambda at: at.timestamp())
        window = rules.numbers(rows[rule.column])[times >= end - for_s]
        moments = times[times >= end - for_s].tolist()
        if window.isna().any() or _gap(moments, end - for_s, end, source.step_s):
            gaps.append(str(name))
            kept.append(math.nan)
        else:
            kept.append(float(window.max() if rule.below else window.min()))
        latest.append(float(window.iloc[-1]) if len(window) else math.nan)
    held = frame.groupby("series", sort=False).head(1).assign(**{rule.column: kept})
    finding = rules.apply(rule, held)
    finding = dataclasses.replace(
        finding, expected=f"{finding.expected}, or beyond it for less than {span}"
    )
    if finding.verdict is Verdict.UNKNOWN and gaps:
        step = "find out why values are missing; do not assume that it is ok"
        why = f"values are missing in the last {span}: {', '.join(gaps[:3])}"
        return _unknown(finding, why, step)
    if finding.ok:
        current = rules.apply(rule, held.assign(**{rule.column: latest}))
        if current.wrong:
            step = f"measure again: it counts if it is still so after {span}"
            return _unknown(finding, f"{current.actual} now, but not for {span} yet", step)
        return dataclasses.replace(current, expected=finding.expected)
    if finding.wrong:
        return dataclasses.replace(finding, actual=f"{finding.actual} for the last {span}")
    return finding


def _too_short(begins: str, ends: str, step_s: float, for_s: float) -> str:
    """Return why a range of time does not show how long something lasted; empty if it does."""
    if not begins or not step_s:
        return "the answer is about one moment: how long this has lasted is not known"
    length = datetime.fromisoformat(ends) - datetime.fromisoformat(begins)
    if length.total_seconds() + step_s < for_s or step_s > for_s:
        return f"the range is too short: {amounts.duration(length.total_seconds())}"
    return ""


def _gap(moments: list[float], begin: float, end: float, step_s: float) -> bool:
    """Tell whether values are missing between two moments.

    >>> _gap([0, 5, 10], 0, 10, 5), _gap([0, 10], 0, 10, 5), _gap([0, 5], 0, 15, 5)
    (False, True, True)
    """
    places = [begin, *moments, end]
    apart = (later - sooner for sooner, later in pairwise(places))
    return not moments or max(apart) > _GAP * step_s


def _unknown(finding: Finding, why: str, step: str) -> Finding:
    return dataclasses.replace(
        finding, verdict=Verdict.UNKNOWN, actual=why, cause=why, next_step=step
    )
