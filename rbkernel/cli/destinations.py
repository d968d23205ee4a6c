"""Find the file that a command writes: ``-o`` names a file, or a folder for the file.

Options are read as text, because a Path drops the slash at the end, which marks a folder. No
existing file is replaced without a message.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from rbkernel.errors import EvidenceError

Force = Annotated[bool, typer.Option("--force", help="Replace the file that -o names.")]
_SLASHES = tuple(filter(None, (os.sep, os.altsep)))


@dataclass(frozen=True, kw_only=True)
class Destination:
    """A file that a command is to write; ``replaces`` is true if the file already exists."""

    path: Path
    replaces: bool = False


def destination(said: str | None, name: str, *, force: bool = False) -> Destination:
    """Return the file that a command is to write.

    Parameters
    ----------
    said
        The value of ``-o``: a file, an existing folder, or a new folder with a slash at the end. A
        new folder is created. The default is the working folder.
    name
        The name of the file if ``said`` is a folder.
    force
        Whether an existing file that ``-o`` names may be replaced.

    Raises
    ------
    EvidenceError
        The file that ``-o`` names already exists, or the folder cannot be created.
    """
    path = Path(said or ".")
    if said and said.endswith(_SLASHES) and not path.exists():
        try:
            path.mkdir()
        except OSError as error:
            raise EvidenceError(
                f"the folder cannot be created: {error.strerror}",
                where=said,
                next_step="create its parent folders first, or change -o",
            ) from error
    if path.is_dir():
        path /= name
        return Destination(path=path, replaces=path.exists())
    if path.exists() and not force:
        raise EvidenceError(
            "the file already exists and was not replaced",
            where=str(said),
            next_step="name another file, or a folder ending in a slash, or add --force",
        )
    return Destination(path=path, replaces=path.exists())
