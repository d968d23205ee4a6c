"""The class that defines a sender: its name, and how its bodies are read and described."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from rbkernel.evidence.incident import AlertStatus
from rbkernel.gateway.intake.fields import Reading
from rbkernel.gateway.jobs.alert import Alert

__all__ = ["Alert", "AlertStatus", "Sender"]


def _no_alerts() -> Mapping[str, object]:
    return {"alerts": []}


@dataclass(frozen=True, kw_only=True)
class Sender:
    """A system that posts alerts to ``/alerts/<name>``; its authentication is configured.

    Parameters
    ----------
    name
        The name in the address and in ``[gateway.senders]``.
    read
        A pure function that makes alerts from a JSON object. The second argument is the time of
        receipt. It raises `Unreadable` for an object without known alerts, as `fields.envelope` and
        `fields.read_each` do. Any other exception is treated as `Unreadable`.
    body
        The model of the body, for ``/openapi.json``.
    alert
        The model of one item of ``alerts``, if the body has such a list.
    alone
        Whether one alert may also be posted without the list.
    nothing
        Returns a body without an alert, for `rbkernel serve --check`.
    """

    name: str
    read: Callable[[Any, datetime], Reading]
    body: type[BaseModel]
    alert: type[BaseModel] | None = None
    alone: bool = False
    nothing: Callable[[], Mapping[str, object]] = _no_alerts
