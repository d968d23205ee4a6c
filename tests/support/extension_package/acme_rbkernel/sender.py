"""Nagios: one alert a message, posted to /alerts/nagios."""

from datetime import datetime

from rbkernel.gateway.intake.fields import Body, Reading, Text, delivered, envelope, fingerprint
from rbkernel.gateway.intake.sender import Alert, AlertStatus, Sender


class Notification(Body):
    service: Text
    host: Text
    state: Text


def read(value: object, received_at: datetime) -> Reading:
    body = envelope(Notification, value, "nagios")
    labels = {"alertname": body.service, "host": body.host}
    alert = Alert(
        source="nagios",
        group_key=body.host,
        fingerprint=fingerprint(labels),
        status=AlertStatus.RESOLVED if body.state == "OK" else AlertStatus.FIRING,
        starts_at=received_at,
        labels=labels,
    )
    return delivered("nagios", [alert], [], received_at)


NAGIOS = Sender(name="nagios", read=read, body=Notification)
