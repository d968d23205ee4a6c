"""`rbkernel open`, up to the address that a browser is sent to."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rbkernel.cli import app
from rbkernel.incidents import jupyterlab
from tests.support.journal_builder import INCIDENT, RUN_ID, other_run, whole_run


@pytest.fixture
def work(tmp_path: Path, evidence: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of an engineer with two runs in one incident, and no Jupyter server."""
    whole_run(evidence)
    whole_run(evidence, other_run(9))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    (tmp_path / "runtime").mkdir()
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def opened(*words: str) -> str:
    result = CliRunner().invoke(app, ["open", *words], catch_exceptions=False)
    return result.stdout


def serve(tmp_path: Path, root: Path, number: int = 0) -> None:
    """Leave what a running server leaves; this process stands for it."""
    told = {
        "url": f"http://localhost:{8888 + number}/",
        "root_dir": str(root),
        "token": "t",
        "pid": os.getpid(),
        "sock": "",
    }
    (tmp_path / f"runtime/jpserver-{number}.json").write_text(json.dumps(told))


def test_without_a_server_it_says_how_to_open_the_copy(work: Path) -> None:
    path, what, other, how = opened(INCIDENT, "--no-browser").splitlines()
    assert path == str(work / f"runs/{INCIDENT}/RUN-005-{other_run(9)}.ipynb")
    assert what == f"a working copy of run {other_run(9)} (RUN-005 of {INCIDENT})"
    assert other == f"  also in this incident: RUN-005 critical: rbkernel open {RUN_ID}"
    assert f"-m jupyterlab --ServerApp.root_dir={work}" in how
    assert how.endswith(path)
    again = opened(INCIDENT, "--no-browser").splitlines()[1]
    assert again.startswith("the existing working copy of run")


def test_a_server_that_runs_is_used_with_its_root(work: Path, tmp_path: Path) -> None:
    serve(tmp_path, tmp_path)
    told = opened(RUN_ID, "--no-browser")
    assert (tmp_path / f"runs/{INCIDENT}/RUN-005-{RUN_ID}.ipynb").is_file()
    name = f"runs/{INCIDENT}/RUN-005-{RUN_ID}.ipynb"
    assert f"open http://localhost:8888/lab/tree/{name}?token=t\n" in told


def test_a_named_root_wins_over_a_server_elsewhere(work: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    serve(tmp_path, tmp_path / "other")
    told = json.loads(opened(RUN_ID, "--root", str(work), "--json"))
    assert told["path"] == str(work / f"runs/{INCIDENT}/RUN-005-{RUN_ID}.ipynb")
    assert (told["url"], told["is_new"], told["others"]) == ("", True, [])
    serve(tmp_path, tmp_path, 1)
    told = json.loads(opened(RUN_ID, "--root", str(work), "--json"))
    assert told["url"].startswith(f"http://localhost:8889/lab/tree/work/runs/{INCIDENT}/")


def test_root_may_start_jupyterlab_though_jupyter_minds(monkeypatch: pytest.MonkeyPatch) -> None:
    for user, asks in ((0, True), (1000, False)):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        command = jupyterlab.command(Path("/srv/a.ipynb"), Path("/srv"))
        assert ("--allow-root" in command) is asks
