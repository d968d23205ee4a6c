"""Ask whether a process holds the lock of a file, without taking the lock.

If this process took the lock to test it, another process that wants the lock at that moment
would fail.
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys
from pathlib import Path

# Linux's struct flock: type, whence, start, length, process
_FLOCK = "hhqqi4x"


def is_held(path: Path) -> bool:
    """Return whether another process holds the POSIX lock (`fcntl.lockf`) of this file.

    Do not use this for a file that this process has locked: closing any descriptor of a file
    releases the locks of the process on it.

    If the file system cannot tell, the lock counts as held.

    Raises
    ------
    OSError
        The file cannot be opened, except when it does not exist: then nobody holds its lock.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        if sys.platform == "linux":
            asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            found: int = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, asked))[0]
            return found != fcntl.F_UNLCK
        fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False
