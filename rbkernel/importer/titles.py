"""What things are called: the words that stand above a command, a checklist, a mutation.

Pure. A finding, a plan and an option of the decision each need a title that says something by
itself, and people write it in headings, in list items, and in lines such as ``**Verification:**``.
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
# what says nothing of a transaction
_BEGINS = re.compile(r"\s*(?:begin\s*;)?\s*", re.IGNORECASE)
GO_AHEAD = "go ahead with the steps"


class Titles:
    """The titles that a notebook's calls have: findings of the same title replace each other.

    >>> titles = Titles()
    >>> titles.one_of_its_own("1. Look:"), titles.one_of_its_own("**Look**")
    ('Look', 'Look (2)')
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of_a_look(self, heading: str, words: str, text: str) -> str:
        """Return the title of what looks: by the words above it, else by its heading or itself."""
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
    """Return what a command or a statement is called: its own first words.

    >>> of_code("kubectl rollout undo  deployment/api")
    'kubectl rollout undo deployment/api'
    """
    lines = [line for line in text.replace("\\\n", " ").splitlines() if not _BEGINS.fullmatch(line)]
    words = " ".join((lines or [text])[0].split())
    return words if len(words) <= 60 else words[:59] + "…"


def heading_of(block: Block) -> str:
    """Return the nearest heading that says something by itself, with the step it belongs to."""
    names = [plaintext.plain(words) for words in block.path if words.strip()]
    if len(names) > 2 and _GENERIC.match(names[-1]):
        return f"{names[-2]}: {names[-1]}"
    return names[-1] if names else ""


def under(heading: str, words: str) -> str:
    """Return words, with the heading that they stand under where they are few.

    >>> under("Restart", "Or"), under("Restart", ""), under("Restart", "Stop it at once")
    ('Restart: Or', 'Restart', 'Stop it at once')
    """
    if len(words.split()) > 2:
        return words
    return ": ".join(filter(None, [heading, words]))


def label(block: Block) -> str:
    """Return what a line such as ``**Verification:**`` says of what follows it."""
    words = last_words(block)
    is_label = block.kind != "heading" and words.endswith(":")
    return words.rstrip(": ") if is_label else ""


def last_words(block: Block) -> str:
    """Return the last line in plain words; nothing when it is a long one."""
    last = _ITEM.sub("", (block.text.strip().splitlines() or [""])[-1])
    words = plaintext.plain(last)
    return words if len(words) < 80 else ""


def lead(block: Block) -> str:
    """Return what a list item says before its command.

    >>> lead(Block(kind="step", start=0, end=1, text="2. Query logs: `kubectl logs x`"))
    'Query logs'
    """
    before = block.text.partition("`")[0]
    return plaintext.plain(_ITEM.sub("", before)).strip(": ")


def option(block: Block) -> str:
    """Return what a human chooses for this mutation to be proposed.

    >>> block = Block(kind="fence", start=0, end=1, path=("Runbook", "🔧 Scale", "Step 2: Down"))
    >>> option(block), option(Block(kind="fence", start=0, end=1, path=("Runbook", "Step 1")))
    ('Scale', 'go ahead with the steps')
    """
    for words in reversed(block.path[1 if not block.document else 0 :]):
        if not _STEP.match(words) and not _GENERIC.match(words):
            return re.sub(r"^[^\w\[<(]+|[\s:]+$", "", plaintext.plain(words)) or GO_AHEAD
    return GO_AHEAD
