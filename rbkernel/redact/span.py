"""Spans of a text to redact, their masks, and merging of overlapping spans."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

MASK = re.compile(r"\[redacted:[\w .,/-]{1,120}\]")


class Span(NamedTuple):
    """A secret from ``start`` to ``end`` (exclusive), and the name of the rule that found it."""

    start: int
    end: int
    rule: str


def mask(rule: str) -> str:
    """Return the mask that replaces a secret.

    >>> mask("dsn")
    '[redacted:dsn]'
    """
    return f"[redacted:{rule}]"


def merged(spans: Iterable[Span]) -> list[Span]:
    """Merge overlapping spans; a merged span keeps the rule of the first one.

    >>> merged([Span(5, 9, "b"), Span(0, 6, "a"), Span(20, 22, "c")])
    [Span(start=0, end=9, rule='a'), Span(start=20, end=22, rule='c')]
    """
    joined: list[Span] = []
    for span in sorted(spans, key=lambda one: (one.start, -one.end)):
        if joined and span.start < joined[-1].end:
            last = joined[-1]
            joined[-1] = last._replace(end=max(last.end, span.end))
        elif span.start < span.end:
            joined.append(span)
    return joined
