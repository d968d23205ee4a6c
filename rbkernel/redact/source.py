"""Pure: the secrets that a cell's source tells, so that they are known for the rest of the run."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rbkernel.redact.forms import SHORTEST_ENCODED
from rbkernel.redact.rules import pattern_spans

# where a value stands alone in its quotes; what shows by its own form is found anywhere
_RULES = frozenset({"password", "dsn", "sql password", "sql argument", "user option", "option"})
# no word of a language, and no name: a digit inside, or a sign that stands in neither
_LOOK = re.compile(r"(?=.*[A-Za-z])(?=.*\d)|[^\w\s.-]|[a-z][A-Z]")


def told_in(source: str) -> Iterator[tuple[str, str]]:
    """Give rule and value of what a source calls a secret, long and odd enough to be searched for.

    >>> list(told_in("password = 'Quetzal9silent'; pw = 'postgres'; conn(password='changeme')"))
    [('password', 'Quetzal9silent')]
    """
    for start, end, rule in pattern_spans(source):
        value = source[start:end]
        if rule in _RULES and len(value) >= SHORTEST_ENCODED and _LOOK.search(value):
            yield rule, value
