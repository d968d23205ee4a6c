"""Types for numbers in `rbkernel.toml` or in a call: finite, in range, not in quotes.

NaN is refused, because every comparison with it is false, so it would pass every limit. Infinity
and values out of range are refused, because they would overflow a timer or a counter later, far
from the wrong field. `true` and text are not numbers.
"""

from __future__ import annotations

import math
import operator
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

_DAY_S = 86_400
_YEAR_DAYS = 366


def _measured(value: Any) -> Any:
    """Convert infinity and pandas' NA to NaN; return other values unchanged."""
    infinite = isinstance(value, float) and math.isinf(value)
    return math.nan if infinite or type(value).__name__ == "NAType" else value


def _whole(value: Any) -> Any:
    """Convert an integer of another type, such as numpy's, to int; return others unchanged."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        return value
    return operator.index(value)


# A number that a cell computes from an answer: NaN if there was no answer. That is not an error: a
# run continues although the server is down, and a comparison with NaN gives unknown.
Measured = Annotated[float, BeforeValidator(_measured), Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
# a duration, and a duration that may be 0
Seconds = Annotated[Number, Field(gt=0, le=_DAY_S)]
Pause = Annotated[Number, Field(ge=0, le=_DAY_S)]
Minutes = Annotated[Number, Field(ge=0, le=_YEAR_DAYS * 24 * 60)]
Hours = Annotated[Number, Field(gt=0, le=_YEAR_DAYS * 24)]
Days = Annotated[Number, Field(gt=0, le=100 * _YEAR_DAYS)]
Megabytes = Annotated[Number, Field(gt=0, le=1_000_000)]
Whole = Annotated[int, BeforeValidator(_whole), Field(strict=True)]
Count = Annotated[Whole, Field(ge=1, le=1_000_000_000)]
Port = Annotated[Whole, Field(ge=1, le=65_535)]
