"""papermill with our engine: honest words for every cell, one whole file, whatever happens."""

from __future__ import annotations

import copy
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import nbformat
import papermill as papermill_library
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_notebook
from papermill.engines import papermill_engines
from papermill.exceptions import PapermillExecutionError
from papermill.iorw import papermill_io

from rbkernel.config import load
from rbkernel.errors import EvidenceError, SecretParameter
from rbkernel.evidence import bundle, store
from rbkernel.evidence.attest import run_id_of
from rbkernel.run import runner
from tests.support.command import run_command
from tests.support.kernels import (
    METADATA,
    PATIENCE_S,
    START,
    configure,
    in_tiny_tmpfs,
    papermill,
    write_runbook,
)

CELLS = [START, "# A step", "print('first')", "{middle}", "# The end", "print('last')"]
SLEEP = "import time; print('asleep', flush=True); time.sleep(600)"


@pytest.fixture(autouse=True)
def _catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evidence: Path) -> None:
    monkeypatch.setenv("RBKERNEL_CONFIG", str(configure(tmp_path)))


def document(folder: Path, middle: str) -> Path:
    cells = [cell.format(middle=middle) for cell in CELLS]
    return write_runbook(folder / "runbook.ipynb", cells)


def start(folder: Path, middle: str, *arguments: str) -> subprocess.Popen[str]:
    given = document(folder, middle)
    return papermill(given, folder / "out.ipynb", "--engine", "rbkernel", *arguments)


def ended(folder: Path, process: subprocess.Popen[str]) -> tuple[NotebookNode, str]:
    """Wait for papermill; its file must be whole, and the only one."""
    _, complaint = process.communicate(timeout=PATIENCE_S)
    assert [path.name for path in folder.glob("*out.ipynb*")] == ["out.ipynb"]
    notebook: NotebookNode = nbformat.read(folder / "out.ipynb", as_version=4)
    nbformat.validate(notebook)
    return notebook, complaint


def words(notebook: NotebookNode) -> list[str]:
    """Return the status of every cell but papermill's own marks."""
    told = [cell.metadata.get("papermill", {}).get("status") for cell in notebook.cells]
    return [word for word in told if word]


