"""Whether a file is locked, asked without taking its lock."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rbkernel import filelocks

_HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Have another process hold the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield
        holder.communicate()


def test_held_as_long_as_its_process_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not filelocks.is_held(path)
    path.touch()
    assert not filelocks.is_held(path)
    with held(path):
        assert filelocks.is_held(path)
    assert not filelocks.is_held(path)


def test_a_file_that_cannot_be_written_can_be_asked(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held(path):
        path.chmod(0o400)
        assert filelocks.is_held(path)


def test_asking_never_takes_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    asker = (
        "import sys, pathlib; from rbkernel import filelocks\n"
        "for _ in range(20_000): filelocks.is_held(pathlib.Path(sys.argv[1]))"
    )
    file = os.open(path, os.O_WRONLY)
    with subprocess.Popen([sys.executable, "-c", asker, str(path)]) as asking:
        while asking.poll() is None:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises if the other has it
            fcntl.lockf(file, fcntl.LOCK_UN)
    os.close(file)
    assert asking.returncode == 0
