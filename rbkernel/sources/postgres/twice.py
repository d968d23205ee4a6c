"""How a diagnostic that runs twice declares its counters and rates; see `rates`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

PAUSE = "every_s"
# limits in s: sessions report their counters once a second (PGSTAT_MIN_INTERVAL in pgstat.c), and a
# run must not wait for more than an hour
SHORTEST_S, LONGEST_S = 1.0, 3600.0


class Twice(BaseModel):
    """The columns of a query that are counters, and the columns computed from two samples.

    Parameters
    ----------
    every_s
        Default time between the samples, in s. The SQL may use the time as ``:every_s``.
    key
        Columns that identify a row; none for an answer of one row.
    counters
        Columns that only grow until they are reset. Each is replaced by its growth between the
        samples; ``…_per_s`` is the growth per s, ``…_before`` the value in the first sample.
    gauges
        Numbers that rise and fall. They stay unchanged; ``…_per_s`` and ``…_before`` as above.
    since
        Columns with the time at which counting began. A changed value means a reset.
    made
        Derived columns, in order: name → expression of `pandas.DataFrame.eval` over all of these
        and ``window_s``, the time between the samples. Unknown values are NULL.
    keep
        Expression that selects the rows to show; rows for which it is unknown are shown, too.
    worst_first
        Column by which the rows are sorted, unknown values last.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    every_s: Annotated[float, Field(ge=SHORTEST_S, le=LONGEST_S)]
    key: tuple[str, ...] = ()
    counters: tuple[str, ...]
    gauges: tuple[str, ...] = ()
    since: tuple[str, ...] = ()
    made: dict[str, str] = {}
    keep: str = ""
    worst_first: str = ""
