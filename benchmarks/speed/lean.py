"""An environment with only what the measured notebook needs, for papermill's command line."""

from __future__ import annotations

import subprocess
import venv
from importlib.metadata import version
from pathlib import Path

_PACKAGES = (
    "papermill",
    "ipykernel",
    "pandas",
    "sqlalchemy",
    "plotly",
    "psycopg",
    "psycopg-binary",
)


def python(folder: Path) -> str:
    """Make the environment, with the versions of this one; return the path of its Python."""
    venv.create(folder, with_pip=True)
    found = str(folder / "bin" / "python")
    pinned = [f"{name}=={version(name)}" for name in _PACKAGES]
    subprocess.run([found, "-m", "pip", "install", "--quiet", *pinned], check=True)
    subprocess.run([found, "-m", "compileall", "-q", str(folder / "lib")], check=False)
    return found
