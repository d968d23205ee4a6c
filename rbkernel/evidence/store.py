"""The only module that writes evidence bytes.

Ordering rules: a whole file is written to a temporary name, fsynced, renamed, and its folder
fsynced, so that a reader sees the old bytes or the new ones. A journal line is one `write` of a
whole line with O_APPEND, so that a killed process leaves at most one cut line, at the end.

Access rules: regardless of the umask, folders have mode 0700 and files 0600; sealed folders have
0500 and sealed files 0400. In a shared folder (set-group-ID, and readable for its group) the group
may read, too. The configuration decides whether the evidence folder is shared; new folders in it
inherit this.
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

from rbkernel import filelocks
from rbkernel.errors import EvidenceError, RecorderError

JOURNAL = "journal.jsonl"
SNAPSHOT = "runbook.ipynb"
KERNEL_LOCK = "kernel.lock"
# the lock of an evidence folder, held while a seal or a line is written
LOCK = ".lock"
OPEN = "open"
_CHUNK_BYTES = 1 << 20


def open_folder(root: Path, run_id: str) -> Path:
    """Return the folder of an open run, which holds its files until the run is sealed."""
    return root / OPEN / run_id


class JournalFile:
    """The file of a journal, opened for appending.

    It holds the folder's ``kernel.lock`` as long as the process lives. The lock is a POSIX lock
    (`lockf`), which a forked child does not inherit. A held lock therefore means that the kernel
    itself lives, not one of its children.
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
        """Append one whole line to the journal.

        Raises
        ------
        RecorderError
            The disk is full or failed; a partly written line is removed again.
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
        """Replace the whole journal atomically: a reader sees either the old or the new bytes.

        Raises
        ------
        RecorderError
            The disk is full or failed; the journal is unchanged.
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
        """Force all lines of the journal that were appended so far to disk."""
        try:
            os.fsync(self._file)
        except OSError as error:
            raise recorder_error(error, self.folder) from error

    def close(self) -> None:
        """Close the journal, and release the lock that shows that the kernel is alive."""
        os.close(self._file)
        os.close(self._lock)


def recorder_error(error: OSError, folder: Path) -> RecorderError:
    """Return the error that says why the journal cannot be written, and what to do."""
    return RecorderError(
        f"the kernel cannot write its journal: {error.strerror or error}",
        where=str(folder),
        next_step="free disk space or correct the permissions there, or set RBKERNEL_EVIDENCE to a"
        " writable folder; then restart the kernel",
    )


def kernel_is_alive(folder: Path) -> bool:
    """Tell whether the kernel of an open run is still running: it holds a lock in the folder."""
    return filelocks.is_held(folder / KERNEL_LOCK)


def file_mode(folder: Path, *, sealed: bool = False) -> int:
    """Return the permissions for a file: owner only, or also the group if the folder is shared."""
    return (0o400 if sealed else 0o600) | (0o040 if _is_shared(folder) else 0)


def folder_mode(parent: Path, *, sealed: bool = False) -> int:
    """Return the permissions for a folder: owner only, or also the group in a shared parent."""
    return (0o500 if sealed else 0o700) | (stat.S_ISGID | 0o050 if _is_shared(parent) else 0)


def _is_shared(folder: Path) -> bool:
    shared = stat.S_ISGID | stat.S_IRGRP
    return folder.stat().st_mode & shared == shared


def _opened(path: Path, flags: int) -> int:
    """Open a file; a new file gets its mode regardless of the umask."""
    is_new = not path.exists()
    handle = os.open(path, flags, 0o600)
    if is_new:
        os.fchmod(handle, file_mode(path.parent))
    return handle


def write_atomically(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """Replace a whole file atomically: on failure the old file is unchanged.

    Parameters
    ----------
    path, data
        The file, and its new content.
    mode
        The mode of the file; by default the mode of evidence (see `file_mode`).

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
    """Check, by writing a temporary file, that a path's folder has room for this many bytes.

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
    """Append whole lines to a file, which is created if missing, and force them to disk.

    Raises
    ------
    OSError
        The disk is full or failed; partly written lines are removed again.
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
    """Return the error that says which evidence could not be written, and what to do."""
    return EvidenceError(
        f"evidence cannot be written: {error.strerror or error}",
        where=str(path),
        next_step="free disk space or correct the permissions there, or set RBKERNEL_EVIDENCE to"
        " another folder; then try again: no stored evidence is lost",
    )


def sync_folder(folder: Path) -> None:
    """Force new and renamed file names in a folder to disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_root(root: Path, *, group: bool | None = None) -> None:
    """Create the evidence folder with the configured access.

    Parameters
    ----------
    root
        The evidence folder.
    group
        Whether its group may read all evidence; None leaves an existing folder unchanged.

    Raises
    ------
    OSError
        The folder cannot be created. A folder of another owner keeps its access.
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
    """Tell whether a folder is used for evidence only, and is not, say, a home folder or /tmp."""
    known = root.stat().st_uid == os.geteuid() and not root.stat().st_mode & stat.S_ISVTX
    names = {path.name for path in root.iterdir()}
    return known and (not names or bool(names & {OPEN, LOCK}))


def make_folder(folder: Path, *, exist_ok: bool = True) -> None:
    """Create a folder in an existing parent, durably, with its mode regardless of the umask."""
    is_new = not folder.is_dir()
    folder.mkdir(exist_ok=exist_ok, mode=0o700)
    if is_new:
        folder.chmod(folder_mode(folder.parent))
    sync_folder(folder.parent)


def seal_folder(folder: Path) -> None:
    """Make the folder of a seal read-only."""
    folder.chmod(folder_mode(folder.parent, sealed=True))


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Create a read-only folder with these files (name → bytes), and force all of it to disk.

    Raises
    ------
    EvidenceError
        The disk is full or not writable.
    """
    make_folder(folder, exist_ok=False)
    for name, data in files.items():
        write_atomically(folder / name, data, mode=file_mode(folder, sealed=True))


def move(source: Path, target: Path) -> None:
    """Rename a file or folder that is already on disk; replace an existing file."""
    source.replace(target)
    sync_folder(target.parent)


def remove_folder(folder: Path) -> None:
    """Remove a folder and its content; a missing folder is no error."""
    if folder.is_dir():
        shutil.rmtree(folder)
        sync_folder(folder.parent)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_below(folder: Path) -> list[str]:
    """Return the sorted relative names of the regular files below a folder, without links."""
    found = []
    for where, _folders, names in os.walk(folder):
        for name in names:
            path = Path(where, name)
            if stat.S_ISREG(path.lstat().st_mode):
                found.append(path.relative_to(folder).as_posix())
    return sorted(found)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file (created if missing) while the block runs.

    The lock is a BSD lock (`flock`): unlike a POSIX lock, it also excludes other threads.
    """
    handle = _opened(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def prepare(root: Path, *, group: bool | None = None) -> None:
    """Create the evidence folder, and check that a file can be written there.

    ``group`` says whether its group may read all evidence; see `make_root`.

    Raises
    ------
    EvidenceError
        The folder is not writable, or the disk is full.
    """
    try:
        make_root(root, group=group)
        make_folder(root / OPEN)
    except OSError as error:
        raise evidence_error(error, root) from error
    probe = root / OPEN / ".probe"
    write_atomically(probe, b"rbkernel can write here\n")
    probe.unlink(missing_ok=True)  # another process may run the same check at the same time
