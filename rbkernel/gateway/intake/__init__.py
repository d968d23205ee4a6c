"""Parse the bodies that senders post into alerts: one pure module for each sender.

`read` is the entry point. Five senders are built in; other packages add more.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel

from rbkernel.errors import Unreadable
from rbkernel.extensions import Group, refuses
from rbkernel.gateway.intake import alertmanager, datadog, generic, grafana, limits, pagerduty
from rbkernel.gateway.intake.fields import Reading
from rbkernel.gateway.intake.sender import Sender


def _unusable(_name: str, sender: Any) -> str:
    if why := refuses(sender.read, "value", "received_at"):
        return f"its function `read`: {why}"
    if not (isinstance(sender.body, type) and issubclass(sender.body, BaseModel)):
        return "its `body` is not a pydantic model"
    why = refuses(sender.nothing)
    return why and f"its function `nothing`: {why}"


SENDERS: Group[Sender] = Group(
    "rbkernel.senders",
    Sender,
    {
        module.SENDER.name: module.SENDER
        for module in (alertmanager, grafana, pagerduty, datadog, generic)
    },
    unusable=_unusable,
)


def read(source: str, body: bytes, received_at: datetime, *, most_alerts: int) -> Reading:
    """Return the alerts in a sender's body, and descriptions of the parts that are unreadable.

    Parameters
    ----------
    source
        The name of one of `SENDERS`.
    body
        The JSON text, already decompressed.
    received_at
        The time of receipt, for senders that do not say when an alert began.
    most_alerts
        The highest number of alerts; a body with more is refused.

    Raises
    ------
    Unreadable
        No part of the body could be read. The message gives the reason and never quotes the body.
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
