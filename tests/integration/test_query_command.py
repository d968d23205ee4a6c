"""`rbkernel query`: what a terminal, a script and a pipe get, with the exit code of the verdict.

Most calls run in this process, through `main`: to import everything anew is most of a command's
time. A pipe and the exit code of a process are tested on processes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rbkernel import cli
from rbkernel.config import Settings
from rbkernel.sandbox import control
from rbkernel.sources.postgres import diagnostics
from tests.support.kernels import PATIENCE_S

PRIMARY, STANDBY = "sandbox-primary", "sandbox-standby"


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line of error, of a command that did nothing else."""
        assert self.code == 3, self.err
        assert self.out == ""
        [line] = self.err.splitlines()
        assert line.startswith("rbkernel: ")
        assert " Next: " in line
        return line


Query = Callable[..., Ended]


@pytest.fixture
def query(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Query:
    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["rbkernel", "query", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return Ended(int(ended.value.code or 0), said.out, said.err)

    return run


class TestList:
    def test_every_diagnostic_with_its_question(self, query: Query) -> None:
        listed = query()
        assert listed.code == 0
        for name in diagnostics.names():
            [line] = [line for line in listed.out.splitlines() if line.split(" ")[0] == name]
            assert diagnostics.get(name).purpose in line
        assert "overview: " in listed.out

    def test_json(self, query: Query) -> None:
        told = json.loads(query("--json").out)
        assert [entry["name"] for entry in told] == diagnostics.names()
        assert all(entry["purpose"] for entry in told)


class TestOne:
    def test_table_findings_and_exit_code(self, shop: Settings, query: Query) -> None:
        done = query("connections/saturation", PRIMARY)
        heads, figures, *findings = done.out.splitlines()
        assert heads.split()[:4] == ["used", "usable", "free", "used_pct"]
        assert figures.split()[0].isdigit()
        assert findings[0].startswith("OK")
        assert "Connection slots in use" in findings[0]
        assert (done.code, done.err) == (0, "")

    def test_critical_exits_2_and_says_what_to_open(self, shop: Settings, query: Query) -> None:
        control.inject("pool-idle-in-transaction")
        done = query("connections/saturation", PRIMARY)
        assert done.code == 2
        assert "CRITICAL" in done.out
        assert "of the connection slots are in use" in done.out

    def test_warning_exits_1(self, shop: Settings, query: Query) -> None:
        control.inject("orders-drift")
        done = query("reconciliation/open", PRIMARY)
        assert done.code == 1
        assert "WARNING" in done.out

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            (("locks/blocking", "sandbox-unprivileged"), "lacks pg_monitor"),
            (("replication/standby", PRIMARY), "runs only on a standby"),
            (("queue/depth", PRIMARY), "there is no table outbox_messages"),
        ],
    )
    def test_unknown_exits_3_and_says_why(
        self, shop: Settings, query: Query, arguments: tuple[str, ...], reason: str
    ) -> None:
        done = query(*arguments)
        assert done.code == 3
        assert "UNKNOWN" in done.out
        assert reason in done.out
        assert done.err == ""

    @pytest.mark.parametrize(
        ("name", "code", "verdict"),
        # no cause is worse than a server that is down; one figure of it is only not known
        [("locks/blocking", 3, "UNKNOWN"), ("overview", 2, "CRITICAL")],
    )
    def test_a_server_that_is_down(
        self,
        name: str,
        code: int,
        verdict: str,
        query: Query,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        file = tmp_path / "rbkernel.toml"
        file.write_text('[connections.gone]\nhost = "127.0.0.1"\nport = 1\nuser = "nobody"\n')
        monkeypatch.setenv("RBKERNEL_CONFIG", str(file))
        done = query(name, "gone")
        assert done.code == code
        assert verdict in done.out
        assert "refused" in done.out


class TestJson:
    @pytest.mark.parametrize(
        "name",
        ["connections/saturation", "connections/holders", "replication/lag", "settings/notable"],
    )
    def test_rows_provenance_and_findings(self, shop: Settings, query: Query, name: str) -> None:
        done = query(name, PRIMARY, "--json")
        told = json.loads(done.out)
        assert len(told["rows"]) == told["provenance"]["rows"] > 0
        assert set(told["rows"][0]) == set(diagnostics.get(name).columns)
        assert (told["provenance"]["name"], told["provenance"]["connection"]) == (name, PRIMARY)
        assert [f["title"] for f in told["findings"]] == [
            rule.title for rule in diagnostics.get(name).rules
        ]
        assert {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}[worst(told)] == done.code

    def test_a_failure_is_json_too(self, shop: Settings, query: Query) -> None:
        done = query("locks/blocking", "sandbox-unprivileged", "--json")
        told = json.loads(done.out)
        assert told["rows"] == []
        assert "lacks pg_monitor" in told["provenance"]["reason"]
        assert worst(told) == "unknown"
        assert done.code == 3


def worst(told: dict[str, Any]) -> str:
    ranks = ["ok", "warning", "unknown", "critical"]
    return ranks[max(ranks.index(found["verdict"]) for found in told["findings"])]


class TestSql:
    def test_prints_what_would_be_asked_and_asks_nothing(self, query: Query) -> None:
        """There is no such connection: whoever asked would have to complain."""
        for arguments in (["locks/blocking", "--sql"], ["locks/blocking", "nowhere", "--sql"]):
            done = query(*arguments)
            assert done.out == diagnostics.get("locks/blocking").sql + "\n"
            assert done.code == 0


class TestParameters:
    def test_are_bound(self, shop: Settings, query: Query) -> None:
        truth = control.inject("pool-active-queries").truth
        argument = ("connections/holders", PRIMARY, "--json", "-p")
        short = json.loads(query(*argument, "stuck_after_s=0").out)
        long = json.loads(query(*argument, "stuck_after_s=86400").out)
        assert sum(row["stuck"] for row in short["rows"]) >= truth["sessions"]
        assert sum(row["stuck"] for row in long["rows"]) == 0
        assert short["provenance"]["values"] == {"stuck_after_s": 0}

    def test_a_text_is_only_a_value(self, shop: Settings, query: Query) -> None:
        done = query("replication/lag", PRIMARY, "-p", "standby=x'; DROP TABLE orders --")
        assert done.code == 2
        assert "x'; DROP TABLE orders --" in done.out

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("stuck_after_s", "name=value"),
            ("stuck_after_s=soon", "stuck_after_s must be a number, but was given text"),
            ("colour=red", "its parameters: stuck_after_s"),
        ],
    )
    def test_what_is_not_declared_is_refused(
        self, shop: Settings, query: Query, text: str, words: str
    ) -> None:
        assert words in query("connections/holders", PRIMARY, "-p", text).complaint


