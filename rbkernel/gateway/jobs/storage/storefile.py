"""Create the gateway's SQLite files atomically, and check them before use.

A file appears under its name only when it is a complete database, so an empty file is one that was
emptied later. The store is never replaced: its data would be lost, and a person must know. The
queue holds no data that the store lacks, so a damaged queue is set aside and created again.

One process at a time does this, under a lock on a file beside the database.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from rbkernel.errors import StoreError

_BUSY_S = 3.0
_MAGIC = b"SQLite format 3\0"
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_BESIDE = ("-wal", "-shm", "-journal")
_OTHER_PLACE = "or set RBKERNEL_STORE_URL to another path"
_RESTORE = (
    "restore the file from a backup, or move it away together with its -wal and -shm files: then"
    " a new store is created, and alerts that were not routed yet are lost; incidents and evidence"
    " are stored elsewhere"
)
_log = logging.getLogger(__name__)

#: Creates the tables of a new database.
Fill = Callable[[sqlite3.Connection], object]


def prepare(file: Path, fill: Fill, *, owner: str) -> None:
    """Create a database's file if it does not exist; check it if it exists.

    Parameters
    ----------
    file
        The database's file.
    fill
        Creates the tables of a new database.
    owner
        The name of a table that every such file has.

    Raises
    ------
    StoreError
        The file cannot be created, read or written; or it is damaged, empty, or not a file of this
        kind.
    """
    with alone(file):
        if not file.exists():
            _make(file, fill)
        elif problem := damage(file, owner):
            raise StoreError(
                f"the gateway's store cannot be used: {problem}",
                where=str(file),
                next_step=_RESTORE,
            )


def prepare_again(file: Path) -> None:
    """Create a database's file if it does not exist; replace it if it is damaged.

    Raises
    ------
    StoreError
        The file cannot be created, read or written.
    """
    with alone(file):
        if file.exists() and (problem := damage(file)):
            _set_aside(file, problem)
        if not file.exists():
            _make(file, lambda _connection: None)


def back_up(file: Path, label: str) -> Path:
    """Copy a SQLite database that may be in use; return the path of the copy beside it.

    Parameters
    ----------
    file
        The database's file.
    label
        The middle part of the copy's name, before the time.

    Raises
    ------
    StoreError
        The database cannot be read, or the copy cannot be written. No copy is left.
    """
    kept = file.with_name(f"{file.name}.backup-{label}-{_now()}")

    def copy(connection: sqlite3.Connection) -> None:
        with contextlib.closing(sqlite3.connect(file, timeout=_BUSY_S)) as source:
            source.backup(connection)

    _make(kept, copy)
    return kept


def damage(file: Path, owner: str = "") -> str:
    """Return why a file is not the expected database; an empty text if nothing is wrong.

    Raises
    ------
    StoreError
        The check itself failed.
    """
    try:
        with file.open("rb") as opened:
            beginning = opened.read(len(_MAGIC))
        if not beginning:
            return "the file is empty"
        if beginning != _MAGIC:
            return "the file is not an SQLite database"
        return _asked(file, owner)
    except sqlite3.Error as error:
        if _name(error) in _DAMAGED:
            return f"the database is damaged ({error})"
        raise unusable(file, error) from error
    except OSError as error:
        raise unusable(file, error) from error


def _asked(file: Path, owner: str) -> str:
    with contextlib.closing(sqlite3.connect(file, timeout=_BUSY_S)) as connection:
        [told] = connection.execute("PRAGMA quick_check(1)").fetchone()
        if told != "ok":
            return f"the database is damaged ({' '.join(told.split())})"
        tables = {name for [name] in connection.execute("SELECT name FROM sqlite_schema")}
    return "" if not owner or owner in tables else "the file is the database of another program"


def unusable(file: Path, error: Exception) -> StoreError:
    """Return the error to raise for a database's file that cannot be read, written or created."""
    reason = getattr(error, "strerror", None) or str(error)
    return StoreError(
        f"the gateway's store cannot be used: {reason}", where=str(file), next_step=advice(error)
    )


def advice(error: BaseException) -> str:
    """Return what a user can do after an error of SQLite or of the file system."""
    match _name(error):
        case "SQLITE_CORRUPT" | "SQLITE_NOTADB":
            return _RESTORE
        case "SQLITE_FULL" | "ENOSPC" | "EDQUOT":
            return "free space on that disk"
        case "SQLITE_BUSY" | "SQLITE_LOCKED":
            return (
                "see which process holds the file (`fuser FILE`), and end that process if it hangs"
            )
        case "ENOTDIR" | "EISDIR" | "EEXIST":
            return f"move away the object at that path, {_OTHER_PLACE}"
        case _:
            return f"let this user read and write the file and its folder, {_OTHER_PLACE}"


def _name(error: BaseException) -> str:
    """Return the name of an error, such as ``SQLITE_CORRUPT`` or ``ENOSPC``; empty without one.

    >>> _name(OSError(28, "No space left on device")), _name(ValueError())
    ('ENOSPC', '')
    """
    if isinstance(error, OSError):
        return errno.errorcode.get(error.errno or 0, "")
    # an extended name, such as SQLITE_CORRUPT_INDEX, begins with the basic name
    return "_".join(str(getattr(error, "sqlite_errorname", "")).split("_")[:2])


@contextlib.contextmanager
def alone(file: Path) -> Iterator[None]:
    """Hold a database file's lock within the block; raise an error if the file is not usable."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if file.exists() and not file.is_file():
            raise IsADirectoryError(errno.EISDIR, "the object at this path is not a file")
        lock = os.open(file.parent, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise unusable(file, error) from error
    try:
        with contextlib.suppress(OSError):  # the file system supports no locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        for path, name in ((file, "the file"), (file.parent, "its folder")):
            if path.exists() and not os.access(path, os.R_OK | os.W_OK):
                raise unusable(
                    file, PermissionError(errno.EACCES, f"{name} is not readable and writable")
                )
        yield
    finally:
        os.close(lock)


def _make(file: Path, fill: Fill) -> None:
    """Create a database under a temporary name; rename it once it is complete."""
    draft = file.with_name(f".{file.name}.{os.getpid()}.new")
    try:
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        with contextlib.closing(sqlite3.connect(draft, timeout=_BUSY_S)) as connection:
            connection.execute("PRAGMA journal_mode = WAL").close()
            with connection:
                fill(connection)
        draft.rename(file)
    except (sqlite3.Error, OSError) as error:
        raise unusable(file, error) from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")


def _set_aside(file: Path, problem: str) -> None:
    kept = file.with_name(f"{file.name}.damaged-{_now()}")
    try:
        file.rename(kept)
        for suffix in _BESIDE:
            file.with_name(f"{file.name}{suffix}").unlink(missing_ok=True)
    except OSError as error:
        raise unusable(file, error) from error
    _log.warning(
        "the queue was rebuilt from the store, because %s; the old file is kept as %s",
        problem,
        kept,
    )
