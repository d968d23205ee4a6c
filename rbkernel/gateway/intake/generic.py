"""Whoever else can post JSON: one alert, or a list of them under ``alerts``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field, model_validator

from rbkernel.gateway.alert import Alert, Status
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
)


class GenericAlertBody(Body):
    """One alert: a name is enough. Whoever repeats himself gives an ``id`` or ``starts_at``."""

    name: Text = ""
    status: Status = Status.FIRING
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
            raise ValueError("there is neither a name nor a label alertname")
        return self


class GenericBody(Body):
    """Several alerts at once; one may also be posted by itself."""

    group_key: Text = ""
    alerts: list[Any]


def read(value: Any, received_at: datetime) -> Reading:
    """Return the alerts of a body."""
    single = isinstance(value, dict) and "alerts" not in value
    body = envelope(GenericBody, {"alerts": [value]} if single else value, "generic")
    alerts, problems = read_each(
        body.alerts,
        lambda entry: _alert(GenericAlertBody.model_validate(entry), body.group_key, received_at),
    )
    return delivered("generic", alerts, problems, received_at)


def _alert(body: GenericAlertBody, group_key: str, received_at: datetime) -> Alert:
    named = {"alertname": body.name} if body.name else {}
    labels = {**named, **body.labels}
    summary = {"summary": body.summary} if body.summary else {}
    return Alert(
        source="generic",
        group_key=body.group_key or group_key,
        fingerprint=body.fingerprint or fingerprint(labels),
        status=body.status,
        starts_at=body.starts_at or received_at,
        ends_at=body.ends_at if body.status is Status.RESOLVED else None,
        labels=labels,
        annotations={**summary, **body.annotations},
        url=body.url,
        episode=body.id,
    )
