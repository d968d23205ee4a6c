"""Seal the record of an incident, including an incident without runs.

The seal of a run proves the record at the time of that seal. The seal of a record adds a folder
with a signed copy of the record, and a manifest generation that covers the folder and the record.
Ordering rules:

1. Everything is written and fsynced in a staging folder, where a full disk does no harm.
2. One write appends the lines `closed` (if it is to be closed) and `sealed` to the record.
3. Folder, manifest and `HEADS` are moved into place.

A crash in between leaves lines, and perhaps a folder, of a seal that is not in `HEADS`. Readers
ignore such lines, and the next seal covers lines and folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rbkernel.errors import EvidenceError
from rbkernel.evidence import content, manifest, store
from rbkernel.evidence.bundle import move_generation, new_generation, stage_generation
from rbkernel.evidence.incident.file import check_id
from rbkernel.evidence.incident.line import Line
from rbkernel.evidence.incident.record import tell
from rbkernel.evidence.incident.states import INCIDENT_TRANSITIONS, IncidentState
from rbkernel.evidence.incident.text import RBKERNEL, added, entry, parse
from rbkernel.evidence.manifest import Head
from rbkernel.evidence.seals import numbered, previous, read_heads
from rbkernel.model import new_run_id

_STAGING = "record.sealing"


@dataclass(frozen=True, kw_only=True)
class SealedRecord:
    """The sealed record of an incident; ``head`` is the hash of its seal, to be published.

    ``signer`` is the name of the signer, empty if unsigned. ``missing`` lists the optional parts
    that the seal lacks. ``is_new`` is false when earlier seals already covered every line.
    ``closes`` is true when this seal closed the incident.
    """

    incident: str
    folder: Path
    head: str
    sealed_at: str
    signer: str
    missing: tuple[str, ...] = field(default=(), compare=False)
    is_new: bool = field(default=True, compare=False)
    closes: bool = field(default=False, compare=False)


def seal_record(
    root: Path,
    incident: str,
    *,
    key: Path | None = None,
    closing: Mapping[str, Any] | None = None,
) -> SealedRecord:
    """Seal the current record of an incident; do nothing if seals already cover all of it.

    Parameters
    ----------
    root
        The evidence folder.
    incident
        The id of the incident.
    key
        The private key to sign with.
    closing
        The line that closes the incident; it is not written if the incident is closed already.

    Raises
    ------
    EvidenceError
        There is no such incident, or the disk is full or not writable. Earlier seals stay valid.
    """
    check_id(incident)
    try:
        with store.locked(root / store.LOCK):
            return _seal(root, root / incident, key, closing)
    except OSError as error:
        raise store.evidence_error(error, root / incident) from error


def _seal(
    root: Path, incident: Path, key: Path | None, closing: Mapping[str, Any] | None
) -> SealedRecord:
    path = incident / manifest.INCIDENT
    before, heads = _read(path), read_heads(root)
    lines = parse(before)[0]
    last = next(reversed(lines), None)
    state = tell(lines).state
    closes = closing is not None and INCIDENT_TRANSITIONS.allows(state, IncidentState.CLOSED)
    sealed = {head.run_id: head for head in heads}
    if last and last.text("record") in sealed and not closes:
        return _sealed(incident, last, sealed[last.text("record")], is_new=False)
    new = added(before, *([closing] if closing and closes else []), _line(incident))
    staging = root / "open" / _STAGING
    store.remove_folder(staging)  # left by a crash
    store.make_folder(staging.parent)
    store.make_folder(staging, exist_ok=False)
    try:
        made = _put_under_seal(root, incident, before, new, heads, staging, key)
    finally:
        store.remove_folder(staging)
    return replace(made, closes=closes)


def _put_under_seal(
    root: Path,
    incident: Path,
    before: bytes,
    new: bytes,
    heads: list[Head],
    staging: Path,
    key: Path | None,
) -> SealedRecord:
    record_bytes = before + new
    line = parse(record_bytes)[0][-1]
    target = incident / line.text("folder")
    sums, missing = content.sums({manifest.INCIDENT: record_bytes}, previous(heads), key)
    files = {manifest.INCIDENT: record_bytes, **sums}
    store.write_folder(staging / "record", files)
    head, listing = new_generation(heads, target, files, record_bytes, line.text("record"), line.at)
    stage_generation(staging, heads, head, listing)
    store.append(incident / manifest.INCIDENT, new)
    store.move(staging / "record", target)
    store.seal_folder(target)
    move_generation(staging, root, head)
    return replace(_sealed(incident, line, head, is_new=True), missing=missing)


def _line(incident: Path) -> dict[str, Any]:
    """Return the `sealed` line for a new seal; the record and its sealed copy both get it."""
    seal_id = new_run_id()
    folder = numbered(incident, manifest.RECORD, seal_id).name
    return entry("sealed", RBKERNEL, record=seal_id, folder=folder)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise EvidenceError(
            f"there is no record of {path.parent.name}",
            where=str(path),
            next_step="`rbkernel incident list` lists all incidents",
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
