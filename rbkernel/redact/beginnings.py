"""Find the beginnings of known secrets at the end of an unfinished text."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from functools import lru_cache

from rbkernel.redact.forms import SHORTEST_ENCODED, encodings, forms
from rbkernel.redact.span import Span


def begun(text: str, values: Mapping[str, str], shortest: int) -> Span | None:
    """Find the beginning of a known secret, in any form, at the end of a text.

    Parameters
    ----------
    text
        The text, of one line.
    values
        The names of the secrets, by value.
    shortest
        The minimum number of characters of the secret.

    Examples
    --------
    >>> begun("so: hunt", {"hunter2!": "plain"}, 3)
    Span(start=4, end=8, rule='plain')
    """
    ordered, names = _forms_of(tuple(values.items()))
    longest = min(max(map(len, ordered), default=0), len(text))
    for length in range(longest, shortest - 1, -1):
        start = len(text) - length
        index = bisect_left(ordered, text[start:])
        form = ordered[index] if index < len(ordered) else ""
        inside_word = start > 0 and _is_word(form) and text[start - 1].isalnum()
        if form.startswith(text[start:]) and not inside_word:
            return Span(start, len(text), names[form])
    return None


def _is_word(form: str) -> bool:
    """Tell whether a form of a secret is so short or common that it counts only as a whole word."""
    return len(form) < SHORTEST_ENCODED or form.isdigit()


@lru_cache(maxsize=2)
def _forms_of(values: tuple[tuple[str, str], ...]) -> tuple[list[str], dict[str, str]]:
    """Return all forms of the secrets, sorted, and the name of the secret for each form."""
    names = {form: name for value, name in values for form in forms(value) | encodings(value)}
    return sorted(names), names
