"""The only module that writes evidence bytes.

Ordering rules: a whole file is written to a temporary name, fsynced, renamed, and its folder
fsynced, so that a reader sees the old bytes or the new ones. A journal line is one `write` of a
whole line with O_APPEND, so that a killed process leaves at most one cut line, at the end.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rbkernel.errors import EvidenceError, RecorderError

JOURNAL = "journal.jsonl"
SNAPSHOT = "runbook.ipynb"
KERNEL_LOCK = "kernel.lock"
# held while a seal or a line is written: one a root
LOCK = ".lock"
_CHUNK_BYTES = 1 << 20


def open_folder(root: Path, run_id: str) -> Path:
    """Return where a run lies from kernel start to seal."""
    return root / "open" / run_id


class JournalFile:
    """The open end of a journal: append a line, force it to disk, close it.

    Holds the folder's ``kernel.lock`` as long as the process lives. The lock is POSIX (`lockf`):
    a forked child does not inherit it, so it tells of the kernel and not of its children.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, mode=0o700)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._lock = os.open(folder / KERNEL_LOCK, flags, 0o600)
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._file = os.open(folder / JOURNAL, flags | os.O_EXCL, 0o600)
            sync_folder(folder)
        except OSError as error:
            raise recorder_error(error, folder) from error
        self.folder = folder

    def append(self, line: bytes) -> None:
        """Write one whole line.

        Raises
        ------
        RecorderError
            The disk is full or failed; what fitted is cut off again.
        """
        before = os.fstat(self._file).st_size
        try:
            written = os.write(self._file, line)
            if written != len(line):
                os.ftruncate(self._file, before)
                raise OSError(28, "No space left on device")
        except OSError as error:
            raise recorder_error(error, self.folder) from error

    def replace(self, data: bytes) -> None:
        """Put other bytes in the place of all that was appended; a reader sees the old or the new.

        Raises
        ------
        RecorderError
            The disk is full or failed; the journal is as it was.
        """
        path = self.folder / JOURNAL
        try:
            write_atomically(path, data, mode=0o600)
            os.close(self._file)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except (OSError, EvidenceError) as error:
            cause = error if isinstance(error, OSError) else OSError(str(error))
            raise recorder_error(cause, self.folder) from error

    def sync(self) -> None:
        """Force everything appended so far to disk."""
        try:
            os.fsync(self._file)
        except OSError as error:
            raise recorder_error(error, self.folder) from error

    def close(self) -> None:
        """Close the journal and give the lock back."""
        os.close(self._file)
        os.close(self._lock)


def recorder_error(error: OSError, folder: Path) -> RecorderError:
    """Say why the flight recorder cannot write, and what to do."""
    return RecorderError(
        f"the flight recorder cannot write: {error.strerror or error}",
        where=str(folder),
        next_step="free space or permissions there, or set RBKERNEL_EVIDENCE to a folder that can"
        " be written, then restart the kernel",
    )


def kernel_is_alive(folder: Path) -> bool:
    """Tell whether the kernel that writes this open run still lives."""
    try:
        lock = os.open(folder / KERNEL_LOCK, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace a whole file, or leave it as it was.

    Raises
    ------
    EvidenceError
        The folder is missing, not writable, or full; no temporary file is left behind.
    """
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(temporary).replace(path)
        temporary = None
        sync_folder(path.parent)
    except OSError as error:
        raise evidence_error(error, path) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def prove(path: Path, size_bytes: int) -> None:
    """Prove that a file of that size can be written beside a path; nothing of it stays.

    Raises
    ------
    EvidenceError
        The folder is missing, not writable, or full.
    """
    try:
        with tempfile.TemporaryFile(dir=path.parent) as file:
            for start in range(0, size_bytes, _CHUNK_BYTES):
                file.write(bytes(min(_CHUNK_BYTES, size_bytes - start)))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise evidence_error(error, path) from error


def append(path: Path, data: bytes) -> None:
    """Add whole lines to a file that grows, made when missing; on disk when it returns.

    Raises
    ------
    OSError
        The disk is full or failed; what fitted is cut off again.
    """
    is_new = not path.exists()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        before = os.fstat(handle).st_size
        if os.write(handle, data) != len(data):
            os.ftruncate(handle, before)
            raise OSError(28, "No space left on device")
        os.fsync(handle)
    finally:
        os.close(handle)
    if is_new:
        sync_folder(path.parent)


def evidence_error(error: OSError, path: Path) -> EvidenceError:
    """Say which evidence could not be written, and what to do."""
    return EvidenceError(
        f"evidence cannot be written: {error.strerror or error}",
        where=str(path),
        next_step="free space or permissions there, or set RBKERNEL_EVIDENCE to another folder,"
        " and try again: nothing that was there is lost",
    )


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder whose parent exists, durably; one that is there already is fine."""
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def write_folder(folder: Path, files: Mapping[str, bytes], *, mode: int) -> None:
    """Make a new folder with these files (name → bytes), all on disk when it returns.

    Raises
    ------
    EvidenceError
        The disk is full or not writable.
    """
    folder.mkdir()
    for name, data in files.items():
        write_atomically(folder / name, data, mode=mode)


def move(source: Path, target: Path) -> None:
    """Put a file or folder that is already on disk in its place, replacing a file there."""
    source.replace(target)
    sync_folder(target.parent)


def remove_folder(folder: Path) -> None:
    """Remove a folder with all in it; none is fine."""
    if folder.is_dir():
        shutil.rmtree(folder)
        sync_folder(folder.parent)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_below(folder: Path) -> list[str]:
    """Return the regular files below a folder, as sorted relative names; links are left out."""
    found = []
    for where, _folders, names in os.walk(folder):
        for name in names:
            path = Path(where, name)
            if stat.S_ISREG(path.lstat().st_mode):
                found.append(path.relative_to(folder).as_posix())
    return sorted(found)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file (made when missing) while the block runs.

    The lock is BSD (`flock`): other than a POSIX one, it also holds off another thread.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def prepare(root: Path) -> None:
    """Make the evidence folder, and prove that a file can be written there.

    Raises
    ------
    EvidenceError
        It is not writable, or the disk is full.
    """
    try:
        (root / "open").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise evidence_error(error, root) from error
    probe = root / "open" / ".probe"
    write_atomically(probe, b"rbkernel can write here\n")
    probe.unlink(missing_ok=True)  # another process may have asked at the same time
