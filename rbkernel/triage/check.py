"""`rb.check` and `rb.assess`: judge a frame, show the finding, keep it for the first screen."""

from __future__ import annotations

import dataclasses
from typing import Any

import pandas as pd
from IPython.display import display

from rbkernel.model import Finding
from rbkernel.postgres import diagnostics, rules
from rbkernel.postgres.rules import Rule
from rbkernel.postgres.session import provenance
from rbkernel.triage import cards
from rbkernel.triage.context import triage


def check(
    title: str,
    frame: pd.DataFrame,
    column: str = "",
    *,
    where: pd.Series[bool] | None = None,
    **rule: Any,
) -> Finding:
    """Judge one figure of a frame by a rule of one's own.

    Parameters
    ----------
    title
        What is checked, in words.
    frame
        The result of `rb.query`, `rb.sample` or `rb.reconcile`.
    column
        Numeric or boolean column; not needed for ``agg="rows"``.
    where
        Boolean mask of the rows that count.
    rule
        The other fields of `rbkernel.postgres.rules.Rule`: ``agg, by, each, warn, critical,
        below, unit, expected, cause, next_step, opens``.

    Returns
    -------
    Finding
        With verdict ok, warning, critical or unknown.
    """
    rows = None if where is None else frame[where.fillna(False).astype(bool)]
    made = Rule(title=title, column=column, **rule)
    return keep(rules.apply(made, frame, rows=rows))


class Findings(tuple[Finding, ...]):
    """What `assess` found, to unpack; it has been shown."""

    def _ipython_display_(self) -> None:
        """Show nothing as the last value of a cell."""


def assess(frame: pd.DataFrame, **thresholds: tuple[float | None, float | None]) -> Findings:
    """Judge a diagnostic's frame by the rules that the diagnostic itself declares.

    Parameters
    ----------
    frame
        The result of `rb.query` or `rb.sample` with a diagnostic's name.
    thresholds
        Column → (warn, critical), to use instead of the declared ones.

    Returns
    -------
    Findings
        One for each rule, in the header's order.
    """
    told = provenance(frame)
    if told is None or told.name not in diagnostics.names():
        raise TypeError("rb.assess wants the frame of a named diagnostic; use rb.check otherwise")
    declared = diagnostics.get(told.name).rules
    if unknown := set(thresholds) - {rule.column for rule in declared}:
        raise TypeError(f"{told.name} has no rule for {', '.join(sorted(unknown))}")
    judged = (rules.apply(_with(rule, thresholds), frame) for rule in declared)
    return Findings(keep(finding) for finding in judged)


def _with(rule: Rule, thresholds: dict[str, tuple[float | None, float | None]]) -> Rule:
    if rule.column not in thresholds:
        return rule
    warn, critical = thresholds[rule.column]
    return Rule(**{**rule.model_dump(), "warn": warn, "critical": critical})


def keep(finding: Finding) -> Finding:
    """Keep a finding for the first screen, and show it here."""
    finding = triage().add_finding(finding)
    data = dataclasses.asdict(finding)
    text = cards.finding_text(finding)
    display(cards.bundle("finding", data, cards.finding_card(finding), text), raw=True)
    return finding
