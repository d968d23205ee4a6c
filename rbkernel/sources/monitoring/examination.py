"""Examine a source: configuration, answer, clock; each finding has a next step.

A step that fails ends the examination; later steps are ``unknown``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from rbkernel.checks.answer import provenance
from rbkernel.config.sources import Source
from rbkernel.errors import RbkernelError, SourceError
from rbkernel.model import Finding, Verdict, now
from rbkernel.queries import catalogue, values
from rbkernel.sources.monitoring import series
from rbkernel.sources.monitoring.client import Client, Reply
from rbkernel.sources.source import open_source

# a query that each server answers, whatever it stores
_QUESTIONS: dict[str, tuple[str, dict[str, str]]] = {
    "prometheus": ("/api/v1/query", {"query": "vector(1)"}),
    "loki": ("/loki/api/v1/query", {"query": "vector(1)"}),
    "jaeger": ("/api/services", {}),
    "tempo": ("/api/echo", {}),
}
_STEPS = {
    "configuration": "the source can be opened, and its secret is available",
    "answer": "the system answers a query",
    "clock": "the clocks of the system and of this host agree",
    "named queries": "the system has what the named queries ask for",
}
# s; HTTP tells whole seconds
_MOST_APART_S = 5.0
# s; no named query is asked for after so long
_LONGEST_S = 30.0
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def examine(source: Source) -> list[Finding]:
    """Examine one source, and change nothing; of an extension's, only the configuration."""
    if source.endpoint is None:
        return [_step("configuration", lambda: _opened(source))]
    if source.kind == "redis":
        return [_step("answer", lambda: _told(source))]
    client = Client(source)
    found = [_step("configuration", lambda: _configured(client))]
    replies: list[tuple[Reply, float]] = []
    for name, check in (
        ("answer", lambda: _answered(client, replies)),
        ("clock", lambda: _clock(*replies[0])),
    ):
        if found[-1].verdict in {Verdict.OK, Verdict.WARNING}:
            found.append(_step(name, check))
        else:
            step = "correct what is wrong above"
            found.append(_finding(name, Verdict.UNKNOWN, "not examined", step))
    return found


_Result = tuple[Verdict, str, str]


def examine_names(source: Source, replaced: Mapping[str, str]) -> Finding:
    """Ask a Prometheus each named query, for any service, and return which of them answer.

    ``replaced`` has the texts of the team, by name: a warning if one of them does not answer.
    """
    return _step("named queries", lambda: _names(Client(source), replaced))


def _names(client: Client, replaced: Mapping[str, str]) -> _Result:
    until = time.monotonic() + _LONGEST_S
    failed: dict[str, str] = {}
    for name, one in catalogue.queries().items():
        if time.monotonic() > until:
            failed[name] = f"not asked: {_LONGEST_S:.0f} s are over"
        elif reason := _failure(client, replaced.get(name, one.text)):
            failed[name] = reason
    every = len(catalogue.queries())
    if not failed:
        return Verdict.OK, f"all {every} answer", ""
    said = "; ".join(
        f"{reason}: {', '.join(name for name in failed if failed[name] == reason)}"
        for reason in dict.fromkeys(failed.values())
    )
    actual = f"{every - len(failed)} of {every} answer; {said}"
    step = "write the PromQL for your metrics under [queries] of rbkernel.toml, for what you have"
    if wrong := [name for name in failed if name in replaced]:
        return Verdict.WARNING, actual, f"correct {', '.join(wrong)} under [queries]"
    none_is_there = len(failed) == every
    known = none_is_there or any(reason != _NO_RESULT for reason in failed.values())
    return Verdict.WARNING if known else Verdict.OK, actual, step


_NO_RESULT = "no result"


def _failure(client: Client, text: str) -> str:
    """Return why a query does not answer, whatever its values are; empty if it does."""
    try:
        reply = client.get("/api/v1/query", {"query": values.of_any(text)})
        found = series.read(reply.value)
    except (SourceError, ValueError) as error:
        return error.what if isinstance(error, SourceError) else str(error)
    return "" if any(one.samples for one in found.series) else _NO_RESULT


def _step(name: str, check: Callable[[], _Result]) -> Finding:
    try:
        return _finding(name, *check())
    except RbkernelError as error:
        return _finding(name, Verdict.CRITICAL, error.what, error.next_step)


def _finding(name: str, verdict: Verdict, actual: str, step: str) -> Finding:
    return Finding(
        title=name,
        verdict=verdict,
        expected=_STEPS[name],
        actual=actual,
        next_step=step,
        at=now(),
    )


def _opened(source: Source) -> _Result:
    open_source(source).close()
    return Verdict.OK, f"the kind {source.kind} can be opened; its extension examines no more", ""


def _told(source: Source) -> _Result:
    """Ask a Redis how it is."""
    frame = open_source(source).query("info", {})
    found = provenance(frame)
    assert found is not None  # every answer has one
    if found.reason:
        raise SourceError(found.reason, next_step=found.next_step)
    return Verdict.OK, f"Redis {frame['version'].iloc[0]}, {frame['role'].iloc[0]}", ""


def _configured(client: Client) -> _Result:
    login = client.login()
    parts = urlsplit(client.endpoint.url)
    if login and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        step = "use https, so that nobody on the way can read the secret"
        return Verdict.WARNING, f"{login}, sent without encryption to {client.address}", step
    return Verdict.OK, f"{login or 'no login'}, {client.address}", ""


def _answered(client: Client, replies: list[tuple[Reply, float]]) -> _Result:
    """Ask; ``replies`` gets the answer, and when it was asked for, in s since 1970."""
    path, given = _QUESTIONS[client.source.kind]
    began, at = time.monotonic(), time.time()
    reply = client.get(path, given)
    replies.append((reply, at))
    took_ms = (time.monotonic() - began) * 1000
    if not _is_of(client.source.kind, reply.value):
        raise SourceError(
            f"the answer is not of the API of {client.source.kind}",
            next_step="check the url and the kind of the source",
        )
    return Verdict.OK, f"answered in {took_ms:.0f} ms", ""


def _is_of(kind: str, answer: Any) -> bool:
    """Tell whether an answer is of a system of this kind, and not a page of a proxy."""
    if kind == "tempo":
        return isinstance(answer, str) and answer.strip() == "echo"
    if not isinstance(answer, dict):
        return False
    return "data" in answer if kind == "jaeger" else answer.get("status") == "success"


def _clock(reply: Reply, asked_at: float) -> _Result:
    """Compare the clocks; the system told its time at some moment between question and now."""
    if reply.at is None:
        step = "compare the clocks yourself: a range of the last minutes ends with this host's"
        return Verdict.UNKNOWN, "the system does not tell its time", step
    apart = min(max(reply.at, asked_at), time.time()) - reply.at
    if abs(apart) > _MOST_APART_S:
        side = "ahead" if apart > 0 else "behind"
        step = "synchronise the clocks: the newest values would be missing or not asked for"
        return Verdict.WARNING, f"this host is {abs(apart):.0f} s {side}", step
    return Verdict.OK, f"less than {_MOST_APART_S:.0f} s apart", ""
