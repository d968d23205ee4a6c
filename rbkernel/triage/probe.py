"""`rb.http` and `rb.shell`: look at what is not a database, with the contract of a finding.

Both only look. `http` sends GET or HEAD. `shell` runs a command that `rbkernel.toml` allows, as a
list of arguments and never through a shell; each argument must match the pattern that the file
declares for it. What could not be seen is ``unknown``.
"""

from __future__ import annotations

import dataclasses
import os
import selectors
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Literal, NamedTuple

import httpx
from IPython.display import display

from rbkernel.config import Command
from rbkernel.errors import ParameterError
from rbkernel.evidence import current
from rbkernel.model import Finding, Verdict, now
from rbkernel.runbook.parameters import refuse_secret
from rbkernel.runbook.placeholders import hints
from rbkernel.triage import cards, undone
from rbkernel.triage.arguments import checked
from rbkernel.triage.context import triage

# what is judged of an answer, so that an endless one does not fill the memory
_READ_BYTES = 1_000_000
# what is shown and kept of it; a health endpoint says less
_KEPT_CHARACTERS = 20_000
# for the kernel to bury a process that was killed; one that hangs in a system call is left behind
_KILL_S = 1.0


class _Seen(NamedTuple):
    """What a look saw, what to do about it unless the caller says more, and what was answered."""

    verdict: Verdict
    actual: str
    step: str = ""
    output: str = ""


@checked
def http(
    title: str,
    url: str,
    *,
    status: int = 200,
    contains: str = "",
    within_s: float = 2.0,
    timeout_s: float = 10.0,
    method: Literal["GET", "HEAD"] = "GET",
    cause: str = "",
    next_step: str = "",
) -> Finding:
    """Call a health endpoint once, without following redirects, and keep the answer's body.

    Parameters
    ----------
    title
        What is checked, in words.
    url
        The endpoint, with http or https.
    status
        The status code that is right.
    contains
        Text that the body must hold.
    within_s
        Seconds; a slower answer is a warning.
    timeout_s
        Seconds after which the endpoint counts as unreachable, also one that goes on talking.
    method
        GET or HEAD; a HEAD has no body.
    cause, next_step
        Words for what is wrong and what to do.

    Returns
    -------
    Finding
        ok; warning when slow; critical when the answer is wrong or nobody answers at that
        address; unknown when it could not be seen from here (name not found, no route).

    Raises
    ------
    ParameterError
        An argument is wrong, the address is none or holds credentials, or the method does more
        than look.
    """
    triage()  # nothing is asked before rb.start
    _refuse(url, title)
    started = time.monotonic()
    try:
        code, body = _ask(method, url, timeout_s)
    except httpx.HTTPError as error:
        seen = _silence(error, timeout_s)
    else:
        took_s = time.monotonic() - started
        seen = _judge_answer(
            code, body, took_s, status=status, contains=contains, within_s=within_s
        )
    expected = f"{status}" + (f" with {contains!r}" if contains else "") + f" within {within_s:g} s"
    current().event("http", url=url, method=method, actual=seen.actual, body=seen.output)
    return _keep(title, expected, seen, cause, next_step, f"{method} {url}")


def _refuse(url: str, title: str) -> None:
    refuse_secret("url", url, title)
    try:
        asked = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ParameterError(
            f"the address is none: {error}", where=title, next_step="write http://host:port/path"
        ) from error
    if asked.scheme not in {"http", "https"} or not asked.host or asked.userinfo:
        raise ParameterError(
            "the address is not of http or https, or names a user",
            where=title,
            next_step="write http://host:port/path; credentials would be kept in plain text",
        )
    for name, value in asked.params.multi_items():
        refuse_secret(name, value, title)


def _ask(method: str, url: str, timeout_s: float) -> tuple[int, str]:
    """Return status and body; httpx's own time-out is one for each read, ours for all."""
    end = time.monotonic() + timeout_s
    body = bytearray()
    with httpx.stream(method, url, timeout=timeout_s, follow_redirects=False) as response:
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) >= _READ_BYTES:
                break
            if time.monotonic() > end:
                raise httpx.ReadTimeout("it is still talking")
    return response.status_code, body.decode(response.encoding or "utf-8", errors="replace")


