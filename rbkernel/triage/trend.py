"""`rb.trend`: how fast the figures of a range grow, and when they reach a limit."""

from __future__ import annotations

import math

import pandas as pd

from rbkernel.arguments import checked
from rbkernel.checks import trend as lines
from rbkernel.checks.columns import must_have
from rbkernel.checks.frames import Frame
from rbkernel.config.quantities import Measured
from rbkernel.triage.query import show
from rbkernel.triage.shown import shown


@checked
def trend(frame: Frame, *, limit: Measured | None = 1.0) -> pd.DataFrame:
    """Show how fast each series of a range grows, and when it reaches a limit if that goes on.

    Parameters
    ----------
    frame
        The result of `rb.promql` or `rb.logql` with ``last_s``.
    limit
        The value at which something is full; 1 for a ratio. None if there is no such value, as
        for a number of requests: the column ``left_h`` is then left out.

    Returns
    -------
    pandas.DataFrame
        A row for each series × (series, the labels, value, per_h, left_h), for `rb.check`; see
        `rbkernel.checks.trend.trends`. Without an answer it is empty, with the reason.
    """
    must_have("rb.trend", frame, series="series", sampled_at="sampled_at", value="value")
    made = lines.trends(frame, math.inf if limit is None else limit)
    if limit is None:
        made = made.drop(columns="left_h")
    made.attrs = dict(frame.attrs)
    return shown(show(made))
