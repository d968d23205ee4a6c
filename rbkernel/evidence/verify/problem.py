"""What is wrong with a file, in words; also where a file cannot be read at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rbkernel.errors import EvidenceError, NewerEvidence
from rbkernel.evidence import suspect

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is not as it was sealed; ``cell`` names a notebook's cell where known."""

    file: Path
    what: str
    cell: str | None = None

    def __str__(self) -> str:
        place = f", {self.cell}" if self.cell else ""
        return f"{self.file}{place}: {self.what}"


def read(path: Path, parse: Callable[[bytes, str], T]) -> tuple[T | None, list[Problem]]:
    """Return what a file says, or None and why it says nothing."""
    data = suspect.read_bytes(path)
    if data is None:
        return None, [Problem(file=path, what=suspect.why_unreadable(path))]
    try:
        return parse(data, str(path)), []
    except NewerEvidence:
        raise  # nothing is known to be wrong with it
    except EvidenceError as error:
        return None, [Problem(file=path, what=error.what)]
