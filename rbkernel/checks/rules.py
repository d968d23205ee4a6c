"""Compare a figure of a frame with thresholds; the verdict is ``unknown`` if that is impossible.

Pure. A rule takes the frame and not a scalar, because a scalar does not show that its query failed:
``max`` of nothing is NaN, and NaN > 15 is False. Diagnostics declare their rules in their header,
and `rb.check` makes a rule from its arguments.

If rows were cut, or it is not known whether a row counts, a verdict is given only if the missing
rows cannot change it; else it is ``unknown``.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from rbkernel import amounts
from rbkernel.checks.answer import provenance
from rbkernel.checks.rule import Rule, violates
from rbkernel.model import Finding, Verdict, now

_WRONG = {Verdict.WARNING, Verdict.CRITICAL}
_NAMED_ROWS = 100
_NARROW = (
    "narrow the query (a WHERE, a parameter) or raise the cap until the answer is complete; until"
    " then the verdict is unknown, not ok"
)


def apply(
    rule: Rule, frame: pd.DataFrame, *, rows: pd.DataFrame | None = None, undecided: int = 0
) -> Finding:
    """Apply a rule to a frame, and return the finding.

    Parameters
    ----------
    rule
        The rule.
    frame
        A frame with a `Provenance`, which shows whether its query failed.
    rows
        The rows that count, if the caller has chosen them; else by the rule's ``where``.
    undecided
        The number of further rows that may or may not count, if the caller has chosen the rows.

    Raises
    ------
    TypeError
        The frame lacks a column that the rule names: a programming error.
    """
    source = provenance(frame)
    if rows is None:
        rows = _matching(frame, rule.where)
        undecided = len(_matching(frame, rule.where, or_null=True)) - len(rows)
    value, reason = _value(rule, rows, frame)
    if reason and rule.unseen and source and not source.reason:
        reason = f"{rule.unseen} ({reason})"
    verdict = _judged(rule, value)
    cut = source.cut_by if source and not _worst_seen(rule, rows, frame) else ""
    shown = _shown(rule, value, frame, capped=bool(cut))
    if rule.agg not in {"rows", "sum"} and rows.empty and not frame.empty and value is not None:
        # the figure is the rule's default (`empty`), not a value that was read
        shown = f"not judged: no row has {_conditions(rule.where)}"
    if value is not None and (cut or undecided) and not _final(rule, verdict):
        verdict = Verdict.UNKNOWN
        reason = f"{shown} in the rows that were read; {_unseen(rule, cut, undecided)}"
    rows = _known(rule, rows)
    wrong = verdict in _WRONG
    # a query of SQL text that failed has no columns
    grouped = rule.by in rows and (not rule.column or rule.column in rows)
    top = _top(rule, rows) if grouped else ""
    told = top and not (wrong and "{top}" in rule.cause)  # then the cause tells it
    which = _which(rows, rule.each, rule.by) if rule.each and wrong else ""
    advice = source.next_step if source else ""
    elsewhere = source.opens if source and verdict is Verdict.UNKNOWN else ""
    return Finding(
        title=rule.title,
        verdict=verdict,
        expected=rule.expected or _expected(rule),
        actual=reason if verdict is Verdict.UNKNOWN else shown + (f" ({top})" if told else ""),
        cause=_worded(rule.cause, shown, top, which, one=value == 1) if wrong else reason,
        which=which,
        next_step=_next_step(verdict, rule.next_step, advice or (_NARROW if cut else "")),
        opens=rule.opens if wrong else elsewhere,
        value=value,
        at=now(),
    )


def _worded(cause: str, shown: str, top: str, which: str, *, one: bool) -> str:
    """Return the text of a cause with its fields filled in; the figure selects singular or plural.

    >>> _worded("{value} {is|are} unread: {which}", "1 slot", "", "old_cdc", one=True)
    '1 slot is unread: old_cdc'
    """
    text = re.sub(r"\{([^{}|]+)\|([^{}|]+)\}", r"\1" if one else r"\2", cause)
    return text.replace("{value}", shown).replace("{top}", top).replace("{which}", which)


def out_of_reach(rule: Rule, frame: pd.DataFrame) -> str:
    """Return why a boolean column can never reach a threshold; empty if it can.

    Its maximum, minimum, mean and last value are between 0 (false) and 1 (true).

    >>> frame = pd.DataFrame({"down": pd.Series([True], dtype="boolean")})
    >>> out_of_reach(Rule(title="t", column="down", critical=5), frame)
    'down is boolean (false is 0, true is 1), so it can never be above critical=5'
    >>> out_of_reach(Rule(title="t", column="down", critical=0), frame)
    ''
    """
    boolean = rule.column in frame and pd.api.types.is_bool_dtype(frame[rule.column].dtype)
    if not boolean or rule.agg in {"rows", "sum"}:
        return ""
    limits = (
        ("warn", rule.warn, rule.warn_at_limit),
        ("critical", rule.critical, rule.critical_at_limit),
    )
    for name, limit, at in limits:
        worst = 0.0 if rule.below else 1.0
        if limit is not None and not violates(worst, limit, below=rule.below, at_limit=at):
            way = "below" if rule.below else "above"
            return (
                f"{rule.column} is boolean (false is 0, true is 1), so it can never be {way}"
                f" {name}={limit:g}"
            )
    return ""


def judge(
    value: float | None,
    *,
    warn: float | None,
    critical: float | None,
    below: bool = False,
    warn_at_limit: bool = False,
    critical_at_limit: bool = False,
) -> Verdict:
    """Return the verdict on a figure, by its thresholds.

    >>> judge(3.0, warn=2, critical=15), judge(0, warn=None, critical=1, below=True)
    (<Verdict.WARNING: 'warning'>, <Verdict.CRITICAL: 'critical'>)
    >>> judge(None, warn=2, critical=15), judge(float("nan"), warn=2, critical=15)
    (<Verdict.UNKNOWN: 'unknown'>, <Verdict.UNKNOWN: 'unknown'>)
    """
    thresholds = [
        (critical, critical_at_limit, Verdict.CRITICAL),
        (warn, warn_at_limit, Verdict.WARNING),
    ]
    known = [(limit, at, verdict) for limit, at, verdict in thresholds if limit is not None]
    if value is None or any(math.isnan(figure) for figure in (value, *(t[0] for t in known))):
        return Verdict.UNKNOWN
    for limit, at, verdict in known:
        if violates(value, limit, below=below, at_limit=at):
            return verdict
    return Verdict.OK


def _judged(rule: Rule, value: float | None) -> Verdict:
    return judge(
        value,
        warn=rule.warn,
        critical=rule.critical,
        below=rule.below,
        warn_at_limit=rule.warn_at_limit,
        critical_at_limit=rule.critical_at_limit,
    )


def _matching(frame: pd.DataFrame, where: dict[str, Any], *, or_null: bool = False) -> pd.DataFrame:
    for column, wanted in where.items():
        values = wanted if isinstance(wanted, list) else [wanted]
        fits = frame[column].isin(values)
        frame = frame[fits | frame[column].isna() if or_null else fits]
    return frame


def _conditions(where: dict[str, Any]) -> str:
    """Return a rule's conditions on rows in words.

    >>> _conditions({"large": True, "state": ["idle", "active"]})
    'large = true and state = idle or active'
    """
    said = []
    for column, wanted in where.items():
        values = wanted if isinstance(wanted, list) else [wanted]
        words = (str(one).lower() if isinstance(one, bool) else str(one) for one in values)
        said.append(f"{column} = {' or '.join(words)}")
    return " and ".join(said)


def _worst_seen(rule: Rule, rows: pd.DataFrame, frame: pd.DataFrame) -> bool:
    """Return whether the rows cut off by the cap cannot be worse than the rows that were read.

    >>> frame = pd.DataFrame({"kind": ["bad", "bad", "good"]})
    >>> rule = Rule(title="a", agg="rows", where={"kind": "bad"}, ranked=True, warn=9)
    >>> _worst_seen(rule, frame[:2], frame), _worst_seen(rule, frame[:2], frame[:2])
    (True, False)
    """
    if not rule.ranked or rule.agg not in {"max", "rows"}:
        return False
    # counting rows come first: if the last row that was read does not count, no further row counts
    return rule.agg == "max" or frame.empty or frame.index[-1] not in rows.index


def _final(rule: Rule, verdict: Verdict) -> bool:
    """Return whether unread rows cannot change the verdict, as for a maximum beyond a threshold.

    >>> rule = Rule(title="a", column="n", agg="sum", warn=9)
    >>> _final(rule, Verdict.WARNING), _final(rule, Verdict.OK)
    (True, False)
    """
    worse = rule.agg == "min" if rule.below else rule.agg in {"max", "sum", "rows"}
    return worse and verdict in {Verdict.WARNING, Verdict.CRITICAL}


def _unseen(rule: Rule, cut: str, undecided: int) -> str:
    """Describe the rows that were not read, and the rows that may match the conditions.

    >>> _unseen(Rule(title="a", agg="rows", where={"state": "idle"}, warn=0), "", 2)
    '2 more rows may match: state is NULL'
    """
    said = []
    if cut:
        said.append(f"the rest was cut off by {cut}")
    if undecided:
        why = f": {', '.join(rule.where)} is NULL" if rule.where else ""
        why += f" ({rule.unseen})" if rule.unseen else ""
        said.append(f"{amounts.count(undecided, 'more row')} may match{why}")
    return ", and ".join(said)


def _value(rule: Rule, rows: pd.DataFrame, frame: pd.DataFrame) -> tuple[float | None, str]:
    """Return a rule's figure, or None and the reason why there is no figure."""
    source = provenance(frame)
    if source is None:
        return None, "the frame is not from rb.query, rb.sample or rb.reconcile"
    if source.reason:
        return None, source.reason
    if rule.agg == "rows":
        return _count(rule, rows)
    if rule.column not in frame.columns:
        raise TypeError(f"{rule.title}: no column {rule.column!r} in {list(frame.columns)}")
    figures = numbers(rows[rule.column])
    if reason := out_of_reach(rule, frame):
        return None, reason
    if len(rows) == 0:
        empty = 0.0 if rule.agg == "sum" else rule.empty
        return empty, "" if empty is not None else "no rows"
    if figures.isna().any() and not _wrong_anyway(rule, figures):
        missing = source.missing.get(rule.column, "NULL")
        return None, _no_figure(rule.column, rows[rule.column], figures, missing)
    if rule.agg == "last":
        return _last(rule, rows, figures), ""
    return float(getattr(figures, rule.agg)()), ""


