"""Read files safely at untrusted paths: there may be a damaged file, a link, a pipe or nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path


def read_bytes(path: Path) -> bytes | None:
    """Return the bytes of a file; None if the path is not a readable regular file."""
    return path.read_bytes() if is_plain(path) else None


def is_plain(path: Path) -> bool:
    """Tell whether a path is a readable regular file; opening a pipe would block for ever."""
    try:
        return stat.S_ISREG(path.lstat().st_mode) and os.access(path, os.R_OK)
    except OSError:
        return False


def may_be_read(path: Path) -> bool:
    """Tell whether a path is safe to read: it is a regular file, or does not exist."""
    return is_plain(path) or not os.path.lexists(path)


def why_unreadable(path: Path) -> str:
    """Return the reason why a path cannot be read, as the end of a sentence."""
    if not os.path.lexists(path):
        return "is missing"
    return "cannot be read" if path.is_file() else "is not a regular file"


def entries(folder: Path) -> list[Path]:
    """Return the sorted paths of a folder's entries; empty if the folder cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def all_below(folder: Path) -> Iterator[str]:
    """Yield the relative names of all files, and of all links to folders, below a folder."""
    for where, folders, names in os.walk(folder):
        links = [name for name in folders if Path(where, name).is_symlink()]
        for name in sorted([*names, *links]):
            path = Path(where, name).relative_to(folder).as_posix()
            yield path.encode(errors="backslashreplace").decode()


def empty_folders(folder: Path) -> Iterator[Path]:
    """Yield each empty folder at or below this folder."""
    for where, folders, names in os.walk(folder):
        if not folders and not names:
            yield Path(where)
