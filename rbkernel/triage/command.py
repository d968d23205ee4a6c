"""`rb.shell`: run a command that `rbkernel.toml` allows, as a list of arguments and never through a
shell; each argument matches the pattern that the file declares for it.
"""

from __future__ import annotations

import os
import selectors
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from IPython.display import display

from rbkernel.arguments import checked, unknown_keyword
from rbkernel.config import Command
from rbkernel.config.quantities import Whole
from rbkernel.evidence import current
from rbkernel.model import Finding, Verdict
from rbkernel.runbook.parameters import refuse_secret
from rbkernel.runbook.placeholders import hints
from rbkernel.triage import cards, undone
from rbkernel.triage.context import triage
from rbkernel.triage.probe import KEPT_CHARACTERS, READ_BYTES, Seen, keep

# for the kernel to bury a process that was killed; one that hangs in a system call is left behind
_KILL_S = 1.0
_OWN = ("exit_code", "contains", "cause", "next_step")


@checked
def shell(
    title: str,
    command: str | Sequence[str],
    *,
    exit_code: Whole = 0,
    contains: str = "",
    cause: str = "",
    next_step: str = "",
    **arguments: str,
) -> Finding:
    """Run a command that ``[commands]`` of `rbkernel.toml` allows, and show what it says.

    Parameters
    ----------
    title
        What is checked, in words.
    command
        Its name in the file, or the command itself as a list of words. A list runs only if the
        file allows exactly it; else it is shown to copy, and counted among what is left to do.
    exit_code
        The exit code that is right.
    contains
        Text that its output must hold.
    arguments
        Values for the command's placeholders.

    Returns
    -------
    Finding
        ok; critical when exit code or output are wrong; unknown when it cannot be run here, does
        not end in time, or is a list that nobody has allowed.

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
    secrets = {one.password_env for one in triage().settings.connections.values()}
    environment = {name: value for name, value in os.environ.items() if name not in secrets}
    seen = _run(argv, allowed, environment, exit_code=exit_code, contains=contains)
    expected = f"exit code {exit_code}" + (f" with {contains!r}" if contains else "")
    current().event("shell", command=command, argv=argv, actual=seen.actual, output=seen.output)
    return keep(title, expected, seen, cause, next_step, shlex.join(argv))


def _leave(title: str, argv: Sequence[str]) -> Finding:
    """Show a command that nobody has allowed; nothing is run."""
    holes = [hint for word in argv for hint in hints(word)]
    if holes:
        reason = f"{', '.join(dict.fromkeys(holes))} is not filled in"
    else:
        reason = "rbkernel.toml allows no such command, so run it yourself"
    command = shlex.join(argv) if not holes else " ".join(argv)
    current().event("not run", title=title, argv=list(argv), reason=reason)
    data = {"title": title, "command": command, "reason": reason}
    html = cards.command_card(title, command, reason)
    display(cards.bundle("command", data, html, f"NOT RUN  {title}: {reason}\n{command}"), raw=True)
    return undone.note(undone.COMMANDS, {title: False})


def _run(
    argv: list[str],
    allowed: Command,
    environment: Mapping[str, str],
    *,
    exit_code: int,
    contains: str,
) -> Seen:
    try:
        process = subprocess.Popen(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        step = f"install {argv[0]} here, or look from a host that has it"
        actual = f"{argv[0]} cannot be run here: {error.strerror}"
        return Seen(Verdict.UNKNOWN, actual, step)
    code, output = _listen(process, allowed.timeout_s)
    shown = output[:KEPT_CHARACTERS]
    if code is None:
        step = f"run it by hand; if it is only slow, raise timeout_s of [commands.{allowed.name}]"
        return Seen(Verdict.UNKNOWN, f"did not end within {allowed.timeout_s:g} s", step, shown)
    read = "read the output below, and run the command by hand"
    if code != exit_code:
        return Seen(Verdict.CRITICAL, f"exit code {code}", read, shown)
    if contains and contains not in output:
        return Seen(Verdict.CRITICAL, f"exit code {code}, without {contains!r}", read, shown)
    return Seen(Verdict.OK, f"exit code {code}", output=shown)


def _listen(process: subprocess.Popen[bytes], timeout_s: float) -> tuple[int | None, str]:
    """Return the exit code, None when it did not end in time, and the beginning of the output.

    Whatever happens, an interrupt of the cell too, it does not run on.
    """
    assert process.stdout  # a pipe was asked for
    end, output = time.monotonic() + timeout_s, bytearray()
    try:
        if _read(process.stdout.fileno(), output, end):
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, end - time.monotonic()))
        code = process.returncode
    finally:
        process.stdout.close()
        if process.returncode is None:  # nobody has waited for it, so the id is still its own
            # the whole group: a command may have started others
            os.killpg(process.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_KILL_S)
    return code, output.decode(errors="replace")


def _read(pipe: int, into: bytearray, end: float) -> bool:
    """Read to the end of the output, keeping its beginning; False when the time is over first."""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while (left := end - time.monotonic()) > 0 and selector.select(left):
            chunk = os.read(pipe, 65_536)
            if not chunk:
                return True
            into += chunk[: READ_BYTES - len(into)]
    return False
