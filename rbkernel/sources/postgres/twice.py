"""How a diagnostic that is looked at twice declares what becomes of its counters; see `rates`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

PAUSE = "every_s"
# s; sessions report what they have done once a second (PGSTAT_MIN_INTERVAL in pgstat.c), and in an
# hour a server is another one
SHORTEST_S, LONGEST_S = 1.0, 3600.0


class Twice(BaseModel):
    """Which columns of a query are counters, and what two looks at them make.

    Parameters
    ----------
    every_s
        s between the looks, unless the caller says otherwise.
    key
        Columns that tell which row is which; none for an answer of one row.
    counters
        Columns that only grow until they are reset. Each becomes its growth between the looks;
        ``…_per_s`` is the growth per s, ``…_before`` the value at the first look.
    gauges
        Numbers that go up and down. They stay as they are; ``…_per_s`` and ``…_before`` as above.
    since
        Columns that say since when is counted. Another value there is a reset.
    made
        Further columns, in order: name → expression of `pandas.DataFrame.eval` over all of these
        and ``window_s``, the time between the looks. What cannot be known is NULL.
    keep
        Expression: the rows that are shown, besides those of which nobody knows.
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
