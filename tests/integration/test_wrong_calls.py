"""Wrong calls in a notebook: one sentence in place of a traceback, and the run still fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kernels import START, Kernel, configure, kernel, papermill, write_runbook


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel in which a run has begun; the connection that it knows is never reached."""
    folder = tmp_path_factory.mktemp("calls")
    write_runbook(folder / "runbook.ipynb", ["x = 1"])
    file = configure(folder)
    text = file.read_text(encoding="utf-8")
    file.write_text(f"{text}[connections.orders]\nhost = '127.0.0.1'\nport = 1\n", encoding="utf-8")
    evidence = str(folder / "evidence")
    with kernel(RBKERNEL_CONFIG=str(file), RBKERNEL_EVIDENCE=evidence) as made:
        assert made.run(START).reply["status"] == "ok"
        yield made


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("rb.query('SELECT 1', 'order')", "known: orders; did you mean orders?"),
        ("%%sql order\nSELECT 1", "known: orders; did you mean orders?"),
        ("%%sql orders", "write SQL under its first line"),
        ("%%sql orders\n", "write SQL under its first line"),
        ("%%sql orders\n  \n-- later\n/* much later */ ;", "write SQL under its first line"),
        ("%%sql", "needs the name of a connection"),
        ("%%sql 'orders\nSELECT 1", "needs the name of a connection"),
        ("rb.query('SELECT \\ud83d', 'orders')", "U+D83D"),
        ("half = 'a\\udc00'\nrb.query('SELECT :v', 'orders', v=[half])", "value of :v holds"),
        ("rb.query('SELECT :v', 'orders', v='a\\0')", "U+0000"),
        ("rb.check('t', frame=None, critcal=3)", "write critical=…"),
        ("rb.start('RUN-900', incidnt='INC-1')", "write incident"),
        ("rb.query('SELECT 1', 'orders', row_cap=float('inf'))", "should be a whole number"),
        ("rb.sample('SELECT 1', 'orders', every_s=float('nan'))", "should be a finite number"),
    ],
)
def test_is_one_sentence(started: Kernel, cell: str, words: str) -> None:
    answer = started.run(cell)
    assert answer.reply["status"] == "error"
    [error] = [m["content"] for m in answer.messages if m["msg_type"] == "error"]
    assert words in error["traceback"][0]
    assert len(error["traceback"]) <= 2
    assert all("\n" not in line for line in error["traceback"])


def test_papermill_fails_on_an_unknown_connection(
    tmp_path: Path, evidence: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = write_runbook(
        tmp_path / "runbook.ipynb",
        [START.replace(")", ", db=db)"), "rb.query('SELECT 1', db)"],
        parameters='db: str = "nowhere"',
    )
    output = tmp_path / "out.ipynb"
    process = papermill(document, output, RBKERNEL_CONFIG=str(configure(tmp_path)))
    _, said = process.communicate(timeout=180)
    assert process.returncode != 0
    assert "no connection is called 'nowhere'" in said
    cells = json.loads(output.read_text(encoding="utf-8"))["cells"]
    [error] = [o for c in cells for o in c.get("outputs", ()) if o["output_type"] == "error"]
    assert error["ename"] == "UnknownConnection"


def test_papermill_parameters_keep_their_digits(
    tmp_path: Path, evidence: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = write_runbook(
        tmp_path / "runbook.ipynb",
        [START.replace(")", ", version=version)"), "print('version', version)"],
        parameters='version: str = "1.0"',
    )
    file = str(configure(tmp_path))
    for option, value, ended in (("-p", "1.10", False), ("-r", "1.10", True)):
        output = tmp_path / "out.ipynb"
        process = papermill(document, output, option, "version", value, RBKERNEL_CONFIG=file)
        _, said = process.communicate(timeout=180)
        assert (process.returncode == 0) is ended
        assert ("use -r version VALUE" in said) is not ended
    assert "version 1.10" in output.read_text(encoding="utf-8")
