"""README's commands, run as they are written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# the run finds the fault that was injected: critical
_EXIT_CODES = {"rbkernel run RUN-005": 2}


def _commands(first: str) -> list[str]:
    """Return the commands of the block that begins with this one."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    [block] = [b for b in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if b.startswith(first)]
    return [line for line in block.splitlines() if line.strip()]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "HOME": str(tmp_path / "home"),
        "RBKERNEL_SANDBOX": str(tmp_path / "sandbox"),
        "RBKERNEL_EVIDENCE": str(tmp_path / "evidence"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }


def test_the_commands_of_the_readme_do_what_it_says(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
    by_hand = _commands("rbkernel sandbox up")
    try:
        for command in [*by_hand[:-2], *_commands("papermill"), *by_hand[-2:]]:
            done = subprocess.run(
                command,
                shell=True,
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == _EXIT_CODES.get(command, 0), (command, done)
    finally:
        subprocess.run(["rbkernel", "sandbox", "down"], env=environment, check=False)
