"""The maintenance windows that apply: those of `rbkernel.toml`, and those declared by command.

A command appends its window to `maintenance.jsonl` in the evidence folder, where every gateway of a
shared folder reads it. A later line with the same id changes its end. A line that cannot be read
silences nothing, and voids the windows before it, because it may have ended one of them.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rbkernel import strictjson
from rbkernel.config import Settings
from rbkernel.config.maintenance import Window
from rbkernel.errors import EvidenceError
from rbkernel.evidence import manifest, store, suspect
from rbkernel.redact import Redactor

FILE = manifest.MAINTENANCE


@dataclass(frozen=True, kw_only=True)
class Declared:
    """A window, and who declared it; ``id`` is empty for a window of the configuration."""

    window: Window
    by: str
    id: str = ""


def windows(settings: Settings) -> tuple[Declared, ...]:
    """Return all windows, past and future: of the configuration, then of commands."""
    configured = (Declared(window=one, by="rbkernel.toml") for one in settings.maintenance)
    return (*configured, *_declared(settings.evidence_root).values())


def declare(root: Path, window: Window, by: str) -> Declared:
    """Add a window to those that apply, and return it with its id.

    Raises
    ------
    EvidenceError
        The evidence folder is not writable, or the disk is full.
    """
    said = Redactor().value([window.reason])[0]
    clean = window.model_copy(update={"reason": str(said)})
    new = Declared(window=clean, by=by, id=f"M-{secrets.token_hex(3)}")
    _append(root, new)
    return new


def end(root: Path, id_: str, by: str, now: datetime) -> Declared:
    """End a declared window now, and return it.

    Raises
    ------
    EvidenceError
        There is no such window or it is over, or the file cannot be written.
    """
    found = _declared(root).get(id_)
    if found is None or now >= found.window.ends:
        raise EvidenceError(
            f"no window {id_} lasts that a command declared",
            where=str(root / FILE),
            next_step="`rbkernel maintenance list` shows all; to end a window of rbkernel.toml,"
            " change it there and restart `rbkernel serve`",
        )
    # the clock of the host that declared it may be ahead
    ends = max(now, found.window.begins + timedelta(microseconds=1))
    over = Declared(window=found.window.model_copy(update={"ends": ends}), by=by, id=id_)
    _append(root, over)
    return over


def _append(root: Path, one: Declared) -> None:
    line = {"id": one.id, "at": datetime.now(UTC).isoformat(), "by": one.by}
    said = one.window.model_dump(mode="json", by_alias=True)
    data = json.dumps({**line, **said}).encode() + b"\n"
    try:
        store.make_root(root)
        with store.locked(root / store.LOCK):
            before = suspect.read_bytes(root / FILE) or b""
            cut = before and not before.endswith(b"\n")
            store.append(root / FILE, (b"\n" if cut else b"") + data)
    except OSError as error:
        raise store.evidence_error(error, root / FILE) from error


def _declared(root: Path) -> dict[str, Declared]:
    found: dict[str, Declared] = {}
    for line in (suspect.read_bytes(root / FILE) or b"").splitlines():
        one = _read(line)
        found = {**found, one.id: one} if one else {}
    return found


def _read(line: bytes) -> Declared | None:
    try:
        said: Mapping[str, Any] = strictjson.loads(line)
        fields = {name: said[name] for name in ("from", "to", "match", "reason")}
        window = Window.model_validate(fields)
        return Declared(window=window, by=str(said["by"]), id=str(said["id"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