class TestBadInput:
    def test_an_unknown_name_lists_those_there_are(self, shop: Settings, query: Query) -> None:
        for arguments in (["locks/blockin", PRIMARY], ["locks/blockin", "--sql"]):
            complaint = query(*arguments).complaint
            assert "'locks/blockin'" in complaint
            assert "locks/blocking" in complaint

    def test_an_unknown_connection_lists_those_there_are(
        self, shop: Settings, query: Query
    ) -> None:
        complaint = query("locks/blocking", "sandbox-primar").complaint
        assert PRIMARY in complaint
        assert "rbkernel init" in complaint

    @pytest.mark.parametrize("figure", ["nan", "inf", "-inf"])
    def test_a_figure_that_hides_every_row(self, shop: Settings, query: Query, figure: str) -> None:
        asked = ("activity/long_queries", PRIMARY, "-p", f"older_than_s={figure}")
        assert "no number to compare with" in query(*asked).complaint

    def test_overview_has_no_sql_of_its_own(self, query: Query) -> None:
        assert "many queries" in query("overview", "--sql").complaint

    @pytest.mark.parametrize("db", [[], [""]])
    @pytest.mark.parametrize("name", ["locks/blocking", "overview"])
    def test_without_a_database_nothing_is_ok(self, query: Query, name: str, db: list[str]) -> None:
        """A script whose variable is empty must not read success."""
        assert f"rbkernel query {name} DB" in query(name, *db).complaint


class TestOverview:
    def test_healthy_is_ok(self, shop: Settings, query: Query) -> None:
        done = query("overview", PRIMARY)
        assert done.code == 0, done.out
        [line] = done.out.splitlines()
        assert line.startswith("OK ")
        told = json.loads(query("overview", PRIMARY, "--json").out)["findings"]
        assert f"{len(told)} checks: " in line
        titles = {one["title"] for one in told}
        assert {"Longest wait for a lock", "WAL waiting to be archived"} <= titles

    def test_the_worst_comes_first_and_names_the_next_runbook(
        self, shop: Settings, query: Query
    ) -> None:
        control.inject("receiver-down")
        done = query("overview", STANDBY)
        assert done.code == 2
        assert done.out.startswith(f"CRITICAL {STANDBY} receives no WAL")
        assert "RUN-005" in done.out
        told = json.loads(query("overview", STANDBY, "--json").out)
        assert "RUN-005" in {found["opens"] for found in told["findings"]}
        assert (told["rows"], told["provenance"]) == ([], None)

    def test_the_standby_that_must_be_there(self, shop: Settings, query: Query) -> None:
        done = query("overview", PRIMARY, "-p", "standby_name=another-standby")
        assert done.code == 2
        assert "The standby is not connected" in done.out

    def test_takes_no_other_parameter(self, shop: Settings, query: Query) -> None:
        assert "colour" in query("overview", PRIMARY, "-p", "colour=red").complaint


class TestProcess:
    """As a shell sees it."""

    def shell(self, pipeline: str) -> subprocess.CompletedProcess[str]:
        command = pipeline.replace("QUERY", f"{sys.executable} -m rbkernel query")
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def test_a_pipe_gets_whole_lines(self, shop: Settings) -> None:
        done = self.shell(f"QUERY settings/notable {PRIMARY} | cat")
        assert done.returncode == 2  # the sandbox does without fsync
        assert done.stderr == ""
        widest = max(map(len, done.stdout.splitlines()))
        assert widest > 80  # not cut or folded at the width of a terminal that is not there
        heads = done.stdout.splitlines()[0].split()
        assert heads == list(diagnostics.get("settings/notable").columns)

    def test_a_pipe_that_is_closed_early_is_quiet(self, shop: Settings) -> None:
        done = self.shell(
            f"QUERY settings/notable {PRIMARY} --json | true; exit ${{PIPESTATUS[1]}}"
        )
        assert done.stderr == ""
