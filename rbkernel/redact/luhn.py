"""Find payment card numbers in a text: issuer, length and check digit must all be valid."""

from __future__ import annotations

import re
from collections.abc import Iterator

# a run of digits that is long enough; then, in it, a number in groups or not, that is no part of a
# longer one, of a float or of a UUID
_RUN = re.compile(r"\d[\d -]{12,}+", re.ASCII)
_NUMBER = re.compile(
    r"(?<![\w.+/])(?<!\d-)"
    r"(?:\d{14,16}|\d{4}([ -])\d{4}\1\d{4}\1\d{4}|\d{4}([ -])\d{6}\2\d{4,5})",
    re.ASCII,
)
_AFTER = re.compile(r"[\w/]|[.-]\d|[ -]\d{3}", re.ASCII)
# the ranges in use (ISO/IEC 7812): Visa, Mastercard, American Express, Diners, Discover, JCB,
# UnionPay. Longer ones exist, but PostgreSQL's query ids and transaction counters look like them.
_ISSUER = re.compile(
    r"4\d{15}|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|3(?:0[0-5]|[68]\d)\d{11}|6(?:011|5\d\d|4[4-9]\d)\d{12}|35(?:2[89]|[3-8]\d)\d{12}|62\d{14}"
)
_SHAPES = re.compile(r"\d+|\d{4}([ -])\d{4}\1\d{4}\1\d{4}|\d{4}([ -])\d{6}\2\d{4,5}")


def cards(text: str) -> Iterator[tuple[int, int]]:
    """Find the places of card numbers, as (start, end).

    >>> text = "card 4111 1111 1111 1111, order 4111111111111112, 1234 5678 9012 3456"
    >>> [text[start:end] for start, end in cards(text)]
    ['4111 1111 1111 1111']
    """
    for run in _RUN.finditer(text):
        for found in _NUMBER.finditer(text, *run.span()):
            if is_card(found[0]) and not _AFTER.match(text, found.end()):
                yield found.span()


def is_card(number: str) -> bool:
    """Tell whether digits, with or without separators, are a card number.

    >>> is_card("5500000000000004"), is_card("55000000-00000004"), is_card("3782-822463-10005")
    (True, False, True)
    """
    digits = number.replace(" ", "").replace("-", "")
    return bool(_SHAPES.fullmatch(number) and _ISSUER.fullmatch(digits) and _checks(digits))


def _checks(digits: str) -> bool:
    """Tell whether the last digit is the correct Luhn check digit (ISO/IEC 7812-1, annex B)."""
    total = sum(int(digit) for digit in digits[-1::-2])
    total += sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return total % 10 == 0
