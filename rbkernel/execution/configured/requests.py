"""The actions `request:NAME`: preview an HTTP request, send it once, and watch its effect."""

from __future__ import annotations

import hashlib
import json
import ssl
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from rbkernel.config.action_requests import ActionRequest, Looked
from rbkernel.errors import ConfigError, SourceError
from rbkernel.evidence.incident import ActionState
from rbkernel.execution import document as documents
from rbkernel.execution.configured.place import Place, here, tail, unset
from rbkernel.execution.document import Facts, Preview
from rbkernel.execution.outcome import UNSEEN, NotSent, Outcome, Unanswered, Unsuccessful
from rbkernel.sources import httpclient
from rbkernel.sources.httpclient import HttpAnswer, HttpRequest

# s between two looks at the effect, and for connections and the lines of the record
_EVERY_S = 0.5
_GRACE_S = 20.0
_CAP_BYTES = 1_000_000
# characters of a value in a sentence
_SHOWN = 200
_SO = "This is so already: it may change nothing, and it has no undo"
_AROUND = {"environment": "the variable of a header", "ca": "the file of certificates (ca)"}


def longest_s(place: Place[ActionRequest]) -> float:
    """Return the longest that an execution takes, in s, besides the time in which it is watched."""
    return 2 * place.action.timeout_s + _GRACE_S


def preview(place: Place[ActionRequest], _found: object) -> Preview:
    """Say what would be sent, and what the state is now."""
    action, values = place.action, place.values
    variables = [one.env for one in action.headers.values() if one.env]
    refusal, before = "; ".join(unset(variables)), {}
    if action.preview is not None and not refusal:
        try:
            before = _before(place, _seen(place, action.preview))
        except (SourceError, ConfigError) as error:
            refusal = f"the state before cannot be seen: {error.what}"
    seen, is_so = action.expected, not refusal and _is_so(place)
    return Preview(
        at=datetime.now(UTC),
        server=here(),
        targets=({"request": f"{action.method} {action.address(action.url, values)}"},),
        effect=f"{place.effect}. {_SO}" if is_so else place.effect,
        undo="" if is_so else place.undo,
        foretold={**before, **({"verified_before": True} if is_so else {})},
        statement=place.text,
        values=(
            {
                "method": action.method,
                "url": action.address(action.url, values),
                "json": action.body(action.json_, values),
                "headers": {
                    name: one.model_dump(exclude_defaults=True)
                    for name, one in action.headers.items()
                },
                "environment": {} if refusal else place.marks(variables),
                "ca": _digest(action.ca),
                "expect": action.expect,
                "timeout_s": action.timeout_s,
                **place.shared,
                "inverse": {} if is_so else place.inverse,
                "verify": {
                    "url": action.address(seen.url, values),
                    "pointer": seen.pointer,
                    "equals": action.body(seen.equals, values),
                }
                if seen
                else {},
            },
        ),
        refusal=refusal,
    )


def _is_so(place: Place[ActionRequest]) -> bool:
    """Return whether the expected state is there already, so that there is nothing to undo."""
    if (seen := place.action.expected) is None:
        return False
    try:
        return _same(_seen(place, seen), place.action.body(seen.equals, place.values))
    except (SourceError, ConfigError):
        return False  # as if it was created


def _digest(file: Path | None) -> dict[str, str]:
    """Return a file of certificates with its SHA-256; without, if it cannot be read."""
    if file is None:
        return {}
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        digest = ""
    return {"file": str(file), "sha256": digest}


def _before(place: Place[ActionRequest], value: Any) -> dict[str, Any]:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, indent=1)
    lines = place.kept(text)
    return {"before": lines, "mark": place.mark("before", text.encode())}


def changed(document: Facts, now: Preview) -> str:
    """Return what changed since the preview that was approved; empty if nothing did. Pure."""
    if now.refusal:
        return now.refusal
    if not _same(document["server"], now.server):
        return "it would be sent from another host or by another user than previewed"
    [before], [after] = document["values"], now.values
    for name, what in _AROUND.items():
        if not _same(before.get(name), after[name]):
            return f"{what} has another value here than where it was previewed"
    if document["foretold"].get("mark") != now.foretold.get("mark"):
        return "the state before it changed since the preview"
    texts = ("statement", "undo", "effect")
    if any(document.get(name, "") != getattr(now, name) for name in texts) or not _same(
        document["values"], now.values
    ):
        return "its configuration, or the state before it, changed since the preview"
    return ""


def _same(one: object, other: object) -> bool:
    return documents.canonical({"": one}) == documents.canonical({"": other})


def execute(place: Place[ActionRequest], document: Facts, until: datetime) -> Facts:
    """Send the request once.

    Raises
    ------
    NotSent
        It was too late, or a secret or a certificate cannot be read.
    Unsuccessful
        The server refused it, or redirected it.
    Unanswered
        No answer came, or the server or a proxy failed: nobody knows whether it had an effect.
    """
    [values] = document["values"]
    body = None if values["json"] is None else json.dumps(values["json"]).encode()
    try:
        request = _request(place, values["method"], values["url"], body)
    except ConfigError as error:
        raise NotSent(f"{error.what}: nothing was sent") from error
    if datetime.now(UTC) >= until:
        raise NotSent("it was too late: nothing was sent")
    try:
        answer = httpclient.fetch(request)
    except httpx.ConnectError as error:
        reason = httpclient.reason(error, request.timeout_s)
        raise NotSent(f"no connection: {reason}: nothing was sent") from error
    except (httpx.HTTPError, OSError) as error:
        raise Unanswered(httpclient.reason(error, request.timeout_s)) from error
    lines = place.kept(answer.body)
    said = {"said": f"status {answer.code}", "output": lines}
    if answer.code in values["expect"]:
        return said
    last = tail(lines)
    what = f"status {answer.code}{f': {last[:_SHOWN]}' if last else ''}"
    raise (Unanswered if answer.code >= 500 else Unsuccessful)(what, facts=said)


