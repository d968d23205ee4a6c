"""Check the types of the fields in a line of an incident's record. Pure.

Unknown fields and unknown kinds of lines are not checked, because a later version may write them.
The fields of a `sealed` line are not checked either: they are copied from a journal.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rbkernel.evidence.incident.line import Line

_TEXTS: Mapping[str, tuple[str, ...]] = {
    "opened": ("title", "severity", "service", "group_key"),
    "alert": (
        "source",
        "status",
        "fingerprint",
        "starts_at",
        "ends_at",
        "url",
        "identity",
        "severity",
    ),
    "run": ("run_id", "runbook", "state", "verdict", "why", "mind"),
    "situation": ("connection", "alert", "verdict"),
    "note": ("text", "origin"),
    "acknowledged": ("text", "origin"),
    "done": ("plan", "title", "note", "origin", "run_id"),
    "decided": (
        "identity",
        "question",
        "recommended",
        "reason",
        "choice",
        "origin",
        "note",
        "run_id",
        "runbook",
    ),
    "asked again": ("identity", "question", "origin", "why"),
    "continued": ("run_id", "runbook", "rests_on", "job", "why", "refused"),
    "status": ("status", "impact", "action", "eta"),
    "merged": ("into", "from", "severity"),
    "closed": ("resolution",),
    "reopened": ("why",),
    "action": ("state", "plan", "digest", "document", "signature", "signers", "key", "until"),
}
_TIMES = ("starts_at", "ends_at")
_MAPPINGS = ("labels", "annotations")


def wrong(line: Line) -> str:
    """Describe the first invalid field of a line; empty if all fields are valid.

    >>> def said(at="2026-11-20T03:02:11+00:00", **data):
    ...     return wrong(Line(number=1, kind="note", at=at, by="ann", data=data))
    >>> said(text="x"), said(at="2026-13-45"), said(text={})
    ('', 'has an invalid time: at 2026-13-45', 'has a field of the wrong type: text')
    """
    known = _TEXTS.get(line.kind, ())
    times = {"at": line.at} | {name: line.data.get(name) for name in _TIMES if name in known}
    for name, value in times.items():
        if isinstance(value, str) and not _is_time(value) and (value or name == "at"):
            return f"has an invalid time: {name} {value[:40]}"
    texts = (name for name in known if not isinstance(line.data.get(name), str | None))
    maps = (name for name in _MAPPINGS if line.kind == "alert" and not _is_mapping(line, name))
    field = next(iter((*texts, *maps)), "")
    return f"has a field of the wrong type: {field}" if field else ""


def _is_time(value: str) -> bool:
    """Tell whether a text is an ISO 8601 date with a time of day; a date alone is not enough."""
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return len(value) > len("2026-11-20")


def _is_mapping(line: Line, name: str) -> bool:
    value: Any = line.data.get(name)
    return value is None or isinstance(value, Mapping)
