"""Search the catalogue by ids, alerts, titles, symptoms and full text, best hits first. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rbkernel.runbook import digest
from rbkernel.runbook.catalogue import Runbook

# an engineer on call usually types an alert's name, or a word of a symptom
_WEIGHTS = {"id": 50, "alert": 30, "title": 12, "symptoms": 8, "summary": 5, "front matter": 3}
_TEXT = 1
_EXCERPT = 60


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A runbook that matches a search, its rank, and the text around the match."""

    runbook: Runbook
    score: int
    where: tuple[str, ...]
    excerpt: str


def ranked(query: str, runbooks: Iterable[Runbook]) -> list[Hit]:
    """Return the runbooks that contain every word of the query, the best first.

    A query word matches if a word of the text begins with it. An alert's name also matches if a
    trigger's glob matches it.
    """
    words = [word.lower() for word in re.findall(r"[\w.%:-]+", query)]
    found = (_hit(words, runbook) for runbook in runbooks)
    return sorted((hit for hit in found if hit), key=lambda hit: (-hit.score, hit.runbook.id))


def _hit(words: Sequence[str], runbook: Runbook) -> Hit | None:
    places = _places(runbook)
    score, where, excerpt = 0, [], ""
    for word in words:
        matches = [(name, text) for name, text in places if _stands_in(word, name, text)]
        if not matches:
            return None
        score += sum(_WEIGHTS.get(name, _TEXT) for name in dict.fromkeys(n for n, _ in matches))
        where += [name for name, _ in matches]
        name, text = matches[0]
        excerpt = excerpt or f"{name}: {_around(word, text)}"
    if not words:
        return None
    return Hit(runbook=runbook, score=score, where=tuple(dict.fromkeys(where)), excerpt=excerpt)


def _places(runbook: Runbook) -> list[tuple[str, str]]:
    """Return the searched texts of a runbook as (place, text), the best place first."""
    front = runbook.front_matter
    tables = digest.tables(front)
    return [
        ("id", front.id),
        *(("alert", one.alert) for one in front.triggers if one.alert),
        ("title", front.title),
        *(("symptoms", one) for one in front.symptoms),
        ("summary", front.summary),
        *(("front matter", " ".join(row)) for table in tables for row in table.rows),
        *(("text", text) for text in runbook.prose),
    ]


def _stands_in(word: str, name: str, text: str) -> bool:
    """Tell whether a word of the text begins with the given letters.

    >>> _stands_in("lag", "title", "Replication lag"), _stands_in("lag", "title", "Flags")
    (True, False)
    >>> _stands_in("pglag", "alert", "PG*"), _stands_in("pg", "title", "PG*")
    (True, True)
    """
    low = text.lower()
    if name == "alert" and fnmatch.fnmatchcase(word, low):
        return True
    return re.search(rf"(?<![a-z0-9]){re.escape(word)}", low) is not None


def _around(word: str, text: str) -> str:
    """Return the part of a text around a word, in one line.

    >>> _around("pool", "Connection pool above 90 %")
    'Connection pool above 90 %'
    """
    line = " ".join(text.split())
    at = max(line.lower().find(word) - _EXCERPT // 3, 0)
    cut = line[at : at + _EXCERPT].strip()
    return f"{'…' if at else ''}{cut}{'…' if at + _EXCERPT < len(line) else ''}"
