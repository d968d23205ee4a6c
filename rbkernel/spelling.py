"""Suggest the right name for a misspelt one. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(given: str, known: Iterable[str]) -> str:
    """Return the known name that is closest to a misspelt one; empty if none is close.

    >>> nearest("rowcap", ["row_cap", "untried"]), nearest("colour", ["row_cap", "untried"])
    ('row_cap', '')
    """
    return next(iter(difflib.get_close_matches(given, list(known), n=1)), "")


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that suggests the closest name, or nothing.

    >>> did_you_mean("order", ["orders", "payments"]), did_you_mean("x", ["orders"])
    ('; did you mean orders?', '')
    """
    near = nearest(given, known)
    return f"; did you mean {near}?" if near else ""
