"""An incident's own record, `incident.jsonl`: the lines that tell of its seals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def sealed_lines(told: bytes) -> list[dict[str, Any]]:
    """Return the seals that an incident's record tells of; damaged lines are left out."""
    lines = []
    for line in told.splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and entry.get("kind") == "sealed":
            lines.append(entry)
    return lines


def sealed_line(told: bytes, run_id: str) -> dict[str, Any]:
    """Return the line of one run's seal; empty where there is none."""
    lines = sealed_lines(told)
    return next((line for line in lines if line.get("run_id") == run_id), {})


def with_line(told: bytes, line: Mapping[str, Any]) -> bytes:
    """Return the record with a line at its end."""
    return told + json.dumps(line).encode() + b"\n"
