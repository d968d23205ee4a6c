"""Convert values to one normal form, in strict JSON, for messages and the journal.

A message, a journal and a notebook can be compared only if each value has one form. So values are
converted to their normal form before they are sent or written:

- NaN and the infinities are the texts ``nan``, ``inf`` and ``-inf``, as Jupyter writes them;
- a whole number beyond ±(2**53 - 1) is the text of its digits: a browser would round the number;
- half of a surrogate pair is written as its escape, because UTF-8 has no bytes for it;
- times are ISO 8601; a decimal number is its text; a missing value of pandas is null.

>>> loads(dumps({"lag": float("inf"), "id": 2**53, "name": "a\\ud800", 1: (None, True, 0.5)}))
{'lag': 'inf', 'id': '9007199254740992', 'name': 'a\\\\ud800', '1': [None, True, 0.5]}
"""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Callable, Mapping
from datetime import date, time
from decimal import Decimal
from typing import Any

# browsers represent whole numbers up to this one exactly; RFC 7493 has the same limit
LARGEST = 2**53 - 1
_NOT_FINITE = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}
_MISSING = ("NAType", "NaTType")  # pandas, without an import of it
_TIMES_OF_NUMPY = "mM"

Other = Callable[[Any], Any]


def normal(value: Any, other: Other = lambda value: value) -> Any:
    """Return a value in normal form.

    Parameters
    ----------
    value
        Anything.
    other
        Converts a value that JSON cannot represent; by default it stays unchanged.

    Raises
    ------
    RecursionError
        The value is nested too deeply, or contains itself.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, numbers.Number):
        return _number(value)
    if isinstance(value, Mapping):
        return {_key(key): normal(one, other) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [one if _is_plain(one) else normal(one, other) for one in value]
    if type(value).__name__ in _MISSING:
        return None
    if isinstance(value, date | time):
        return value.isoformat()
    return _of_array(value, other) if hasattr(value, "tolist") else _other(value, other)


def well_formed(text: str) -> str:
    r"""Return the text, changed so that UTF-8 can encode it.

    Two halves of a surrogate pair become the character; a single half becomes its escape.

    >>> well_formed("caf\u00e9 \ud83d\ude00 \udc80") == "caf\u00e9 \U0001f600 \\udc80"
    True
    """
    if text.isascii():
        return text
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        paired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        return paired.encode("utf-8", "backslashreplace").decode()


def whole(number: int) -> int | str:
    """Return a whole number, or its digits if a browser would round it.

    >>> whole(2**53 - 1), whole(-(2**53)), len(whole(10**5000))
    (9007199254740991, '-9007199254740992', 5001)
    """
    if -LARGEST <= number <= LARGEST:
        return number
    return f"{Decimal(number):f}"  # `str` refuses numbers with too many digits, this does not


def dumps(value: Any, other: Other = str) -> bytes:
    """Return a value in normal form as compact JSON that every reader accepts."""
    return _written(normal(value, other)).encode()


def loads(data: bytes | str) -> Any:
    """Parse JSON, and return its value in the normal form that this module describes.

    The text may contain NaN, infinities and large whole numbers, which earlier versions of rbkernel
    wrote as JSON numbers.

    Raises
    ------
    ValueError
        The text is not JSON, or not UTF-8.

    >>> loads('{"value": -Infinity, "id": 9007199254740993}')
    {'value': '-inf', 'id': '9007199254740993'}
    """
    text = data if isinstance(data, str) else data.decode("utf-8")
    return json.loads(
        text, parse_constant=_NOT_FINITE.__getitem__, parse_int=_read_whole, parse_float=_read_real
    )


def _written(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _is_plain(value: Any) -> bool:
    """Tell whether a value is a number that needs no conversion.

    This check is fast, because a plot contains very many numbers.
    """
    kind = value.__class__
    return (kind is float and math.isfinite(value)) or (
        kind is int and -LARGEST <= value <= LARGEST
    )


def _number(value: Any) -> Any:
    if isinstance(value, numbers.Integral):
        return whole(int(value))
    if isinstance(value, Decimal):
        return f"{value}" if value.is_finite() else _not_finite(value)
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Rational):
        real = float(value)
        return real if math.isfinite(real) else repr(real)
    return str(value)  # a fraction, a complex number


def _not_finite(value: Decimal) -> str:
    if value.is_nan():
        return "nan"
    return "inf" if value > 0 else "-inf"


def _of_array(value: Any, other: Other) -> Any:
    """Return an array or a scalar of numpy's or pandas' as lists and plain values."""
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    plain = value.astype(str).tolist() if kind and kind in _TIMES_OF_NUMPY else value.tolist()
    if plain == "NaT":
        return None
    return _other(plain, other) if type(plain) is type(value) else normal(plain, other)


def _other(value: Any, other: Other) -> Any:
    said = other(value)
    return well_formed(said) if isinstance(said, str) else said


def _key(key: Any) -> str:
    """Return the name of a field; a key that is not text is written as JSON."""
    if isinstance(key, str):
        return well_formed(key)
    plain = normal(key, str)
    return plain if isinstance(plain, str) else _written(plain)


def _read_whole(digits: str) -> int | str:
    # a longer number is beyond the limit, and Python refuses to parse a very long one
    return whole(int(digits)) if len(digits) < 18 else _plain_digits(digits)


def _plain_digits(digits: str) -> str:
    return f"{Decimal(digits):f}"


def _read_real(text: str) -> float | str:
    real = float(text)
    return real if math.isfinite(real) else repr(real)
