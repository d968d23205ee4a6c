"""`rb.http`: call a health endpoint with GET or HEAD; ``unknown`` if it cannot be reached from
here.
"""

from __future__ import annotations

import time
from typing import Any, Literal

import httpx

from rbkernel.arguments import checked
from rbkernel.checks.quoted import Quoted, holds
from rbkernel.config.quantities import Seconds, Whole
from rbkernel.errors import ParameterError
from rbkernel.evidence import current
from rbkernel.model import Finding, Verdict
from rbkernel.runbook.parameters import refuse_secret
from rbkernel.sources import httpclient
from rbkernel.sources.httpclient import HttpAnswer, HttpRequest
from rbkernel.triage.context import triage
from rbkernel.triage.probes.probe import KEPT_CHARACTERS, READ_BYTES, Seen, judged_as_quoted, keep


@checked
def http(
    title: str,
    url: str,
    *,
    status: Whole = 200,
    contains: str = "",
    answers: str | None = None,
    json: dict[str, Any] | None = None,
    wrong: str | dict[str, Any] = "",
    within_s: Seconds = 2.0,
    timeout_s: Seconds = 10.0,
    method: Literal["GET", "HEAD"] = "GET",
    cause: str = "",
    next_step: str = "",
) -> Finding:
    """Call a health endpoint once, without following redirects, and store the body of the answer.

    Parameters
    ----------
    title
        What is checked, in words.
    url
        The endpoint, with http or https.
    status
        The expected status code.
    contains
        Words that the body must contain: "active" is not in "inactive".
    answers
        What the body must be, or one line of it; empty text if it must be empty.
    json
        Fields of a JSON object that the body must have, such as ``{"status": "ok"}``.
    wrong
        What the body must not say: text, or fields of a JSON object.
    within_s
        Seconds; a slower answer is a warning.
    timeout_s
        Seconds after which the endpoint counts as unreachable, even if it is still sending.
    method
        GET or HEAD; a HEAD has no body.
    cause, next_step
        Text of the finding: the cause of the problem, and the next step.

    Returns
    -------
    Finding
        ok; warning if the answer is slow; critical if the answer is wrong or no server answers at
        that address; unknown if the address cannot be reached from here (name not found, no route).

    Raises
    ------
    ParameterError
        An argument is wrong, the URL is not valid or contains credentials, or the method is not GET
        or HEAD.
    """
    triage()  # nothing is asked before rb.start
    _refuse(url, title)
    quoted = Quoted(answers=answers, fields=json, wrong=wrong)
    request = HttpRequest(method, url, timeout_s, READ_BYTES)
    started = time.monotonic()
    try:
        answer = httpclient.fetch(request)
    except (httpx.HTTPError, OSError) as error:
        seen = _silence(error, timeout_s)
    else:
        took_s = time.monotonic() - started
        seen = _judge_answer(answer, took_s, status=status, contains=contains, within_s=within_s)
        seen = judged_as_quoted(seen, answer.body, quoted)
    said = f" with {contains!r}" if contains else ""
    said += f", {quoted}" if str(quoted) else ""
    expected = f"{status}{said} within {within_s:g} s"
    current().event("http", url=url, method=method, actual=seen.actual, body=seen.output)
    return keep(title, expected, seen, cause, next_step, f"{method} {url}")


def _refuse(url: str, title: str) -> None:
    refuse_secret("url", url, title)
    try:
        asked = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ParameterError(
            f"the address is not valid: {error}",
            where=title,
            next_step="write http://host:port/path",
        ) from error
    usable = asked.host and not asked.userinfo and 0 < (asked.port or 80) < 65536
    if asked.scheme not in {"http", "https"} or not usable:
        raise ParameterError(
            "the address must begin with http:// or https://, contain no user, and have a"
            " valid port",
            where=title,
            next_step="write http://host:port/path, without credentials: they would be stored"
            " in plain text",
        )
    for name, value in asked.params.multi_items():
        refuse_secret(name, value, title)


def _silence(error: Exception, timeout_s: float) -> Seen:
    """Return the verdict if no answer came: critical if no server is there, else unknown."""
    actual = httpclient.reason(error, timeout_s)
    if httpclient.timed_out(error):
        step = "the service hangs, or a firewall drops the request: call it from its own host"
        return Seen(Verdict.CRITICAL, actual, step)
    refused = isinstance(httpclient.root(error), ConnectionError)
    if refused or isinstance(error, httpx.RemoteProtocolError):
        return Seen(Verdict.CRITICAL, actual, "check on its host whether the service runs")
    return Seen(Verdict.UNKNOWN, actual, "check the address, or try from a host that can reach it")


def _judge_answer(
    answer: HttpAnswer, took_s: float, *, status: int, contains: str, within_s: float
) -> Seen:
    """Return the verdict on an HTTP answer, from its status code, body and duration.

    >>> _judge_answer(HttpAnswer(200, "ok"), 0.1, status=200, contains="ok", within_s=1)[:2]
    (<Verdict.OK: 'ok'>, '200 in 0.1 s')
    >>> degraded = HttpAnswer(200, "degraded")
    >>> _judge_answer(degraded, 0.1, status=200, contains="ok", within_s=1).verdict
    <Verdict.CRITICAL: 'critical'>
    """
    actual, kept = f"{answer.code} in {took_s:.1f} s", answer.body[:KEPT_CHARACTERS]
    read = "read the answer below, then the service's log"
    if answer.code != status:
        return Seen(Verdict.CRITICAL, actual, read, kept)
    there = holds(answer.body, contains)
    if contains and not there and answer.cut:
        step = "use an endpoint with a shorter answer"
        actual += f", without {contains!r} in its first {READ_BYTES // 1000} kB"
        return Seen(Verdict.UNKNOWN, actual, step, kept)
    if contains and not there:
        return Seen(Verdict.CRITICAL, f"{actual}, without {contains!r}", read, kept)
    if took_s > within_s:
        return Seen(Verdict.WARNING, actual, "check what the service waits for", kept)
    return Seen(Verdict.OK, actual, output=kept)
