"""Numbers that a person writes, in `rbkernel.toml` or in a call: finite, in range, not in quotes.

NaN compares as false with everything, so it would pass every limit; infinity and values beyond
these ranges overflow a timer or a counter later, where nobody can tell which field they came from.
`true` and text are not numbers.
"""

from __future__ import annotations

import math
import operator
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

_DAY_S = 86_400
_YEAR_DAYS = 366


def _measured(value: Any) -> Any:
    """Return infinity, and pandas' mark for a missing number, as NaN; anything else as is."""
    infinite = isinstance(value, float) and math.isinf(value)
    return math.nan if infinite or type(value).__name__ == "NAType" else value


def _whole(value: Any) -> Any:
    """Return an integer of another type, such as numpy's, as Python's own; anything else as is."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        return value
    return operator.index(value)


# What a cell computes from an answer: NaN where there was none. That is no fault of the cell: a run
# goes on although the server is down, and what is compared with NaN is unknown.
Measured = Annotated[float, BeforeValidator(_measured), Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
# a length of time, and one that may be 0
Seconds = Annotated[Number, Field(gt=0, le=_DAY_S)]
Pause = Annotated[Number, Field(ge=0, le=_DAY_S)]
Minutes = Annotated[Number, Field(ge=0, le=_YEAR_DAYS * 24 * 60)]
Hours = Annotated[Number, Field(gt=0, le=_YEAR_DAYS * 24)]
Days = Annotated[Number, Field(gt=0, le=100 * _YEAR_DAYS)]
Megabytes = Annotated[Number, Field(gt=0, le=1_000_000)]
Whole = Annotated[int, BeforeValidator(_whole), Field(strict=True)]
Count = Annotated[Whole, Field(ge=1, le=1_000_000_000)]
Port = Annotated[Whole, Field(ge=1, le=65_535)]
