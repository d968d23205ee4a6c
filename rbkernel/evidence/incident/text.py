"""Parse the text of a record into lines, and format new lines. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rbkernel import strictjson
from rbkernel.evidence import formats
from rbkernel.evidence.incident.fields import wrong
from rbkernel.evidence.incident.line import OPENED, Damage, Line
from rbkernel.model import now

RBKERNEL = "rbkernel"
_ALWAYS = ("kind", "at", "by")


def parse(data: bytes) -> tuple[list[Line], list[Damage]]:
    r"""Parse the bytes of a record; return its lines, and the lines that cannot be parsed.

    >>> note = b'{"at": "2026-11-20T03:02:11+00:00", "kind": "note", "by": "ann"}\n'
    >>> lines, damaged = parse(note + b'nonsense\n{"at')
    >>> [line.kind for line in lines], [str(one) for one in damaged]
    (['note'], ['line 2 is not a line of a record', 'line 3 is cut off'])
    """
    lines, damaged = [], []
    pieces = data.split(b"\n")
    for number, piece in enumerate(pieces, 1):
        last = number == len(pieces)
        if last and not piece:
            continue
        line = None if last else _line(number, piece)
        what = "is cut off" if last else "is not a line of a record"
        what = wrong(line) if line else what
        if line is None or what:
            damaged.append(Damage(number=number, what=what))
        else:
            lines.append(line)
    return lines, damaged


def with_lines(record_bytes: bytes, *lines: Mapping[str, Any]) -> bytes:
    """Return a record's bytes with lines appended; a truncated last line stays a separate line."""
    return record_bytes + added(record_bytes, *lines)


def added(record_bytes: bytes, *lines: Mapping[str, Any]) -> bytes:
    """Return the bytes to write at the end of a record to append these lines."""
    line_feed = b"\n" if record_bytes and not record_bytes.endswith(b"\n") else b""
    return line_feed + b"".join(map(_written, lines))


def _written(line: Mapping[str, Any]) -> bytes:
    return json.dumps(strictjson.normal(line, str), allow_nan=False).encode() + b"\n"


def entry(kind: str, by: str, at: str = "", **fields: Any) -> dict[str, Any]:
    """Return the fields of a new line; ``at`` is the current time if not given."""
    return {"at": at or now(), "kind": kind, "by": by, **fields}


def opening(by: str = RBKERNEL, **fields: Any) -> dict[str, Any]:
    """Return the fields of the `opened` line, the first line of a record."""
    return entry("opened", by, **formats.written(), **{**dict.fromkeys(OPENED, ""), **fields})


def sealed_lines(record_bytes: bytes) -> list[dict[str, Any]]:
    """Return the `sealed` lines of a record: seals of runs and of the record itself."""
    lines, _damaged = parse(record_bytes)
    return [{"at": line.at, **line.data} for line in lines if line.kind == "sealed"]


def sealed_line(record_bytes: bytes, run_id: str) -> dict[str, Any]:
    """Return the fields of one run's `sealed` line; empty if the run has no such line."""
    lines = sealed_lines(record_bytes)
    return next((line for line in lines if line.get("run_id") == run_id), {})


def lines_with(rare: bytes, record_bytes: bytes) -> Iterator[Line]:
    """Yield the lines that contain these bytes, without parsing the other lines."""
    if rare not in record_bytes:
        return
    for number, piece in enumerate(record_bytes.split(b"\n")[:-1], 1):
        if rare in piece and (line := _line(number, piece)):
            yield line


def _line(number: int, piece: bytes) -> Line | None:
    try:
        said = strictjson.loads(piece)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    kind, at, by = (said.get(name, "") for name in _ALWAYS)
    if not (isinstance(kind, str) and isinstance(at, str) and kind and at):
        return None
    return Line(number=number, kind=kind, at=at, by=str(by), data=data_of(said))


def data_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a line without its kind, time and author."""
    return {name: value for name, value in said.items() if name not in _ALWAYS}