def _last(rule: Rule, rows: pd.DataFrame, figures: pd.Series[float]) -> float:
    """Return the last figure; of an answer with several series, the worst of their last figures.

    >>> rows = pd.DataFrame({"series": ["b", "b", "a"], "sampled_at": [1, 2, 1]})
    >>> _last(Rule(title="n", column="n", agg="last", warn=0), rows, pd.Series([9.0, 7.0, 3.0]))
    7.0
    """
    if {"series", "sampled_at"} <= {*rows.columns}:
        figures = figures.groupby(rows["series"]).last()
        return float(figures.min() if rule.below else figures.max())
    return float(figures.iloc[-1])


def _count(rule: Rule, rows: pd.DataFrame) -> tuple[float | None, str]:
    """Count the rows of a rule; ignore undecided rows if the others exceed a threshold.

    >>> rows = pd.DataFrame({"dangerous": [True, None]}, dtype="boolean")
    >>> _count(Rule(title="a", agg="rows", column="dangerous", warn=0), rows)
    (1.0, '')
    >>> _count(Rule(title="a", agg="rows", column="dangerous", warn=1), rows)
    (None, 'dangerous has no value in 1 of 2 rows')
    """
    known = len(_known(rule, rows))
    verdict = _judged(rule, known)
    if known == len(rows) or (verdict is not Verdict.OK and not rule.below):
        return float(known), ""
    return None, f"{rule.column} has no value{_in(len(rows) - known, len(rows))}"


