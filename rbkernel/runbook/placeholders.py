"""Find placeholders: parts of a template or an import that a person must fill in.

Placeholders have the same form in front matter, Markdown, parameters and commands:
``‹PLACEHOLDER: what goes here›``. These quotation marks have no meaning in YAML, Python, SQL and
shells.
"""

from __future__ import annotations

import re

PLACEHOLDER = re.compile(r"‹PLACEHOLDER: (?P<hint>[^‹›\n]+)›")


def placeholder(hint: str) -> str:
    """Return a placeholder with this hint.

    >>> placeholder("who is called at night")
    '‹PLACEHOLDER: who is called at night›'
    >>> placeholder("  <a ‹nested› one>\\n ")
    '‹PLACEHOLDER: <a nested one>›'
    """
    return f"‹PLACEHOLDER: {' '.join(re.sub('[‹›]', '', hint).split()) or 'fill in'}›"


def hints(text: str) -> list[str]:
    """Return the hint of each placeholder in a text, in order.

    >>> hints("call ‹PLACEHOLDER: whom›, after ‹PLACEHOLDER: minutes› min")
    ['whom', 'minutes']
    """
    return [found["hint"] for found in PLACEHOLDER.finditer(text)]


def unfilled(value: object) -> bool:
    """Tell whether a value contains a placeholder.

    >>> unfilled("‹PLACEHOLDER: address›/health"), unfilled("http://api/health"), unfilled(None)
    (True, False, False)
    """
    return isinstance(value, str) and PLACEHOLDER.search(value) is not None
