"""README's commands, run as they are written."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# the run finds the fault that was injected: critical;
_EXIT_CODES = {
    "rbkernel run RUN-005": 2,
    # what was made has placeholders, and critical alerts of the example have no runbook
    "rbkernel lint runbooks/": 1,
    "rbkernel coverage --rules 'alerts/*.yml'": 2,
}


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


def _run(command: str, folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    command = command.partition("#")[0].strip()
    assert done.returncode == _EXIT_CODES.get(command, 0), (command, done)


def test_the_commands_of_the_readme_do_what_it_says(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
    by_hand = _commands("rbkernel sandbox up")
    same = [*_commands("papermill"), *_commands("rbkernel reconcile")]
    try:
        for command in [*by_hand[:-2], *same, *by_hand[-2:]]:
            _run(command, tmp_path, environment)
    finally:
        subprocess.run(["rbkernel", "sandbox", "down"], env=environment, check=False)


def test_a_team_brings_its_own_runbooks(environment: dict[str, str], tmp_path: Path) -> None:
    corpora = ROOT / "tests" / "corpora"
    seed = corpora / "markdown" / "seeds" / "service.md"
    shutil.copy(seed, tmp_path / "RUNBOOK.md")
    shutil.copytree(corpora / "alerts", tmp_path / "alerts")
    (tmp_path / "runbooks").mkdir()
    for command in _commands("rbkernel import"):
        _run(command, tmp_path, environment)
