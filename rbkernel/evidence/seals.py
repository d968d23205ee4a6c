"""Find sealed runs in an evidence folder, and the names and hashes that the next seal continues."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rbkernel.errors import EvidenceError
from rbkernel.evidence import manifest
from rbkernel.evidence.manifest import Head
from rbkernel.model import RUN_ID


def read_heads(root: Path) -> list[Head]:
    """Return all seals that an evidence folder's `HEADS` lists, the oldest first.

    Raises
    ------
    EvidenceError
        `HEADS` is damaged.
    """
    path = root / manifest.HEADS
    try:
        return manifest.read_heads(path.read_bytes(), str(path))
    except FileNotFoundError:
        return []


def previous(heads: Sequence[Head]) -> str:
    """Return the hash that the next seal names as its predecessor."""
    return heads[-1].sha256 if heads else manifest.NO_PREVIOUS


def numbered(incident: Path, name: str, run_id: str) -> Path:
    """Return the path of the folder for the next seal of an incident: its name has a number."""
    numbers = [
        int(found[1])
        for path in incident.glob("*")
        if (found := manifest.RUN_FOLDER.fullmatch(path.name))
    ]
    return incident / f"{max(numbers, default=0) + 1:04d}-{name}-{run_id}"


def sealed_folder(root: Path, run_id: str) -> Path | None:
    """Return the folder of a run inside its incident; None if the run is not sealed."""
    check_run_id(run_id)
    found = sorted(root.glob(f"INC-*/*-{run_id}"))
    return found[0] if found else None


def check_run_id(run_id: str) -> None:
    """Raise `EvidenceError` if a text is not a run id."""
    if not RUN_ID.fullmatch(run_id):
        raise EvidenceError(
            f"{run_id!r} is not a run id",
            next_step="`rbkernel evidence list` lists all runs",
        )
