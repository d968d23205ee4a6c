"""State the baseline beside a figure that is a multiple of it. Pure."""

from __future__ import annotations

import dataclasses

import pandas as pd

from rbkernel.checks import rules
from rbkernel.model import Finding

_NEEDED = {"baseline", "baseline_of"}


def stated(finding: Finding, frame: pd.DataFrame, column: str, unit: str = "") -> Finding:
    """Return a finding about the column ``ratio``, with the baseline in words.

    Parameters
    ----------
    finding
        The finding; others than those about a ratio with a figure are returned unchanged.
    frame
        The result of `rb.promql` with a baseline: rows × (baseline, ratio, baseline_of, …).
    column
        The column of the finding's figure.
    unit
        The unit of the baseline.
    """
    if column != "ratio" or finding.value is None or not {*frame.columns} >= _NEEDED:
        return finding
    rows = frame[rules.numbers(frame["ratio"]) == finding.value]
    if rows.empty:  # such as a mean of several ratios
        return finding
    usual = f"{rows['baseline'].iloc[0]:.4g} {unit}".strip()
    of = rows["baseline_of"].iloc[0]
    said = f"{finding.actual}; baseline {usual} (median at this time of {of})"
    return dataclasses.replace(finding, actual=said)
