"""`rb.metrics`: measure the key metrics that the front matter lists, and judge them.

A metric is evaluated if it names a diagnostic or a query, also in PromQL. A metric that names only
a dashboard is left to a human, and is counted in the finding on the metrics that nobody has checked
yet.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import pandas as pd
from IPython.display import HTML, display
from pydantic import ValidationError

from rbkernel import amounts
from rbkernel.arguments import checked
from rbkernel.checks import lasting, rules, usual
from rbkernel.checks.frames import failed_frame
from rbkernel.checks.rule import Rule, violates
from rbkernel.config.words import advice
from rbkernel.errors import ConfigError, QueryError, SqlTextError
from rbkernel.model import Finding, Verdict
from rbkernel.queries import catalogue
from rbkernel.render import tables
from rbkernel.runbook import digest
from rbkernel.runbook.conditions import Quantity
from rbkernel.runbook.frontmatter_sections import Metric
from rbkernel.runbook.placeholders import unfilled
from rbkernel.runbook.quantities import Threshold, converted, needs_unit, threshold
from rbkernel.sources.monitoring.queries import Asked
from rbkernel.sources.postgres import diagnostics
from rbkernel.triage import query, undone
from rbkernel.triage.context import front_matter, triage
from rbkernel.triage.probes import monitoring
from rbkernel.triage.readiness import connection_name

_LIMITS: tuple[Literal["warning", "critical"], ...] = ("warning", "critical")
_NAMES = ("metric", "now", "is", "normal", "warning", "critical", "SLO", "panel")


@checked
def metrics() -> None:
    """Compare the metrics of the front matter with their limits, and show all metrics.

    Each metric that can be evaluated becomes a finding. A limit such as ``> 500ms`` is converted to
    the unit of the figure, or refused. For a limit such as ``> 1% for 5min``, a metric in PromQL is
    judged on all values of that time. One measurement of another metric does not show how long a
    value has been above the limit: the verdict above that limit is unknown.
    """
    declared = front_matter().metrics
    found = {one.name: _evaluated(one) for one in declared if not unfilled(digest.words(one))}
    judged = {name: finding for name, (finding, _) in found.items() if finding}
    rows = tuple(_row(one, judged.get(one.name)) for one in declared)
    tables.show(digest.compact("metrics", _NAMES, rows), remark=_remark(declared))
    for finding in judged.values():
        triage().add_finding(finding)
    for _, source in found.values():
        if source:
            display(HTML(source))
    if asked := {name: False for name, (finding, _) in found.items() if finding is None}:
        undone.note(undone.METRICS, asked)


def _evaluated(one: Metric) -> tuple[Finding | None, str]:
    """Return the finding on a metric of the front matter, and its provenance as HTML.

    The finding is None if the metric names neither diagnostic nor query.
    """
    asked = one.diagnostic or one.query or one.promql
    name = connection_name(one.source if one.promql else one.connection)
    for_s = _for_s(one) if one.promql and not one.baseline_days else {}
    if not asked:
        return None, ""
    try:
        if not one.unit:
            one = one.model_copy(update={"unit": catalogue.unit(one.promql)})
        rule = rule_of(one)
        if rule is None:
            return None, ""
        if one.promql:
            frame = _of_prometheus(one, name, list(filter(None, for_s.values())))
        else:
            frame = query.ask(asked, name, None, dict(one.values))
        _has_column(frame, rule.column)
    except (QueryError, SqlTextError, ConfigError) as error:
        # an error in one metric must not hide the others; lint reports this error in advance
        frame = failed_frame([], error, name=one.name, connection=name, sql=asked)
        rule = _UNJUDGED.model_copy(update={"title": one.name, "unit": one.unit})
    if any(for_s.values()):
        finding = lasting.judged(rule, frame, warn_s=for_s["warning"], critical_s=for_s["critical"])
    else:
        finding = _lasting(
            one, usual.stated(rules.apply(rule, frame), frame, rule.column, one.unit)
        )
    triage().known[one.name] = Quantity(value=finding.value, unit=rule.unit)
    return _in_words(one, _compared_with_normal(one, finding, rule.unit)), query.traced(frame)


def _of_prometheus(one: Metric, source: str, times: list[float]) -> pd.DataFrame:
    """Ask Prometheus for a metric; parameters of the run are values of its query, too.

    ``times`` are the durations of its limits, in s: there are enough values in the shortest.
    """
    parameters = triage().run.parameters
    needed = catalogue.parameters(one.promql)
    given = {name: parameters[name] for name in needed if name in parameters}
    asked = Asked(last_s=max(times, default=None), baseline_days=one.baseline_days)
    if len({*times}) > 1:
        asked = dataclasses.replace(asked, step_s=max(1.0, min(asked.step, min(times) // 4)))
    values = {**given, **one.values}
    return monitoring.ask("prometheus", one.promql, source, asked, values, unit=one.unit)


def _compared_with_normal(one: Metric, finding: Finding, unit: str) -> Finding:
    """Return an ok finding with a remark if its figure is not normal, such as ``< 1%``.

    A figure between normal and the limits is still ok. What is normal may also be a text, or in a
    unit that cannot be compared.

    >>> found = Finding(title="Errors", verdict=Verdict.OK, expected="", actual="3 %", value=3.0)
    >>> for words in ("< 1%", "< 5%", "as usual", "< 1s"):
    ...     print(_compared_with_normal(Metric(name="Errors", normal=words), found, "%").actual)
    3 %: not normal (< 1%), but within its limits
    3 %
    3 %
    3 %
    """
    normal = threshold(one.normal)
    if normal is None or not finding.ok or finding.value is None:
        return finding
    try:
        limit = _in_unit(normal, unit)
    except QueryError:
        return finding
    if violates(finding.value, limit, below=not normal.below, at_limit=not normal.inclusive):
        said = f"{finding.actual}: not normal ({one.normal}), but within its limits"
        return dataclasses.replace(finding, actual=said)
    return finding


def _in_words(one: Metric, finding: Finding) -> Finding:
    """Return an ok finding as unknown if the metric also has a limit that is written in words.

    A program cannot compare a figure with a limit in words. Other findings are returned unchanged.
    """
    unread = [
        f"{which} ({words})"
        for which in _LIMITS
        if (words := getattr(one, which)) is not None and one.limit(which) is None
    ]
    if finding.verdict is not Verdict.OK or not unread:
        return finding
    limits = ", ".join(unread)
    return dataclasses.replace(
        finding,
        verdict=Verdict.UNKNOWN,
        actual=f"{finding.actual}; only a human can judge the limit: {limits}",
        cause=f"rbkernel cannot evaluate a limit in words: {limits}",
        next_step="judge it yourself, or write the limit as a number, such as > 5%",
    )


# used if the metric's rule is not valid; the frame holds the reason
_UNJUDGED = Rule(title="", agg="rows", warn=0)


def _lasting(one: Metric, finding: Finding) -> Finding:
    """Return a warning or critical finding as unknown if the limit has a duration (``for 5min``).

    One measurement does not show how long the figure has been beyond the limit. A figure within its
    limits stays ok.
    """
    for_s = max(_for_s(one).values())
    if not finding.wrong or not for_s:
        return finding
    return dataclasses.replace(
        finding,
        verdict=Verdict.UNKNOWN,
        cause=f"{finding.actual} is beyond the limit now; how long this has lasted is not known",
        next_step=f"measure again in {amounts.duration(for_s)}: if the metric is still beyond the"
        " limit, treat the limit as exceeded",
    )


def _for_s(one: Metric) -> dict[str, float]:
    """Return how long a metric must be beyond each limit, in s; 0 if the limit says nothing."""
    limits = {name: one.limit(name) for name in _LIMITS}
    return {name: (limit and limit.for_s) or 0.0 for name, limit in limits.items()}


def _has_column(frame: pd.DataFrame, column: str) -> None:
    if column and not frame.empty and column not in frame:
        known = ", ".join(map(str, frame.columns))
        raise QueryError(
            f"the answer has no column {column!r}, it has {known}",
            next_step="write one of these under `column:` in the front matter",
        )


def rule_of(one: Metric) -> Rule | None:
    """Return the rule that judges a metric, from the metric's fields and the diagnostic's rule.

    >>> rule_of(Metric(name="slots", column="used_pct", warning="> 80%", critical=90)).warn
    80.0
    >>> own = Metric(name="slots", diagnostic="connections/saturation", column="used_pct")
    >>> rule_of(own).critical
    90.0
    >>> rule_of(Metric(name="slots", warning="as usual")) is None
    True
    >>> rule_of(Metric(name="lag", column="lag_s", unit="s", warning="> 500ms")).warn
    0.5

    Raises
    ------
    QueryError
        The unit of a limit cannot be converted to the unit of the figure.
    """
    warn, critical = one.limit("warning"), one.limit("critical")
    declared = _of_the_diagnostic(one)
    fields: dict[str, Any] = {
        "title": one.name,
        "column": one.figure,
        "unit": "x" if one.baseline_days else one.unit,
        "next_step": one.next_step,
    }
    if "agg" in one.model_fields_set or declared is None:
        fields["agg"] = one.agg
    if warn or critical:
        unit = fields["unit"] or (declared.unit if declared else "") or _unit_of(one.column)
        fields["warn"] = _in_unit(warn, unit) if warn else None
        fields["critical"] = _in_unit(critical, unit) if critical else None
        fields["below"] = _below(one, warn, critical)
        fields["warn_at_limit"] = bool(warn and warn.inclusive)
        fields["critical_at_limit"] = bool(critical and critical.inclusive)
    elif declared is None:
        return None
    if declared is None and one.agg != "rows" and not one.figure:
        return None
    # the diagnostic's `expected` text describes the diagnostic's limits, not these
    without = {"expected"} if warn or critical else set()
    base = declared.model_dump(exclude=without) if declared else {}
    try:
        return Rule(**{**base, **{name: value for name, value in fields.items() if value != ""}})
    except ValidationError as error:
        raise QueryError(
            f"the limits of the metric {one.name}: it {advice(error.errors()[0])}",
            next_step="correct `warning:` and `critical:` in the front matter",
        ) from None


def _below(one: Metric, warn: Threshold | None, critical: Threshold | None) -> bool:
    """Return whether smaller figures are worse; both limits must be on the same side."""
    sides = {limit.below for limit in (warn, critical) if limit}
    if len(sides) > 1:
        raise QueryError(
            f"the limits of the metric {one.name}: one is an upper and the other a lower limit",
            next_step="correct `warning:` and `critical:` in the front matter",
        )
    return sides.pop()


def _unit_of(column: str) -> str:
    """Return the unit that the end of a column's name declares; empty if it declares none."""
    return "%" if column.endswith(("_pct", "_percent")) else ""


