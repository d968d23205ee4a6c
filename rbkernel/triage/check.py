"""`rb.check`: apply a rule to a frame, show the finding, and add it to the first screen."""

from __future__ import annotations

import dataclasses
from typing import Literal

import pandas as pd
from IPython.display import display
from pydantic import ValidationError

from rbkernel.arguments import checked
from rbkernel.checks import lasting, rules, usual
from rbkernel.checks.answer import provenance
from rbkernel.checks.columns import must_have
from rbkernel.checks.frames import Frame
from rbkernel.checks.rule import Rule
from rbkernel.config.quantities import Measured, Number, Seconds
from rbkernel.config.words import advice
from rbkernel.errors import ParameterError
from rbkernel.model import Finding, Verdict
from rbkernel.render import cards
from rbkernel.triage.context import triage


@checked
def check(
    title: str,
    frame: Frame,
    column: str = "",
    *,
    where: pd.Series | None = None,
    agg: Literal["max", "min", "sum", "mean", "last", "rows"] = "max",
    by: str = "",
    each: str = "",
    warn: Measured | None = None,
    critical: Measured | None = None,
    below: bool = False,
    at_limit: bool = False,
    for_s: Seconds | None = None,
    empty: Number | None = None,
    unit: str = "",
    expected: str = "",
    cause: str = "",
    next_step: str = "",
    opens: str = "",
    unseen: str = "",
    source: str = "",
) -> Finding:
    """Compare one figure of a frame with your own thresholds, and show the finding.

    Parameters
    ----------
    title
        What is checked, in words.
    frame
        The result of `rb.query`, `rb.sample`, `rb.assess`, `rb.reconcile` or `rb.promql`.
    column
        Numeric or boolean column; not needed for ``agg="rows"``.
    where
        Boolean mask of the rows that count.
    agg, by, each, warn, critical, below, empty, unit, expected, cause, next_step, opens
        As the fields of `rbkernel.checks.rule.Rule`.
    at_limit
        Whether a figure equal to a threshold is wrong, too.
    for_s
        How long the figure must have been beyond a threshold, in s: all values of this time are
        looked at, in the result of `rb.promql` or `rb.logql` with ``last_s``. If it is beyond now,
        but not for so long, or if values are missing, the verdict is unknown.
    unseen, source
        As the fields of `rbkernel.checks.rule.Rule`, too.

    Returns
    -------
    Finding
        With verdict ok, warning, critical or unknown.

    Raises
    ------
    ParameterError
        An argument is wrong, or the frame has no such column.
    """
    if provenance(frame) is not None:  # else it is judged as unknown
        must_have("rb.check", frame, column=column, by=by, each=each)
    try:
        made = Rule(
            title=title,
            column=column,
            agg=agg,
            by=by,
            each=each,
            warn=warn,
            critical=critical,
            below=below,
            warn_at_limit=at_limit,
            critical_at_limit=at_limit,
            empty=empty,
            unit=unit or str(frame.attrs.get("unit", "")) * (column == "value"),
            expected=expected,
            cause=cause,
            next_step=next_step,
            opens=opens,
            unseen=unseen,
            source=source,
        )
    except ValidationError as error:
        raise ParameterError(
            f"rb.check {advice(error.errors()[0])}",
            where=title,
            next_step="add what is missing; run `rb.check?` in a new cell to read about the"
            " arguments",
        ) from None
    if reason := rules.out_of_reach(made, frame):
        raise ParameterError(
            f"rb.check: {reason}",
            where=title,
            next_step="to report true (1) as the problem, pass warn=0 or critical=0; to report"
            " false"
            " (0), pass below=True with warn=1 or critical=1; to count the rows that are true, pass"
            " agg='sum'",
        )
    chosen = _chosen(frame, where)
    undecided = int(where.isna().sum()) if where is not None else 0
    if for_s is not None:
        must_have("rb.check with for_s", frame, series="series", sampled_at="sampled_at")
        judged = lasting.judged(
            made,
            frame if chosen is None else chosen,
            warn_s=for_s,
            critical_s=for_s,
            undecided=undecided,
        )
        return keep(explained(judged))
    finding = explained(rules.apply(made, frame, rows=chosen, undecided=undecided))
    return keep(usual.stated(finding, frame, column, str(frame.attrs.get("unit", ""))))


def explained(finding: Finding) -> Finding:
    """Return the finding, with the reason if its figure could not be judged because a threshold is
    NaN.
    """
    if finding.verdict is not Verdict.UNKNOWN or finding.actual:
        return finding
    reason = (
        "a threshold is not a number, because the query that it is computed from gave no answer"
    )
    return dataclasses.replace(finding, actual=reason, cause=reason)


def _chosen(frame: pd.DataFrame, where: pd.Series | None) -> pd.DataFrame | None:
    """Return the rows of a frame that a mask selects; None if there is no mask."""
    if where is None:
        return None
    if not where.index.equals(frame.index):
        raise ParameterError(
            "rb.check: the mask `where` does not have the rows of the frame",
            next_step="make it from this frame, such as where=frame['state'] == 'active'",
        )
    return frame[where.fillna(False).astype(bool)]


def keep(finding: Finding) -> Finding:
    """Add a finding to the run's first screen, and show it below the present cell."""
    finding = triage().add_finding(finding)
    data = dataclasses.asdict(finding)
    text = cards.finding_text(finding)
    display(cards.bundle("finding", data, cards.finding_card(finding), text), raw=True)
    return finding
