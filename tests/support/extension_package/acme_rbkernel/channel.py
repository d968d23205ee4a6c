"""The channel `file`: messages become lines of a file, whose path is the address."""

from pathlib import Path

from rbkernel.config.notify import Target
from rbkernel.errors import NotifyError


def names(target: Target) -> str:
    """Return what people call it."""
    return f"{len(target.urls())} file"


def send(target: Target, title: str, body: str, level: str) -> str:
    """Append a line."""
    [path] = target.urls()
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(f"{level} {title}: {' '.join(body.split())}\n")
    except OSError as error:
        raise NotifyError(f"the file: {error.strerror}", next_step="check the disk") from error
    return "file"
