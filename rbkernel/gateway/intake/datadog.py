"""Read Datadog's webhook: the default body, or the fuller one of docs/reference/gateway.md.

Datadog sends the times of its messages, not of the alert. So a firing is identified by its cycle
key, ``$ALERT_CYCLE_KEY``. The default body has no cycle key, so there each message is a separate
alert.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationError, model_validator

from rbkernel.evidence.incident import AlertStatus
from rbkernel.gateway.intake.fields import (
    Body,
    Reading,
    Time,
    delivered,
    envelope,
    fingerprint,
    text,
)
from rbkernel.gateway.intake.sender import Sender
from rbkernel.gateway.jobs.alert import Alert

# `rbkernel serve --check` sends this body, which contains no alert
NOTHING = {"rbkernel": "serve --check"}
_UNFILLED = re.compile(r"\$[A-Z_]+(\[.*\])?")
_PREFIX = re.compile(r"^(?:\[P\d\]\s*)?\[(?P<transition>[A-Za-z -]+?)(?: on \{[^}]*\})?\]\s*")
_SEVERITY = {"P1": "critical", "P2": "high", "P3": "medium", "P4": "low", "P5": "low"}
_LEVELS = {"warn": "warn", "re-warn": "warn", "no data": "no data", "re-no data": "no data"}


def _filled(value: Any) -> str:
    """Return a field's text; empty if it is a variable that Datadog did not replace."""
    written = text(value)
    return "" if _UNFILLED.fullmatch(written) or written == "null" else written


def _tags(value: Any) -> str:
    return ",".join(map(text, value)) if isinstance(value, list) else _filled(value)


Filled = Annotated[str, BeforeValidator(_filled)]
Tags = Annotated[str, BeforeValidator(_tags)]


class MonitorBody(Body):
    """The body that Datadog posts: the fields of rbkernel's template.

    The default body has only ``title``, ``body`` and ``date`` of these.
    """

    title: Filled = ""
    body: Filled = ""
    transition: Filled = ""
    cycle: Filled = ""
    alert_id: Filled = ""
    alert_title: Filled = ""
    aggregate: Filled = ""
    scope: Filled = ""
    tags: Tags = ""
    priority: Filled = ""
    metric: Filled = ""
    hostname: Filled = ""
    link: Filled = ""
    date: Filled = ""
    last_updated: Filled = ""

    @model_validator(mode="after")
    def _says_something(self) -> MonitorBody:
        if not (self.title or self.alert_title):
            raise ValueError("the alert has neither a title nor an alert_title")
        return self

    @property
    def name(self) -> str:
        """The name of the monitor: the event's title without prefixes such as ``[Triggered]``.

        >>> MonitorBody(title="[P1] [Triggered on {host:db1}] Replication lag").name
        'Replication lag'
        """
        return _PREFIX.sub("", self.alert_title or self.title) or self.title

    @property
    def change(self) -> str:
        """The change of the monitor's state, such as ``triggered``, ``recovered`` or ``re-warn``.

        >>> MonitorBody(title="[Recovered on {host:db1}] Replication lag").change
        'recovered'
        """
        found = _PREFIX.match(self.title)
        return (self.transition or (found["transition"] if found else "")).lower()


def read(value: Any, received_at: datetime) -> Reading:
    """Return the one alert in a body that Datadog posted."""
    if value == NOTHING:
        return delivered("datadog", (), [], received_at)
    body = envelope(MonitorBody, value, "datadog")
    resolved = "recovered" in body.change
    at = _time(body.date) or _time(body.last_updated) or received_at
    level = "ok" if resolved else _LEVELS.get(body.change, "alert")
    alert = Alert(
        source="datadog",
        group_key=body.aggregate,
        fingerprint=_fingerprint(body),
        status=AlertStatus.RESOLVED if resolved else AlertStatus.FIRING,
        starts_at=at,
        ends_at=at if resolved else None,
        labels=_labels(body),
        annotations=_annotations(body),
        url=body.link,
        episode=f"{body.cycle}/{level}" if body.cycle else "",
    )
    return delivered("datadog", (alert,), [], received_at)


def _fingerprint(body: MonitorBody) -> str:
    """Return a fingerprint that a monitor's triggered and recovered messages share."""
    if body.cycle:
        return body.cycle
    if body.alert_id:
        return fingerprint(body.alert_id, body.scope)
    return body.aggregate or fingerprint(body.name, body.scope or body.tags)


def _labels(body: MonitorBody) -> dict[str, str]:
    """Return Datadog's tags as an alert's labels; Datadog's own fields override equal names."""
    pairs = (tag.strip().partition(":") for tag in f"{body.tags},{body.scope}".split(","))
    tags = {name: value or "true" for name, _, value in pairs if name}
    ours = {
        "alertname": body.name,
        "severity": _SEVERITY.get(body.priority, ""),
        "priority": body.priority,
        "metric": body.metric,
        "hostname": body.hostname,
        "monitor_id": body.alert_id,
    }
    return tags | {name: value for name, value in ours.items() if value}


def _annotations(body: MonitorBody) -> dict[str, str]:
    said = {"summary": body.title, "description": body.body.strip().strip("%").strip()}
    return {name: value for name, value in said.items() if value}


class _Moment(Body):
    at: Time


def _time(written: str) -> datetime | None:
    """Parse a time (ISO 8601, or seconds or milliseconds since 1970); None if it is not one.

    >>> _time("1406662672000").isoformat(), _time("yesterday")
    ('2014-07-29T19:37:52+00:00', None)
    """
    try:
        return _Moment.model_validate({"at": written}).at if written else None
    except ValidationError:
        return None


SENDER = Sender(name="datadog", read=read, body=MonitorBody, nothing=lambda: NOTHING)
