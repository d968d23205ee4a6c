"""The recorder, which writes a kernel's journal: each kernel process has one.

Invariants: sequence numbers have no gap and follow the order of the bytes (one lock around both);
a forked child never writes (the pid is checked); after the first failure to write, which `broken`
keeps, the recorder writes nothing more, so that a journal never silently skips a message. Every
line is strict JSON in the normal form of `rbkernel.strictjson`. The recorder redacts the events of
cells; the kernel's session has already redacted its messages. A secret that becomes known later in
the run is also removed from the earlier lines; the recorder's own fields never change
(`rbkernel.evidence.lines`).
"""

from __future__ import annotations

import getpass
import hashlib
import os
import platform
import socket
import threading
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from rbkernel import strictjson
from rbkernel.errors import EvidenceError, NotStarted, RecorderError
from rbkernel.evidence import formats, store
from rbkernel.evidence.lines import redacted_data, redacted_document, redacted_line
from rbkernel.model import RUN_ID, new_run_id, now
from rbkernel.redact import Redactor


class Recorder:
    """Writes the outputs of a kernel and the events of its cells into the journal.

    The run folder is created at the first record, so that a kernel that never ran a cell leaves
    nothing behind. Callers must therefore check `started` first, except for the request of a cell.

    Parameters
    ----------
    root
        The evidence folder.
    run_id
        The id that the caller of the kernel reserved. A second kernel with the same id, as after
        a restart, takes a new id.
    redactor
        Removes the secrets; by default, a redactor that knows only the patterns.
    document
        The notebook that is being run, if the caller of the kernel named it. It is saved before
        the first cell runs, so that it is not lost if the run dies before `rb.start`.
    group
        Whether the group of the evidence folder may read the folder; None leaves it unchanged.
    """

    def __init__(
        self,
        root: Path,
        run_id: str | None = None,
        redactor: Redactor | None = None,
        document: Path | None = None,
        *,
        group: bool | None = None,
    ) -> None:
        self.root = root
        self._group = group
        self.run_id = run_id if run_id and RUN_ID.fullmatch(run_id) else new_run_id()
        self.broken: RecorderError | None = None
        # the kernel's connection file, which a restarted kernel keeps
        self.connection_file: Path | None = None
        self.request: dict[str, Any] = {}
        self._journal: store.JournalFile | None = None
        self._closed = False
        self._sequence = 0
        # shared with the session: messages are redacted, journaled and sent one after the other
        self.lock = threading.RLock()
        self.redactor = redactor or Redactor()
        self._told: Counter[str] = Counter()
        self._document = document
        self._snapshot_of = ""
        self._snapshot_facts: dict[str, str] = {}
        self._pid = os.getpid()

    @property
    def folder(self) -> Path:
        """The folder in which this run is recorded until it is sealed."""
        return store.open_folder(self.root, self.run_id)

    @property
    def started(self) -> bool:
        """Whether a client has requested a cell; nothing is recorded before the first request."""
        return self._journal is not None

    def record(self, kind: str, *, sync: bool = False, **fields: Any) -> None:
        """Append one line to the journal.

        Parameters
        ----------
        kind
            The kind of the line: ``request``, ``iopub`` or ``reply`` for messages of the kernel,
            else the name of an event.
        sync
            Force the journal to disk; used at the end of a cell.
        fields
            Any values without secrets: this method does not redact them. They are written in
            normal form, and values unknown to JSON as text.

        Raises
        ------
        RecorderError
            The journal cannot be written, or an earlier write failed.
        """
        if os.getpid() != self._pid:
            return
        with self.lock:
            if self._closed:
                return
            if self.broken:
                raise self.broken
            try:
                journal = self._open()
                journal.append(self._line(kind, fields))
                if sync:
                    journal.sync()
            except RecorderError as error:
                self.broken = error
                raise

    def event(self, kind: str, **data: Any) -> None:
        """Append an event of a cell to the journal, redacted, with the id of the cell's request.

        Raises
        ------
        RecorderError
            The journal cannot be written, or the event cannot be searched for secrets.
        """
        if os.getpid() != self._pid:
            return
        with self.lock:
            self.record(kind, parent=self.request.get("msg_id"), data=self._redacted(kind, data))

    def snapshot(self, document: bytes, path: Path, sha256: str, found: str) -> None:
        """Save the document that is being run, with secrets removed, into the run's folder.

        ``found`` says how the document was found: ``named``, ``command line`` or ``catalogue``
        (found by the runbook's id only). Saving the same bytes again changes nothing.

        Raises
        ------
        EvidenceError
            The folder cannot be written.
        """
        if sha256 == self._snapshot_of:
            return
        with self.lock:
            kept = redacted_document(document, self.redactor)
            store.write_atomically(self.folder / store.SNAPSHOT, kept)
            self._snapshot_of = sha256
        facts = {"path": str(path), "sha256": sha256, "found": found}
        if kept != document:
            facts |= {"sha256": hashlib.sha256(kept).hexdigest(), "sha256_as_it_was": sha256}
        self._snapshot_facts = facts
        self.event("snapshot", **facts)

    def learn(self, name: str, value: str, *, public: Collection[str] = ()) -> int:
        """Remember a secret, and remove it from the lines that are already written.

        Returns
        -------
        int
            The number of the journal's lines that held the secret. Somebody may have read those
            lines, so the secret must be changed.

        Raises
        ------
        RecorderError
            The journal cannot be read or rewritten.
        """
        if os.getpid() != self._pid:
            return 0
        with self.lock:
            if not self.redactor.learn(name, value, public=public) or self._journal is None:
                return 0
            before = Counter(self.redactor.counts)
            lines = self._take_out(self._journal)
            self.redactor.counts.clear()
            self.redactor.counts.update(before)
            if lines:
                self.event("late secret", name=name, lines=lines)
            return lines

    def tell_redactions(self, parent: str | None) -> None:
        """Record how often each redaction rule matched since the last such record."""
        new = self.redactor.counts - self._told
        if new and os.getpid() == self._pid:
            self.record("redaction", parent=parent, data={"rules": dict(sorted(new.items()))})
            self._told = Counter(self.redactor.counts)

    def close(self) -> None:
        """Write the journal's last line and release its lock; do nothing if nothing was recorded.

        Later records, from a thread that outlives its kernel, are ignored.
        """
        if os.getpid() != self._pid or self._journal is None:
            return
        with self.lock:
            if not self.broken:
                self.record("end", sync=True, redacted=dict(sorted(self.redactor.counts.items())))
            self._closed = True
            self._journal.close()
            self._journal = None

    def _redacted(self, kind: str, data: Mapping[str, Any]) -> Any:
        try:
            return redacted_data(kind, strictjson.normal(data, str), self.redactor)
        except (ValueError, TypeError, RecursionError) as error:
            self.broken = RecorderError(
                f"the event {kind!r} cannot be searched for secrets: {error}",
                where=str(self.folder),
                next_step="restart the kernel, and remove the object that the last cell recorded",
            )
            raise self.broken from error

    def _take_out(self, journal: store.JournalFile) -> int:
        """Rewrite the journal without the known secrets, atomically."""
        lines = (journal.folder / store.JOURNAL).read_bytes().splitlines(keepends=True)
        clean = [redacted_line(line, self.redactor) for line in lines]
        changed = sum(old != new for old, new in zip(lines, clean, strict=True))
        if changed:
            journal.replace(b"".join(clean))
        snapshot = self.folder / store.SNAPSHOT
        if snapshot.is_file():
            document = snapshot.read_bytes()
            kept = redacted_document(document, self.redactor)
            if kept != document:
                store.write_atomically(snapshot, kept)
                before = self._snapshot_facts
                digest = hashlib.sha256(kept).hexdigest()
                facts = {"sha256_as_it_was": before["sha256"], **before, "sha256": digest}
                self.event("snapshot", **facts)
        return changed

    def _open(self) -> store.JournalFile:
        if self._journal is None:
            if self.folder.exists():
                self.run_id = new_run_id()
            try:
                store.make_root(self.root, group=self._group)
            except OSError as error:
                raise store.recorder_error(error, self.folder) from error
            self._journal = store.JournalFile(self.folder)
            self._journal.append(self._line("kernel", self._facts()))
            self._keep_document()
        return self._journal

    def _keep_document(self) -> None:
        """Save a snapshot of the document that the kernel's caller named, if it can be read."""
        if self._document is None:
            return
        try:
            document = self._document.read_bytes()
            strictjson.loads(document)
        except (OSError, ValueError, RecursionError):
            return
        digest = hashlib.sha256(document).hexdigest()
        try:
            self.snapshot(document, self._document, digest, "named")
        except EvidenceError as error:
            raise store.recorder_error(OSError(error.what), self.folder) from error

    def _facts(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "pid": self._pid,
            "host": socket.gethostname(),
            "user": getpass.getuser(),
            "python": platform.python_version(),
            **formats.written(),
            # facts from the caller of the kernel, for a run that ends before rb.start
            "runbook": self.redactor.value(os.environ.get("RBKERNEL_RUNBOOK_ID")),
            "incident": self.redactor.value(os.environ.get("RBKERNEL_INCIDENT")),
        }

    def _line(self, kind: str, fields: dict[str, Any]) -> bytes:
        self._sequence += 1
        line = {"seq": self._sequence, "at": now(), "kind": kind, **fields}
        return strictjson.dumps(line) + b"\n"


_current: Recorder | None = None


def install(recorder: Recorder) -> None:
    """Set the recorder of this process; the kernel calls this once, at its start."""
    global _current
    _current = recorder


def current() -> Recorder:
    """Return the recorder that writes the journal of this process.

    Raises
    ------
    NotStarted
        The code does not run in the rbkernel kernel, so nothing would be recorded.
    """
    if _current is None:
        raise NotStarted(
            "this notebook does not run in the rbkernel kernel, so nothing would be recorded",
            next_step="choose the kernel `rbkernel` (JupyterLab: Kernel > Change Kernel;"
            " papermill: -k rbkernel)",
        )
    return _current
