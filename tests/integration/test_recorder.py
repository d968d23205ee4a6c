"""The flight recorder in a real kernel: nothing is missing, and what cannot be recorded is refused.

A disk that is full is a file-size limit of the kernel's own process (the write fails with the
bytes that still fitted written, as on a full disk), and, where a mount is allowed, a tiny tmpfs.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest

from rbkernel.errors import EvidenceError
from rbkernel.evidence import reading, runs, store
from rbkernel.model import RUN_ID
from tests.support.kernels import (
    PATIENCE_S,
    START,
    Kernel,
    configure,
    in_tiny_tmpfs,
    kernel,
    papermill,
    write_runbook,
)

# The journal of this kernel may grow by some bytes, and no more.
FILL_THE_DISK = """
import pathlib, resource
journal, = pathlib.Path({root!r}).glob("open/*/journal.jsonl")
limit = journal.stat().st_size + {room}
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
"""


def journal_lines(root: Path) -> list[dict[str, Any]]:
    [folder] = (root / "open").iterdir()
    lines = (folder / store.JOURNAL).read_text().splitlines()
    return [json.loads(line) for line in lines]


def expect_gapless(root: Path) -> list[dict[str, Any]]:
    lines = journal_lines(root)
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    return lines


def recorded(lines: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    return [(line["type"], line["content"]) for line in lines if line["kind"] == "iopub"]


class TestJournal:
    def test_holds_every_request_output_and_reply(self, evidence: Path) -> None:
        cells = [
            "print('out'); import sys; print('err', file=sys.stderr)",
            "from IPython.display import *\nshown = display(HTML('<b>1</b>'), display_id=True)",
            "shown.update(HTML('<b>2</b>'))",
            "clear_output(wait=True); 6 * 7",
            "1 / 0",
            "",
        ]
        with kernel() as running:
            answers = [running.run(code) for code in cells]
        lines = expect_gapless(evidence)
        assert [line["code"] for line in lines if line["kind"] == "request"] == cells
        replies = [(line["status"], line.get("ename")) for line in lines if line["kind"] == "reply"]
        assert replies == [*[("ok", None)] * 4, ("error", "ZeroDivisionError"), ("ok", None)]
        seen = [(m["msg_type"], m["content"]) for answer in answers for m in answer.messages]
        assert seen
        assert recorded(lines) == seen
        assert lines[0]["kind"] == "kernel"
        assert lines[-1]["kind"] == "end"

    def test_forks_and_threads_leave_no_gap(self, evidence: Path) -> None:
        code = """
import os, sys, threading
def talk(number):
    for line in range(50):
        sys.stdout.write(f"{number} {line}\\n")  # one write: print makes two of it
        sys.stdout.flush()
threads = [threading.Thread(target=talk, args=(n,)) for n in range(4)]
for thread in threads: thread.start()
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        print("from a child", flush=True)
        os._exit(0)
    children.append(child)
for child in children: os.waitpid(child, 0)
for thread in threads: thread.join()
print("whole")
"""
        with kernel() as running:
            assert running.run(code).reply["status"] == "ok"
            assert "still here" in running.run("print('still here')").text
        lines = expect_gapless(evidence)
        text = "".join(c["text"] for kind, c in recorded(lines) if kind == "stream")
        printed = text.splitlines()
        assert all(f"{n} {i}" in printed for n in range(4) for i in range(50))
        assert "whole" in printed

    def test_a_child_that_goes_on_never_writes(self, evidence: Path) -> None:
        with kernel() as running:
            code = """
import os
from rbkernel.evidence import current
pid = os.fork()
if pid == 0:
    current().event("note", text="from a child")
    current().close()
    os._exit(0)