def _in_unit(limit: Threshold, unit: str) -> float:
    """Return a metric's limit, converted to the unit of the figure."""
    if unit == "x" and limit.unit != "x":
        raise QueryError(
            f"the limit {limit.value:g} is no multiple of the baseline",
            next_step="write the limit as in `> 2x`, or leave out baseline_days",
        )
    if not limit.unit or (not unit and not needs_unit(limit.unit)):
        return limit.value
    value = converted(limit.value, limit.unit, unit)
    if value is None:
        figure = f"the figure is in {unit}" if unit else "the unit of the figure is not declared"
        raise QueryError(
            f"the limit is in {limit.unit} and {figure}: they cannot be compared",
            next_step="write the figure's own unit under `unit:` in the front matter, or the limit"
            " in that unit",
        )
    return value


def _of_the_diagnostic(one: Metric) -> Rule | None:
    if one.diagnostic not in diagnostics.names():
        return None
    declared = diagnostics.get(one.diagnostic).rules
    return next((rule for rule in declared if rule.column == one.column), None)


def _row(one: Metric, finding: Finding | None) -> tuple[str, ...]:
    actual, verdict = (finding.actual, finding.verdict.value) if finding else ("not measured", "")
    if unfilled(digest.words(one)):
        actual = "not filled in"
    limits = [digest.words(getattr(one, name)) for name in _LIMITS]
    return (
        one.name,
        actual,
        verdict or Verdict.UNKNOWN.value,
        one.normal,
        *limits,
        one.slo,
        one.panel,
    )


def _remark(declared: tuple[Metric, ...]) -> str:
    lasting = [
        one.name
        for one in declared
        for limit in (one.limit("warning"), one.limit("critical"))
        if limit and limit.for_s and (not one.promql or one.baseline_days)
    ]
    names = ", ".join(dict.fromkeys(lasting))
    return (
        f"Only the current value is judged, not how long it has been beyond its limit: {names}"
        if lasting
        else ""
    )
