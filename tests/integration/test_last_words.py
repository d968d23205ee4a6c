"""What a cell prints without a newline is seen and recorded: in time, and before a crash.

No test measures time. A cell waits for a file that the test makes when it has seen enough, so that
what is seen was sent while the cell was running.
"""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.kernels import PATIENCE_S, Kernel, kernel

CANARY = "c4nary-Tr0ub4dor&3/x9"
MASK = "[redacted:environment CANARY_PASSWORD]"
BEFORE = """\
import os, signal, sys, threading, time
canary = os.environ['CANARY_PASSWORD']
def wait_for(file):
    while not os.path.exists(file):
        time.sleep(0.01)
"""


@dataclass(frozen=True)
class Recorded:
    """A kernel, and where it records."""

    running: Kernel
    evidence: Path

    @property
    def journal(self) -> str:
        """The texts of streams in the journal."""
        [journal] = self.evidence.glob("open/*/journal.jsonl")
        lines = [json.loads(line) for line in journal.read_text().splitlines()]
        return "".join(line["content"]["text"] for line in lines if line.get("type") == "stream")


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    evidence = tmp_path_factory.mktemp("words") / "evidence"
    with kernel(CANARY_PASSWORD=CANARY, RBKERNEL_EVIDENCE=str(evidence)) as running:
        running.run(BEFORE)
        yield Recorded(running, evidence)


@dataclass
class Screen:
    """What a client shows of streams, as it comes in."""

    running: Kernel
    text: str = ""

    def read_until(self, end: str) -> str:
        deadline = time.monotonic() + PATIENCE_S
        while not self.text.endswith(end):
            try:
                message = self.running.client.get_iopub_msg(timeout=deadline - time.monotonic())
            except queue.Empty:
                pytest.fail(f"{end!r} did not come, but {self.text!r}")
            if message["msg_type"] == "stream":
                self.text += message["content"]["text"]
        return self.text


def await_reply(running: Kernel, request: str) -> None:
    while True:
        reply = running.client.get_shell_msg(timeout=PATIENCE_S)
        if reply["parent_header"].get("msg_id") == request:
            return


@pytest.mark.parametrize(
    "said",
    [
        "print('step 7 of 9: waiting', end='', flush=True)",
        "print('step 7 of 9: waiting', end='', file=sys.stderr, flush=True)",
        "print('step 7 of 9: waiting', end='')",
        "print('the password is', end='', flush=True)",  # a secret may follow
        "os.write(1, b'from below')",
    ],
)
def test_an_unfinished_line_is_seen_while_its_cell_runs(
    one: Recorded, tmp_path: Path, said: str
) -> None:
    go = tmp_path / "go"
    request = one.running.client.execute(f"{said}\nwait_for({str(go)!r})")
    end = said.partition("'")[2].partition("'")[0]
    assert Screen(one.running).read_until(end) == end
    assert one.journal.endswith(end)
    go.touch()
    await_reply(one.running, request)


def test_progress_with_carriage_returns_is_seen_step_by_step(one: Recorded, tmp_path: Path) -> None:
    code = (
        "for i in range(3):\n    print(f'\\r{i} of 3', end='', flush=True)\n"
        f"    wait_for(f'{tmp_path}/{{i}}')"
    )
    request, screen = one.running.client.execute(code), Screen(one.running)
    for step in range(3):
        screen.read_until(f"\r{step} of 3")
        (tmp_path / str(step)).touch()
    await_reply(one.running, request)


def test_a_thread_is_heard_after_its_cell_has_ended(one: Recorded, tmp_path: Path) -> None:
    go = tmp_path / "go"
    code = (
        f"def late():\n    wait_for({str(go)!r})\n    print('from the thread', end='')\n"
        "threading.Thread(target=late).start()"
    )
    await_reply(one.running, one.running.client.execute(code))
    go.touch()
    assert Screen(one.running).read_until("from the thread") == "from the thread"
    assert one.journal.endswith("from the thread")


@pytest.mark.parametrize("cut", [2, 4, 8, 14, len(CANARY) - 1])
@pytest.mark.parametrize("how", ["print(end, flush=True)", "display(1); print(end)"])
def test_a_secret_split_over_the_release_does_not_leak(
    one: Recorded, tmp_path: Path, cut: int, how: str
) -> None:
    """The second part comes when the first has been sent, and is masked all the same."""
    go = tmp_path / "go"
    code = (
        f"begin, end = canary[:{cut}], canary[{cut}:]\n"
        f"print('so:', begin, end='', flush=True)\nwait_for({str(go)!r})\n{how}"
    )
    request, screen = one.running.client.execute(code), Screen(one.running)
    begin = CANARY[:cut] if cut < 6 else MASK
    screen.read_until(f"so: {begin}")
    go.touch()
    assert screen.read_until("\n") == f"so: {begin}{MASK}\n"
    await_reply(one.running, request)
    assert one.journal.endswith(f"so: {begin}{MASK}\n")


def test_a_pattern_split_over_the_release_does_not_leak(one: Recorded, tmp_path: Path) -> None:
    go = tmp_path / "go"
    code = f"print('PGPASSWORD=hunt', end='', flush=True)\nwait_for({str(go)!r})\nprint('er2', 1)"
    request, screen = one.running.client.execute(code), Screen(one.running)
    screen.read_until("PGPASSWORD=[redacted:password]")
    go.touch()
    assert screen.read_until("\n") == "PGPASSWORD=[redacted:password][redacted:password] 1\n"
    await_reply(one.running, request)


def test_flushed_words_are_recorded_before_a_crash(evidence: Path) -> None:
    """The kernel kills itself in the statement after the flush."""
    with kernel() as running:
        code = (
            "import os, signal\nprint('last words 7391', end='', flush=True)\n"
            "os.kill(os.getpid(), signal.SIGKILL)"
        )
        running.client.execute(code)
        deadline = time.monotonic() + PATIENCE_S
        while running.manager.is_alive():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert Recorded(running, evidence).journal == "last words 7391"
