"""Placeholders: what a template, or an import, leaves to be filled in. Loud, and counted.

One form everywhere, in front matter, Markdown, parameters and commands: ``‹PLACEHOLDER: what goes
here›``. The quotation marks are none that YAML, Python, SQL or a shell gives a meaning to.
"""

from __future__ import annotations

import re

PLACEHOLDER = re.compile(r"‹PLACEHOLDER: (?P<hint>[^‹›\n]+)›")


def placeholder(hint: str) -> str:
    """Write a placeholder.

    >>> placeholder("who is called at night")
    '‹PLACEHOLDER: who is called at night›'
    >>> placeholder("  <a ‹nested› one>\\n ")
    '‹PLACEHOLDER: <a nested one>›'
    """
    return f"‹PLACEHOLDER: {' '.join(re.sub('[‹›]', '', hint).split()) or 'fill in'}›"


def hints(text: str) -> list[str]:
    """Return what each placeholder in a text asks for, in order.

    >>> hints("call ‹PLACEHOLDER: whom›, after ‹PLACEHOLDER: minutes› min")
    ['whom', 'minutes']
    """
    return [found["hint"] for found in PLACEHOLDER.finditer(text)]


def unfilled(value: object) -> bool:
    """Tell whether a value is, or holds, a placeholder.

    >>> unfilled("‹PLACEHOLDER: address›/health"), unfilled("http://api/health"), unfilled(None)
    (True, False, False)
    """
    return isinstance(value, str) and PLACEHOLDER.search(value) is not None
