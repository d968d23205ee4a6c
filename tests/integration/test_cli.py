"""The command line as a user calls it: every bad input is one line with a next step, and exit 3.

Before and after each of them the evidence folder is listed: nothing half-written may be left.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from rbkernel.cli import parameters
from rbkernel.config import Settings
from rbkernel.errors import ParameterError
from rbkernel.sandbox import control
from tests.support.command import run_command
from tests.support.kernels import (
    PATIENCE_S,
    START,
    configure,
    in_tiny_tmpfs,
    kernel,
    papermill,
    write_runbook,
)

SECRET = "hunter2-Tr0ub4dor"


def rbkernel(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_command(*arguments, environment={**os.environ, **environment})


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def expect_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 3, done.stderr
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("rbkernel: ")
    assert " Next: " in line
    assert all(word in line for word in words), line
    assert SECRET not in line


BAD_RUNS = [
    (["RUN-999"], ["RUN-999", "rbkernel list"]),
    (["nowhere/at-all.ipynb"], ["cannot be read"]),
    (["RUN-005", "-p", "colour=red"], ["no parameter 'colour'", "lag_warn_s"]),
    (["RUN-005", "-p", "samples=many"], ["samples must be int"]),
    (["RUN-005", "-p", "samples=2.5"], ["samples must be int"]),
    (["RUN-005", "-p", "lag_warn_s=fast"], ["lag_warn_s must be float"]),
    (["RUN-005", "-p", f"db=postgresql://rb:{SECRET}@db1/orders"], ["looks like a secret"]),
    (["RUN-005", "-p", f"db=host=db1 password={SECRET}"], ["looks like a secret"]),
    (["RUN-005", "-p", f"password={SECRET}"], ["password"]),
    (["RUN-005", "-p", "db=no-such-database"], ["no-such-database", "rbkernel init"]),
    (["RUN-005", "-p", "db="], ["db is empty"]),
    (["RUN-005"], ["db is empty", "no default connection", "default = true"]),
    (["RUN-005", "-p", "samples"], ["name=value"]),
    (["RUN-005", "--incident", "../../evil"], ["not an incident id"]),
    (["RUN-005", "--incident", "INC-x/../../y"], ["not an incident id"]),
]


class TestBadInput:
    @pytest.mark.parametrize(("arguments", "words"), BAD_RUNS)
    def test_run(self, evidence: Path, arguments: list[str], words: list[str]) -> None:
        evidence.mkdir()
        expect_one_line(rbkernel("run", *arguments), *words)
        assert listing(evidence) == []

    def test_evidence_folder_that_cannot_be_written(self, evidence: Path, shop: Settings) -> None:
        evidence.write_text("a file is in the way")
        expect_one_line(rbkernel("run", "RUN-006"), "Not a directory", str(evidence))
        assert evidence.read_text() == "a file is in the way"

    def test_evidence_folder_that_is_read_only(self, evidence: Path, shop: Settings) -> None:
        evidence.mkdir()
        command = [sys.executable, "-m", "rbkernel", "run", "RUN-006"]
        expect_one_line(in_tiny_tmpfs(evidence, *command, options="ro"), "Read-only file system")

    def test_evidence_folder_that_is_full(self, evidence: Path, shop: Settings) -> None:
        evidence.mkdir()
        fill = 'cat /dev/zero > "$RBKERNEL_EVIDENCE/full"'
        run = f"{sys.executable} -m rbkernel run RUN-006"
        list_all = 'find "$RBKERNEL_EVIDENCE" -mindepth 1 -not -name full'
        script = f"{fill} 2>/dev/null; {run}; code=$?; {list_all}; exit $code"
        done = in_tiny_tmpfs(evidence, "sh", "-c", script)
        left = done.stdout.split()
        done.stdout = ""
        expect_one_line(done, "No space left on device")
        assert [path for path in left if not path.endswith("/open")] == []

    def test_port_in_use(self, tmp_path: Path, evidence: Path) -> None:
        home = str(tmp_path / "sandbox")
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = str(other.getsockname()[1])
            done = rbkernel("sandbox", "up", "--port", port, RBKERNEL_SANDBOX=home)
        expect_one_line(done, port, "in use")
        assert rbkernel("sandbox", "status", RBKERNEL_SANDBOX=home).returncode == 1
        assert not evidence.exists()

    def test_no_postgresql_binaries(self, tmp_path: Path) -> None:
        home = tmp_path / "sandbox"
        done = rbkernel("sandbox", "up", RBKERNEL_SANDBOX=str(home), RBKERNEL_PG_BIN=str(tmp_path))
        expect_one_line(done, "RBKERNEL_PG_BIN", "initdb")
        assert not home.exists()

    def test_sandbox_already_up(self, shop: Settings) -> None:
        pids = control.status().pids
        expect_one_line(rbkernel("sandbox", "up"), "already up", "sandbox down")
        assert control.status().pids == pids

    @pytest.mark.parametrize(
        "arguments",
        [
            ["sandbox", "inject", "replay-paused"],
            ["sandbox", "inject", "earthquake"],
            ["sandbox", "heal"],
            ["evidence", "verify", "20261120T030211Z-ffffff"],
            ["evidence", "seal", "20261120T030211Z-ffffff"],
            ["evidence", "seal", "nowhere.ipynb"],
            ["evidence", "rebuild", "20261120T030211Z-ffffff", "-o", "out.ipynb"],
        ],
    )
    def test_other_commands(
        self, evidence: Path, tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        evidence.mkdir()
        expect_one_line(rbkernel(*arguments))
        assert listing(evidence) == []
        assert not (tmp_path / "out.ipynb").exists()

    def test_broken_configuration(self, tmp_path: Path, evidence: Path) -> None:
        file = tmp_path / "rbkernel.toml"
        file.write_text(f'[connections.db]\nhost = "x"\npassword = "{SECRET}"\n')
        for arguments in (["list"], ["run", "RUN-005"], ["evidence", "list"]):
            done = rbkernel(*arguments, RBKERNEL_CONFIG=str(file))
            expect_one_line(done, "password", str(file))
        assert not evidence.exists()

    @pytest.mark.parametrize(
        "arguments", [["no-such-command"], ["run"], ["run", "RUN-005", "--colour"], ["evidence"]]
    )
    def test_usage_errors_exit_3(self, arguments: list[str]) -> None:
        done = rbkernel(*arguments)
        assert done.returncode == 3
        assert "Usage" in done.stderr + done.stdout
        assert "Traceback" not in done.stderr


class TestPlainPapermill:
    """The same bad parameters past our command line: `rb.start` refuses them."""

    @pytest.fixture
    def document(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("RBKERNEL_CONFIG", str(configure(tmp_path)))
        start = "import rbkernel as rb\nrb.start('RUN-900', db=db, samples=samples)"
        marker = tmp_path / "ran"
        document = write_runbook(
            *(tmp_path / "runbook.ipynb", [start, f"open({str(marker)!r}, 'w')"]),
            parameters='db: str = ""\nsamples: int = 3',
        )
        text = document.read_text().replace("severity: P3", "severity: P3\\nconnections: {db: '*'}")
        document.write_text(text)
        return document

    def test_ends_at_the_first_cell(self, evidence: Path, tmp_path: Path, document: Path) -> None:
        started = papermill(
            document, tmp_path / "out.ipynb", "-p", "db", f"postgres://x:{SECRET}@y"
        )
        _, complaint = started.communicate(timeout=PATIENCE_S)
        assert started.returncode != 0
        assert "SecretParameter" in complaint
        assert "Next: " in complaint
        assert not (tmp_path / "ran").exists()

    def test_each_is_refused(self, evidence: Path, document: Path) -> None:
        calls = {
            "db='no-such-database'": "UnknownConnection",
            f"db='host=db1 password={SECRET}'": "SecretParameter",
            "samples='many'": "ParameterError",
            "colour='red'": "ParameterError",
            "incident='../../evil'": "ParameterError",
        }
        with kernel() as running:
            for arguments, error in calls.items():
                code = f"import rbkernel as rb\nrb.start('RUN-900', {arguments})"
                reply = running.run(code).reply
                assert reply["ename"] == error, arguments
                assert "Next: " in reply["evalue"]
                assert SECRET not in reply["evalue"]
        [folder] = (evidence / "open").iterdir()
        assert not (folder / "runbook.ipynb").exists()


class TestRun:
    def test_exit_codes_and_json(self, evidence: Path, shop: Settings) -> None:
        control.inject("orders-drift")
        found = rbkernel("run", "RUN-006", "-p", "recheck_after_s=1", "--json")
        told = json.loads(found.stdout)
        assert found.returncode == 1
        assert told["verdict"] == "warning"
        assert told["exit_code"] == 1
        assert told["failure"] == ""
        assert found.stderr == ""
        assert Path(told["evidence"], "SHA256SUMS").is_file()
        lenient = rbkernel(
            *("run", "run-006", "-p", "recheck_after_s=1", "--exit-zero-on-finding"),
            *("--incident", told["incident"]),
        )
        assert lenient.returncode == 0
        assert "Next" in lenient.stdout or "next" in lenient.stdout
        listed = json.loads(rbkernel("evidence", "list", "--json").stdout)
        assert [entry["incident"] for entry in listed] == [told["incident"]] * 2
        assert {entry["state"] for entry in listed} == {"sealed"}
        verified = rbkernel("evidence", "verify")
        assert verified.returncode == 0, verified.stdout

    def test_a_failed_cell_exits_3_whatever_was_asked(self, evidence: Path, tmp_path: Path) -> None:
        document = write_runbook(tmp_path / "fails.ipynb", [START, "1 / 0", "rb.summary()"])
        done = rbkernel("run", str(document), "--exit-zero-on-finding")
        assert done.returncode == 3
        assert "ZeroDivisionError" in done.stderr
        [line] = [line for line in done.stdout.splitlines() if line.startswith("evidence ")]
        assert (Path(line.split(" ", 1)[1]) / "executed.ipynb").is_file()

    def test_a_notebook_that_names_no_language(self, evidence: Path, tmp_path: Path) -> None:
        """Only the front matter makes a runbook: metadata of the editor may be missing."""
        document = write_runbook(
            tmp_path / "bare.ipynb", [START, "rb.summary()"], parameters="n: int = 1"
        )
        bare = json.loads(document.read_text())
        bare["metadata"] = {}
        document.write_text(json.dumps(bare))
        done = rbkernel("run", str(document), "-p", "n=2")
        assert "Traceback" not in done.stderr
        assert "UNKNOWN" in done.stdout  # nothing was checked


class TestList:
    def test_json_tells_all_of_the_front_matter(self) -> None:
        done = rbkernel("list", "--json")
        assert done.returncode == 0
        told = {entry["id"]: entry for entry in json.loads(done.stdout)}
        assert {"RUN-001", "RUN-005", "RUN-006"} <= set(told)
        assert told["RUN-005"]["title"] == "Replication lag"
        assert Path(told["RUN-005"]["path"]).is_file()

    def test_a_broken_notebook_hides_no_other(self, tmp_path: Path) -> None:
        (tmp_path / "broken.ipynb").write_text("{")
        done = rbkernel("list", RBKERNEL_CONFIG=str(configure(tmp_path)))
        assert "RUN-005" in done.stdout
        assert "broken.ipynb" in done.stderr
        assert "Next: " in done.stderr

    def test_a_team_s_runbook_hides_ours_of_the_same_id(self, tmp_path: Path) -> None:
        document = write_runbook(tmp_path / "mine.ipynb", [START])
        document.write_text(document.read_text().replace("RUN-900", "RUN-005"))
        done = rbkernel("list", "--json", RBKERNEL_CONFIG=str(configure(tmp_path)))
        told = {entry["id"]: entry for entry in json.loads(done.stdout)}
        assert told["RUN-005"]["path"] == str(document)

    def test_a_pipe_that_is_closed_early_is_quiet(self) -> None:
        command = f"{sys.executable} -m rbkernel list --json | true; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(
            ["bash", "-c", command], capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        assert "Traceback" not in done.stderr
        assert "defect" not in done.stderr

    def test_version_and_help(self) -> None:
        assert re.fullmatch(r"rbkernel \d+\.\d+\.\d+\S*\n", rbkernel("--version").stdout)
        help_text = rbkernel("--help")
        assert help_text.returncode == 0
        for command in ("list", "run", "demo", "evidence", "sandbox"):
            assert command in help_text.stdout


class TestNameAndValue:
    @pytest.mark.parametrize(
        ("text", "pair"),
        [
            ("db=orders", ("db", "orders")),
            ("query=a=b", ("query", "a=b")),
            ("empty=", ("empty", "")),
        ],
    )
    def test_is_split_at_the_first_equals_sign(self, text: str, pair: tuple[str, str]) -> None:
        assert parameters.name_and_value(text) == pair

    @pytest.mark.parametrize("text", ["db", "=x", "1a=x", "a b=x", ""])
    def test_anything_else_is_refused(self, text: str) -> None:
        with pytest.raises(ParameterError, match="name=value"):
            parameters.name_and_value(text)
