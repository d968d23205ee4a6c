"""State the baseline beside a figure that is a multiple of it. Pure."""

from __future__ import annotations

import dataclasses

import pandas as pd

from rbkernel import amounts
from rbkernel.checks import rules
from rbkernel.model import Finding


def stated(finding: Finding, frame: pd.DataFrame, column: str, unit: str = "") -> Finding:
    """Return a finding about the column ``ratio``, with the baseline in words.

    Parameters
    ----------
    finding
        The finding; others than those about a ratio with a figure are returned unchanged.
    frame
        The result of `rb.promql` with a baseline: rows × (baseline, ratio, days, …).
    column
        The column of the finding's figure.
    unit
        The unit of the baseline.
    """
    if column != "ratio" or finding.value is None or not {"baseline", "days"} <= {*frame.columns}:
        return finding
    rows = frame[rules.numbers(frame["ratio"]) == finding.value]
    if rows.empty:  # such as a mean of several ratios
        return finding
    usual = f"{rows['baseline'].iloc[0]:.4g} {unit}".strip()
    days = amounts.count(int(rows["days"].iloc[0]), "day")
    said = f"{finding.actual}; baseline {usual} (median at this time of {days})"
    return dataclasses.replace(finding, actual=said)
