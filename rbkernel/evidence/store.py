"""The only module that writes evidence bytes.

Ordering rules: a whole file is written to a temporary name, fsynced, renamed, and its folder
fsynced, so that a reader sees the old bytes or the new ones. A journal line is one `write` of a
whole line with O_APPEND, so that a killed process leaves at most one cut line, at the end.

Access rules: whatever the umask, folders are 0700 and files 0600, and 0500 and 0400 under seal. In
a folder that is shared (set-group-ID, and readable for its group) the group may read, too: the
root is such a folder if the configuration says so, and what is made in it inherits that.
"""

from __future__ import annotations

import errno
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
OPEN = "open"
_CHUNK_BYTES = 1 << 20


def open_folder(root: Path, run_id: str) -> Path:
    """Return where a run lies from kernel start to seal."""
    return root / OPEN / run_id


class JournalFile:
    """The open end of a journal: append a line, force it to disk, close it.

    Holds the folder's ``kernel.lock`` as long as the process lives. The lock is POSIX (`lockf`):
    a forked child does not inherit it, so it tells of the kernel and not of its children.
    """

    def __init__(self, folder: Path) -> None:
        try:
            make_folder(folder.parent)
            make_folder(folder, exist_ok=False)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._lock = _opened(folder / KERNEL_LOCK, flags)
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._file = _opened(folder / JOURNAL, flags | os.O_EXCL)
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
            write_atomically(path, data)
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
        f"the kernel cannot write its journal: {error.strerror or error}",
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


def file_mode(folder: Path, *, sealed: bool = False) -> int:
    """Return the access to a file in a folder: its owner's alone, unless the folder is shared."""
    return (0o400 if sealed else 0o600) | (0o040 if _is_shared(folder) else 0)


def folder_mode(parent: Path, *, sealed: bool = False) -> int:
    """Return the access to a folder in another one, likewise."""
    return (0o500 if sealed else 0o700) | (stat.S_ISGID | 0o050 if _is_shared(parent) else 0)


def _is_shared(folder: Path) -> bool:
    shared = stat.S_ISGID | stat.S_IRGRP
    return folder.stat().st_mode & shared == shared


def _opened(path: Path, flags: int) -> int:
    """Open a file; a new one gets its access whatever the umask."""
    is_new = not path.exists()
    handle = os.open(path, flags, 0o600)
    if is_new:
        os.fchmod(handle, file_mode(path.parent))
    return handle


def write_atomically(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """Replace a whole file, or leave it as it was.

    Parameters
    ----------
    path, data
        The file, and what it is to hold.
    mode
        The access to it; that of evidence when not given (see `file_mode`).

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
            os.fchmod(file.fileno(), file_mode(path.parent) if mode is None else mode)
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
    handle = _opened(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
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


def make_root(root: Path, *, group: bool | None = None) -> None:
    """Make the evidence folder, and give it the access that is configured.

    Parameters
    ----------
    root
        The evidence folder.
    group
        Whether its group may read all evidence; None leaves a folder that is there as it is.

    Raises
    ------
    OSError
        It cannot be made. One of another owner keeps its access.
    """
    if root.exists() and not root.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(root))
    if not root.is_dir():
        root.parent.mkdir(parents=True, exist_ok=True)
        make_folder(root)
    elif group is None or not _is_ours(root):
        return
    if group is not None:
        for folder in filter(Path.is_dir, (root, root / OPEN)):
            found = stat.S_IMODE(folder.stat().st_mode)
            wanted = (found | stat.S_ISGID | 0o750) & ~0o007 if group else 0o700
            if found != wanted:
                folder.chmod(wanted)


def _is_ours(root: Path) -> bool:
    """Tell whether a folder is for evidence alone: any folder can be named, also a home or /tmp."""
    known = root.stat().st_uid == os.geteuid() and not root.stat().st_mode & stat.S_ISVTX
    names = {path.name for path in root.iterdir()}
    return known and (not names or bool(names & {OPEN, LOCK}))


def make_folder(folder: Path, *, exist_ok: bool = True) -> None:
    """Make a folder whose parent exists, durably, with its access whatever the umask."""
    is_new = not folder.is_dir()
    folder.mkdir(exist_ok=exist_ok, mode=0o700)
    if is_new:
        folder.chmod(folder_mode(folder.parent))
    sync_folder(folder.parent)


def seal_folder(folder: Path) -> None:
    """Take away the right to change what is in a folder."""
    folder.chmod(folder_mode(folder.parent, sealed=True))


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make a new folder with these files (name → bytes), read-only, all on disk when it returns.

    Raises
    ------
    EvidenceError
        The disk is full or not writable.
    """
    make_folder(folder, exist_ok=False)
    for name, data in files.items():
        write_atomically(folder / name, data, mode=file_mode(folder, sealed=True))


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
    handle = _opened(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def prepare(root: Path, *, group: bool | None = None) -> None:
    """Make the evidence folder, and prove that a file can be written there.

    ``group`` says whether its group may read all evidence; see `make_root`.

    Raises
    ------
    EvidenceError
        It is not writable, or the disk is full.
    """
    try:
        make_root(root, group=group)
        make_folder(root / OPEN)
    except OSError as error:
        raise evidence_error(error, root) from error
    probe = root / OPEN / ".probe"
    write_atomically(probe, b"rbkernel can write here\n")
    probe.unlink(missing_ok=True)  # another process may have asked at the same time
