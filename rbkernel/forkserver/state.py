"""What the fork server checks before it forks: its number of threads, and changes of code."""

from __future__ import annotations

import importlib.util
import os
import site
from pathlib import Path

# packages are installed into the folders of these modules
_LARGE = ("numpy", "ipykernel", "papermill")


def threads() -> int:
    """Return the number of threads of this process, including those of C libraries."""
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208


def version() -> dict[str, int]:
    """Return the modification time of each of rbkernel's files and each folder of packages.

    A server with older code than the code on disk must not start programs.
    """
    own = Path(__file__).parent.parent
    paths = [*own.rglob("*.py"), *own.rglob("*.sql"), *_package_folders()]
    return {str(path): path.stat().st_mtime_ns for path in paths}


def _package_folders() -> set[Path]:
    specs = [importlib.util.find_spec(name) for name in _LARGE]
    folders = {Path(spec.origin).parent.parent for spec in specs if spec and spec.origin}
    folders |= {Path(path) for path in site.getsitepackages()}
    if site.ENABLE_USER_SITE and site.USER_SITE:
        folders.add(Path(site.USER_SITE))
    return {folder for folder in folders if folder.is_dir()}
