"""`make` on a machine that cannot run it says why in one line, before it makes anything."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TARGETS = ("setup", "demo", "test")

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    return tmp_path / "venv"


def python_with(tmp_path: Path, **modules: str) -> Path:
    """Make a Python that finds these modules first."""
    folder = tmp_path / "modules"
    folder.mkdir()
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return python


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Say what make would do (-n): the checks are made all the same."""
    # as from a shell: no variables of a make or a pytest around this one
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "PYTHONPATH")}
    return subprocess.run(
        ["make", "-n", "--no-print-directory", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("missing", ["venv", "ensurepip", "sqlite3"])
def test_a_python_without_a_module_is_one_line_with_the_next_step(
    missing: str, target: str, tmp_path: Path, venv: Path
) -> None:
    python = python_with(tmp_path, **{missing: "raise ImportError"})
    done = make(target, f"PYTHON={python}", f"VENV={venv}")
    assert done.returncode != 0
    [line] = (done.stdout + done.stderr).splitlines()
    assert f"without the module {missing}. Next: " in line
    if missing in ("venv", "ensurepip"):
        assert f"apt install python{sys.version_info[0]}.{sys.version_info[1]}-venv" in line
    assert not venv.exists()


@pytest.mark.parametrize("target", TARGETS)
def test_a_python_that_is_too_old_is_one_line_with_the_next_step(
    target: str, tmp_path: Path, venv: Path
) -> None:
    python = python_with(tmp_path, sitecustomize="import sys\nsys.version_info = (3, 10, 13)")
    done = make(target, f"PYTHON={python}", f"VENV={venv}")
    [line] = (done.stdout + done.stderr).splitlines()
    assert "rbkernel needs 3.11 or later. Next: name another Python" in line
    assert not venv.exists()


def test_no_python_at_all_is_one_line_with_the_next_step(venv: Path) -> None:
    [line] = make("demo", "PYTHON=python3.99", f"VENV={venv}").stderr.splitlines()
    assert "there is no python3.99. Next: install Python 3.11 or later" in line


@pytest.mark.parametrize(("version", "again"), [("3.99", True), ("", False)])
def test_a_venv_is_made_again_for_another_python_that_is_asked_for(
    version: str, again: bool, tmp_path: Path, venv: Path
) -> None:
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    (venv / "pyvenv.cfg").touch()
    (venv / ".ready").touch()
    lie = f"import sys\nsys.version = {version!r} or sys.version"
    done = make("setup", f"PYTHON={python_with(tmp_path, sitecustomize=lie)}", f"VENV={venv}")
    assert ("-m venv --clear" in done.stdout) == again, done.stdout


@pytest.mark.parametrize("theirs", [False, True], ids=["no policy", "a policy of the machine"])
def test_packages_for_the_tests_leave_the_services_of_the_machine_alone(
    tmp_path: Path, theirs: bool
) -> None:
    """In place of apt and systemd, programs that say how they were called."""
    policy, said, folder = tmp_path / "policy-rc.d", tmp_path / "said", tmp_path / "bin"
    folder.mkdir()
    programs = {
        "id": "echo 0",
        "apt-get": f'{policy} prometheus start; echo "apt-get $* policy $?" >> {said}',
        # `there` is a service of the machine, whose program is not in the path
        "systemctl": f'[ "$1" = cat ] && exec test "$2" = there; echo "systemctl $*" >> {said}',
    }
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    if theirs:
        policy.write_text("#!/bin/sh\nexit 104\n")
        policy.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    environment.pop("MAKEFLAGS", None)
    subprocess.run(
        [
            *("make", "-s", "debian", f"POLICY={policy}"),
            *("DEBIAN=new-one there", "WITH_RECOMMENDED=there"),
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        check=True,
    )
    code = 104 if theirs else 101
    assert said.read_text().splitlines() == [
        f"apt-get update -qq policy {code}",
        f"apt-get install -y -qq --no-install-recommends new-one policy {code}",
        f"apt-get install -y -qq there policy {code}",
        "systemctl disable --now -q new-one",
    ]
    assert policy.exists() == theirs


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone: nothing is tracked")
def test_nothing_that_is_made_here_is_tracked() -> None:
    """A tracked link to a venv of another machine kept every clone from making its own."""

    def tracked(*options: str) -> list[str]:
        command = ["git", "ls-files", *options]
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.splitlines()

    assert tracked("--cached", "--ignored", "--exclude-standard") == []
    links = [line for line in tracked("--stage") if line.startswith("120000")]
    assert links == []
