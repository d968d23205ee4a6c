"""Seal a run: move `open/<run_id>` into the incident, with hashes that make changes detectable.

Ordering rules: the contents are made first, without a lock, because the report takes time and
others write into the evidence folder. Then, with the lock of the evidence folder, all new files are
written and fsynced in a staging folder inside the open run, where a full disk does no harm. They
are renamed into place in this order: files that the incident's runs share, run folder,
`incident.jsonl`, `MANIFEST.NNNN`, `HEADS`. The line in `HEADS` is the seal; the open folder is
removed after it is written. After a crash at any point, the run can be sealed again. Sealing a
sealed run changes nothing.

Optional parts never prevent a seal: without a key or a report the run is sealed, and the seal says
what is missing.

Sealed files and their folder are read-only, so that neither an editor that saves by rename nor a
stray `rm` changes evidence by accident. This does not stop root or the owner: their changes are
detected if `HEADS` is published.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from rbkernel.errors import EvidenceError
from rbkernel.evidence import content, manifest, seals, store
from rbkernel.evidence import notebook as documents
from rbkernel.evidence.attest import Verification, verify_notebook
from rbkernel.evidence.content import EXECUTED, Report
from rbkernel.evidence.incident import RBKERNEL, entry, opening, sealed_line, with_lines
from rbkernel.evidence.manifest import Head, Listing, Prefix, digest
from rbkernel.evidence.questions import about
from rbkernel.evidence.reading import Record, read, snapshot_of
from rbkernel.model import INCIDENT_ID, Verdict, new_incident_id
from rbkernel.redact.span import MASK

if TYPE_CHECKING:
    from nbformat import NotebookNode

_STAGING = "sealing"


@dataclass(frozen=True, kw_only=True)
class SealedRun:
    """A sealed run; ``head`` is the hash of its seal, to be published.

    ``signer`` is the name of the signer, empty if unsigned. ``missing`` lists the optional parts
    that the seal lacks, as texts. ``is_new`` is false for a run that was sealed before.
    ``other_notebook`` is true when the given notebook is not the sealed one.
    """

    run_id: str
    incident: str
    folder: Path
    runbook: str
    title: str
    verdict: Verdict
    head: str
    sealed_at: str
    signer: str
    missing: tuple[str, ...]
    verification: Verification
    is_new: bool = field(default=True, compare=False)
    other_notebook: bool = field(default=False, compare=False)


def seal(
    root: Path,
    run_id: str,
    executed: NotebookNode | bytes | None = None,
    *,
    edited: bool = False,
    key: Path | None = None,
    report: Report | None = None,
) -> SealedRun:
    """Seal a run; return the existing seal if the run is already sealed.

    Parameters
    ----------
    root
        The evidence folder.
    run_id
        The run.
    executed
        The notebook that papermill or JupyterLab wrote, as a notebook or its exact bytes. If
        None, the notebook is rebuilt from the journal.
    edited
        Seal the notebook even if the journal does not attest all of it. The cells that are not
        attested are listed in the result's ``verification`` and in every verification of the
        seal.
    key
        The private key to sign with.
    report
        Makes the report files for people; it may raise `EvidenceError`.

    Raises
    ------
    EvidenceError
        There is no such run; its kernel is still running; the notebook is invalid, belongs to
        another run, was edited although ``edited`` is false, or holds a secret; or the disk is
        full or not writable. No partial seal is left behind.
    """
    seals.check_run_id(run_id)
    given = executed
    if not (given is None or isinstance(given, bytes)):
        given = documents.dump(given)
    sealing = _Seal(root, run_id, edited=edited, key=key, report=report)
    try:
        sealing.prepare(given)
        with store.locked(root / store.LOCK):
            return sealing.run(given)
    except OSError as error:
        raise store.evidence_error(error, root) from error


@dataclass(frozen=True, kw_only=True)
class _Contents:
    """What is sealed: the record of a run, the run's files, and the files that runs share."""

    record: Record
    files: Mapping[str, bytes]
    shared: Mapping[str, Callable[[], bytes]]


