"""An incident's own record, `incident.jsonl`: the one truth of it, one JSON object a line.

Ordering rules: a line is appended under the root's lock and on disk when `append` returns. What
has a natural key (an alert's identity; a run, its state and attempt) is written once, so whoever
was killed can say it again. A line that a crash cut off stays, is told as damaged, and hurts no
line after it. A seal proves the record as it was: lines may follow it, none may change.

==========  ===================================================================================
kind        fields, besides ``at`` (UTC, ISO 8601) and ``by`` (a user, or "rbkernel")
==========  ===================================================================================
opened      title, severity, service, group_key
alert       source, status (firing, resolved), fingerprint, starts_at, ends_at, labels,
            annotations, url, identity, severity (on our scale)
run         run_id, runbook, state (queued, started, ended), verdict, attempt, why, mind (what
            is not as it was meant to be: another runbook, another connection)
sealed      run_id, runbook, title, verdict, started_at, folder, missing; or record, folder;
            read as `SEALING` while HEADS has no such seal
note        text
status      status (Investigating, Identified, Monitoring, Resolved), impact, action, eta
notified    whom, how
merged      into, or from and its severity
closed      resolution, lacks (runs that were still to be made, and were not waited for)
reopened    why
==========  ===================================================================================
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rbkernel.errors import EvidenceError
from rbkernel.evidence import manifest, record_fields, record_proof, store, suspect
from rbkernel.evidence.incident_record import (
    AHEAD,
    STATUSES,
    AlertHistory,
    Damage,
    IncidentRecord,
    Line,
    RunHistory,
    instant,
    tell,
)
from rbkernel.evidence.record_proof import Beginnings
from rbkernel.model import INCIDENT_ID, now
from rbkernel.redact import Redactor

__all__ = [
    "KINDS",
    "STATUSES",
    "AlertHistory",
    "Damage",
    "IncidentRecord",
    "Line",
    "RunHistory",
    "append",
    "list_incidents",
    "look",
    "parse",
    "read",
    "tell",
]

RBKERNEL = "rbkernel"
FUTURE = "is from the future, so a clock is wrong or its time was made up"
# what tells two lines of a kind apart: the second of two that are the same is not written
_KEYS: Mapping[str, tuple[str, ...]] = {
    "opened": (),
    "alert": ("identity",),
    "run": ("run_id", "state", "attempt"),
    "merged": ("into", "from"),
}
KINDS = frozenset({*_KEYS, "note", "status", "notified", "closed", "reopened"})
_ALWAYS = ("kind", "at", "by")
_OPENED = ("title", "severity", "service", "group_key")
# names and hashes that others look for: they hold no text of anybody's, and may look like tokens
_PLAIN = frozenset({"identity", "fingerprint", "run_id", "runbook", "state", "status"})


def append(
    root: Path,
    incident: str,
    kind: str,
    *,
    by: str,
    redactor: Redactor | None = None,
    **fields: Any,
) -> Line:
    """Write a line into an incident's record; the first one opens the incident.

    Parameters
    ----------
    root
        The evidence folder; made when missing.
    incident
        The incident's id.
    kind
        One of `KINDS`.
    by
        Who says so: a user, or "rbkernel".
    redactor
        Takes secrets out of the texts; None for one that knows none by name, only their forms.
    **fields
        What the line says. Times may be `datetime`.

    Returns
    -------
    Line
        The line, durable; with ``is_new`` false when it was there before.

    Raises
    ------
    EvidenceError
        It is no incident id, or the disk is full or not writable: nothing was written then.
    ValueError
        There is no such kind of line, or a time is given for it.
    """
    if kind not in KINDS:
        raise ValueError(f"no kind of line: {kind!r}")
    if "at" in fields:
        raise ValueError("a line has the time at which it is written")
    check_id(incident)
    said = _redacted(fields, redactor or Redactor())
    try:
        root.mkdir(parents=True, exist_ok=True)
        with store.locked(root / store.LOCK):
            return _append(root / incident, kind, by, said)
    except OSError as error:
        raise store.evidence_error(error, root / incident) from error


def read(root: Path, incident: str) -> IncidentRecord:
    """Return what an incident's record tells.

    Raises
    ------
    EvidenceError
        There is no such incident, or its record cannot be read.
    """
    check_id(incident)
    path = root / incident / manifest.INCIDENT
    proof = Beginnings.of(path.parent)
    data = suspect.read_bytes(path)
    if data is None:
        raise EvidenceError(
            f"there is no record of {incident}: the file {suspect.why_unreadable(path)}",
            where=str(path),
            next_step="`rbkernel incident list` shows the incidents there are, RBKERNEL_EVIDENCE"
            " which evidence folder is read",
        )
    return _told(root / incident, data, proof)


def look(root: Path, incident: str) -> IncidentRecord:
    """Return what an incident's record tells; nothing but its id where there is none yet."""
    check_id(incident)
    there = os.path.lexists(root / incident / manifest.INCIDENT)
    if there:
        return read(root, incident)
    sealed = Beginnings.of(root / incident)
    gone = "is gone, yet it was sealed"
    lost = [Damage(number=0, what=gone)] if sealed.prefixes or sealed.damaged else []
    return tell([], incident, lost)


def list_incidents(root: Path) -> list[IncidentRecord]:
    """Return all incidents that have a record, in the order in which they began."""
    found = [
        _listed(path)
        for path in root.glob(f"INC-*/{manifest.INCIDENT}")
        if INCIDENT_ID.fullmatch(path.parent.name)
    ]
    return sorted(found, key=lambda record: (instant(record.began.at), record.id))


