"""Read PagerDuty's webhooks, version 3: each reports an event of a PagerDuty incident.

A redelivery has the same ``X-Webhook-Id`` and the same body. An alert's identity comes from the
incident in the event, so it is the same for a second subscription to the service. Every event of an
open incident says that the incident is open, so the next event makes up for a missed one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic import Field

from rbkernel.errors import Unreadable
from rbkernel.evidence.incident import AlertStatus
from rbkernel.gateway.intake.fields import Body, Reading, Text, Time, delivered, envelope
from rbkernel.gateway.intake.sender import Sender
from rbkernel.gateway.jobs.alert import Alert
from rbkernel.model import Severity

_REOPENED = "incident.reopened"
_RESOLVED = "incident.resolved"
# event types with an incident; see PagerDuty's documentation, "Webhooks, overview, event types"
_OF_INCIDENTS = frozenset(
    f"incident.{what}"
    for what in (
        *("triggered", "reopened", "acknowledged", "unacknowledged", "resolved"),
        *("delegated", "escalated", "reassigned", "priority_updated", "service_updated"),
        "incident_type.changed",
    )
)
# prefixes of event types without an alert
_OF_ELSE = (
    *("pagey.", "service.", "incident.annotated", "incident.status_update_published"),
    *("incident.responder.", "incident.conference_bridge.", "incident.custom_field_values."),
    *("incident.workflow.", "incident.action_invocation.", "incident.role."),
)


class _Named(Body):
    summary: Text = ""


class IncidentBody(Body):
    """An incident of PagerDuty, which rbkernel treats as an alert."""

    id: Text = Field(min_length=1)
    status: Text
    title: Text = ""
    html_url: Text = ""
    number: Text = ""
    incident_key: Text = ""
    created_at: Time
    service: _Named | None = None
    urgency: Text = ""
    priority: _Named | None = None


class EventBody(Body):
    """An event that PagerDuty reports: what happened, and to which incident."""

    event_type: Text
    resource_type: Text = ""
    occurred_at: Time
    data: dict[str, Any] | None = None


class WebhookBody(Body):
    """The body that PagerDuty posts: one event."""

    event: EventBody


def read(value: Any, received_at: datetime) -> Reading:
    """Return the alert that a PagerDuty event reports; none for pings, notes and services.

    Raises
    ------
    Unreadable
        The event's type is unknown, or its incident is missing. Such an event may be important, so
        it is not ignored.
    """
    event = envelope(WebhookBody, value, "pagerduty").event
    alerts: tuple[Alert, ...] = ()
    if event.event_type in _OF_INCIDENTS:
        incident = envelope(IncidentBody, _incident(event), "pagerduty")
        if event.event_type == _RESOLVED or incident.status != "resolved":
            alerts = (_alert(event, incident),)
    elif not event.event_type.startswith(_OF_ELSE):
        raise Unreadable(
            "event.event_type is unknown",
            where="pagerduty",
            next_step="look at the raw bytes in quarantine; if they contain an alert, handle it"
            " by hand",
        )
    return delivered("pagerduty", alerts, [], received_at)


def _incident(event: EventBody) -> dict[str, Any]:
    if event.data is None or event.data.get("type") != "incident":
        raise Unreadable(
            "event.data is not an incident",
            where="pagerduty",
            next_step="compare it with the sender's documentation",
        )
    return event.data


def _alert(event: EventBody, incident: IncidentBody) -> Alert:
    """Return the alert that an event of a PagerDuty incident reports.

    A reopened incident keeps its creation time. So its second firing and its second end are
    identified by the time of the event.
    """
    resolved = event.event_type == _RESOLVED
    return Alert(
        source="pagerduty",
        group_key=incident.id,
        fingerprint=incident.id,
        status=AlertStatus.RESOLVED if resolved else AlertStatus.FIRING,
        starts_at=event.occurred_at if event.event_type == _REOPENED else incident.created_at,
        ends_at=event.occurred_at if resolved else None,
        labels=_labels(incident),
        annotations={"summary": incident.title} if incident.title else {},
        url=incident.html_url,
        episode=f"/{event.occurred_at.isoformat()}" if resolved else "",
    )


def _labels(incident: IncidentBody) -> dict[str, str]:
    priority = incident.priority.summary if incident.priority else ""
    labels = {
        "alertname": incident.title,
        "service": incident.service.summary if incident.service else "",
        "severity": _severity(priority) or _severity(incident.urgency),
        "priority": priority,
        "urgency": incident.urgency,
        "incident_number": incident.number,
        "incident_key": incident.incident_key,
    }
    return {name: value for name, value in labels.items() if value}


def _severity(words: str) -> str:
    try:
        return Severity.parse(words).value
    except ValueError:
        return ""


def _ping() -> dict[str, object]:
    now = datetime.now(UTC).isoformat()
    return {"event": {"event_type": "pagey.ping", "occurred_at": now, "data": None}}


SENDER = Sender(name="pagerduty", read=read, body=WebhookBody, nothing=_ping)
