"""Execute actions in processes that are killed at a chosen line of Python.

The parts of an execution are `PARTS`: the checks, the line of the intent, the change, and the rest,
which watches the effect and records the outcome. A process is killed after some lines of one part,
or at its end, so that kills land in each part, whatever its duration.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

from rbkernel import config
from rbkernel.execution import executor, kinds
from rbkernel.execution.ledger import Ledger
from rbkernel.redact import Redactor

PARTS = ("checks", "intent", "change", "outcome")


@dataclass
class Lines:
    """Counts the lines of each part, and kills this process in one of them."""

    part: str = ""
    at: int = 0

    def __post_init__(self) -> None:
        self.seen = dict.fromkeys(PARTS, 0)
        self.now = PARTS[0]

    def trace(self, _frame: FrameType, event: str, _arg: object) -> Any:
        if event == "line":
            self.seen[self.now] += 1
            if self.now == self.part and self.seen[self.now] >= self.at:
                self.kill()
        return self.trace

    def kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def within(self, part: str, step: Callable[..., Any]) -> Callable[..., Any]:
        """Return a step of the execution that is this part."""

        def done(*given: Any, **named: Any) -> Any:
            self.begin(part)
            try:
                return step(*given, **named)
            finally:
                self.begin(PARTS[PARTS.index(part) + 1])

        return done

    def begin(self, part: str) -> None:
        if self.now == self.part != part:
            self.kill()
        self.now = part


def _execute(plan: str, digest: str, lines: Lines) -> dict[str, int]:
    """Execute an action under a trace; return the lines of each part."""
    kind = kinds.get(str(Ledger(config.load(), Redactor()).find(plan).action))
    watched = replace(kind, execute=lines.within("change", kind.execute))
    executor._begin = lines.within("intent", executor._begin)
    kinds.get = lambda _: watched  # type: ignore[assignment]  # the same call
    sys.settrace(lines.trace)
    executor.execute(Ledger(config.load(), Redactor()), plan, digest)
    sys.settrace(None)
    return lines.seen


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    """Execute in a process of its own, and say how it ended."""
    reading, writing = os.pipe()
    if not (pid := os.fork()):
        lines = Lines(part=asked["part"], at=asked["at"])
        os.write(writing, json.dumps(_execute(asked["plan"], asked["digest"], lines)).encode())
        os._exit(0)
    os.close(writing)
    _, status = os.waitpid(pid, 0)
    with os.fdopen(reading) as said:
        seen = said.read()
    return {"code": os.waitstatus_to_exitcode(status), "seen": json.loads(seen or "{}")}


@dataclass
class Executors:
    """Starts a process for each execution."""

    server: subprocess.Popen[str]

    def execute(self, plan: str, digest: str, part: str = "", at: int = 0) -> dict[str, int]:
        """Execute an action, and kill the process after some lines of a part; see `_execute`."""
        assert self.server.stdin
        assert self.server.stdout
        asked = {"plan": plan, "digest": digest, "part": part, "at": at}
        print(json.dumps(asked), file=self.server.stdin, flush=True)
        told = json.loads(self.server.stdout.readline())
        # the last part may be shorter this time
        assert told["code"] == -signal.SIGKILL or (not told["code"] and part in {"", PARTS[-1]})
        return dict(told["seen"])


@contextmanager
def executors() -> Iterator[Executors]:
    command = [sys.executable, "-m", "tests.support.kill_points"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        yield Executors(server)
        assert server.stdin
        server.stdin.close()


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)
