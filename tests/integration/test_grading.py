"""`rbkernel drill --exec` and `--grade`: tools that are no runbook, on real scenarios."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from rbkernel import config
from rbkernel.errors import SandboxError
from rbkernel.sandbox.grading import asking
from tests.support.command import run_command

# a tool that takes whoever blocks somebody for the culprit, and wants to terminate it
BLOCKERS = """#!{python}
import json, os, psycopg
with psycopg.connect(os.environ["DRILL_PRIMARY"]) as server:
    pids = server.execute(
        "SELECT DISTINCT unnest(pg_blocking_pids(pid)) FROM pg_stat_activity ORDER BY 1"
    ).fetchall()
found = [f"pid:{{pid}}" for (pid,) in pids]
answer = {{"tool": "blockers 1", "detected": bool(found), "culprits": found}}
if found:
    answer |= {{"step": "terminate", "targets": found}}
print(json.dumps(answer))
"""
# libpq's variables lead to the primary as well; this tool has nothing to say that can be read
UNREADABLE = """#!{python}
import psycopg
with psycopg.connect() as server:
    print(server.execute("SELECT 'the weather is fine'").fetchone()[0])
"""


@pytest.fixture
def tools(tmp_path: Path) -> list[Path]:
    paths = []
    for name, text in (("blockers", BLOCKERS), ("unreadable", UNREADABLE)):
        path = tmp_path / name
        path.write_text(text.format(python=sys.executable))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        paths.append(path)
    return paths


@pytest.mark.usefixtures("shop")
def test_a_tool_that_blames_a_victim_is_graded_and_its_answers_can_be_graded_again(
    tools: list[Path], tmp_path: Path
) -> None:
    filed = tmp_path / "answers.json"
    given = [argument for tool in tools for argument in ("--exec", str(tool))]
    done = run_command("drill", *given, "--answers", str(filed), "--json", "chain", "healthy")
    assert done.returncode == 0, done.stderr
    blockers, unreadable = json.loads(done.stdout)

    assert (blockers["tool"], blockers["failed"]) == ("blockers 1", 0)
    assert blockers["server_version"]
    chain, healthy = blockers["grades"]
    # refund-job is the root; the others wait, and block each other only because they do
    victims = {"session:price-update", "session:shop-checkout"}
    assert (chain["detected"], set(chain["accused"])) == (True, victims)
    assert (chain["culprit"], chain["step"]) == ("wrong", "harmful")
    assert (healthy["wrong"], healthy["scenario"]) == (False, "healthy")

    assert (unreadable["tool"], unreadable["failed"]) == (str(tools[1]), 2)
    assert "standard output, Invalid JSON" in unreadable["grades"][0]["failed"]

    again = run_command("drill", "--grade", str(filed), "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == [blockers, unreadable]
    said: list[dict[str, Any]] = json.loads(filed.read_text())[0]["answers"]
    assert set(said[0]["culprits"]) == {"session:refund-job", *victims}

    table = run_command("drill", "--grade", str(filed)).stdout
    assert "detected; accuses session:" in table
    assert "step: harmful" in table


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("no-such-tool {}", "there is no program to run 'no-such-tool {}'"),
        ("mytool 'x", '"mytool \'x" cannot be split: No closing quotation'),
        ("", "there is no program to run ''"),
    ],
)
def test_a_command_that_cannot_run_is_refused_before_any_fault(command: str, problem: str) -> None:
    with pytest.raises(SandboxError) as error:
        asking.ask([command], [], config.load(), complain=print)
    assert problem in str(error.value)