def _known(rule: Rule, rows: pd.DataFrame) -> pd.DataFrame:
    counted = rule.agg == "rows" and rule.column in rows
    return rows[rows[rule.column].notna()] if counted else rows


def _wrong_anyway(rule: Rule, figures: pd.Series[float]) -> bool:
    """Return whether the known values are beyond a threshold, whatever the NULLs stand for."""
    if rule.agg != ("min" if rule.below else "max"):
        return False
    known = float(getattr(figures, rule.agg)())
    verdict = _judged(rule, known)
    return verdict in {Verdict.WARNING, Verdict.CRITICAL}


def numbers(values: pd.Series[Any]) -> pd.Series[float]:
    """Return a column as floats; an interval in seconds, and NaN for other values.

    >>> from decimal import Decimal
    >>> numbers(pd.Series([Decimal("NaN"), pd.Timedelta("90 s"), None, "1 mon", True])).tolist()
    [nan, 90.0, nan, nan, 1.0]
    """
    found = [_figure_of(value) for value in values.astype(object)]
    return pd.Series(found, index=values.index, dtype=float)


def _figure_of(value: Any) -> float:
    if isinstance(value, timedelta):  # also those of pandas
        return math.nan if value is pd.NaT else value.total_seconds()
    if isinstance(value, str | int | float | Decimal | np.number | np.bool_):
        with suppress(ValueError, OverflowError):
            return float(value)
    return math.nan


