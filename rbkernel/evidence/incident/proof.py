"""Check quickly which seals of an incident's record are valid; `verify` checks everything.

A seal first writes a line into the record and, as its last step, a hash into `HEADS`. A line
without this hash therefore proves nothing, because the seal may have been interrupted; readers show
it as a seal that was begun. A copy of an incident has manifests but no `HEADS`. There the lines
cannot be checked against `HEADS`, and are accepted as they are.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from rbkernel.errors import EvidenceError
from rbkernel.evidence import manifest, store, suspect
from rbkernel.evidence.incident.line import SEALING, Damage, Line, instant
from rbkernel.evidence.manifest import Prefix

# a seal writes its line first and `HEADS` a few renames later; a reader in between reads again
_RENAMES = timedelta(seconds=5)
_LOOKS, _PAUSE_S = 3, 0.1


def held(lines: Sequence[Line], folder: Path) -> list[Line]:
    """Return the lines of a record, but with unfinished seals (not in `HEADS`) marked `SEALING`.

    Parameters
    ----------
    lines
        The lines, already read.
    folder
        The incident's folder, inside its evidence folder.
    """
    found = _held(lines, folder)
    for _ in range(_LOOKS):
        if not any(line.kind == SEALING and _is_young(line) for line in found):
            break
        time.sleep(_PAUSE_S)
        found = _held(lines, folder)
    return found


@dataclass(frozen=True)
class Beginnings:
    """The length and the hash that an incident's record had at each of its seals.

    It is read before the record, so that a seal made in the meantime causes no false damage.
    """

    prefixes: Mapping[str, Prefix]
    damaged: tuple[Damage, ...]

    @classmethod
    def of(cls, folder: Path) -> Beginnings:
        """Read the lengths and hashes from an incident's manifests.

        Only the manifests that `HEADS` lists are read; in a copy without `HEADS`, all manifests.
        """
        prefixes, damaged = {}, []
        for name, sha256 in _manifests(folder).items():
            data = suspect.read_bytes(folder / name)
            try:
                if data is None or sha256 not in ("", manifest.digest(data)):
                    raise EvidenceError("it is missing or was changed")
                if record := manifest.read_listing(data, name).record:
                    prefixes[name] = record
            except EvidenceError as error:
                damaged.append(
                    Damage(number=0, what=f"cannot be checked against {name}: {error.what}")
                )
        return cls(prefixes, tuple(damaged))

    def damage(self, record_bytes: bytes | None) -> list[Damage]:
        """Return the parts of a record that changed since they were sealed."""
        changed = (
            Damage(
                number=0,
                what=f"was changed after its seal: its beginning differs from the one in {name}",
            )
            for name, prefix in self.prefixes.items()
            if record_bytes is not None and not prefix.begins(record_bytes)
        )
        return [*self.damaged, *islice(changed, 1)]


def _manifests(folder: Path) -> dict[str, str]:
    """Return the hashes of an incident's manifests by name; they are empty without `HEADS`."""
    heads = suspect.read_bytes(folder.parent / manifest.HEADS)
    if heads is None:
        names = (path.name for path in suspect.entries(folder) if _is_copy(folder))
        return {name: "" for name in names if manifest.MANIFEST_NAME.fullmatch(name)}
    place = rf"(?m)^([0-9a-f]{{64}})  {re.escape(folder.name)}/(MANIFEST\.\d{{4,}})  "
    return {name.decode(): sha256.decode() for sha256, name in re.findall(place.encode(), heads)}


def _held(lines: Sequence[Line], folder: Path) -> list[Line]:
    if not any(line.kind == "sealed" for line in lines):
        return list(lines)
    heads = suspect.read_bytes(folder.parent / manifest.HEADS)
    if heads is None and _is_copy(folder):
        return list(lines)
    return [_line(line, heads or b"") for line in lines]


def _line(line: Line, heads: bytes) -> Line:
    seal = line.text("run_id") or line.text("record")
    begun = line.kind == "sealed" and f"  {seal}\n".encode() not in heads
    return replace(line, kind=SEALING) if begun else line


def _is_copy(folder: Path) -> bool:
    """Tell whether the folder is a copy: it has manifests, but is not inside an evidence folder."""
    manifests = [p for p in suspect.entries(folder) if manifest.MANIFEST_NAME.fullmatch(p.name)]
    return bool(manifests) and not (folder.parent / store.LOCK).exists()


def _is_young(line: Line) -> bool:
    return timedelta() <= datetime.now(UTC) - instant(line.at) < _RENAMES
