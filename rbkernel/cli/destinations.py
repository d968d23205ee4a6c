"""Where a command writes what ``-o`` names: a file, or a folder in which it chooses the name.

Options are read as text, because a path forgets the slash at its end, which says "a folder".
Nothing that is there is replaced without a word.
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
    """A file to write; ``replaces`` tells that there is one of that name already."""

    path: Path
    replaces: bool = False


def destination(said: str | None, name: str, *, force: bool = False) -> Destination:
    """Return where to write.

    Parameters
    ----------
    said
        What ``-o`` says: a file; or a folder, which is there or which a slash at its end says it
        is. Such a folder is made. The working folder when not given.
    name
        The file's name in a folder.
    force
        Whether the very file that ``-o`` names may be replaced.

    Raises
    ------
    EvidenceError
        The file that ``-o`` names is there already, or the folder cannot be made.
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