def _silence(error: httpx.HTTPError, timeout_s: float) -> _Seen:
    """Judge that there was no answer: is nobody there, or can it not be seen from here?"""
    if isinstance(error, httpx.TimeoutException):
        step = "it is up but hangs, or a firewall drops us: call it from its own host"
        return _Seen(Verdict.CRITICAL, f"no answer within {timeout_s:g} s", step)
    actual = f"{type(error).__name__}: {error}"
    if any(word in actual.lower() for word in ("refused", "disconnected", "reset by peer")):
        return _Seen(Verdict.CRITICAL, actual, "see on its host whether the service runs")
    return _Seen(Verdict.UNKNOWN, actual, "check the address, or look from a host that reaches it")


def _judge_answer(
    code: int, body: str, took_s: float, *, status: int, contains: str, within_s: float
) -> _Seen:
    """Judge an answer.

    >>> _judge_answer(200, "ok", 0.1, status=200, contains="ok", within_s=1)[:2]
    (<Verdict.OK: 'ok'>, '200 in 0.1 s')
    >>> _judge_answer(200, "degraded", 0.1, status=200, contains="ok", within_s=1).verdict
    <Verdict.CRITICAL: 'critical'>
    """
    actual, kept = f"{code} in {took_s:.1f} s", body[:_KEPT_CHARACTERS]
    read = "read the answer below, then the service's log"
    if code != status:
        return _Seen(Verdict.CRITICAL, actual, read, kept)
    if contains and contains not in body:
        return _Seen(Verdict.CRITICAL, f"{actual}, without {contains!r}", read, kept)
    if took_s > within_s:
        return _Seen(Verdict.WARNING, actual, "see what the service waits for", kept)
    return _Seen(Verdict.OK, actual, output=kept)


@checked
def shell(
    title: str,
    command: str | Sequence[str],
    *,
    exit_code: int = 0,
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
    for name, value in arguments.items():
        refuse_secret(name, value, title)
    argv = allowed.with_arguments(arguments)
    secrets = {one.password_env for one in triage().settings.connections.values()}
    environment = {name: value for name, value in os.environ.items() if name not in secrets}
    seen = _run(argv, allowed, environment, exit_code=exit_code, contains=contains)
    expected = f"exit code {exit_code}" + (f" with {contains!r}" if contains else "")
    current().event("shell", command=command, argv=argv, actual=seen.actual, output=seen.output)
    return _keep(title, expected, seen, cause, next_step, shlex.join(argv))


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
) -> _Seen:
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
        return _Seen(Verdict.UNKNOWN, actual, step)
    code, output = _listen(process, allowed.timeout_s)
    shown = output[:_KEPT_CHARACTERS]
    if code is None:
        step = f"run it by hand; if it is only slow, raise timeout_s of [commands.{allowed.name}]"
        return _Seen(Verdict.UNKNOWN, f"did not end within {allowed.timeout_s:g} s", step, shown)
    read = "read the output below, and run the command by hand"
    if code != exit_code:
        return _Seen(Verdict.CRITICAL, f"exit code {code}", read, shown)
    if contains and contains not in output:
        return _Seen(Verdict.CRITICAL, f"exit code {code}, without {contains!r}", read, shown)
    return _Seen(Verdict.OK, f"exit code {code}", output=shown)


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
            into += chunk[: _READ_BYTES - len(into)]
    return False


def _keep(
    title: str, expected: str, seen: _Seen, cause: str, next_step: str, asked: str
) -> Finding:
    wrong = seen.verdict in {Verdict.WARNING, Verdict.CRITICAL}
    finding = Finding(
        title=title,
        verdict=seen.verdict,
        expected=expected,
        actual=seen.actual,
        cause=cause if wrong else "",
        next_step="" if seen.verdict is Verdict.OK else next_step or seen.step,
        at=now(),
    )
    triage().add_finding(finding)
    html = cards.finding_card(finding) + cards.provenance_line([asked], seen.output)
    text = f"{cards.finding_text(finding)}\n{asked}\n{seen.output}".rstrip()
    data = dataclasses.asdict(finding)
    display(cards.bundle("finding", data, html, text), raw=True)
    return finding