def watch(place: Place[ActionRequest], document: Facts, watch_s: float) -> Outcome:
    """Ask for the state again and again, until it is the expected one."""
    verify = document["values"][0]["verify"]
    if not verify:
        return UNSEEN
    is_so = document["foretold"].get("verified_before", False)
    began, last = time.monotonic(), ""
    looked = Looked(url=verify["url"], pointer=verify["pointer"])
    name = f"{verify['pointer'] or 'the answer'} of {verify['url']}"
    while True:
        try:
            value = _seen(place, looked, inserted=False)
            if _same(value, verify["equals"]):
                return Outcome(
                    state=ActionState.VERIFIED,
                    result=f"{name} is {_json(value)}{', as before the action' if is_so else ''}",
                    shown=not is_so,
                )
            last = f"is {place.redactor.text(_json(value))[:_SHOWN]}"
        except (SourceError, ConfigError) as error:
            last = f"cannot be seen: {error.what}"
        if time.monotonic() - began >= watch_s:
            break
        time.sleep(_EVERY_S)
    unseen = last.startswith("cannot be seen")
    after = f"after {watch_s:g} s, " if watch_s else ""
    return Outcome(
        state=ActionState.INDETERMINATE if unseen else ActionState.FAILED,
        result=f"{after}{name} {last}, not {_json(verify['equals'])}",
    )


def _seen(place: Place[ActionRequest], looked: Looked, *, inserted: bool = True) -> Any:
    """Return the value that a GET shows now.

    Raises
    ------
    SourceError
        There is no answer, or no such value in it.
    ConfigError
        A secret or a certificate cannot be read.
    """
    url = place.action.address(looked.url, place.values) if inserted else looked.url
    request = _request(place, "GET", url, None)
    try:
        answer = httpclient.fetch(request)
    except (httpx.HTTPError, OSError) as error:
        raise SourceError(f"{url}: {httpclient.reason(error, request.timeout_s)}") from error
    return _value(url, answer, looked.pointer)


def _value(url: str, answer: HttpAnswer, pointer: str) -> Any:
    if answer.code != 200 or answer.cut:
        raise SourceError(f"{url}: {'more than 1 MB' if answer.cut else f'status {answer.code}'}")
    try:
        return at(json.loads(answer.body), pointer)
    except (ValueError, RecursionError, LookupError) as error:
        what = "no JSON" if isinstance(error, ValueError) else f"no value at {pointer}"
        raise SourceError(f"{url}: {what}") from error


def at(value: Any, pointer: str) -> Any:
    """Return the part of a JSON value at a JSON pointer (RFC 6901).

    Raises
    ------
    LookupError
        There is no such part.

    >>> at({"a/b": [1, {"c": 2}]}, "/a~1b/1/c"), at(3, "")
    (2, 3)
    """
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        match value:
            case dict():
                value = value[name]
            case list() if name.isascii() and name.isdecimal():
                value = value[int(name)]
            case _:
                raise LookupError(name)
    return value


def _request(place: Place[ActionRequest], method: str, url: str, body: bytes | None) -> HttpRequest:
    """Return a request with the headers of the configuration; their secrets are redacted later."""
    action = place.action
    headers = action.sent_headers()
    for name, header in action.headers.items():
        if header.is_secret:
            secret = headers[name].removeprefix(header.prefix)
            place.redactor.learn(f"header {name}", secret, public=action.public)
    try:
        tls = _trusted(url, action.ca)
    except OSError as error:
        raise ConfigError(
            f"the certificate of the authority cannot be read: {error.strerror or error}",
            where=f"[actions.requests.{action.name}]",
            next_step="check ca",
        ) from error
    if body is not None:
        headers["Content-Type"] = "application/json"
    return HttpRequest(
        method=method,
        url=url,
        timeout_s=action.timeout_s,
        cap_bytes=_CAP_BYTES,
        headers={"Accept-Encoding": "identity", **headers},
        verify=tls,
        content=body,
        trust_env=False,  # nobody has approved a proxy
    )


def _trusted(url: str, ca: Path | None) -> ssl.SSLContext:
    """Return what checks the certificate of a server, with the authorities of a file or the system.

    Loading these takes longer than a request without TLS, so that for http nothing is trusted.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    if urlsplit(url).scheme == "https":
        return ssl.create_default_context(cafile=ca)
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def where(facts: Facts) -> str:
    """Describe where a request is sent from.

    >>> where({"host": "ops1", "user": "rb"})
    'from host ops1, as rb'
    """
    return f"from host {facts['host']}, as {facts['user']}"


def target(facts: Facts) -> str:
    """Describe what is sent: method and address."""
    return str(facts["request"])


def foretold(facts: Facts) -> tuple[tuple[str, str], ...]:
    """Describe the body, and the state before."""
    [values], before = facts["values"], facts["foretold"].get("before")
    body = () if values["json"] is None else (("Body", _json(values["json"])),)
    return (*body, *((("State before", "\n".join(before)),) if before else ()))