def _no_figure(
    column: str, values: pd.Series[Any], figures: pd.Series[float], missing: str = "NULL"
) -> str:
    """Return the reason why some rows have no number.

    ``missing`` says what the missing values of a float column are, see `frames.missing`.

    >>> texts = pd.Series([None, "1 mon", 2.0], dtype=object)
    >>> nans = pd.Series([float("nan"), 2.0])
    >>> _no_figure("ratio", nans, numbers(nans), "NaN")
    'ratio is NaN in 1 of 2 rows'
    >>> _no_figure("age", texts, numbers(texts))
    "age has no value in 1 of 3 rows, and is not a number in 1, such as '1 mon'"
    >>> _no_figure("age", texts[:1], numbers(texts[:1]))
    'age has no value'
    """
    without = values[figures.isna()]
    # a Decimal can be NaN beside a NULL, which is None; a float shows both as NaN
    nans = [value for value in without if isinstance(value, Decimal) and value.is_nan()]
    odd = without[without.notna()]
    said = []
    if nulls := len(without) - len(odd) - len(nans):
        no_value = "has no value" if missing == "NULL" else f"is {missing}"
        said.append(f"{column} {no_value}{_in(nulls, len(values))}")
    if nans:
        said.append(f"{column} is NaN{_in(len(nans), len(values))}")
    if len(odd):
        where = f" in {len(odd)}" if said else _in(len(odd), len(values))
        who = "and" if said else column
        said.append(f"{who} is not a number{where}, such as {str(odd.iloc[0])[:40]!r}")
    return ", ".join(said)


def _in(some: int, rows: int) -> str:
    """Return in how many rows something is so; empty if there is only one row.

    >>> _in(1, 3), _in(1, 1)
    (' in 1 of 3 rows', '')
    """
    return f" in {some} of {rows} rows" if rows > 1 else ""


def _top(rule: Rule, rows: pd.DataFrame) -> str:
    """Return a text with the three largest groups of a rule's rows, each with its figure.

    >>> rows = pd.DataFrame({"module": ["a", "a", "b"], "n": [9, 5, 11]})
    >>> _top(Rule(title="n", column="n", agg="sum", by="module", warn=0), rows)
    'a 14, b 11'

    A group with a figure of its own that is not wrong is left out, if another one is wrong.

    >>> _top(Rule(title="n", column="n", by="module", warn=10), rows)
    'b'
    >>> _top(Rule(title="n", column="n", agg="min", by="module", warn=8, below=True), rows)
    'a'
    """
    if not rule.column:
        counts = rows[rule.by].value_counts()
        return _listed(counts, "")
    groups = numbers(rows[rule.column]).groupby(rows[rule.by])
    least = rule.agg == "min" and rule.below
    figures = groups.sum() if rule.agg == "sum" else groups.min() if least else groups.max()
    own = least or (rule.agg == "max" and not rule.below)
    wrong = figures[[own and _judged(rule, one) in _WRONG for one in figures]]
    figures = wrong if len(wrong) else figures[figures > 0]
    return _listed(
        figures.sort_values(ascending=least, kind="stable"), "s" if rule.unit == "s" else ""
    )


