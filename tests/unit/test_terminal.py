"""What a terminal shows: whole ids, one line a row, colours, help, completion, and JSON."""

from __future__ import annotations

import inspect
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from typer.testing import CliRunner

from rbkernel.cli import app, command
from rbkernel.cli.terminal import columns, findings, visible_streams
from rbkernel.evidence import incident
from rbkernel.model import Finding, Verdict

# why a command prints no JSON for machines
_WITHOUT_JSON = {
    "rbkernel schema": "prints JSON only",
    "rbkernel config schema": "prints JSON only",
    "rbkernel grant": "prints SQL",
    "rbkernel init": "asks a person",
    "rbkernel watch": "runs until it is stopped",
    "rbkernel worker": "runs until it is stopped",
    "rbkernel demo": "runs until it is stopped",
}
RUN, INC = "20261120T030211Z-3fa9c1", "INC-20261120-7f3a"


def _walk(found: Any, name: str = "rbkernel") -> Iterator[tuple[str, Any]]:
    yield name, found
    for word, inner in getattr(found, "commands", {}).items():
        yield from _walk(inner, f"{name} {word}")


COMMANDS = dict(_walk(command()))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_exit_codes_and_an_example(name: str) -> None:
    shown = COMMANDS[name].help or ""
    assert "Exit codes: 0 " in shown
    assert f"Example: {name}" in shown


@pytest.mark.parametrize(
    "name", [one for one in COMMANDS if not hasattr(COMMANDS[one], "commands")]
)
def test_every_command_that_prints_results_has_json(name: str) -> None:
    options = {option for one in COMMANDS[name].params for option in one.opts}
    assert ("--json" in options) != (name in _WITHOUT_JSON)


@pytest.mark.parametrize("name", COMMANDS)
def test_json_is_used_where_it_is_taken(name: str) -> None:
    """An option that a command takes and does not read would print text for a machine."""
    callback = COMMANDS[name].callback
    if callback and "as_json" in inspect.signature(callback).parameters:
        body = inspect.getsource(callback).split('"""', 2)[2]
        assert "as_json" in body


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A configuration of its own, with one open incident."""
    monkeypatch.setenv("RBKERNEL_EVIDENCE", str(tmp_path / "evidence"))
    monkeypatch.setenv("RBKERNEL_CONFIG", str(tmp_path / "rbkernel.toml"))
    (tmp_path / "rbkernel.toml").write_text("")
    title = "Replay is paused on sandbox-standby, and reports are stale"
    (tmp_path / "evidence").mkdir()
    incident.append(tmp_path / "evidence", INC, "opened", by="ann", title=title, severity="SEV2")
    return tmp_path


# of each: what the text says must be in the JSON, too
@pytest.mark.parametrize(
    "words",
    [
        ["incident", "note", INC, "looked at the standby"],
        ["incident", "acknowledge", INC],
        ["incident", "reopen", INC, "again"],
        ["incident", "list"],
        ["maintenance", "add", "upgrade", "--all"],
        ["kernel", "stop"],
        ["link", INC],
        ["new"],
    ],
    ids=" ".join,
)
def test_json_says_what_the_text_says(words: list[str], known: Path) -> None:
    runner = CliRunner()
    text = runner.invoke(app, words).stdout
    told = runner.invoke(app, [*words, "--json"]).stdout
    said = json.dumps(json.loads(told), ensure_ascii=False)
    ids = set(re.findall(r"INC-\S+\b|http\S+/", text)) | {"ai_system" for _ in words if _ == "new"}
    assert {one for one in ids if one not in said} == set()


@pytest.mark.parametrize("width", [80, 60])
def test_a_list_has_one_line_a_row_and_whole_ids(width: int) -> None:
    names = ("run", "incident", "runbook", "verdict", "why")
    rows = [(RUN, INC, "RUN-005", "critical", "a reason " * 20), (RUN, INC, "", "ok", "日本" * 50)]
    lines = columns.table(names, rows, width)
    rest = lines[1 : len(rows) + 1]
    assert all(RUN in line and INC in line for line in rest)
    assert all(cell_len(line) <= width for line in rest)
    missing = {name for name in names if name not in lines[0].split()}
    assert all(name in lines[-1] for name in missing)


@given(
    rows=st.lists(st.lists(st.text("ab日 ", max_size=40), min_size=4, max_size=4), max_size=5),
    width=st.integers(min_value=1, max_value=120),
)
def test_a_table_fits_or_only_what_must_be_whole_is_wider(
    rows: Sequence[Sequence[str]], width: int
) -> None:
    lines = columns.table(("one", "two", "three", "four"), rows, width)
    table = lines[: len(rows) + 1]
    first = max(cell_len(row[0]) for row in [("one",), *rows])
    assert len(table) == len(rows) + 1
    assert all(cell_len(line) <= max(width, first) for line in table)


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "coloured"),
    [
        (Terminal, {}, True),
        (Terminal, {"NO_COLOR": "1"}, False),
        (Terminal, {"TERM": "dumb"}, False),
        (io.StringIO, {}, False),
    ],
)
def test_colours_are_for_terminals_only(
    stream: type[io.StringIO],
    environment: dict[str, str],
    coloured: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    shown = stream()
    monkeypatch.setattr(sys, "stdout", shown)
    with visible_streams():
        typer.echo("CRITICAL Lag\x1b[2J: 31 s", color=True)
    assert ("\x1b[1;31mCRITICAL\x1b[0m" in shown.getvalue()) is coloured
    assert "\x1b[2J" not in shown.getvalue()  # of the text itself, nothing is executed


def _finding(title: str, verdict: Verdict, **more: Any) -> Finding:
    return Finding(title=title, verdict=verdict, expected="", actual="31 s", **more)


def test_only_ok_checks_are_folded() -> None:
    every = [
        *(_finding(f"check {number}", Verdict.OK) for number in range(40)),
        _finding("Lag", Verdict.CRITICAL, next_step="resume replay"),
        _finding("Slots", Verdict.UNKNOWN),
        _finding("Symptom", Verdict.WARNING, explained_by="Lag"),
    ]
    lines = list(findings.lines(every, 80))
    assert [line.split()[0] for line in lines] == [
        "CRITICAL",
        "next:",
        "UNKNOWN",
        "explained",
        "OK",
    ]
    assert lines[-1].startswith("OK       40 checks: check 0 · ")
    assert len(lines[-1]) == 80


def test_a_shell_completes_commands_incidents_and_runbooks(known: Path) -> None:
    def proposed(*words: str) -> str:
        environment = {
            **os.environ,
            "_RBKERNEL_COMPLETE": "complete_bash",
            "COMP_WORDS": " ".join(["rbkernel", *words]),
            "COMP_CWORD": str(len(words)),
        }
        program = "import sys; sys.argv = ['rbkernel']; from rbkernel.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        assert not done.stderr
        return done.stdout

    assert "incident" in proposed("inc").split()
    assert proposed("incident", "show", "INC-2026").split() == [INC]
    assert "RUN-005" in proposed("run", "RUN-00").split()
    (known / "rbkernel.toml").write_text("not = [valid")
    assert proposed("incident", "show", "INC-2026").split() == []
