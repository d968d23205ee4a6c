"""What five senders post, as alerts: one module a sender, each pure. `read` is the way in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from rbkernel.errors import Unreadable
from rbkernel.gateway.intake import alertmanager, datadog, generic, grafana, limits, pagerduty
from rbkernel.gateway.intake.fields import Reading

_READERS: Mapping[str, Callable[[Any, datetime], Reading]] = {
    "alertmanager": alertmanager.read,
    "grafana": grafana.read,
    "pagerduty": pagerduty.read,
    "datadog": datadog.read,
    "generic": generic.read,
}
SOURCES = tuple(_READERS)


def read(source: str, body: bytes, received_at: datetime, *, most_alerts: int) -> Reading:
    """Return the alerts of a body, and what of it could not be read.

    Parameters
    ----------
    source
        One of `SOURCES`.
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
    """
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
    return _READERS[source](value, received_at)
