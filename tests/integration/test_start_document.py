"""`rb.start`, the document and the connections: what is wrong is said with its line and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.kernels import (
    FRONT_MATTER,
    PATIENCE_S,
    RUNBOOK,
    START,
    configure,
    kernel,
    papermill,
    write_runbook,
)

_WRONG = "line 6: severty: unknown field; did you mean severity?"


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    """A runbook with a typo in its front matter, in a folder of its own."""
    document = write_runbook(tmp_path / "wrong.ipynb", [START, 'rb.show("summary")'])
    text = document.read_text()
    document.write_text(text.replace("severity:", "severty:"))
    assert "severity:" in FRONT_MATTER
    return document


def test_plain_papermill_says_what_is_wrong_with_the_front_matter(
    wrong: Path, evidence: Path
) -> None:
    process = papermill(wrong, wrong.with_name("out.ipynb"))
    _, said = process.communicate(timeout=PATIENCE_S)
    assert _WRONG in said
    assert f"{wrong}, first cell" in said


@pytest.mark.parametrize("named", [True, False], ids=["as JupyterLab names it", "by its id"])
def test_a_kernel_says_what_is_wrong_with_the_front_matter(
    wrong: Path, evidence: Path, named: bool
) -> None:
    file = str(configure(wrong.parent))
    name = str(wrong) if named else "a console"
    with kernel(RBKERNEL_CONFIG=file, JPY_SESSION_NAME=name) as one:
        reply = one.run(START).reply
    assert reply["ename"] == "RunbookError"
    assert _WRONG in reply["evalue"]


def test_an_empty_db_is_the_default_connection_and_its_standby(
    tmp_path: Path, evidence: Path
) -> None:
    parameters = 'db: str = ""\nstandby: str = ""\nstandby_name: str = ""'
    document = write_runbook(tmp_path / "x.ipynb", [START], parameters=parameters)
    carriers = 'connections: {db: \\"*\\", standby: \\"*\\"}\\nowner: Tests'
    document.write_text(document.read_text().replace("owner: Tests", carriers))
    file = configure(tmp_path)
    nobody = 'host = "127.0.0.1"\nport = 1\n'
    file.write_text(
        f"{file.read_text()}[connections.one]\n{nobody}default = true\nstandby = 'two'\n"
        f"standby_name = 'two_app'\n[connections.two]\n{nobody}"
    )
    start = f'import rbkernel as rb\nrb.start("{RUNBOOK}", db=db, standby=standby,'
    with kernel(RBKERNEL_CONFIG=str(file), JPY_SESSION_NAME=str(document)) as one:
        one.run(parameters)
        answer = one.run(f"{start} standby_name=standby_name)\nprint(db, standby, standby_name)")
        assert answer.reply["status"] == "ok", answer.reply
        assert answer.text.strip() == "one two two_app"
        # a connection that is given has its own standby, and that is none
        one.run('db, standby, standby_name = "two", "", ""')
        answer = one.run(f"{start} standby_name=standby_name)\nprint([db, standby, standby_name])")
        assert answer.text.strip() == "['two', '', '']"
        # without one, nothing is asked, and that is said
        told = one.run('rb.query("replication/standby", standby)')
        assert "no connection was given" in str(told.messages)


DECLARED = """from typing import Literal
incident: str = ""  # incident
ignore: list[str] = []  # columns
mode: Literal["fast", "slow"] = "fast"  # how
limit_s: float = 5.0  # s"""
SHORT = f'import rbkernel as rb\nrb.start("{RUNBOOK}")'
TOLD = "print(ignore, mode, limit_s)"


def recorded(evidence: Path) -> dict[str, object]:
    """The parameters that the journal of the only run holds."""
    [journal] = evidence.rglob("journal.jsonl")
    runs = [json.loads(line) for line in journal.read_text().splitlines() if '"run"' in line]
    [parameters] = [told["parameters"] for told in map(_data, runs) if "parameters" in told]
    return dict(parameters)


def _data(line: dict[str, Any]) -> dict[str, Any]:
    return dict(line.get("data") or line)


