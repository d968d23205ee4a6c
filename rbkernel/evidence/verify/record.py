"""Check an incident's record against its seals, and check that listed seals exist."""

from __future__ import annotations

import os
from collections.abc import Iterator

from rbkernel.evidence import manifest, suspect
from rbkernel.evidence.incident import parse, sealed_lines
from rbkernel.evidence.manifest import Prefix
from rbkernel.evidence.verify.problem import Problem
from rbkernel.evidence.verify.sealed import SealedFiles


def unsealed_lines(files: SealedFiles) -> int:
    """Return the number of lines of an incident's record that follow the last seal."""
    record_bytes = files.record_bytes or b""
    return len(parse(record_bytes[_sealed_bytes(files, record_bytes) :])[0])


def begins(files: SealedFiles) -> Iterator[Problem]:
    """Yield problems if the sealed beginning of a record changed, or a later line is damaged."""
    path = files.folder / manifest.INCIDENT
    record_bytes, prefixes = files.record_bytes, _prefixes(files)
    if record_bytes is None:
        if prefixes or os.path.lexists(path):
            yield Problem(file=path, what=suspect.why_unreadable(path))
        return
    for number, prefix in prefixes.items():
        if not prefix.begins(record_bytes):
            name = manifest.manifest_name(number)
            what = f"was changed after the seal: its beginning differs from the one in {name}"
            yield Problem(file=path, what=what)
            return
    sealed = _sealed_bytes(files, record_bytes)
    before = record_bytes.count(b"\n", 0, sealed)
    for damage in parse(record_bytes[sealed:])[1]:
        what = f"line {before + damage.number}, after the last seal, {damage.what}"
        yield Problem(file=path, what=what)


def gone(files: SealedFiles) -> Iterator[Problem]:
    """Yield a problem for each missing folder that the record says was sealed.

    A seal of the record itself writes its line before its folder. So the folder may be missing
    because the seal was interrupted. This is no problem if a later seal is complete, because
    that seal covers the line, too.
    """
    made_good = False
    for line in reversed(sealed_lines(files.record_bytes or b"")):
        name = str(line.get("folder"))
        there = manifest.is_sealable(name) and (files.folder / name).is_dir()
        if not there and not (made_good and line.get("record")):
            what = f"says that {name} is sealed, but it is missing"
            died = ": removed, or an interrupted seal (`rbkernel incident close` completes it)"
            what += died if line.get("record") else ""
            yield Problem(file=files.folder / manifest.INCIDENT, what=what)
        made_good = made_good or there


def times(files: SealedFiles) -> Iterator[Problem]:
    """Yield a problem for each seal in `HEADS` whose run or time is not in the record."""
    known = (files.newest or {}).get(manifest.INCIDENT)
    record_bytes = files.record_bytes or b""
    intact = all(prefix.begins(record_bytes) for prefix in _prefixes(files).values())
    if known not in (None, files.hash(manifest.INCIDENT)) or not intact:
        return  # the record itself was changed, which `begins` reports
    seals = {
        (str(line.get("run_id") or line.get("record")), str(line.get("at")))
        for line in sealed_lines(record_bytes)
    }
    for head in files.heads or ():
        if (head.run_id, head.at) not in seals:
            yield Problem(
                file=files.folder.parent / manifest.HEADS,
                what=f"run and time of the seal of {head.run_id} are not those in"
                f" {files.folder.name}/{manifest.INCIDENT}",
            )


def _prefixes(files: SealedFiles) -> dict[int, Prefix]:
    """Return the length and hash of the record's beginning at each seal, by manifest number."""
    return {number: one.record for number, one in files.listings.items() if one.record}


def _sealed_bytes(files: SealedFiles, record_bytes: bytes) -> int:
    """Return the number of sealed bytes of the record; an old manifest lists the whole file."""
    if manifest.INCIDENT in (files.newest or {}):
        return len(record_bytes)
    return max((prefix.size_bytes for prefix in _prefixes(files).values()), default=0)
