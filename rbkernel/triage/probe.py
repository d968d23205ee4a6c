"""`rb.http` and `rb.shell`: look at what is not a database, with the contract of a finding.

Both only look. `http` sends GET or HEAD. `shell` runs a command that `rbkernel.toml` allows, as a
list of arguments and never through a shell; each argument must match the pattern that the file
declares for it. What could not be seen is ``unknown``.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import time
from typing import Literal

import httpx
from IPython.display import display

from rbkernel.config import Command
from rbkernel.evidence import current
from rbkernel.model import Finding, Verdict, now
from rbkernel.runbook.parameters import refuse_secret
from rbkernel.triage import cards
from rbkernel.triage.context import triage

# what is shown and kept of an answer; a health endpoint says less
_KEPT_CHARACTERS = 20_000


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
    """Call a health endpoint once, without following redirects.

    Parameters
    ----------
    title
        What is checked, in words.
    url
        The endpoint; credentials in it are refused.
    status
        The status code that is right.
    contains
        Text that the body must hold.
    within_s
        Seconds; a slower answer is a warning.
    timeout_s
        Seconds after which the endpoint counts as unreachable.
    cause, next_step
        Words for what is wrong and what to do.

    Returns
    -------
    Finding
        ok; warning when slow; critical when the answer is wrong or nobody answers at that
        address; unknown when it could not be seen from here (name not found, no route).
    """
    refuse_secret("url", url, title)
    started = time.monotonic()
    try:
        response = httpx.request(method, url, timeout=timeout_s, follow_redirects=False)
    except httpx.TimeoutException:
        verdict, actual = Verdict.CRITICAL, f"no answer within {timeout_s:g} s"
        body = ""
    except httpx.HTTPError as error:
        refused = "refused" in str(error).lower() or "disconnected" in str(error).lower()
        verdict = Verdict.CRITICAL if refused else Verdict.UNKNOWN
        actual, body = f"{type(error).__name__}: {error}", ""
    else:
        took_s, body = time.monotonic() - started, response.text[:_KEPT_CHARACTERS]
        verdict, actual = _judge_answer(
            response.status_code, body, took_s, status=status, contains=contains, within_s=within_s
        )
    expected = f"{status}" + (f" with {contains!r}" if contains else "") + f" within {within_s:g} s"
    current().event("http", url=url, method=method, actual=actual, body=body)
    return _keep(title, verdict, expected, actual, cause, next_step, f"{method} {url}", body)


def _judge_answer(
    code: int, body: str, took_s: float, *, status: int, contains: str, within_s: float
) -> tuple[Verdict, str]:
    """Judge an answer.

    >>> _judge_answer(200, "ok", 0.1, status=200, contains="ok", within_s=1)
    (<Verdict.OK: 'ok'>, '200 in 0.1 s')
    >>> _judge_answer(200, "degraded", 0.1, status=200, contains="ok", within_s=1)[0]
    <Verdict.CRITICAL: 'critical'>
    """
    actual = f"{code} in {took_s:.1f} s"
    if code != status:
        return Verdict.CRITICAL, actual
    if contains and contains not in body:
        return Verdict.CRITICAL, f"{actual}, without {contains!r}"
    return (Verdict.WARNING if took_s > within_s else Verdict.OK), actual


def shell(
    title: str,
    command: str,
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
        Its name in the file.
    exit_code
        The exit code that is right.
    contains
        Text that its output must hold.
    arguments
        Values for the command's placeholders.

    Returns
    -------
    Finding
        ok; critical when exit code or output are wrong; unknown when it cannot be run here or
        does not end in time.

    Raises
    ------
    ConfigError
        No such command is allowed, or an argument does not match its pattern.
    """
    allowed = triage().settings.command(command)
    argv = allowed.with_arguments(arguments)
    for name, value in arguments.items():
        refuse_secret(name, value, title)
    verdict, actual, output = _run(argv, allowed, exit_code=exit_code, contains=contains)
    expected = f"exit code {exit_code}" + (f" with {contains!r}" if contains else "")
    current().event("shell", command=command, argv=argv, actual=actual, output=output)
    return _keep(title, verdict, expected, actual, cause, next_step, " ".join(argv), output)


def _run(
    argv: list[str], allowed: Command, *, exit_code: int, contains: str
) -> tuple[Verdict, str, str]:
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        return Verdict.UNKNOWN, f"{argv[0]} cannot be run here: {error.strerror}", ""
    try:
        output, _ = process.communicate(timeout=allowed.timeout_s)
    except subprocess.TimeoutExpired:
        # the whole group: a command may have started others
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return Verdict.UNKNOWN, f"did not end within {allowed.timeout_s:g} s", output
    output = output[:_KEPT_CHARACTERS]
    if process.returncode != exit_code:
        return Verdict.CRITICAL, f"exit code {process.returncode}", output
    if contains and contains not in output:
        return Verdict.CRITICAL, f"exit code {exit_code}, without {contains!r}", output
    return Verdict.OK, f"exit code {exit_code}", output


def _keep(
    title: str,
    verdict: Verdict,
    expected: str,
    actual: str,
    cause: str,
    next_step: str,
    asked: str,
    output: str,
) -> Finding:
    wrong = verdict in {Verdict.WARNING, Verdict.CRITICAL}
    finding = Finding(
        title=title,
        verdict=verdict,
        expected=expected,
        actual=actual,
        cause=cause if wrong else "",
        next_step=next_step if verdict is not Verdict.OK else "",
        at=now(),
    )
    triage().add_finding(finding)
    html = cards.finding_card(finding) + cards.provenance_line([asked], output)
    text = f"{cards.finding_text(finding)}\n{asked}\n{output}".rstrip()
    data = dataclasses.asdict(finding)
    display(cards.bundle("finding", data, html, text), raw=True)
    return finding
