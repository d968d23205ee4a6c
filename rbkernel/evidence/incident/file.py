"""Read an incident's record from its file, append to the file, and check the file's seals."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbkernel import strictjson
from rbkernel.errors import EvidenceError, NewerEvidence
from rbkernel.evidence import formats, manifest, store, suspect
from rbkernel.evidence.incident.decisions import ASKED_AGAIN, DECIDED
from rbkernel.evidence.incident.done import DONE
from rbkernel.evidence.incident.line import (
    AHEAD,
    CONTINUED,
    POSTMORTEM,
    TICKET,
    Damage,
    Line,
    instant,
)
from rbkernel.evidence.incident.proof import Beginnings, held
from rbkernel.evidence.incident.record import OF_RUNS, SILENCED, IncidentRecord, tell
from rbkernel.evidence.incident.text import (
    RBKERNEL,
    added,
    data_of,
    entry,
    lines_with,
    opening,
    parse,
)
from rbkernel.model import INCIDENT_ID

if TYPE_CHECKING:
    from rbkernel.redact import Redactor

FUTURE = "has a time in the future"
# the fields that identify a line of each kind: a line with equal fields is not written again
_KEYS: Mapping[str, tuple[str, ...]] = {
    "opened": (),
    "alert": ("identity",),
    "run": ("run_id", "state", "attempt"),
    "merged": ("into", "from"),
    DONE: ("plan", "note"),
    SILENCED: ("until", "reason"),
}
KINDS = frozenset(
    {*_KEYS, "situation", "note", "status", "notified", "closed", "reopened", "action"}
    | {"acknowledged", DECIDED, ASKED_AGAIN, DONE, CONTINUED, TICKET, POSTMORTEM}
)
# names and hashes used as references: they hold no free text, and may look like tokens
_PLAIN = frozenset(
    {
        "identity",
        "fingerprint",
        "run_id",
        "runbook",
        "state",
        "status",
        "origin",
        "plan",
        "job",
        "rests_on",
        "item",
    }
)
# exact bytes that a digest or a signature covers; the writer has searched them for secrets
_SIGNED = frozenset({"digest", "document", "signature", "signers", "key"})


class AlreadyRecorded(Exception):
    """Raised by the check of `append` to write nothing: the record says so already."""


def append(
    root: Path,
    incident: str,
    kind: str,
    *,
    by: str,
    redactor: Redactor | None = None,
    check: Callable[[IncidentRecord], None] | None = None,
    **fields: Any,
) -> Line:
    """Append a line to an incident's record; the first line creates the record.

    Parameters
    ----------
    root
        The evidence folder; made when missing.
    incident
        The incident's id.
    kind
        One of `KINDS`.
    by
        The author of the line: a user, or "rbkernel".
    redactor
        Removes secrets from the texts; if None, a redactor that finds secrets by form only.
    check
        Called with the record while the evidence folder is locked; if it raises an error, such as
        `AlreadyRecorded`, nothing is written.
    **fields
        The fields of the line. Times may be `datetime`.

    Returns
    -------
    Line
        The line, which is on disk; ``is_new`` is false if the record already had it.

    Raises
    ------
    EvidenceError
        The incident id is invalid, or the disk is full or not writable. Nothing was written.
    ValueError
        The kind is unknown, or ``fields`` contains the line's own time.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind of line: {kind!r}")
    if "at" in fields:
        raise ValueError("a line cannot be given a time: it gets the time at which it is written")
    check_id(incident)
    said = _redacted(fields, redactor, exact=_SIGNED if kind == "action" else frozenset())
    try:
        store.make_root(root)
        with store.locked(root / store.LOCK):
            if check:
                check(look(root, incident))
            return _append(root / incident, kind, by, said)
    except OSError as error:
        raise store.evidence_error(error, root / incident) from error


def read(root: Path, incident: str) -> IncidentRecord:
    """Read the record of an incident.

    Raises
    ------
    EvidenceError
        There is no such incident, or its record cannot be read.
    NewerEvidence
        A later version of rbkernel wrote the record, in a format that is not supported here.
    """
    check_id(incident)
    path = root / incident / manifest.INCIDENT
    proof = Beginnings.of(path.parent)
    data = suspect.read_bytes(path)
    if data is None:
        raise EvidenceError(
            f"there is no record of {incident}: the file {suspect.why_unreadable(path)}",
            where=str(path),
            next_step="`rbkernel incident list` lists all incidents; RBKERNEL_EVIDENCE"
            " sets the evidence folder",
        )
    return _told(root / incident, data, proof)


