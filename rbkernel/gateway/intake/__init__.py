"""What senders post, as alerts: one module a sender, each pure. `read` is the way in.

Five are ours; other packages add more.
"""

from __future__ import annotations

from datetime import datetime

from rbkernel.errors import Unreadable
from rbkernel.extensions import Group
from rbkernel.gateway.intake import alertmanager, datadog, generic, grafana, limits, pagerduty
from rbkernel.gateway.intake.fields import Reading
from rbkernel.gateway.intake.sender import Sender

SENDERS: Group[Sender] = Group(
    "rbkernel.senders",
    Sender,
    {
        module.SENDER.name: module.SENDER
        for module in (alertmanager, grafana, pagerduty, datadog, generic)
    },
)


def read(source: str, body: bytes, received_at: datetime, *, most_alerts: int) -> Reading:
    """Return the alerts of a body, and what of it could not be read.

    Parameters
    ----------
    source
        The name of one of `SENDERS`.
    body
        JSON, already unpacked.
    received_at
        For senders that do not say when something began.
    most_alerts
        A body with more of them is not read.

    Raises
    ------
    Unreadable
        Nothing in it could be read; the message says why and never quotes the body.
    ExtensionError
        The package that adds the sender is broken.
    """
    sender = SENDERS[source]
    value = limits.parse(body)
    if not isinstance(value, dict):
        raise Unreadable(
            "the body is not a JSON object",
            where=source,
            next_step="compare it with the sender's documentation",
        )
    alerts = value.get("alerts")
    if isinstance(alerts, list) and len(alerts) > most_alerts:
        raise Unreadable(
            f"{len(alerts)} alerts in one body; the limit is {most_alerts}",
            where=source,
            next_step="let the sender send fewer at once (max_alerts, Max Alerts)",
        )
    return sender.read(value, received_at)
