"""What a sender is: a name, how its bodies are read and described, and a body without an alert."""

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
    """A system that posts alerts to ``/alerts/<name>``. How it authenticates is configured.

    Parameters
    ----------
    name
        As in the address and in ``[gateway.senders]``.
    read
        Makes alerts of a JSON object; pure. Its second argument is when the body was received. It
        raises `Unreadable` (`fields.envelope` and `fields.read_each` do) for what holds no alerts
        as they are known; whatever else it raises is taken as that, too.
    body
        The model of what is posted, for ``/openapi.json``.
    alert
        The model of one of its ``alerts``, where it has such a list.
    alone
        Whether one alert may also be posted by itself.
    nothing
        Returns a body without an alert, as `rbkernel serve --check` sends it.
    """

    name: str
    read: Callable[[Any, datetime], Reading]
    body: type[BaseModel]
    alert: type[BaseModel] | None = None
    alone: bool = False
    nothing: Callable[[], Mapping[str, object]] = _no_alerts
