"""What the server must know of itself before it forks: its threads, and the age of its code."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

# packages are installed into the folders of these
_LARGE = ("numpy", "ipykernel", "papermill")


def threads() -> int:
    """Return how many threads this process has, those of C libraries included."""
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208


def version() -> dict[str, int]:
    """Return when the code last changed: our files, and the folders that packages are in.

    A server must not start programs any more when it has older code than there is on disk.
    """
    own = Path(__file__).parent.parent
    paths = [*own.rglob("*.py"), *own.rglob("*.sql"), *_package_folders()]
    return {str(path): path.stat().st_mtime_ns for path in paths}


def _package_folders() -> set[Path]:
    specs = [importlib.util.find_spec(name) for name in _LARGE]
    return {Path(spec.origin).parent.parent for spec in specs if spec and spec.origin}
