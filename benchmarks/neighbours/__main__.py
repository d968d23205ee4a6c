"""rbkernel and three other tools on the same scenarios: ``python -m benchmarks.neighbours``.

``--answers FILE`` runs them and files their answers, ``--page`` writes the filed answers into
docs/explanation/drills.md. Each tool of Python is installed into a venv of its own below
``--venvs``; check_postgres comes from the system (Debian: check-postgres).
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from benchmarks.neighbours import page

_HERE = Path(__file__).parent
_PAGE = _HERE.parents[1] / "docs" / "explanation" / "drills.md"
# what pip installs, one call after the other. postgres-mcp asks for Python 3.12 and one pglast; its
# health check needs neither
_NEEDS = {
    "pg_activity": (("pg_activity==3.6.2", "psycopg[binary]"),),
    "postgres_mcp": (
        ("--ignore-requires-python", "--no-deps", "postgres-mcp==0.3.0"),
        (
            "mcp<2",
            "pglast>=7.2,<8",
            "humanize",
            "psycopg[binary]",
            "psycopg-pool",
            "attrs",
            "instructor",
        ),
    ),
}


def main(arguments: Sequence[str]) -> int:
    """Run the tools, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenario", nargs="*")
    parser.add_argument("--answers", type=Path, help="run the tools, and file their answers here")
    parser.add_argument("--venvs", type=Path, default=Path.home() / ".cache/rbkernel-neighbours")
    parser.add_argument("--page", action="store_true", help="write the filed answers into the page")
    given = parser.parse_args(arguments)
    if given.answers:
        tools = [
            shlex.join([str(_python(tool, given.venvs)), str(_HERE / f"of_{tool}.py")])
            for tool in ("rbkernel", *_NEEDS, "check_postgres")
        ]
        asked = [part for tool in tools for part in ("--exec", tool)]
        command = [sys.executable, "-m", "rbkernel", "drill", *asked, *given.scenario]
        done = subprocess.run([*command, "--answers", str(given.answers)], check=False)
        if done.returncode:
            return done.returncode
    if given.page:
        written = page.replaced(_PAGE.read_text(encoding="utf-8"))
        _PAGE.write_text(written, encoding="utf-8")
    return 0


def _python(tool: str, venvs: Path) -> Path:
    """Return the Python that has a tool, in a venv that is made if it is missing."""
    if tool not in _NEEDS:
        return Path(sys.executable)
    folder = venvs / tool
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        for needs in _NEEDS[tool]:
            subprocess.run([python, "-m", "pip", "install", "--quiet", *needs], check=True)
    return python


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
