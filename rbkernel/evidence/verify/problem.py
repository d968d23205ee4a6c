"""The problems that verification of evidence reports, also for files that cannot be read."""

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
    """One difference of a file from its sealed state; ``cell`` names a notebook's changed cell."""

    file: Path
    what: str
    cell: str | None = None

    def __str__(self) -> str:
        place = f", {self.cell}" if self.cell else ""
        return f"{self.file}{place}: {self.what}"


def read(path: Path, parse: Callable[[bytes, str], T]) -> tuple[T | None, list[Problem]]:
    """Parse a file; return its content and no problem, or None and the problems."""
    data = suspect.read_bytes(path)
    if data is None:
        return None, [Problem(file=path, what=suspect.why_unreadable(path))]
    try:
        return parse(data, str(path)), []
    except NewerEvidence:
        raise  # a file of a later version is not known to be wrong
    except EvidenceError as error:
        return None, [Problem(file=path, what=error.what)]
