"""An alert, the same for all senders. Pure.

A sender repeats itself: until it is acknowledged, at every group interval, and from each replica.
Two tellings are the same alert when they have the same `identity`, whatever else has changed.
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
    """What one sender says of one alert.

    ``labels`` identify the alert (its name is the label ``alertname``), ``annotations`` describe
    it. Times are UTC; ``ends_at`` is None as long as the end is not known. ``episode`` is what a
    sender calls one firing, from beginning to end, when the times that it sends are those of its
    messages. All texts are as sent: nothing in them may be trusted.
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
        """What repeated tellings have in common: a SHA-256, in hex.

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
        """What the firing and the resolved telling of one alert have in common, in hex.

        A sender's own name for one firing is ``episode`` up to the first ``/``: then the group
        may change. Without it, the group and the time of the beginning are the same in both.
        """
        named = self.episode.partition("/")[0]
        group = "" if named else self.group_key
        parts = (self.source, group, self.fingerprint, named or _text(self.starts_at))
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def name(self) -> str:
        """What people call it; empty when the sender gave it no name."""
        return self.labels.get("alertname", "")

    def to_json(self) -> dict[str, Any]:
        """Return it in JSON's types, with the times as ISO 8601 in UTC."""
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
        """Return the alert that `to_json` gave."""
        ends_at = stored["ends_at"]
        times = {
            "starts_at": datetime.fromisoformat(stored["starts_at"]),
            "ends_at": datetime.fromisoformat(ends_at) if ends_at else None,
        }
        return cls(**{**stored, **times, "status": AlertStatus(stored["status"])})


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What came in one request: any number of alerts, and how many the sender left out."""

    source: str
    alerts: tuple[Alert, ...]
    truncated: int = 0
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()