class _Seal:
    """One sealing operation: `prepare` without a lock, then `run` with the evidence folder's."""

    def __init__(
        self, root: Path, run_id: str, *, edited: bool, key: Path | None, report: Report | None
    ) -> None:
        self.root = root
        self.run_id = run_id
        self.edited = edited
        self.key = key
        self.report = report
        self.missing: Sequence[str] = ()
        self.open = store.open_folder(root, run_id)
        self.staging = self.open / _STAGING
        self.contents: _Contents | None = None
        self.heads: list[Head] = []

    def prepare(self, given: bytes | None) -> None:
        """Make the contents, unless the run is sealed, or was moved into place before a crash."""
        self.heads = seals.read_heads(self.root)
        if self._has_begun():
            return
        try:
            self._check_open()
            self.contents = self._make_contents(given)
            self._new_shared(self.contents, self.root / self.contents.record.incident)
        except (EvidenceError, OSError):
            if not self._has_begun():
                raise
            # another process has sealed the run meanwhile, and removed the open folder

    def _has_begun(self) -> bool:
        """Tell whether a seal of this run was written, or was interrupted while it was written."""
        sealed = any(head.run_id == self.run_id for head in self.heads)
        return sealed or seals.sealed_folder(self.root, self.run_id) is not None

    def run(self, given: bytes | None) -> SealedRun:
        self.heads = seals.read_heads(self.root)
        head = next((head for head in self.heads if head.run_id == self.run_id), None)
        folder = seals.sealed_folder(self.root, self.run_id)
        is_new = head is None
        if head is None:
            self._check_open()
            store.remove_folder(self.staging)  # left by a crash
            try:
                folder, head = self._seal(folder, given)
            finally:
                store.remove_folder(self.staging)
        elif folder is None:
            raise EvidenceError(
                f"the run is sealed, but its folder is missing from {head.incident}",
                where=str(self.root),
                next_step="restore the file from a copy; `rbkernel evidence verify` checks the"
                " copy",
            )
        store.remove_folder(self.open)
        return _sealed_run(folder, head, given, is_new=is_new)

    def _check_open(self) -> None:
        if not (self.open / store.JOURNAL).is_file():
            raise EvidenceError(
                f"there is no run {self.run_id}",
                where=str(self.root),
                next_step="`rbkernel evidence list` lists all runs",
            )
        if store.kernel_is_alive(self.open):
            raise EvidenceError(
                f"the kernel of run {self.run_id} is still alive",
                where=str(self.open),
                next_step="shut the kernel down (Kernel > Shut Down Kernel), then seal again",
            )

    def _seal(self, folder: Path | None, given: bytes | None) -> tuple[Path, Head]:
        store.make_folder(self.staging, exist_ok=False)
        shared: dict[str, bytes] = {}
        if folder is None:
            contents = self.contents or self._make_contents(given)
            record, target = contents.record, self._target(contents.record)
            files = self._with_sums(contents.files)
            shared = self._new_shared(contents, target.parent)
            store.write_folder(self.staging / "run", files)
            if shared:
                store.write_folder(self.staging / "shared", shared)
        else:  # an interrupted seal has already moved the run folder
            record, target, files = read(self.open), folder, _intact_files(folder)
        record_bytes = self._incident_lines(target, record)
        sealed_at = sealed_line(record_bytes, self.run_id)["at"]
        head, listing = new_generation(
            self.heads, target, files, record_bytes, self.run_id, sealed_at, shared=shared
        )
        store.write_atomically(self.staging / manifest.INCIDENT, record_bytes)
        stage_generation(self.staging, self.heads, head, listing)
        self._put_in_place(target, head, shared, new=folder is None)
        return target, head

    def _put_in_place(self, target: Path, head: Head, shared: Iterable[str], *, new: bool) -> None:
        incident = target.parent
        if new:
            store.make_folder(incident)
            for name in shared:
                store.move(self.staging / "shared" / name, incident / name)
            store.move(self.staging / "run", target)
        store.seal_folder(target)
        store.move(self.staging / manifest.INCIDENT, incident / manifest.INCIDENT)
        move_generation(self.staging, self.root, head)

    def _target(self, record: Record) -> Path:
        incident = record.incident or new_incident_id()
        if MASK.search(incident):
            incident = new_incident_id()
            why = "its incident id contained a secret, so the run is in a new incident"
            self.missing = (f"{why}, {incident}", *self.missing)
        if not INCIDENT_ID.fullmatch(incident):
            raise EvidenceError(
                f"{incident!r} is not an incident id",
                where=str(self.open),
                next_step="the journal was damaged: compare the file with a copy of the journal",
            )
        runbook = re.sub(r"[^A-Za-z0-9._-]", "_", record.runbook)[:80]
        if runbook == manifest.RECORD:
            runbook = f"{runbook}_"
        return seals.numbered(self.root / incident, runbook or "notebook", self.run_id)

    def _make_contents(self, given: bytes | None) -> _Contents:
        record = read(self.open)
        files = content.files(record, content.executed(record, given, edited=self.edited))
        report, no_report = content.report(record, files[content.EXECUTED], self.report)
        self.missing = (*self.missing, *no_report)
        shared = {name: cache(make) for name, make in report.shared.items()}
        return _Contents(record=record, files={**files, **report.own}, shared=shared)

    def _with_sums(self, files: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return the files of the run together with `SHA256SUMS` and its signature."""
        sums, unsigned = content.sums(files, seals.previous(self.heads), self.key)
        self.missing = (*self.missing, *unsigned)
        return {**files, **sums}

    def _new_shared(self, contents: _Contents, incident: Path) -> dict[str, bytes]:
        """Return the shared files that the incident does not have under an earlier seal."""
        known = _newest_sums(incident, self.heads) if contents.shared else {}
        there = {name for name in known if (incident / name).is_file()}
        return {name: make() for name, make in contents.shared.items() if name not in there}

    def _incident_lines(self, target: Path, record: Record) -> bytes:
        """Return the incident's record with the line of this seal appended."""
        path = target.parent / manifest.INCIDENT
        record_bytes = path.read_bytes() if path.is_file() else b""
        if sealed_line(record_bytes, record.run_id):
            return record_bytes  # an interrupted seal has already written the line
        run = record.run
        line = entry(
            "sealed",
            RBKERNEL,
            run_id=record.run_id,
            runbook=record.runbook,
            title=run.title if run else "",
            verdict=record.verdict.value,
            started_at=run.started_at if run else record.kernel.get("at", ""),
            about=about(record),
            folder=target.name,
            missing=list(self.missing),
        )
        return with_lines(record_bytes, *([] if record_bytes else [opening()]), line)


def new_generation(
    heads: Sequence[Head],
    target: Path,
    files: Mapping[str, bytes],
    record_bytes: bytes,
    run_id: str,
    at: str,
    *,
    shared: Mapping[str, bytes] = MappingProxyType({}),
) -> tuple[Head, bytes]:
    """Return the entry in `HEADS` for an incident's next manifest, and the manifest's bytes.

    Parameters
    ----------
    heads
        All seals so far.
    target
        The folder that is sealed, inside its incident; it need not exist yet.
    files
        The contents of the folder: name → bytes.
    record_bytes
        The incident's record, with the line of this seal.
    run_id, at
        The id of the sealed run, and the time of the seal.
    shared
        New files of the incident that are not in place yet: name → bytes.
    """
    incident = target.parent
    sums = {
        name: store.sha256(incident / name)
        for name in store.files_below(incident)
        if manifest.is_sealable(name) and name != manifest.INCIDENT
    }
    sums |= {name: digest(data) for name, data in shared.items()}
    sums |= {f"{target.name}/{name}": digest(data) for name, data in files.items()}
    listing = Listing(previous=seals.previous(heads), sums=sums, record=Prefix.of(record_bytes))
    data = listing.text.encode()
    generation = 1 + sum(head.incident == incident.name for head in heads)
    sha256 = digest(data)
    head = Head(sha256=sha256, incident=incident.name, generation=generation, at=at, run_id=run_id)
    return head, data


def stage_generation(staging: Path, heads: Sequence[Head], head: Head, listing: bytes) -> None:
    """Write the new manifest and `HEADS` to the staging folder, where a full disk does no harm."""
    text = "".join(one.line for one in (*heads, head)).encode()
    read_only = store.file_mode(staging, sealed=True)
    store.write_atomically(staging / "MANIFEST", listing, mode=read_only)
    store.write_atomically(staging / manifest.HEADS, text)


def move_generation(staging: Path, root: Path, head: Head) -> None:
    """Move the new manifest, then `HEADS`, into place; moving `HEADS` completes the seal."""
    incident = root / head.incident
    store.move(staging / "MANIFEST", incident / manifest.manifest_name(head.generation))
    store.move(staging / manifest.HEADS, root / manifest.HEADS)


def _newest_sums(incident: Path, heads: Sequence[Head]) -> Mapping[str, str]:
    """Return the hashes in the newest manifest of an incident; empty without a readable one."""
    newest = next((head for head in reversed(heads) if head.incident == incident.name), None)
    if newest is None:
        return {}
    path = incident / manifest.manifest_name(newest.generation)
    try:
        return manifest.read_listing(path.read_bytes(), str(path)).sums
    except (OSError, EvidenceError):
        return {}  # `rbkernel evidence verify` reports it


def _intact_files(folder: Path) -> dict[str, bytes]:
    """Return the files that an interrupted seal moved into place, if they are unchanged."""
    files = {name: (folder / name).read_bytes() for name in store.files_below(folder)}
    listing = manifest.read_listing(files.get(manifest.SUMS, b""), str(folder / manifest.SUMS))
    unlisted = (manifest.SUMS, manifest.SIGNATURE)
    sums = {name: digest(data) for name, data in files.items() if name not in unlisted}
    if listing.sums != sums:
        raise EvidenceError(
            "this folder is from an interrupted seal and was changed since",
            where=str(folder),
            next_step="keep a copy of the folder elsewhere, remove it, and seal the run again",
        )
    return files


def _sealed_run(folder: Path, head: Head, given: bytes | None, *, is_new: bool) -> SealedRun:
    record = read(folder)
    sums = folder / manifest.SUMS
    record_bytes = (folder.parent / manifest.INCIDENT).read_bytes()
    data = (folder / EXECUTED).read_bytes()
    notebook = documents.parse(data, where=str(folder / EXECUTED))
    return SealedRun(
        run_id=head.run_id,
        incident=head.incident,
        folder=folder,
        runbook=record.runbook,
        title=record.run.title if record.run else "",
        verdict=record.verdict,
        head=head.sha256,
        sealed_at=head.at,
        signer=manifest.read_listing(sums.read_bytes(), str(sums)).signer,
        missing=tuple(sealed_line(record_bytes, head.run_id).get("missing", ())),
        verification=verify_notebook(notebook, record, snapshot_of(record)),
        is_new=is_new,
        other_notebook=given not in (None, data),
    )
