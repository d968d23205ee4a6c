"""What the fork server checks before it forks: its number of threads, and changes of code."""

from __future__ import annotations

import importlib.util
import os
import site
from pathlib import Path

# packages are installed into the folders of these modules
_LARGE = ("numpy", "ipykernel", "papermill")
_CODE = (".py", ".sql")


def threads() -> int:
    """Return the number of threads of this process, including those of C libraries."""
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208


def version() -> dict[str, int]:
    """Return the modification time of each of rbkernel's files and each folder of packages.

    A server with older code than the code on disk must not start programs.
    """
    found = {str(folder): folder.stat().st_mtime_ns for folder in _package_folders()}
    folders = [str(Path(__file__).parent.parent)]
    while folders:
        # this is done at each request, and `rglob` takes four times as long
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.name.endswith(_CODE):
                    found[entry.path] = entry.stat().st_mtime_ns
    return found


def _package_folders() -> set[Path]:
    specs = [importlib.util.find_spec(name) for name in _LARGE]
    folders = {Path(spec.origin).parent.parent for spec in specs if spec and spec.origin}
    folders |= {Path(path) for path in site.getsitepackages()}
    if site.ENABLE_USER_SITE and site.USER_SITE:
        folders.add(Path(site.USER_SITE))
    return {folder for folder in folders if folder.is_dir()}
