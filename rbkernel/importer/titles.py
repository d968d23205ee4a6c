"""Find titles for calls: the words above a command, a checklist or a change.

Pure. A finding, a plan and an option of the decision each need a meaningful title. It comes
from headings, list items, and lines such as ``**Verification:**``.
"""

from __future__ import annotations

import re

from rbkernel.importer.reading import plaintext
from rbkernel.importer.reading.blocks import Block

_STEP = re.compile(r"^\W*(?:(?:step|schritt|paso|étape|etape)\b|\d+[.)]\s|phase \d)", re.IGNORECASE)
_GENERIC = re.compile(
    r"^\W*(?:commands?|actions?|procedure|resolution(?: steps)?|steps|diagnosis"
    r"|execution|mitigation|remediation|triage|investigation|fix|solution|do this"
    r"|success criteria)\b[\s\W\d]*$",
    re.IGNORECASE,
)
_ITEM = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s+")
# statements that say nothing about the purpose of a transaction
_BEGINS = re.compile(r"\s*(?:begin\s*;)?\s*", re.IGNORECASE)
GO_AHEAD = "go ahead with the steps"


class Titles:
    """The titles of a notebook's calls, each different from all others.

    They must differ, because a finding replaces an earlier finding with the same title.

    >>> titles = Titles()
    >>> titles.one_of_its_own("1. Look:"), titles.one_of_its_own("**Look**")
    ('Look', 'Look (2)')
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of_a_look(self, heading: str, words: str, text: str) -> str:
        """Return the title of a command that reads: from the words above it, or from itself."""
        if not words and (not heading or heading in self._taken):
            words = of_code(text)
        return self.one_of_its_own(under(heading, words))

    def one_of_its_own(self, words: str) -> str:
        """Return the words as a title that no other call has."""
        plain = re.sub(r"^\W*?\d+[.)]\s+|[:\s]+$", "", plaintext.plain(words).strip()) or "Step"
        plain = plain if len(plain) <= 80 else plain[:79] + "…"
        title, number = plain, 2
        while title in self._taken:
            title, number = f"{plain} ({number})", number + 1
        self._taken.add(title)
        return title


def of_code(text: str) -> str:
    """Return a title for a command or a statement: its first words.

    >>> of_code("kubectl rollout undo  deployment/api")
    'kubectl rollout undo deployment/api'
    """
    lines = [line for line in text.replace("\\\n", " ").splitlines() if not _BEGINS.fullmatch(line)]
    words = " ".join((lines or [text])[0].split())
    return words if len(words) <= 60 else words[:59] + "…"


def heading_of(block: Block) -> str:
    """Return the nearest meaningful heading; a generic one such as "Commands" with its parent."""
    names = [plaintext.plain(words) for words in block.path if words.strip()]
    if len(names) > 2 and _GENERIC.match(names[-1]):
        return f"{names[-2]}: {names[-1]}"
    return names[-1] if names else ""


def under(heading: str, words: str) -> str:
    """Return words as a title; if they are few, with the heading above them.

    >>> under("Restart", "Or"), under("Restart", ""), under("Restart", "Stop it at once")
    ('Restart: Or', 'Restart', 'Stop it at once')
    """
    if len(words.split()) > 2:
        return words
    return ": ".join(filter(None, [heading, words]))


def label(block: Block) -> str:
    """Return the label in a line such as ``**Verification:**``; empty for other lines."""
    words = last_words(block)
    is_label = block.kind != "heading" and words.endswith(":")
    return words.rstrip(": ") if is_label else ""


def last_words(block: Block) -> str:
    """Return the last line of a block as plain text; empty if the line is long."""
    last = _ITEM.sub("", (block.text.strip().splitlines() or [""])[-1])
    words = plaintext.plain(last)
    return words if len(words) < 80 else ""


def lead(block: Block) -> str:
    """Return the text of a list item before its command.

    >>> lead(Block(kind="step", start=0, end=1, text="2. Query logs: `kubectl logs x`"))
    'Query logs'
    """
    before = block.text.partition("`")[0]
    return plaintext.plain(_ITEM.sub("", before)).strip(": ")


def option(block: Block) -> str:
    """Return the option of the decision that a human must choose before this change is proposed.

    It is the nearest heading above the change that is not generic and does not only number a step.

    >>> block = Block(kind="fence", start=0, end=1, path=("Runbook", "🔧 Scale", "Step 2: Down"))
    >>> option(block), option(Block(kind="fence", start=0, end=1, path=("Runbook", "Step 1")))
    ('Scale', 'go ahead with the steps')
    """
    for words in reversed(block.path[1 if not block.document else 0 :]):
        if not _STEP.match(words) and not _GENERIC.match(words):
            return re.sub(r"^[^\w\[<(]+|[\s:]+$", "", plaintext.plain(words)) or GO_AHEAD
    return GO_AHEAD