def _listed(figures: pd.Series[Any], unit: str) -> str:
    """Return the first three groups with their figures; a single one has that of the rule."""
    if len(figures) == 1:
        return str(figures.index[0])
    largest = figures.head(3)
    return ", ".join(f"{name} {_counted(figure, unit)}" for name, figure in largest.items())


def _which(rows: pd.DataFrame, each: str, by: str) -> str:
    """Return a text that identifies rows by the column ``each``, grouped by the column ``by``.

    Only the first `_NAMED_ROWS` rows are listed; the others are counted.

    >>> _which(pd.DataFrame({"key": [3, 1], "kind": ["extra", "missing"]}), "key", "kind")
    'extra: 3; missing: 1'
    """
    named = rows.head(_NAMED_ROWS)
    groups = named.groupby(by, dropna=False, sort=True) if by else [("", named)]
    lists = [", ".join(str(value) for value in group[each]) for _, group in groups]
    labels = [f"{name}: " if by else "" for name, _ in groups]
    rest = f"; and {len(rows) - len(named)} more" if len(rows) > len(named) else ""
    return "; ".join(map("".join, zip(labels, lists, strict=True))) + rest


def _shown(rule: Rule, value: float | None, frame: pd.DataFrame, *, capped: bool) -> str:
    if value is None:
        return ""
    boolean = rule.column in frame and isinstance(frame[rule.column].dtype, pd.BooleanDtype)
    if boolean and rule.agg != "rows":
        return f"{'' if value else 'not '}{rule.column.removeprefix('is_').replace('_', ' ')}"
    at_least = "at least " if capped else ""
    words = rule.unit or ("rows" if rule.agg == "rows" else "")
    return f"{at_least}{_counted(value, words)}"


def _counted(value: float, words: str) -> str:
    """Return a figure with its unit as text.

    >>> _counted(1, "slots"), _counted(2, "slots"), _counted(1.5, "s"), _counted(300, "s")
    ('1 slot', '2 slots', '1.5 s', '5 min')
    >>> _counted(0.425, "ratio"), _counted(math.inf, "h"), _counted(5.3, "x")
    ('42.5 %', 'infinite', '5.3 times the usual')
    """
    if math.isinf(value):
        return "infinite"
    if words == "ratio":
        return f"{_number(100 * value)} %"
    if words == "x":  # a multiple of the baseline
        return f"{_number(value)} times the usual"
    if words == "s" and value >= 60:
        return amounts.duration(value)
    if words == "bytes" and value >= 10_240:
        return amounts.size(value)
    return f"{_number(value)} {amounts.singular(words) if value == 1 else words}".strip()


def _number(value: float) -> str:
    """Return a figure as text for people.

    >>> _number(12.345), _number(3.0), _number(1234567.0)
    ('12.3', '3', '1,234,567')
    """
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def _expected(rule: Rule) -> str:
    limit = rule.warn if rule.warn is not None else rule.critical
    assert limit is not None  # ensured by the validation of `Rule`
    at = rule.critical_at_limit if rule.warn is None else rule.warn_at_limit
    inside = ("more than" if rule.below else "less than") if at else ""
    inside = inside or ("at least" if rule.below else "at most")
    words = f"{inside} {_counted(limit, rule.unit)}"
    if limit == 0 and not rule.below and not at:
        words = "none"
    if rule.warn is None or rule.critical is None:
        return words
    critical = _counted(rule.critical, rule.unit if rule.unit in {"s", "ratio"} else "")
    beyond = "below" if rule.below else "above"
    return f"{words}, critical {'at or ' * rule.critical_at_limit}{beyond} {critical}"


def _next_step(verdict: Verdict, next_step: str, advice: str) -> str:
    if verdict is Verdict.OK:
        return ""
    if verdict is Verdict.UNKNOWN:
        return advice or "find out why this could not be checked; do not assume that it is ok"
    return next_step
