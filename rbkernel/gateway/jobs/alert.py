"""The form in which rbkernel holds an alert, whatever sender reported it. Pure.

A sender repeats an alert: until it is acknowledged, at every group interval, and from each replica.
Two messages report the same alert if they have the same `identity`, even if other fields differ.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rbkernel.evidence.incident import AlertStatus


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One message of a sender about an alert: firing, or resolved.

    ``labels`` identify the alert (its name is the label ``alertname``), and ``annotations``
    describe it. Times are UTC. ``ends_at`` is None until the end is known. ``episode`` is the
    sender's own name for one firing, from beginning to end; it is set if the sender gives only the
    times of its messages. All texts are as sent and must not be trusted.
    """

    source: str
    group_key: str
    fingerprint: str
    status: AlertStatus
    starts_at: datetime
    ends_at: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    url: str = ""
    episode: str = ""

    @property
    def identity(self) -> str:
        """A SHA-256, in hex, that is the same in all repetitions of this message.

        >>> at = datetime(2026, 11, 20, 3, tzinfo=UTC)
        >>> one = Alert(source="generic", group_key="g", fingerprint="f", status=AlertStatus.FIRING,
        ...             starts_at=at, labels={"alertname": "A"})
        >>> one.identity == Alert.from_json(one.to_json() | {"url": "http://x"}).identity
        True
        >>> one.identity == Alert.from_json(one.to_json() | {"status": "resolved"}).identity
        False
        """
        when = ("episode", self.episode) if self.episode else ("at", _text(self.starts_at))
        parts = (self.source, self.group_key, self.fingerprint, *when, self.status.value)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def thread(self) -> str:
        """An id, in hex, that the firing message and the resolved message of one alert share.

        If there is an ``episode``, the id is made from its part before the first ``/``, and the two
        messages may have different groups. Else it is made from the group and the start time,
        which are the same in both messages.
        """
        named = self.episode.partition("/")[0]
        group = "" if named else self.group_key
        parts = (self.source, group, self.fingerprint, named or _text(self.starts_at))
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def name(self) -> str:
        """The name of the alert; empty if the sender gave none."""
        return self.labels.get("alertname", "")

    def to_json(self) -> dict[str, Any]:
        """Return the alert as JSON data, with the times as ISO 8601 in UTC."""
        return {
            "source": self.source,
            "group_key": self.group_key,
            "fingerprint": self.fingerprint,
            "status": self.status.value,
            "starts_at": _text(self.starts_at),
            "ends_at": self.ends_at and _text(self.ends_at),
            "labels": dict(self.labels),
            "annotations": dict(self.annotations),
            "url": self.url,
            "episode": self.episode,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Alert:
        """Return the alert from JSON data that `to_json` returned."""
        ends_at = stored["ends_at"]
        times = {
            "starts_at": datetime.fromisoformat(stored["starts_at"]),
            "ends_at": datetime.fromisoformat(ends_at) if ends_at else None,
        }
        return cls(**{**stored, **times, "status": AlertStatus(stored["status"])})


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """The alerts in one request, and the number of alerts that the sender left out of it."""

    source: str
    alerts: tuple[Alert, ...]
    truncated: int = 0
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()
