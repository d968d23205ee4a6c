"""Seal an incident's own record: what was told since the last seal, also when nothing was run.

The seal of a run proves the record as it was then. This one adds a folder with a copy of the
record, signed as a run is, and a manifest generation that covers all of it. Ordering rules: the
record's line of this seal comes first, then folder, manifest and `HEADS`, as with a run. A crash in
between leaves a line, perhaps a folder, without a head; the next seal covers both.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from rbkernel.errors import EvidenceError
from rbkernel.evidence import content, manifest, store
from rbkernel.evidence.bundle import (
    move_generation,
    new_generation,
    numbered,
    previous,
    read_heads,
    stage_generation,
)
from rbkernel.evidence.incident import RBKERNEL, added, check_id, entry, parse
from rbkernel.evidence.incident_record import Line
from rbkernel.evidence.manifest import Head
from rbkernel.model import new_run_id

_STAGING = "record.sealing"


@dataclass(frozen=True, kw_only=True)
class SealedRecord:
    """An incident's record under seal; ``head`` is the hash to publish.

    ``signer`` is who signed it, empty for nobody; ``missing`` says in words what the seal has to
    do without. ``is_new`` is false when there was nothing that no seal covers.
    """

    incident: str
    folder: Path
    head: str
    sealed_at: str
    signer: str
    missing: tuple[str, ...] = field(default=(), compare=False)
    is_new: bool = field(default=True, compare=False)


def seal_record(root: Path, incident: str, *, key: Path | None = None) -> SealedRecord:
    """Seal the record of an incident as it is now; one that is under seal whole stays as it is.

    Parameters
    ----------
    root
        The evidence folder.
    incident
        The incident.
    key
        The private key to sign with.

    Raises
    ------
    EvidenceError
        There is no such incident; the disk is full or not writable. What was sealed stays so.
    """
    check_id(incident)
    try:
        with store.locked(root / store.LOCK):
            return _seal(root, root / incident, key)
    except OSError as error:
        raise store.evidence_error(error, root / incident) from error


def _seal(root: Path, incident: Path, key: Path | None) -> SealedRecord:
    path = incident / manifest.INCIDENT
    told, heads = _read(path), read_heads(root)
    last = next(reversed(parse(told)[0]), None)
    sealed = {head.run_id: head for head in heads}
    if last and last.text("record") in sealed:
        return _sealed(incident, last, sealed[last.text("record")], is_new=False)
    line = _write_line(path, told)
    staging = root / "open" / _STAGING
    store.remove_folder(staging)  # what a crash left
    staging.mkdir(parents=True)
    try:
        return _put_under_seal(root, incident, line, heads, staging, key)
    finally:
        store.remove_folder(staging)


def _put_under_seal(
    root: Path, incident: Path, line: Line, heads: list[Head], staging: Path, key: Path | None
) -> SealedRecord:
    told = _read(incident / manifest.INCIDENT)
    target = incident / line.text("folder")
    sums, missing = content.sums({manifest.INCIDENT: told}, previous(heads), key)
    files = {manifest.INCIDENT: told, **sums}
    store.write_folder(staging / "record", files, mode=0o444)
    head, listing = new_generation(heads, target, files, told, line.text("record"), line.at)
    stage_generation(staging, heads, head, listing)
    store.move(staging / "record", target)
    target.chmod(0o555)
    move_generation(staging, root, head)
    return replace(_sealed(incident, line, head, is_new=True), missing=missing)


def _write_line(path: Path, told: bytes) -> Line:
    """Write that the record is sealed: the copy under seal says so, too."""
    seal_id = new_run_id()
    folder = numbered(path.parent, manifest.RECORD, seal_id).name
    line = entry("sealed", RBKERNEL, record=seal_id, folder=folder)
    store.append(path, added(told, line))
    return parse(_read(path))[0][-1]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise EvidenceError(
            f"there is no record of {path.parent.name}",
            where=str(path),
            next_step="`rbkernel incident list` shows the incidents there are",
        ) from error


def _sealed(incident: Path, line: Line, head: Head, *, is_new: bool) -> SealedRecord:
    sums = incident / line.text("folder") / manifest.SUMS
    return SealedRecord(
        incident=incident.name,
        folder=sums.parent,
        head=head.sha256,
        sealed_at=head.at,
        signer=manifest.read_listing(sums.read_bytes(), str(sums)).signer,
        is_new=is_new,
    )
