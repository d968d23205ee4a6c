"""Read Grafana's webhook, version 1: Alertmanager's body with additional values and links."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import model_validator

from rbkernel.gateway.intake.alertmanager import AlertBody, GroupBody, read_group
from rbkernel.gateway.intake.fields import Reading, text
from rbkernel.gateway.intake.sender import Sender

_ANNOTATED = {"valueString": "values", "dashboardURL": "dashboard", "panelURL": "panel"}


class GrafanaAlertBody(AlertBody):
    """One alert in Grafana's body; fields that Alertmanager does not have become annotations."""

    @model_validator(mode="before")
    @classmethod
    def _annotated(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("annotations") or {}, dict):
            return data
        added = {ours: text(data.get(theirs)) for theirs, ours in _ANNOTATED.items()}
        given = {name: value for name, value in added.items() if value}
        return {**data, "annotations": {**given, **(data.get("annotations") or {})}}


def read(value: Any, received_at: datetime) -> Reading:
    """Return the alerts in a body that Grafana posted."""
    return read_group("grafana", value, received_at, GrafanaAlertBody)


SENDER = Sender(name="grafana", read=read, body=GroupBody, alert=GrafanaAlertBody)
