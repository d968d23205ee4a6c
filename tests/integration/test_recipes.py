"""The recipes of docs/how-to/run-from-a-scheduler.md for cron, Kubernetes and Airflow, as written.

Each seals its run, and the evidence verifies.
"""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import papermill as pm
import pytest
import yaml

from rbkernel.evidence.runs import SEALED, list_runs
from rbkernel.render import verification
from tests.support.kernels import PATIENCE_S, START, configure, write_runbook

PAGE = Path(__file__).parents[2] / "docs/how-to/run-from-a-scheduler.md"
HOME = "/srv/rbkernel"
CELLS = [START, "print(db)", "{middle}", "rb.summary()"]


def recipe(language: str) -> str:
    """Return the page's one block of a language."""
    [block] = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return str(block)


@dataclass(frozen=True)
class Place:
    """What the recipes call /srv/rbkernel, and the environment that they set."""

    home: Path
    environment: dict[str, str]

    def runbook(self, middle: str) -> Path:
        (self.home / "runbooks").mkdir()
        (self.home / "out").mkdir()
        cells = [cell.format(middle=middle) for cell in CELLS]
        parameters = 'db: str = "nobody"  # connection name'
        return write_runbook(self.home / "runbooks/daily.ipynb", cells, parameters=parameters)

    def shell(self, command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["/bin/sh", "-c", command],
            cwd=self.home,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def expect_sealed(self, cells_done: list[str]) -> None:
        """Expect one sealed run that verifies, and these statuses in papermill's own file."""
        root = Path(self.environment["RBKERNEL_EVIDENCE"])
        [entry] = list_runs(root)
        assert entry.state == SEALED
        lines, ok = verification.verify(root, "", signers=root / "allowed_signers", published=[])
        assert ok, lines
        [output] = (self.home / "out").glob("daily-*.ipynb")
        notebook = nbformat.read(output, as_version=4)
        told = [cell.metadata.get("papermill", {}).get("status") for cell in notebook.cells]
        assert [word for word in told if word][-len(cells_done) :] == cells_done


@pytest.fixture
def place(tmp_path: Path, evidence: Path) -> Place:
    """Return a place with little more in its environment than cron or a container gives."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": os.environ["HOME"],
        "TMPDIR": os.environ["XDG_RUNTIME_DIR"],  # for fork servers: cron has no runtime folder
        "RBKERNEL_CONFIG": str(configure(tmp_path)),
        "RBKERNEL_EVIDENCE": str(evidence),
        "PYTHONWARNINGS": "ignore",
    }
    return Place(tmp_path, environment)


def crontab() -> tuple[dict[str, str], str]:
    """Read the crontab as cron does: its variables, and the command of its one job."""
    lines = [line for line in recipe("crontab").splitlines() if line and not line.startswith("#")]
    [job] = [line for line in lines if not re.match(r"\w+=", line)]
    schedule, command = re.match(r"((?:\S+\s+){5})(.*)", job).groups()  # type: ignore[union-attr]
    assert schedule.split() == ["0", "6", "*", "*", "*"]
    assert not re.search(r"(?<!\\)%", command)  # cron would end the command there
    variables = (line.partition("=") for line in lines if line != job)
    return {name: value for name, _, value in variables}, command.replace(r"\%", "%")


@pytest.mark.parametrize(
    ("middle", "statuses"),
    [
        ("1 / 0", ["done", "failed", "not run"]),
        pytest.param("1 + 1", ["done", "done", "done"], marks=pytest.mark.soak),
    ],
)
def test_cron(place: Place, middle: str, statuses: list[str]) -> None:
    place.runbook(middle)
    variables, command = crontab()
    assert set(variables) == {"PATH", "RBKERNEL_CONFIG", "RBKERNEL_EVIDENCE"}
    done = place.shell(command.replace(HOME, str(place.home)))
    printed, complaint = done.communicate(timeout=PATIENCE_S)
    assert done.returncode == 0, complaint
    assert "head" in printed
    assert ("ZeroDivisionError" in complaint) == ("/ 0" in middle)
    place.expect_sealed(statuses)


def pod() -> dict[str, Any]:
    manifest = yaml.safe_load(recipe("yaml"))
    assert (manifest["apiVersion"], manifest["kind"]) == ("batch/v1", "CronJob")
    job = manifest["spec"]["jobTemplate"]["spec"]
    assert job["backoffLimit"] == 0
    found: dict[str, Any] = job["template"]["spec"]
    assert found["restartPolicy"] == "Never"
    return found


def test_the_manifest_mounts_what_the_command_uses() -> None:
    [container] = pod()["containers"]
    volumes = {volume["name"] for volume in pod()["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert {mount["name"] for mount in mounts.values()} == volumes
    environment = {entry["name"]: entry.get("value") for entry in container["env"]}
    writable = {path for path, mount in mounts.items() if not mount.get("readOnly")}
    assert writable == {environment["HOME"], environment["RBKERNEL_EVIDENCE"], f"{HOME}/out"}
    assert {environment["RBKERNEL_CONFIG"], f"{HOME}/runbooks"} == set(mounts) - writable
    assert container["workingDir"] == HOME


def start_container(place: Place) -> subprocess.Popen[str]:
    [container] = pod()["containers"]
    assert container["command"] == ["/bin/sh", "-c"]
    [script] = container["args"]
    return place.shell(script)


@pytest.mark.soak
def test_the_command_of_the_manifest(place: Place) -> None:
    place.runbook("1 / 0")
    done = start_container(place)
    printed, complaint = done.communicate(timeout=PATIENCE_S)
    assert done.returncode == 1, complaint  # papermill failed: so did the job
    assert "head" in printed
    place.expect_sealed(["done", "failed", "not run"])


def test_a_pod_that_is_stopped_seals_what_there_is(place: Place) -> None:
    place.runbook("import time; print('asleep', flush=True); time.sleep(600)")
    done = start_container(place)
    deadline = time.monotonic() + PATIENCE_S
    evidence = Path(place.environment["RBKERNEL_EVIDENCE"])
    while not any("asleep\\n" in p.read_text() for p in evidence.glob("open/*/journal.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    done.send_signal(signal.SIGTERM)
    printed, complaint = done.communicate(timeout=PATIENCE_S)
    assert done.returncode != 0, complaint
    assert "head" in printed, complaint
    place.expect_sealed(["done", "interrupted", "not run"])


def task(source: str, operator: str) -> dict[str, Any]:
    """Return the arguments of the one task that an operator makes, from the DAG file's source."""
    out = re.search(r'^OUT = "(.*)"$', source, re.MULTILINE)[1]  # type: ignore[index]
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    [call] = [node for node in calls if getattr(node.func, "id", "") == operator]
    scope = {"OUT": out}
    return {
        word.arg or "": eval(compile(ast.Expression(word.value), "dag", "eval"), scope)
        for word in call.keywords
    }


def test_airflow(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow is too heavy to be installed here: its operator's call, and the DAG's command."""
    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)
    place.runbook("1 + 1")
    source = recipe("python")
    look, seal = task(source, "PapermillOperator"), task(source, "BashOperator")
    output = re.sub(r"\{\{.*?\}\}", "manual__2026-11-20", look["output_nb"])
    # what PapermillOperator.execute calls (provider papermill 3.13)
    pm.execute_notebook(
        look["input_nb"].replace(HOME, str(place.home)),
        output.replace(HOME, str(place.home)),
        parameters=look["parameters"],
        progress_bar=False,
        report_mode=True,
        log_output=False,
        kernel_name=look["kernel_name"],
        language=None,
        engine_name=None,
    )
    assert seal["trigger_rule"] == "all_done"
    command = re.sub(r"\{\{.*?\}\}", "manual__2026-11-20", seal["bash_command"])
    done = place.shell(command.replace(HOME, str(place.home)))
    printed, complaint = done.communicate(timeout=PATIENCE_S)
    assert done.returncode == 0, complaint
    assert "head" in printed
    place.expect_sealed(["completed"] * 3)
