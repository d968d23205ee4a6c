"""`rb.shell`: run a command that `rbkernel.toml` allows, without using a shell."""

from __future__ import annotations

import os
import selectors
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from IPython.display import display

from rbkernel.arguments import checked, unknown_keyword
from rbkernel.checks.quoted import Quoted, holds
from rbkernel.config import Command
from rbkernel.config.quantities import Whole
from rbkernel.evidence import current
from rbkernel.model import Finding, Verdict
from rbkernel.render import cards
from rbkernel.runbook import printed
from rbkernel.runbook.parameters import refuse_secret
from rbkernel.runbook.placeholders import hints
from rbkernel.triage import undone
from rbkernel.triage.context import triage
from rbkernel.triage.probes.probe import KEPT_CHARACTERS, READ_BYTES, Seen, judged_as_quoted, keep

# s to wait for a killed process to end; after that, a process in a system call is abandoned
_KILL_S = 1.0
_OWN = (
    *("exit_code", "contains", "expect", "answers", "json", "rows", "wrong"),
    *("cause", "next_step"),
)


@checked
def shell(
    title: str,
    command: str | Sequence[str],
    *,
    exit_code: Whole = 0,
    contains: str = "",
    expect: Mapping[str, str] | None = None,
    answers: str | None = None,
    json: dict[str, Any] | None = None,
    rows: Mapping[str, str] | None = None,
    wrong: str | dict[str, Any] = "",
    cause: str = "",
    next_step: str = "",
    **arguments: str,
) -> Finding:
    """Run a command that ``[commands]`` of `rbkernel.toml` allows, and show its output.

    Parameters
    ----------
    title
        What is checked, in words.
    command
        The command's name in the file, or the command itself as a list of words. A list runs only
        if the file allows exactly this list. Otherwise it is shown for copying, and counted as not
        done yet.
    exit_code
        The expected exit code. A command that prints the figure 0 and ends with 1, such as
        ``grep -c``, has counted nothing: if the output is judged, the figure decides.
    contains
        Words that the output must contain: "active" is not in "inactive".
    expect
        Figures in the output and their limits, such as ``{"p95": "< 800ms", "error rate": "<
        0.1%"}`` of a load test; see `rbkernel.runbook.printed`.
    answers
        What the output must be, or one line of it; empty text if it must be empty.
    json
        Fields of a JSON object that the output must have, such as ``{"status": "ok"}``.
    rows
        Column → value that each row of a printed table must have, such as ``{"STATUS": "Running",
        "READY": "1/1"}``. A row of another state is critical if the state is surely wrong
        (CrashLoopBackOff), else unknown.
    wrong
        What the output must not say: text, or fields of a JSON object.
    arguments
        Values for the command's placeholders.

    Returns
    -------
    Finding
        ok; critical if the exit code, the output or a figure is wrong; unknown if the command
        cannot be run here, does not end in time, is a list that the file does not allow, or does
        not print an expected figure.

    Raises
    ------
    ConfigError
        No such command is allowed, or an argument does not match its pattern.
    ParameterError
        An argument is wrong, or looks like a secret.
    """
    if not isinstance(command, str):
        found = triage().settings.allowing(command)
        if found is None:
            return _leave(title, command)
        allowed, arguments = found
        command = allowed.name
    else:
        allowed = triage().settings.command(command)
    for name in arguments:
        if name not in allowed.arguments:
            raise unknown_keyword("rb.shell", name, [*_OWN, *allowed.arguments])
    for name, value in arguments.items():
        refuse_secret(name, value, title)
    argv = allowed.with_arguments(arguments)
    settings = triage().settings
    secrets = {one.password_env for one in settings.connections.values()}
    secrets |= {one.secret_variable for one in settings.sources.values()}
    environment = {name: value for name, value in os.environ.items() if name not in secrets}
    quoted = Quoted(answers=answers, fields=json, rows=rows, wrong=wrong)
    right = _Right(exit_code=exit_code, contains=contains, figures=expect or {}, quoted=quoted)
    seen = _run(argv, allowed, environment, right)
    expected = str(right)
    current().event("shell", command=command, argv=argv, actual=seen.actual, output=seen.output)
    return keep(title, expected, seen, cause, next_step, shlex.join(argv))


