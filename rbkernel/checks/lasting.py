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
from rbkernel.checks.answer import Provenance, provenance
from rbkernel.checks.rule import Rule
from rbkernel.model import Finding, Verdict

# of a step: two values that are farther apart have a gap between them
_GAP = 1.5
# so many steps are in a time at least
_VALUES = 4
_RANGE = "ask for a longer range, or a shorter step: rb.promql(…, last_s=…, step_s=…)"


def judged(
    rule: Rule, frame: pd.DataFrame, *, warn_s: float, critical_s: float, undecided: int = 0
) -> Finding:
    """Apply each limit of a rule to the values of its own time, and return the worst finding.

    Parameters
    ----------
    rule
        The rule; its column has the values, and its ``agg`` is ``max`` or ``min``.
    frame
        Rows × (series, sampled_at, the rule's column), with the `Provenance` of a range.
    warn_s, critical_s
        How long the figure must have been beyond each limit, in s; 0 for now.
    undecided
        The number of further rows that may or may not count, as for `rules.apply`.

    Returns
    -------
    Finding
        As that of `rules.apply`; unknown if the figure is beyond a limit now, but not for so long
        yet, if there is a gap, or if the frame has no range that long.
    """
    source, whole = provenance(frame), rules.apply(rule, frame)
    limits = {"critical": critical_s, "warn": warn_s}
    limits = {name: for_s for name, for_s in limits.items() if getattr(rule, name) is not None}
    nan = any(math.isnan(getattr(rule, name)) for name in limits)
    if source is None or source.reason or nan:
        return whole
    if rule.agg not in {"max", "min"}:
        why = f"agg={rule.agg!r} of several moments is not the figure of any of them"
        return _unknown(whole, why, "use agg='max' or 'min', and aggregate in the query")
    found = []
    for name, for_s in limits.items():
        other = "warn" if name == "critical" else "critical"
        alone = rule.model_copy(update={other: None})
        found.append(_of_limit(alone, frame, source, for_s, undecided))
    worst = max(found, key=lambda one: one.verdict.rank)  # of equal ones, that of critical
    expected = f"{whole.expected}{_for_less(limits)}"
    if worst.verdict is not Verdict.UNKNOWN:
        return dataclasses.replace(worst, expected=expected)
    said = dict.fromkeys(one.actual for one in (worst, *found) if not one.ok)
    return dataclasses.replace(worst, expected=expected, actual="; ".join(said))


def _for_less(limits: dict[str, float]) -> str:
    """Return in words how long a figure may be beyond its limits.

    >>> _for_less({"critical": 300, "warn": 300}), _for_less({"critical": 0, "warn": 300})
    (', or beyond it for less than 5 min', ', or beyond the limit of warn for less than 5 min')
    """
    if len({*limits.values()}) == 1:
        limits = {"": next(iter(limits.values()))}
    return "".join(
        f", or beyond {f'the limit of {name}' if name else 'it'} for less than"
        f" {amounts.duration(for_s)}"
        for name, for_s in limits.items()
        if for_s
    )


def _of_limit(
    rule: Rule, frame: pd.DataFrame, source: Provenance, for_s: float, undecided: int
) -> Finding:
    """Apply a rule with one limit to the values of the last ``for_s`` s."""
    if for_s and (why := _too_short(source, for_s)):
        return _unknown(rules.apply(rule, frame), why, _RANGE)
    end = datetime.fromisoformat(source.ends).timestamp()
    at = frame["sampled_at"].map(lambda moment: moment.timestamp())
    if not for_s:  # what is not there at the end of the range is not there now
        last = frame[at > end - _GAP * source.step_s].groupby("series", sort=False).tail(1)
        return rules.apply(rule, last, rows=last, undecided=undecided)
    kept, latest, gaps = [], [], []
    for name, rows in frame.groupby("series", sort=False):
        times = at[rows.index]
        window = rules.numbers(rows[rule.column])[times >= end - for_s]
        moments = times[times >= end - for_s].tolist()
        if window.isna().any() or _gap(moments, end - for_s, end, source.step_s):
            gaps.append(str(name))
            kept.append(math.nan)
        else:
            kept.append(float(window.max() if rule.below else window.min()))
        latest.append(float(window.iloc[-1]) if len(window) else math.nan)
    held = frame.groupby("series", sort=False).head(1).assign(**{rule.column: kept})
    finding = rules.apply(rule, held, rows=held, undecided=undecided)
    now = held.assign(**{rule.column: latest})
    current = rules.apply(rule, now, rows=now, undecided=undecided)
    return _compared(finding, current, gaps, amounts.duration(for_s))


def _compared(finding: Finding, current: Finding, gaps: list[str], span: str) -> Finding:
    """Return the finding on all of a time, with what is so at its end."""
    if finding.wrong:
        worse = (
            f" (now {current.actual})" if current.wrong and current.value != finding.value else ""
        )
        return dataclasses.replace(finding, actual=f"{finding.actual} for the last {span}{worse}")
    missing = f"values are missing in the last {span}: {', '.join(gaps[:3])}" if gaps else ""
    if current.wrong:
        said = f"{current.actual} now{f'; {missing}' if gaps else f', but not for {span} yet'}"
        return _unknown(finding, said, f"measure again: it counts if it is still so after {span}")
    if gaps:
        step = "find out why values are missing; do not assume that it is ok"
        return _unknown(finding, missing, step)
    return current if finding.ok else finding


def _too_short(source: Provenance, for_s: float) -> str:
    """Return why a range of time does not show how long something lasted; empty if it does."""
    if not source.begins or not source.step_s:
        return "the answer is about one moment: how long this has lasted is not known"
    begin, end = map(datetime.fromisoformat, (source.begins, source.ends))
    length = (end - begin).total_seconds()
    if length + 1 < for_s:  # both moments are whole seconds
        return f"the range is too short: {amounts.duration(length)}"
    if source.step_s * _VALUES > for_s:
        return f"a value each {amounts.duration(source.step_s)} is too few"
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