def wait_for_sleep(evidence: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while "asleep\\n" not in "".join(p.read_text() for p in evidence.glob("open/*/journal.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_run_that_ends_is_done_and_was_not_saved_in_between(tmp_path: Path) -> None:
    look = f"import json; saved = json.load(open({str(tmp_path / 'out.ipynb')!r}))\n"
    process = start(
        tmp_path, look + "{c['metadata']['papermill']['status'] for c in saved['cells']}"
    )
    notebook, complaint = ended(tmp_path, process)
    assert notebook.cells[4].outputs[0].data["text/plain"] == "{'not run'}"
    assert process.returncode == 0, complaint
    assert words(notebook) == ["done"] * 7
    assert notebook.metadata.papermill.exception is None
    assert notebook.metadata.papermill.duration > 0


def test_a_cell_that_fails_ends_the_run(tmp_path: Path) -> None:
    process = start(tmp_path, "1 / 0")
    notebook, complaint = ended(tmp_path, process)
    assert process.returncode == 1
    assert "ZeroDivisionError" in complaint
    assert words(notebook) == [*["done"] * 4, "failed", "not run", "not run"]
    assert notebook.metadata.papermill.exception is True


def test_a_kernel_that_dies_completes_nothing(tmp_path: Path) -> None:
    process = start(tmp_path, "import os; os.abort()")
    notebook, complaint = ended(tmp_path, process)
    assert process.returncode != 0
    assert "DeadKernelError" in complaint
    assert words(notebook) == [*["done"] * 4, "interrupted", "not run", "not run"]
    assert notebook.metadata.papermill.exception is True
    assert notebook.metadata.papermill.end_time
    assert verify(tmp_path / "out.ipynb").returncode == 0


def test_a_cell_that_takes_too_long_is_interrupted(tmp_path: Path) -> None:
    given = write_runbook(tmp_path / "runbook.ipynb", ["print('first')", SLEEP, "print('last')"])
    process = papermill(
        *(given, tmp_path / "out.ipynb", "--engine", "rbkernel", "--execution-timeout", "3")
    )
    notebook, complaint = ended(tmp_path, process)
    assert process.returncode != 0
    assert "CellTimeoutError" in complaint
    assert words(notebook) == ["done", "done", "interrupted", "not run"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_in_order(
    tmp_path: Path, evidence: Path, how: signal.Signals
) -> None:
    process = start(tmp_path, SLEEP)
    wait_for_sleep(evidence)
    process.send_signal(how)
    notebook, _complaint = ended(tmp_path, process)
    assert process.returncode == 1
    assert words(notebook) == [*["done"] * 4, "interrupted", "not run", "not run"]
    assert [store.kernel_is_alive(folder) for folder in evidence.glob("open/*")] == [False]


def test_papermill_killed_leaves_a_whole_file_that_claims_nothing(
    tmp_path: Path, evidence: Path
) -> None:
    (tmp_path / "out.ipynb").write_text('{"an": "older file"}')
    process = start(tmp_path, SLEEP)
    wait_for_sleep(evidence)
    process.kill()
    notebook, _complaint = ended(tmp_path, process)
    assert set(words(notebook)) == {"not run"}


def test_a_folder_that_cannot_be_written_is_known_before_the_first_cell(
    tmp_path: Path, evidence: Path
) -> None:
    given = document(tmp_path, "1")
    process = papermill(given, tmp_path / "nowhere" / "out.ipynb", "--engine", "rbkernel")
    _, complaint = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "cannot be written: No such file" in complaint
    assert not evidence.exists()


def test_a_full_disk_at_the_last_write_loses_nothing(tmp_path: Path, evidence: Path) -> None:
    """The output's disk has room for the empty notebook, not for what the cells print."""
    disk = tmp_path / "disk"
    disk.mkdir()
    given = document(tmp_path, "print(chr(120) * 100_000)")
    run = f"{sys.executable} -m papermill --no-progress-bar --engine rbkernel -k rbkernel"
    shown = (
        f"{run} {given} {disk}/out.ipynb; code=$?; ls -A {disk}; cat {disk}/out.ipynb; exit $code"
    )
    done = in_tiny_tmpfs(disk, "sh", "-c", shown)
    assert done.returncode == 1
    assert "cannot be written: No space left on device" in done.stderr
    listed, _, left = done.stdout.partition("\n")
    assert listed == "out.ipynb"
    assert set(words(nbformat.reads(left, as_version=4))) == {"not run"}
    [run_folder] = (evidence / "open").iterdir()
    rebuilt = tmp_path / "rebuilt.ipynb"
    command = [sys.executable, "-m", "rbkernel", "evidence", "rebuild", run_folder.name]
    subprocess.run([*command, "-o", str(rebuilt)], check=True, capture_output=True)
    assert "x" * 100_000 in rebuilt.read_text()


def test_papermills_own_claims_are_corrected_by_verify(tmp_path: Path) -> None:
    """Plain papermill calls every cell completed after its kernel died."""
    out = tmp_path / "out.ipynb"
    process = papermill(document(tmp_path, "import os; os.abort()"), out)
    process.communicate(timeout=PATIENCE_S)
    assert words(nbformat.read(out, as_version=4)) == ["completed"] * 7
    told = verify(out).stdout
    assert "cell 5, “import os; os.abort()”: attested: the cell was interrupted (papermill" in told
    assert "cell 7, “print('last')”: never ran (papermill recorded completed)" in told


def verify(notebook: Path) -> subprocess.CompletedProcess[str]:
    return run_command("evidence", "verify", str(notebook))


def test_a_run_killed_before_rb_start_keeps_its_incident_and_its_document(
    tmp_path: Path, evidence: Path
) -> None:
    given = write_runbook(
        tmp_path / "runbook.ipynb", [SLEEP, "# A step", START], parameters='incident: str = ""'
    )
    process = papermill(
        *(given, tmp_path / "out.ipynb", "--engine", "rbkernel", "-p", "incident", "INC-EARLY")
    )
    wait_for_sleep(evidence)
    process.kill()
    notebook, _complaint = ended(tmp_path, process)
    [folder] = (evidence / "open").iterdir()
    assert run_id_of(notebook) == folder.name, "verify would not know the run"
    wait_for_end(folder)
    sealed = bundle.seal(evidence, folder.name)
    assert sealed.incident == "INC-EARLY"
    rebuilt = nbformat.read(sealed.folder / "executed.ipynb", as_version=4)
    assert "A step" in rebuilt.cells[-2].source
    assert rebuilt.cells[-1].metadata.rbkernel.status == "not run"


def test_an_incident_that_holds_a_secret_is_refused_before_anything_is_written(
    tmp_path: Path, evidence: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY_PASSWORD", "zebraFinch77quiet")
    process = start(tmp_path, "1", "-p", "incident", "INC-zebraFinch77quiet")
    _, complaint = process.communicate(timeout=PATIENCE_S)
    assert process.returncode != 0
    assert "the incident's id is, or looks like, a secret" in complaint
    assert not (tmp_path / "out.ipynb").exists()
    assert not evidence.exists()
    with pytest.raises(SecretParameter, match="the incident's id"):
        runner.run(str(tmp_path / "runbook.ipynb"), {}, load(), incident="INC-zebraFinch77quiet")
    assert not evidence.exists()


def wait_for_end(folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while store.kernel_is_alive(folder):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def executed(given: str | Path | NotebookNode, output: str, **options: object) -> NotebookNode:
    """Execute with papermill in this process, as a scheduler or a notebook does."""
    notebook: NotebookNode = papermill_library.execute_notebook(
        given,
        output,
        engine_name="rbkernel",
        kernel_name="rbkernel",
        progress_bar=False,
        **options,
    )
    return notebook


def printed(file: Path) -> str:
    return "".join(
        output.text
        for cell in nbformat.read(file, as_version=4).cells
        for output in cell.get("outputs", ())
        if output.output_type == "stream"
    )


def test_each_run_of_a_process_writes_its_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same relative name in two folders, after a run that failed and one that raised."""
    before = list(papermill_io._handlers)
    for name in ("one", "two", "elsewhere"):
        (tmp_path / name).mkdir()
    sources = {"one": ["print('first')", "1 / 0"], "two": ["print('second')"]}
    for name, cells in sources.items():
        monkeypatch.chdir(tmp_path / name)
        write_runbook(Path("in.ipynb"), cells)
        with suppress(PapermillExecutionError):
            executed("in.ipynb", "out.ipynb", cwd=str(tmp_path / "elsewhere"))

    with pytest.raises(EvidenceError, match="cannot be written"):
        executed("in.ipynb", "nowhere/out.ipynb")
    assert printed(tmp_path / "one" / "out.ipynb") == "first\n"
    assert printed(tmp_path / "two" / "out.ipynb") == "second\n"
    assert papermill_io._handlers == before
    assert not [*(tmp_path / "elsewhere").iterdir()]


@pytest.mark.filterwarnings("ignore:The specified file")  # papermill's, of the text
@pytest.mark.parametrize("form", ["node", "text"])
def test_a_notebook_in_memory_is_executed(tmp_path: Path, form: str) -> None:
    node = nbformat.read(write_runbook(tmp_path / "in.ipynb", ["print('in memory')"]), as_version=4)
    text = nbformat.writes(node).replace("{", "{{").replace("}", "}}")  # papermill formats it
    done = executed(node if form == "node" else text, str(tmp_path / "out.ipynb"))
    assert set(words(done)) == {"done"}
    assert printed(tmp_path / "out.ipynb") == "in memory\n"


def test_papermills_registry_of_engines_can_be_copied_with_ours_in_it() -> None:
    """papermill's own tests do it; a module in it cannot be copied."""
    copied = copy.deepcopy(papermill_engines).get_engine("rbkernel")
    assert copied.nb_kernel_name(new_notebook(metadata=METADATA)) == "rbkernel"