def _leave(title: str, argv: Sequence[str]) -> Finding:
    """Show a command that the configuration does not allow, without running it."""
    holes = [hint for word in argv for hint in hints(word)]
    if holes:
        reason = f"placeholders to fill in first: {', '.join(dict.fromkeys(holes))}"
    else:
        reason = "rbkernel.toml does not allow this command, so run it yourself"
    command = shlex.join(argv) if not holes else " ".join(argv)
    current().event("not run", title=title, argv=list(argv), reason=reason)
    data = {"title": title, "command": command, "reason": reason}
    html = cards.command_card(title, command, reason)
    display(cards.bundle("command", data, html, f"NOT RUN  {title}: {reason}\n{command}"), raw=True)
    return undone.note(undone.COMMANDS, {title: False})


@dataclass(frozen=True, kw_only=True)
class _Right:
    """The expected result of a command: exit code, and what the output must contain."""

    exit_code: int
    contains: str
    figures: Mapping[str, str]
    quoted: Quoted

    def __str__(self) -> str:
        contains = f" with {self.contains!r}" if self.contains else ""
        figures = "".join(f", {name} {limit}" for name, limit in self.figures.items())
        quoted = f", {self.quoted}" if str(self.quoted) else ""
        return f"exit code {self.exit_code}{contains}{figures}{quoted}"

    def judge(self, code: int, output: str) -> Seen:
        """Compare a command's result with the expected result; long output is shortened."""
        shown = output[:KEPT_CHARACTERS]
        found = printed.judged(output, self.figures)
        figures = "".join(f", {one.name}: {one.actual}" for one in found)
        said = f"exit code {code}{figures}"
        read = "read the output below, and run the command by hand"
        # `grep -c` and `pgrep -c` end with 1 if they count 0
        judged = self.figures or self.quoted.answers is not None
        counts_none = code == 1 and self.exit_code == 0 and judged and output.strip() == "0"
        if code != self.exit_code and not counts_none:
            return Seen(Verdict.CRITICAL, said, read, shown)
        if self.contains and not holds(output, self.contains):
            return Seen(Verdict.CRITICAL, f"{said}, without {self.contains!r}", read, shown)
        if missed := [one for one in found if one.met is False]:
            names = ", ".join(f"{one.name} {one.limit}" for one in missed)
            return Seen(Verdict.CRITICAL, said, f"find out why this was not met: {names}", shown)
        if unknown := [one.name for one in found if one.met is None]:
            step = f"find {', '.join(unknown)} in the output below, and judge the result yourself"
            return Seen(Verdict.UNKNOWN, said, step, shown)
        return judged_as_quoted(Seen(Verdict.OK, said, output=shown), output, self.quoted)


def _run(argv: list[str], allowed: Command, environment: Mapping[str, str], right: _Right) -> Seen:
    try:
        process = _start(argv, environment)
    except OSError as error:
        step = f"install {argv[0]} here, or look from a host that has it"
        actual = f"{argv[0]} cannot be run here: {error.strerror}"
        return Seen(Verdict.UNKNOWN, actual, step)
    code, output = _listen(process, allowed.timeout_s)
    if code is None:
        step = f"run it by hand; if it is only slow, raise timeout_s of [commands.{allowed.name}]"
        problem = f"did not end within {allowed.timeout_s:g} s"
        return Seen(Verdict.UNKNOWN, problem, step, output[:KEPT_CHARACTERS])
    return right.judge(code, output)


def _start(argv: list[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a process; if the cell is interrupted meanwhile, kill the process.

    Another thread starts it: an interrupt within `Popen` would lose a process that runs already.
    """
    with ThreadPoolExecutor(1) as thread:
        starting = thread.submit(
            subprocess.Popen,
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return starting.result()
        except KeyboardInterrupt:
            _kill(starting.result())
            raise


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its group: a command may have started other processes."""
    os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_KILL_S)


def _listen(process: subprocess.Popen[bytes], timeout_s: float) -> tuple[int | None, str]:
    """Wait for the end of a process or the time-out; return exit code and beginning of the output.

    The exit code is None after a time-out. The process is always ended, also if the cell is
    interrupted.
    """
    assert process.stdout  # stdout is a pipe, as requested above
    end, output = time.monotonic() + timeout_s, bytearray()
    try:
        if _read(process.stdout.fileno(), output, end):
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, end - time.monotonic()))
        code = process.returncode
    finally:
        process.stdout.close()
        if process.returncode is None:  # not waited for yet, so the id is not reused
            _kill(process)
    return code, output.decode(errors="replace")


def _read(pipe: int, into: bytearray, end: float) -> bool:
    """Read a process's output to its end, and keep the beginning; return False after a time-out."""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while (left := end - time.monotonic()) > 0 and selector.select(left):
            chunk = os.read(pipe, 65_536)
            if not chunk:
                return True
            into += chunk[: READ_BYTES - len(into)]
    return False