def test_start_takes_the_parameters_from_the_notebook(tmp_path: Path, evidence: Path) -> None:
    document = write_runbook(tmp_path / "x.ipynb", [SHORT, TOLD], parameters=DECLARED)
    out = tmp_path / "out.ipynb"
    process = papermill(document, out, "-p", "ignore", "a, b", "-p", "mode", "slow")
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    assert "['a', 'b'] slow 5.0" in out.read_text()
    assert recorded(evidence) == {"ignore": ["a", "b"], "mode": "slow", "limit_s": 5.0}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            "mode = 'slw'",
            "is one of fast, slow, and was given something else (RUN-900). Next: write slow",
        ),
        ("ignore = 3", "the parameter ignore must be list[str] (texts)"),
        ("limit_s = 'many'", "the parameter limit_s must be float"),
    ],
)
def test_a_wrong_variable_is_refused(tmp_path: Path, evidence: Path, given: str, said: str) -> None:
    document = write_runbook(tmp_path / "x.ipynb", [SHORT], parameters=DECLARED)
    file = str(configure(tmp_path))
    with kernel(RBKERNEL_CONFIG=file, JPY_SESSION_NAME=str(document)) as one:
        one.run(DECLARED)
        one.run(given)
        reply = one.run(SHORT).reply
    assert reply["ename"] == "ParameterError"
    assert said in reply["evalue"]


def test_a_keyword_wins_over_the_variable(tmp_path: Path, evidence: Path) -> None:
    document = write_runbook(tmp_path / "x.ipynb", [SHORT], parameters=DECLARED)
    file = str(configure(tmp_path))
    with kernel(RBKERNEL_CONFIG=file, JPY_SESSION_NAME=str(document)) as one:
        one.run(DECLARED)
        answer = one.run(f"{SHORT[:-1]}, limit_s=9, incident='INC-20261120-7f3a')\n{TOLD}")
        assert answer.reply["status"] == "ok", answer.reply
        assert answer.text.strip() == "[] fast 9.0", "cells use what is recorded"
    assert recorded(evidence) == {"ignore": [], "mode": "fast", "limit_s": 9.0}


def test_without_the_document_the_run_goes_on_and_says_so(tmp_path: Path, evidence: Path) -> None:
    with kernel(RBKERNEL_CONFIG=str(configure(tmp_path)), JPY_SESSION_NAME="a console") as one:
        one.run("db: str = 'nobody'\nignore: list[str] = ['a']\nother = 3\nincident: str = ''")
        one.run("import pandas as pd\nframe: pd.DataFrame = pd.DataFrame()")
        answer = one.run('import rbkernel as rb\nrb.start("RUN-999", db="")')
        assert "no default connection" in str(answer.messages), "a wrong db is still refused"
        answer = one.run(
            "import rbkernel as rb\ndel db, __annotations__['db']\nrb.start('RUN-999')"
        )
        assert answer.reply["status"] == "ok", answer.reply
        assert "types of the parameters were not checked" in str(answer.messages)
    assert recorded(evidence) == {"ignore": ["a"]}


def test_what_a_call_shows_is_not_shown_again_as_the_last_value(
    tmp_path: Path, evidence: Path
) -> None:
    def shown(cell: str) -> list[str]:
        kinds = ("display_data", "execute_result")
        return [m["msg_type"] for m in one.run(cell).messages if m["msg_type"] in kinds]

    document = write_runbook(tmp_path / "x.ipynb", [SHORT], parameters=DECLARED)
    file = str(configure(tmp_path))
    with kernel(RBKERNEL_CONFIG=file, JPY_SESSION_NAME=str(document)) as one:
        one.run(DECLARED)
        one.run(SHORT)
        assert shown('frame = rb.query("locks/prepared", "")\nframe') == ["display_data"]
        assert shown('rb.sample("locks/prepared", "", n=1)') == ["display_data"]
        # whoever asks for it later sees it, and what is made of it is shown as usual
        assert len(shown("frame")) == 1
        assert shown('rb.query("locks/prepared", "").head(1)') == ["display_data", "execute_result"]
