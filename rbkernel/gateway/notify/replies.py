"""Tell the senders of alerts that an incident of theirs was acknowledged or closed.

PagerDuty changes the state of its own incident, so that it calls nobody for what somebody handles
here. Grafana gets an annotation, Datadog an event, and other senders a JSON body. A sender that
does not answer is told later; it learns each state once.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from rbkernel.config import Settings
from rbkernel.config.notify import Notify
from rbkernel.config.replies import Reply
from rbkernel.errors import ConfigError, NotifyError
from rbkernel.evidence.incident import (
    AlertStatus,
    IncidentRecord,
    IncidentState,
    Line,
    instant,
)
from rbkernel.gateway.notify import written
from rbkernel.gateway.notify.events import Event, severity_of
from rbkernel.gateway.notify.outbox import Outbox
from rbkernel.model import Severity
from rbkernel.sources.httpclient import HttpRequest, fetch, reason

ACKNOWLEDGED, RESOLVED = "acknowledged", "resolved"
# a storm of alerts has as many replies, and no person reads them
_NO_LIMIT = Notify(burst=1000, every_s=1.0)
_SENDS_FOR_S = 30.0
_ANSWER_BYTES = 64 * 1024
# the same request would be refused again; a token can be corrected, and a limit ends
_FINAL = frozenset({400, 404, 405, 409, 410, 422})
log = logging.getLogger("rbkernel.notify")


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """A sender that gets replies."""

    sender: str
    reply: Reply

    @property
    def name(self) -> str:
        """The name of the receiver in the store, and the kind of its events."""
        return f"reply:{self.sender}"

    def wants(self, kind: str, _severity: Severity) -> bool:
        """Tell whether an event is a reply to this sender."""
        return kind == self.name

    def token(self) -> str:
        """Return the token of the sender's interface; raise `ConfigError` if it is not set."""
        return self.reply.token(f"[gateway.senders.{self.sender}.reply]")


def receivers(settings: Settings) -> tuple[Receiver, ...]:
    """Return the senders that get replies."""
    senders = settings.gateway.senders.items()
    return tuple(Receiver(sender=name, reply=one.reply) for name, one in senders if one.reply)


def due(
    parts: Sequence[IncidentRecord], to: Sequence[Receiver], known: Collection[str]
) -> list[Event]:
    """Return the replies that are due about an incident: its newest state, for each group.

    A PagerDuty incident that is resolved already is not resolved again. Pure.

    Parameters
    ----------
    parts
        The incident's record, and those of all incidents that were merged into it.
    to
        The senders that get replies.
    known
        Keys of replies that are already stored.
    """
    record = parts[0]
    closing = next((one for one in reversed(record.lines) if one.kind == "closed"), None)
    is_closed = record.state is IncidentState.CLOSED
    line = closing if is_closed else record.acknowledged
    if line is None or record.merged_into:
        return []
    state = RESOLVED if is_closed else ACKNOWLEDGED
    every = [
        _event(record, line, state, receiver, group)
        for receiver in to
        for group, fires in _groups(parts, receiver.sender)
        if fires or receiver.sender != "pagerduty"
    ]
    return [one for one in every if one.key not in known]


def _groups(parts: Sequence[IncidentRecord], sender: str) -> Iterator[tuple[str, bool]]:
    """Yield each group of a sender's alerts, and whether one of its alerts fires."""
    newest: dict[tuple[str, str], bool] = {}
    for line in (line for record in parts for line in record.lines):
        if line.kind == "alert" and line.text("source") == sender:
            alert = line.text("group_key"), line.text("fingerprint")
            newest[alert] = line.text("status") == AlertStatus.FIRING
    for group in dict.fromkeys(group for group, _ in newest):
        yield group, any(fires for (one, _), fires in newest.items() if one == group)


def _event(record: IncidentRecord, line: Line, state: str, to: Receiver, group: str) -> Event:
    key = hashlib.sha256(group.encode()).hexdigest()[:16]
    said = line.text("resolution" if state == RESOLVED else "text")
    return Event(
        key=f"{to.name}/{key}/{state}/{line.number}",
        kind=to.name,
        at=line.at,
        incident=record.id,
        severity=severity_of(record.severity, None),
        page=record.id,
        facts={
            "state": state,
            "group": group,
            "title": record.title,
            "text": f"{state} by {line.by} in rbkernel ({record.id})" + (said and f": {said}"),
        },
    )


