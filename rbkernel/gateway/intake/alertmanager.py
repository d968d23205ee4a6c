"""Read the alerts in a webhook body, version 4, of Prometheus' Alertmanager.

``startsAt`` may be in the future, and ``endsAt`` may be in the year 1. An alert may be resolved
before a firing one was received. Versions before 0.18 send no fingerprints.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from rbkernel.evidence.incident import AlertStatus
from rbkernel.gateway.intake.fields import (
    Body,
    Count,
    Labels,
    Reading,
    Text,
    Time,
    delivered,
    envelope,
    fingerprint,
    read_each,
    unless_zero,
)
from rbkernel.gateway.intake.sender import Sender
from rbkernel.gateway.jobs.alert import Alert


class AlertBody(Body):
    """One alert of a group, as Alertmanager posts it."""

    status: AlertStatus
    labels: Labels
    annotations: Labels = Field(default_factory=dict)
    startsAt: Time  # noqa: N815  # as sent
    endsAt: Time | None = None  # noqa: N815
    generatorURL: Text = ""  # noqa: N815
    fingerprint: Text = ""


class GroupBody(Body):
    """The body that Alertmanager posts: a group of alerts."""

    groupKey: Text = ""  # noqa: N815
    truncatedAlerts: Count | None = 0  # noqa: N815
    alerts: list[Any]


def read(value: Any, received_at: datetime) -> Reading:
    """Return the alerts in a body that Alertmanager posted."""
    return read_group("alertmanager", value, received_at, AlertBody)


def read_group(source: str, value: Any, received_at: datetime, kind: type[AlertBody]) -> Reading:
    """Return the alerts in a group; senders with a format like Alertmanager's use this, too."""
    group = envelope(GroupBody, value, source)
    alerts, problems = read_each(
        group.alerts, lambda entry: _alert(source, group.groupKey, kind.model_validate(entry))
    )
    return delivered(source, alerts, problems, received_at, group.truncatedAlerts or 0)


def _alert(source: str, group_key: str, body: AlertBody) -> Alert:
    return Alert(
        source=source,
        group_key=group_key,
        fingerprint=body.fingerprint or fingerprint(body.labels),
        status=body.status,
        starts_at=body.startsAt,
        ends_at=unless_zero(body.endsAt) if body.status is AlertStatus.RESOLVED else None,
        labels=body.labels,
        annotations=body.annotations,
        url=body.generatorURL,
    )


SENDER = Sender(name="alertmanager", read=read, body=GroupBody, alert=AlertBody)
