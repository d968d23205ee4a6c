"""Collect the files of a run that a seal covers, as bytes.

A run has only one sealed notebook. A notebook that the journal does not attest is therefore
refused unless the caller asks for it explicitly. A notebook that holds a secret is always refused:
the journal is redacted, but papermill and people also write into notebooks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rbkernel.errors import EvidenceError
from rbkernel.evidence import manifest, signing, store
from rbkernel.evidence import notebook as documents
from rbkernel.evidence.attest import ATTESTED, SAVED_EARLY, run_id_of, verify_notebook
from rbkernel.evidence.manifest import Listing, digest
from rbkernel.evidence.reading import Record, snapshot_of
from rbkernel.evidence.rebuild import rebuild
from rbkernel.redact import leaks


@dataclass(frozen=True, kw_only=True)
class ReportFiles:
    """The files of a run's report by name, for people.

    ``own`` files are in the folder of the run. ``shared`` files are in the folder of the incident,
    where the next run finds them: they are only made if the incident does not have them. A file's
    name therefore changes with its content.
    """

    own: Mapping[str, bytes] = field(default_factory=dict)
    shared: Mapping[str, Callable[[], bytes]] = field(default_factory=dict)


# makes the report files from the record and the bytes of the sealed notebook
Report = Callable[[Record, bytes], ReportFiles]
# the optional parts that a seal lacks, in words
Missing = tuple[str, ...]

EXECUTED = "executed.ipynb"
_NAMED = 3


def files(record: Record, notebook: bytes) -> dict[str, bytes]:
    """Return the content of an open run's journal, snapshot and notebook, by file name."""
    found = {store.JOURNAL: (record.folder / store.JOURNAL).read_bytes()}
    snapshot = record.folder / store.SNAPSHOT
    if snapshot.is_file():
        found[store.SNAPSHOT] = snapshot.read_bytes()
    return {**found, EXECUTED: notebook}


def executed(record: Record, given: bytes | None, *, edited: bool) -> bytes:
    """Return the notebook to seal: the given notebook, else one rebuilt from the journal.

    A client that is ended together with the run may save the notebook before the last output has
    arrived. The journal then has all of it and more, so the rebuilt notebook is returned.

    Raises
    ------
    EvidenceError
        The given notebook is invalid, belongs to another run, was edited although ``edited`` is
        false, or holds a secret.
    """
    snapshot = snapshot_of(record)
    if given is None:
        return documents.dump(rebuild(record, snapshot))
    notebook = documents.parse(given, where="the notebook to seal")
    shown = run_id_of(notebook)
    if shown not in (None, record.run_id):
        raise EvidenceError(
            f"the notebook shows run {shown}, not {record.run_id}",
            where="the notebook to seal",
            next_step=f"seal it as {shown}",
        )
    compared = verify_notebook(notebook, record, snapshot)
    # the kernel has searched the outputs that the journal attests
    attested = {check.index for check in compared.cells if check.state == ATTESTED}
    if found := leaks(notebook, but_outputs_of=attested):
        raise EvidenceError(
            f"the notebook holds what looks like a secret: {_named(found)}",
            where="the notebook to seal",
            next_step=f"run `rbkernel evidence seal {record.run_id}`: it seals a notebook that is"
            " rebuilt from the journal, with secrets redacted; then rotate that secret, and delete"
            " the notebook that holds it",
        )
    if edited or compared.ok:
        return given
    if not compared.unreadable and all(one.state == SAVED_EARLY for one in compared.problems):
        return documents.dump(rebuild(record, snapshot))
    problems = [*compared.problems, *compared.unreadable]
    raise EvidenceError(
        f"the notebook differs from the journal: {_named(problems)}",
        where="the notebook to seal",
        next_step=f"`rbkernel evidence seal {record.run_id}` seals the notebook as the journal has"
        " it; `--edited` keeps the edits, and `verify` always reports them",
    )


def report(record: Record, notebook: bytes, make: Report | None) -> tuple[ReportFiles, Missing]:
    """Return the readable report files, or the reason why there are none."""
    try:
        return make(record, notebook) if make else ReportFiles(), ()
    except EvidenceError as error:
        return ReportFiles(), (f"the report could not be made: {error}",)


def sums(
    sealed: Mapping[str, bytes], previous: str, key: Path | None
) -> tuple[dict[str, bytes], Missing]:
    """Return the files `SHA256SUMS` and its signature, or say why there is no signature."""
    listing = Listing(previous=previous, sums={name: digest(data) for name, data in sealed.items()})
    if key is None:
        return {manifest.SUMS: listing.text.encode()}, ()
    try:
        text = replace(listing, signer=signing.signer_of(key).name).text.encode()
        return {manifest.SUMS: text, manifest.SIGNATURE: signing.sign(key, text)}, ()
    except EvidenceError as error:
        return {manifest.SUMS: listing.text.encode()}, (f"unsigned: {error}",)


def _named(found: Sequence[object]) -> str:
    others = len(found) - _NAMED
    more = f"; and {others} more" if others > 0 else ""
    return "; ".join(map(str, found[:_NAMED])) + more
