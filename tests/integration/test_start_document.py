"""`rb.start`, the document and the connections: what is wrong is said with its line and field."""

from __future__ import annotations

from pathlib import Path

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
