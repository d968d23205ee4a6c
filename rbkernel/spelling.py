"""Suggest the right name for a misspelt one. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_BEGINNING = 3  # characters, from which on the beginning of a name tells it


def nearest(given: str, known: Iterable[str]) -> str:
    """Return the known name that is closest to a misspelt or shortened one; empty if none is close.

    >>> nearest("older", ["older_than_s", "most"])
    'older_than_s'
    >>> nearest("rowcap", ["row_cap", "untried"]), nearest("colour", ["row_cap", "untried"])
    ('row_cap', '')
    """
    known = list(known)
    if close := difflib.get_close_matches(given, known, n=1):
        return close[0]
    begun = [name for name in known if len(given) >= _BEGINNING and name.startswith(given)]
    return begun[0] if len(begun) == 1 else ""


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return a suggestion of the closest name, to end a sentence; empty if no name is close.

    >>> did_you_mean("order", ["orders", "payments"]), did_you_mean("x", ["orders"])
    ('; did you mean orders?', '')
    """
    near = nearest(given, known)
    return f"; did you mean {near}?" if near else ""
