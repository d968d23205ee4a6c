"""Extract whom to inform of what, and how often, from a section on communication. Pure."""

from __future__ import annotations

import re
from typing import Any

from rbkernel.importer.reading import holes, plaintext
from rbkernel.importer.reading.blocks import Block

_SECTION = re.compile(r"communicat|during (?:the |an )?incident|status updates?\b", re.IGNORECASE)
_EVERY = re.compile(
    r"\bevery\s+(?P<time>\d+\s*-?\s*(?:m|mins?|minutes?|h|hrs?|hours?)|hour|half hour)\b",
    re.IGNORECASE,
)
_UPDATES = re.compile(
    r"\b(?:status|stakeholders?|customers?|update[sd]?|updating|post|communicat\w+)\b",
    re.IGNORECASE,
)
_LABELS = (
    (re.compile(r"immediately|at the start|first|initial(?:ly)?", re.IGNORECASE), "immediately"),
    (re.compile(r"every\b.*|regular(?:ly)?", re.IGNORECASE), "updates"),
    (re.compile(r"(?:when|after|on) resol\w+|resolved|at the end", re.IGNORECASE), "resolved"),
)
_ITEM = re.compile(r"^(?P<indent>\s*)(?:[-*+]|\d+[.)])\s+(?P<words>\S.*?)\s*$")
_WORDS = {"hour": "1 hour", "half hour": "30 min"}


def is_about(block: Block) -> bool:
    """Tell whether a block is in a section on communication."""
    return any(_SECTION.search(words) for words in block.path[-2:])


def interval(words: str) -> str:
    """Return the interval of status updates that a sentence states; empty if it states none.

    >>> interval("Post a status update every 30 minutes"), interval("The job runs every 5 min")
    ('30 minutes', '')
    """
    found = _EVERY.search(words)
    if found is None or not _UPDATES.search(words):
        return ""
    return _WORDS.get(found["time"].lower(), re.sub(r"(?<=\d)-", " ", found["time"]))


def of_list(block: Block) -> dict[str, Any]:
    """Return the contents of a nested list by label (*Immediately*, *Every 30 minutes*).

    >>> text = "1. **Immediately:**\\n   - Post in Slack\\n2. **Every 30 minutes:**\\n   - ETA\\n"
    >>> of_list(Block(kind="list", start=0, end=4, text=text))
    {'immediately': ['Post in Slack'], 'every': '30 minutes', 'updates': ['ETA']}
    """
    found: dict[str, Any] = {}
    field, depth = "", 0
    for line in block.text.splitlines():
        match = _ITEM.match(line)
        if match is None:
            continue
        words = plaintext.plain(match["words"])
        label = words.rstrip(": ")
        named = next((name for form, name in _LABELS if form.fullmatch(label)), "")
        if named and words.endswith(":"):
            field, depth = named, len(match["indent"])
            if every := _EVERY.search(label):
                found["every"] = _WORDS.get(every["time"].lower(), every["time"])
        elif field and len(match["indent"]) > depth:
            found.setdefault(field, []).append(holes.loud(words))
        else:
            field = ""
    return found


def is_message(block: Block) -> bool:
    """Tell whether a fence contains the text of a status update to fill in."""
    heading = block.path[-1] if block.path else ""
    named = re.search(r"status update|message|announcement|template", heading, re.IGNORECASE)
    return bool(named) and is_about(block) and block.info in {"", "text", "markdown"}