os.waitpid(pid, 0)
"""
            assert running.run(code).reply["status"] == "ok"
            assert running.run("1").reply["status"] == "ok"
        kinds = [line["kind"] for line in expect_gapless(evidence)]
        assert "note" not in kinds
        assert kinds.count("end") == 1

    def test_an_interrupted_cell_is_called_so(self, evidence: Path) -> None:
        with kernel() as running:
            code = "print('began', flush=True)\nimport time; time.sleep(600)"
            answer = running.interrupted(code, "began")
        assert answer.reply["ename"] == "KeyboardInterrupt"
        [folder] = (evidence / "open").iterdir()
        [cell] = reading.read(folder).cells
        assert cell.status == "interrupted"

    def test_is_a_plain_kernel_otherwise(self, evidence: Path) -> None:
        with kernel() as running:
            running.run("long_name_of_a_variable = 1")
            found = running.client.complete("long_name_of", reply=True, timeout=PATIENCE_S)
            assert found["content"]["matches"] == ["long_name_of_a_variable"]
            told = running.client.inspect("long_name_of_a_variable", reply=True, timeout=PATIENCE_S)
            assert told["content"]["found"]
            info = running.client.kernel_info(reply=True, timeout=PATIENCE_S)["content"]
            assert info["implementation"] == "rbkernel"
        assert len(expect_gapless(evidence)) == 5  # kernel, request, its input, reply, end

    def test_a_kernel_that_ran_nothing_leaves_nothing(self, evidence: Path) -> None:
        with kernel() as running:
            running.client.kernel_info(reply=True, timeout=PATIENCE_S)
        assert not evidence.exists()


class TestRunId:
    def test_is_honoured_once(self, evidence: Path) -> None:
        run_id = "20261120T030211Z-3fa9c1"
        with kernel(RBKERNEL_RUN_ID=run_id) as running:
            told = running.run("import os; print(os.environ.get('RBKERNEL_RUN_ID'))").text
            assert told == "None\n"
            running.restart()
            assert running.run("1").reply["status"] == "ok"
        first, second = sorted(runs.list_runs(evidence), key=lambda run: run.run_id != run_id)
        assert first.run_id == run_id
        assert second.run_id != run_id
        assert RUN_ID.fullmatch(second.run_id)
        assert len(reading.read(first.folder).cells) == 1
        assert len(reading.read(second.folder).cells) == 1
        assert reading.read(second.folder).run_id == second.run_id

    @pytest.mark.parametrize("given", ["../../evil", "", "20261120T030211Z"])
    def test_that_is_none_is_not_honoured(self, evidence: Path, given: str) -> None:
        with kernel(RBKERNEL_RUN_ID=given) as running:
            running.run("1")
        [folder] = (evidence / "open").iterdir()
        assert RUN_ID.fullmatch(folder.name)


def expect_refusal(running: Kernel, code: str, reason: str) -> None:
    answer = running.run(code)
    assert answer.reply["status"] == "error"
    assert answer.reply["ename"] == "RecorderError"
    assert reason in answer.reply["evalue"]
    assert "Next: " in answer.reply["evalue"]
    errors = [m["content"] for m in answer.messages if m["msg_type"] == "error"]
    assert errors
    assert errors[-1]["ename"] == "RecorderError"


class TestBrokenRecorder:
    def test_folder_that_cannot_be_made_refuses_every_cell(
        self, evidence: Path, tmp_path: Path
    ) -> None:
        evidence.write_text("a file is in the way")
        marker = tmp_path / "ran"
        with kernel() as running:
            for _ in range(2):
                expect_refusal(running, f"open({str(marker)!r}, 'w')", "Not a directory")
        assert not marker.exists()

    def test_broken_configuration_is_told_by_the_first_cell(
        self, evidence: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "rbkernel.toml"
        file.write_text("[connections\n")
        with kernel(RBKERNEL_CONFIG=str(file)) as running:
            expect_refusal(running, "1", "configuration cannot be used")
        assert not evidence.exists()

    @pytest.mark.parametrize("room", [0, 100, 700])
    def test_disk_full_in_a_run_stops_it_loudly(
        self, evidence: Path, tmp_path: Path, room: int
    ) -> None:
        marker = tmp_path / "ran"
        with kernel() as running:
            assert running.run("print('before')").text == "before\n"
            running.run(FILL_THE_DISK.format(root=str(evidence), room=room))
            running.run("print('x' * 500)")
            expect_refusal(running, f"open({str(marker)!r}, 'w')", "cannot write")
        assert not marker.exists()
        lines = expect_gapless(evidence)  # only whole lines, and nothing after the first failure
        assert lines[-1]["kind"] != "end"
        [folder] = (evidence / "open").iterdir()
        record = reading.read(folder)
        assert [cell.status for cell in record.cells[:1]] == ["done"]
        assert not record.complete

    def test_papermill_fails_and_does_not_hang(self, evidence: Path, tmp_path: Path) -> None:
        marker = tmp_path / "ran"
        document = write_runbook(
            tmp_path / "full.ipynb",
            [
                START,
                FILL_THE_DISK.format(root=str(evidence), room=200),
                "print('x' * 1000)",
                f"open({str(marker)!r}, 'w')",
            ],
        )
        output = tmp_path / "out.ipynb"
        started = papermill(document, output, RBKERNEL_CONFIG=str(configure(tmp_path)))
        _, complaint = started.communicate(timeout=PATIENCE_S)
        assert started.returncode != 0
        assert "RecorderError" in complaint
        assert "cannot write" in complaint
        assert not marker.exists()
        executed = nbformat.read(output, as_version=4)
        assert "RecorderError" in json.dumps(executed)

    def test_papermill_fails_when_the_folder_cannot_be_written(
        self, evidence: Path, tmp_path: Path
    ) -> None:
        evidence.write_text("a file is in the way")
        document = write_runbook(tmp_path / "runbook.ipynb", [START])
        started = papermill(
            document, tmp_path / "out.ipynb", RBKERNEL_CONFIG=str(configure(tmp_path))
        )
        _, complaint = started.communicate(timeout=PATIENCE_S)
        assert started.returncode != 0
        assert "RecorderError" in complaint

    def test_a_full_file_system(self, evidence: Path, tmp_path: Path) -> None:
        """The same on a real tmpfs of 64 KiB: a cell that prints more than fits."""
        evidence.mkdir()
        document = write_runbook(
            tmp_path / "runbook.ipynb", [START, "print('x' * 100_000)", "print('never')"]
        )
        done = in_tiny_tmpfs(
            evidence,
            *(sys.executable, "-m", "papermill", "--no-progress-bar", "-k", "rbkernel"),
            *(str(document), str(tmp_path / "out.ipynb")),
            RBKERNEL_CONFIG=str(configure(tmp_path)),
        )
        assert done.returncode != 0
        assert "No space left on device" in done.stderr
        assert "never" not in done.stderr.splitlines()


def test_the_journal_is_locked_while_the_kernel_lives(evidence: Path) -> None:
    with kernel() as running:
        running.run("1")
        [folder] = (evidence / "open").iterdir()
        assert store.kernel_is_alive(folder)
        assert runs.list_runs(evidence)[0].state == runs.LIVE
        running.manager.signal_kernel(signal.SIGKILL)
        deadline = time.monotonic() + 10
        while store.kernel_is_alive(folder):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert runs.list_runs(evidence)[0].state == runs.OPEN
    with pytest.raises(EvidenceError):
        runs.find(evidence, "20261120T030211Z-ffffff")