def send(settings: Settings, outbox: Outbox, to: Receiver) -> int:
    """Send the replies that are due to a sender; return the number of those that it accepted."""
    claimed = outbox.claim(to.name, _NO_LIMIT)
    if claimed is None:
        return 0
    until = time.monotonic() + _SENDS_FOR_S
    left, accepted, answers = list(claimed.events), 0, True
    while left and answers and time.monotonic() < until:
        event = left.pop(0)
        problem, answers = _attempt(to, event)
        accepted += not problem
        _note(settings, outbox, to, event, problem, last=answers)
    outbox.release(to.name, left)
    return accepted


def _attempt(to: Receiver, event: Event) -> tuple[str, bool]:
    """Send a reply; return the problem, if any, and whether the sender answered about this one."""
    try:
        _post(to, event)
    except _RefusedError as error:
        return error.what, True
    except (ConfigError, NotifyError) as error:
        return error.what, False
    return "", True


def _note(
    settings: Settings, outbox: Outbox, to: Receiver, event: Event, problem: str, *, last: bool
) -> None:
    """Store the outcome of an attempt; write it into the record if it is the last one."""
    if problem:
        last = outbox.failed(to.name, [event], problem, settings.notify, last=last)
        log.warning("reply to %s: %s%s", to.sender, problem, " Giving up." if last else "")
    else:
        outbox.sent(to.name, [event])
    if last:
        written.down(
            *(settings.evidence_root, event.incident),
            whom=to.name,
            events=[event.key],
            title=f"reply to {to.sender}: {event.facts['state']}",
            text=str(event.facts["text"]),
            how="" if problem else to.sender,
            problem=problem,
        )


class _RefusedError(NotifyError):
    """The sender refused a reply, and would refuse it again."""


def _post(to: Receiver, event: Event) -> None:
    """Send one request; raise an error if the sender did not accept it."""
    method, path, headers, body = _request(to, event, to.token())
    address, timeout_s = to.reply.address(to.sender), to.reply.timeout_s
    host = urlsplit(address).hostname
    request = HttpRequest(
        *(method, address + path, timeout_s, _ANSWER_BYTES),
        headers={**headers, "Content-Type": "application/json"},
        content=json.dumps(body).encode(),
        trust_env=False,
    )
    try:
        code = fetch(request).code
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        # a ValueError: the address or the token has a character that cannot be sent
        raise NotifyError(f"{host}: {reason(error, timeout_s)}") from error
    if not 200 <= code < 300:
        raise (_RefusedError if code in _FINAL else NotifyError)(f"{host} refused it with {code}")


def _request(
    to: Receiver, event: Event, token: str
) -> tuple[str, str, Mapping[str, str], Mapping[str, Any]]:
    """Return method, path, headers and body of a reply, as each sender's interface asks for it."""
    facts = event.facts
    at = instant(event.at)
    if to.sender == "pagerduty":  # REST API v2, "Update an incident"
        resolution = {"resolution": facts["text"]} if facts["state"] == RESOLVED else {}
        headers = {"Authorization": f"Token token={token}", "From": to.reply.user}
        incident = {"type": "incident_reference", "status": facts["state"], **resolution}
        path = f"/incidents/{quote(facts['group'], safe='')}"
        return "PUT", path, headers, {"incident": incident}
    if to.sender == "grafana":  # HTTP API, "Create annotation"; milliseconds
        said = {"time": int(at.timestamp() * 1000), "tags": ["rbkernel", event.incident]}
        text = f"{facts['title']}: {facts['text']}"
        return "POST", "/api/annotations", _bearer(token), {**said, "text": text}
    if to.sender == "datadog":  # Events API v1, "Post an event"; seconds
        alert_type = "success" if facts["state"] == RESOLVED else "info"
        body = {
            "title": f"{facts['state']}: {facts['title']}"[:100],
            "text": facts["text"],
            "date_happened": int(at.timestamp()),
            "aggregation_key": facts["group"][:100],
            "alert_type": alert_type,
            "tags": ["source:rbkernel", f"incident:{event.incident}"],
        }
        return "POST", "/api/v1/events", {"DD-API-KEY": token}, body
    return "POST", "", _bearer(token), {"incident": event.incident, "at": event.at, **facts}


def _bearer(token: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {token}"}
