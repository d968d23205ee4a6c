"""Check a run's files, its signature, and whether its notebook was edited before the seal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from rbkernel.evidence import manifest, signing, store, suspect
from rbkernel.evidence.content import EXECUTED
from rbkernel.evidence.verify.changes import edited_before
from rbkernel.evidence.verify.problem import Problem, read
from rbkernel.evidence.verify.sealed import SealedFiles


def check(files: SealedFiles, run: Path) -> Iterator[Problem]:
    """Yield the problems of a run's files, compared with the hashes from its seal."""
    if files.manifest_of(run) is None:
        _listing, problems = read(run / manifest.SUMS, manifest.read_listing)
        yield from problems
    sums = files.sums(run)
    for name, sha256 in sums.items():
        yield from files.check(f"{run.name}/{name}", sha256)
    for name in suspect.all_below(run) if sums else ():
        if name not in sums and name not in (manifest.SUMS, manifest.SIGNATURE):
            yield Problem(file=run / name, what="is not covered by the seal")
    yield from _signature(files, run)
    if {EXECUTED, store.JOURNAL} <= files.intact(run) and suspect.may_be_read(run / store.SNAPSHOT):
        for cell, what in edited_before(run):
            yield Problem(file=run / EXECUTED, cell=cell, what=what)


def _signature(files: SealedFiles, run: Path) -> Iterator[Problem]:
    """Check the signature of `SHA256SUMS`, and that the manifest that it names still exists."""
    path, signed = run / manifest.SUMS, run / manifest.SIGNATURE
    own = f"{run.name}/{manifest.SUMS}"
    known = (files.manifest_of(run) or {}).get(own)
    listing, _reported = read(path, manifest.read_listing)
    if listing is None or known not in (None, files.hash(own)):
        return  # already reported
    if listing.signer:
        why = signing.refusal(path, signed, listing.signer, files.signers)
        if why:
            yield Problem(file=signed, what=why)
    elif os.path.lexists(signed):
        yield Problem(file=signed, what="is not covered by the seal")
    if files.before is not None and listing.previous not in files.before:
        yield Problem(
            file=path, what="contains the hash of an earlier seal that is missing from HEADS"
        )