def parse(data: bytes) -> tuple[list[Line], list[Damage]]:
    r"""Return the lines of a record, and those that cannot be understood.

    >>> note = b'{"at": "2026-11-20T03:02:11+00:00", "kind": "note", "by": "ann"}\n'
    >>> lines, damaged = parse(note + b'nonsense\n{"at')
    >>> [line.kind for line in lines], [str(one) for one in damaged]
    (['note'], ['line 2 is no line of a record', 'line 3 is cut off'])
    """
    lines, damaged = [], []
    pieces = data.split(b"\n")
    for number, piece in enumerate(pieces, 1):
        last = number == len(pieces)
        if last and not piece:
            continue
        line = None if last else _line(number, piece)
        what = "is cut off" if last else "is no line of a record"
        what = record_fields.wrong(line) if line else what
        if line is None or what:
            damaged.append(Damage(number=number, what=what))
        else:
            lines.append(line)
    return lines, damaged


def with_lines(told: bytes, *lines: Mapping[str, Any]) -> bytes:
    """Return the record with lines at its end; a line that was cut off stays one by itself."""
    return told + added(told, *lines)


def added(told: bytes, *lines: Mapping[str, Any]) -> bytes:
    """Return what has to be appended to the record for these lines."""
    mend = b"\n" if told and not told.endswith(b"\n") else b""
    return mend + b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def entry(kind: str, by: str, at: str = "", **fields: Any) -> dict[str, Any]:
    """Return a line as it is written; ``at`` is now when not given."""
    return {"at": at or now(), "kind": kind, "by": by, **fields}


def opening(by: str = RBKERNEL, **fields: Any) -> dict[str, Any]:
    """Return the first line of a record."""
    return entry("opened", by, **{**dict.fromkeys(_OPENED, ""), **fields})


def closing(by: str, redactor: Redactor | None = None, **fields: Any) -> dict[str, Any]:
    """Return the line that closes an incident, without secrets, to be sealed as it is written."""
    return entry("closed", by, **_redacted(fields, redactor or Redactor()))


def sealed_lines(told: bytes) -> list[dict[str, Any]]:
    """Return the seals that a record tells of, of runs and of the record itself."""
    lines, _damaged = parse(told)
    return [{"at": line.at, **line.data} for line in lines if line.kind == "sealed"]


def sealed_line(told: bytes, run_id: str) -> dict[str, Any]:
    """Return the line of one run's seal; empty where there is none."""
    lines = sealed_lines(told)
    return next((line for line in lines if line.get("run_id") == run_id), {})


def check_id(incident: str) -> None:
    """Refuse what is no incident id: it becomes the name of a folder.

    Raises
    ------
    EvidenceError
        It is none.
    """
    if not INCIDENT_ID.fullmatch(incident):
        raise EvidenceError(
            f"{incident!r} is no incident id",
            next_step="`rbkernel incident list` shows the incidents there are; an id looks like"
            " INC-20261120-7f3a",
        )


def _append(folder: Path, kind: str, by: str, said: Mapping[str, Any]) -> Line:
    path = folder / manifest.INCIDENT
    told = path.read_bytes() if path.is_file() else b""
    if known := _same(told, kind, said):
        return replace(known, is_new=False)
    line = opening(by, **said) if kind == "opened" else entry(kind, by, **said)
    first = [] if told or kind == "opened" else [opening(by)]
    store.make_folder(folder)
    new = added(told, *first, line)
    store.append(path, new)
    number = told.count(b"\n") + new.count(b"\n")
    return Line(number=number, kind=kind, at=line["at"], by=by, data=_rest(line))


def _same(told: bytes, kind: str, said: Mapping[str, Any]) -> Line | None:
    """Return the line that says the same already, if its kind is said only once."""
    keys = _KEYS.get(kind)
    if keys is None or not told or (keys and not any(said.get(key) for key in keys)):
        return None
    rare = next((str(said[key]).encode() for key in keys if said.get(key)), b"")
    alike = (line for line in _lines_with(rare, told) if line.kind == kind)
    return next((one for one in alike if all(one.data.get(k) == said.get(k) for k in keys)), None)


def _lines_with(rare: bytes, told: bytes) -> Iterator[Line]:
    """Yield the lines that hold these bytes: a long record is not read line by line for each."""
    if rare not in told:
        return
    for number, piece in enumerate(told.split(b"\n")[:-1], 1):
        if rare in piece and (line := _line(number, piece)):
            yield line


def _redacted(fields: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    """Return the fields as JSON has them, without secrets in what people or senders wrote."""
    plain = json.loads(json.dumps(fields, default=_time))
    return {
        name: value if name in _PLAIN else redactor.value([value])[0]
        for name, value in plain.items()
    }


def _time(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    raise TypeError(f"a {type(value).__name__} is not written into a record")


def _line(number: int, piece: bytes) -> Line | None:
    try:
        said = json.loads(piece)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    kind, at, by = (said.get(name, "") for name in _ALWAYS)
    if not (isinstance(kind, str) and isinstance(at, str) and kind and at):
        return None
    return Line(number=number, kind=kind, at=at, by=str(by), data=_rest(said))


def _rest(said: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if name not in _ALWAYS}


def _listed(path: Path) -> IncidentRecord:
    proof = Beginnings.of(path.parent)
    return _told(path.parent, suspect.read_bytes(path), proof)


def _told(folder: Path, data: bytes | None, proof: Beginnings) -> IncidentRecord:
    if data is None:
        return tell([], folder.name, [Damage(number=0, what="cannot be read")])
    lines, damaged = parse(data)
    late = datetime.now(UTC) + AHEAD
    early = [
        Damage(number=one.number, what=f"{FUTURE}: {one.at}")
        for one in lines
        if instant(one.at) > late
    ]
    damaged = [*proof.damage(data), *damaged, *early]
    return tell(record_proof.held(lines, folder), folder.name, damaged)
