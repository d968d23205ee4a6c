"""Wrong arguments of a call: one error that names the argument, before anything is asked."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, ParamSpec, TypeVar

from pydantic import Field, ValidationError, validate_call

from rbkernel.errors import ParameterError

_P = ParamSpec("_P")
_R = TypeVar("_R")

# A length of time; NaN would compare as false with everything, and so pass every limit.
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def checked(call: Callable[_P, _R]) -> Callable[_P, _R]:
    """Hold a call of `rb` to its annotations.

    Raises
    ------
    ParameterError
        By the call: an argument is missing, unknown or of the wrong type.
    """
    validated = validate_call(config={"strict": True})(call)

    @functools.wraps(call)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return validated(*args, **kwargs)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            names = list(inspect.signature(call).parameters)
            place = problem["loc"][0]
            name = names[place] if isinstance(place, int) and place < len(names) else place
            raise ParameterError(
                f"{name}: {problem['msg']}",
                where=f"rb.{call.__name__}",
                next_step=f"see `rb.{call.__name__}?` in a cell of its own",
            ) from None

    return wrapper
