"""Read alerts in rbkernel's own format: one alert as JSON, or a list under ``alerts``.

Senders without a module of their own use this format, and people write it by hand. So an unknown
field is probably misspelt: the alert is accepted, and both the answer and the incident's record
name the field.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pydantic import Field, model_validator

from rbkernel.evidence.incident import AlertStatus
from rbkernel.gateway.intake.fields import (
    Body,
    Labels,
    Reading,
    Text,
    Time,
    delivered,
    envelope,
    fingerprint,
    read_each,
    text,
)
from rbkernel.gateway.intake.sender import Sender
from rbkernel.gateway.jobs.alert import Alert

_IGNORED_SHOWN, _LONGEST_NAME = 5, 40


class GenericAlertBody(Body):
    """One alert in rbkernel's own format; only a name is required.

    Senders that repeat alerts give ``id`` or ``starts_at``, too.
    """

    name: Text = ""
    status: AlertStatus = AlertStatus.FIRING
    labels: Labels = Field(default_factory=dict)
    annotations: Labels = Field(default_factory=dict)
    summary: Text = ""
    starts_at: Time | None = None
    ends_at: Time | None = None
    id: Text = ""
    fingerprint: Text = ""
    group_key: Text = ""
    url: Text = ""

    @model_validator(mode="after")
    def _has_a_name(self) -> GenericAlertBody:
        if not (self.name or self.labels.get("alertname")):
            raise ValueError("the alert has neither a name nor a label alertname")
        return self


class GenericBody(Body):
    """A body with several alerts; a single alert may also be posted directly."""

    group_key: Text = ""
    alerts: list[Any]


def read(value: Any, received_at: datetime) -> Reading:
    """Return the alerts in a body of rbkernel's own format."""
    single = isinstance(value, dict) and "alerts" not in value
    body = envelope(GenericBody, {"alerts": [value]} if single else value, "generic")
    alerts, problems = read_each(
        body.alerts,
        lambda entry: _alert(entry, body.group_key, received_at),
    )
    reading = delivered("generic", alerts, problems, received_at)
    around = "" if single else _ignored(GenericBody, [value])
    within = _ignored(GenericAlertBody, body.alerts)
    return dataclasses.replace(reading, ignored=", ".join(filter(None, [around, within])))


def _ignored(kind: type[Body], bodies: Iterable[Any]) -> str:
    """Return the names of the fields in alerts that the model does not know, as a short text.

    >>> _ignored(GenericAlertBody, [{"name": "X", "lables": {}}, {"sumary": "", "lables": {}}])
    'lables, sumary'
    """
    names = (name for body in bodies if isinstance(body, Mapping) for name in body)
    unknown = dict.fromkeys(text(name) for name in names if name not in kind.model_fields)
    shown = [name[:_LONGEST_NAME] for name in list(unknown)[:_IGNORED_SHOWN]]
    return ", ".join([*shown, *(["…"] if len(unknown) > len(shown) else [])])


def _alert(entry: Any, group_key: str, received_at: datetime) -> Alert:
    body = GenericAlertBody.model_validate(entry)
    ignored = _ignored(GenericAlertBody, [entry])
    named = {"alertname": body.name} if body.name else {}
    labels = {**named, **body.labels}
    summary = {"summary": body.summary} if body.summary else {}
    return Alert(
        source="generic",
        group_key=body.group_key or group_key,
        fingerprint=body.id or body.fingerprint or fingerprint(labels),
        status=body.status,
        starts_at=body.starts_at or received_at,
        ends_at=body.ends_at if body.status is AlertStatus.RESOLVED else None,
        labels=labels,
        annotations={**summary, **body.annotations, **({"ignored": ignored} if ignored else {})},
        url=body.url,
        # changed labels make a new alert of the same firing: it may have become more severe
        episode=f"{fingerprint(body.id)}/{fingerprint(labels)}" if body.id else "",
    )


SENDER = Sender(name="generic", read=read, body=GenericBody, alert=GenericAlertBody, alone=True)