def look(root: Path, incident: str) -> IncidentRecord:
    """Read the record of an incident; if it has no record yet, return one with only the id."""
    check_id(incident)
    there = os.path.lexists(root / incident / manifest.INCIDENT)
    if there:
        return read(root, incident)
    sealed = Beginnings.of(root / incident)
    gone = "is missing, but it was sealed"
    lost = [Damage(number=0, what=gone)] if sealed.prefixes or sealed.damaged else []
    return tell([], incident, lost)


def list_incidents(root: Path) -> list[IncidentRecord]:
    """Return the records of all incidents, ordered by the incidents' start."""
    found = [
        _listed(path)
        for path in root.glob(f"INC-*/{manifest.INCIDENT}")
        if INCIDENT_ID.fullmatch(path.parent.name)
    ]
    return sorted(found, key=lambda record: (instant(record.began.at), record.id))


def closing(by: str, redactor: Redactor | None = None, **fields: Any) -> dict[str, Any]:
    """Return the redacted line that closes an incident; `seal_record` writes it with the seal."""
    return entry("closed", by, **_redacted(fields, redactor))


def check_id(incident: str) -> None:
    """Raise an error if an incident id is invalid, because the id becomes the name of a folder.

    Raises
    ------
    EvidenceError
        The id is invalid.
    """
    if not INCIDENT_ID.fullmatch(incident):
        raise EvidenceError(
            f"{incident!r} is not an incident id",
            next_step="`rbkernel incident list` lists all incidents; an id looks like"
            " INC-20261120-7f3a",
        )


def _append(folder: Path, kind: str, by: str, said: Mapping[str, Any]) -> Line:
    path = folder / manifest.INCIDENT
    record_bytes = path.read_bytes() if path.is_file() else b""
    if known := _same(record_bytes, kind, said):
        return replace(known, is_new=False)
    line = opening(by, **said) if kind == "opened" else entry(kind, by, **said)
    # the question of a run that ended ok opens no incident: nobody has opened it
    opener = RBKERNEL if kind in OF_RUNS else by
    first = [] if record_bytes or kind == "opened" else [opening(opener)]
    store.make_folder(folder)
    new = added(record_bytes, *first, line)
    store.append(path, new)
    number = record_bytes.count(b"\n") + new.count(b"\n")
    return Line(number=number, kind=kind, at=line["at"], by=by, data=data_of(line))


def _same(record_bytes: bytes, kind: str, said: Mapping[str, Any]) -> Line | None:
    """Return the record's line that reports the same event as a new line; None if there is none."""
    keys = _KEYS.get(kind)
    if keys is None or not record_bytes or (keys and not any(said.get(key) for key in keys)):
        return None
    rare = next((str(said[key]).encode() for key in keys if said.get(key)), b"")
    alike = (line for line in lines_with(rare, record_bytes) if line.kind == kind)
    return next((one for one in alike if all(one.data.get(k) == said.get(k) for k in keys)), None)


def _redacted(
    fields: Mapping[str, Any],
    redactor: Redactor | None,
    *,
    exact: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Return the fields as JSON values, with secrets removed from texts of people and senders."""
    from rbkernel import redact

    redactor = redactor or redact.Redactor()
    times = {name: _time(value) for name, value in fields.items() if isinstance(value, datetime)}
    plain = strictjson.normal({**fields, **times}, _unknown)
    return {
        name: value if name in _PLAIN | exact else redactor.value([value])[0]
        for name, value in plain.items()
    }


def _time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat()


def _unknown(value: object) -> str:
    raise TypeError(f"a value of type {type(value).__name__} cannot be written into a record")


def _listed(path: Path) -> IncidentRecord:
    proof = Beginnings.of(path.parent)
    try:
        return _told(path.parent, suspect.read_bytes(path), proof)
    except NewerEvidence as error:
        return tell([], path.parent.name, [Damage(number=0, what=error.what)])


def _told(folder: Path, data: bytes | None, proof: Beginnings) -> IncidentRecord:
    if data is None:
        return tell([], folder.name, [Damage(number=0, what="cannot be read")])
    lines, damaged = parse(data)
    for line in lines:
        if line.kind == "opened":
            formats.refuse_newer(line.data, str(folder / manifest.INCIDENT))
    late = datetime.now(UTC) + AHEAD
    early = [
        Damage(number=one.number, what=f"{FUTURE}: {one.at}")
        for one in lines
        if instant(one.at) > late
    ]
    damaged = [*proof.damage(data), *damaged, *early]
    return tell(held(lines, folder), folder.name, damaged)
