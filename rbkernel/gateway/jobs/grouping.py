"""Decide which incident an alert belongs to. Pure.

Ordering rules: an alert joins the first of these. (1) An open incident with the same group of the
same sender. (2) An open incident of the same service that received an alert within the time window.
(3) The incident whose live run the alert would join. (4) In an alert storm, the newest incident of
the storm. An incident that was closed a short while ago is opened again. If two open incidents
match one alert, the younger is merged into the older. If no incident matches, the alert opens a new
one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rbkernel.config.queue import Grouping
from rbkernel.gateway.jobs.alert import Alert

# the end of Alertmanager's key for a group without labels, whatever the route
_NO_LABELS = ":{}"


@dataclass(frozen=True, kw_only=True)
class Known:
    """An incident that an alert might join; times are seconds since 1970, UTC."""

    id: str
    group: str
    service: str
    opened_at: float
    last_alert_at: float
    closed_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class Place:
    """The decision about an alert: the incident that it joins, and incidents to merge into that.

    ``incident`` is empty when the alert opens a new incident. ``crowded`` is true when only an
    alert storm connects the alert with the incident.
    """

    incident: str = ""
    crowded: bool = False
    merged: tuple[str, ...] = ()
    why: str = "no open incident matches"


def place(
    group: str,
    service: str,
    known: Sequence[Known],
    rules: Grouping,
    at: float,
    *,
    running: Iterable[str] = (),
    crowd: str = "",
) -> Place:
    """Decide which incident an alert joins.

    Parameters
    ----------
    group, service
        The alert's group and service, from `group_of` and `service_of`; empty when it has none.
    known
        The incidents with the same group or service, and those named by ``running`` or ``crowd``.
    rules
        The section ``[grouping]`` of the configuration.
    at
        The time of receipt of the alert.
    running
        Incidents whose live run the alert would join.
    crowd
        The newest incident of an alert storm; empty when there is no storm.

    >>> lag = Known(id="INC-1", group="g", service="shop", opened_at=0, last_alert_at=60)
    >>> place("g", "", [lag], Grouping(), 9_000).incident
    'INC-1'
    >>> place("x", "shop", [lag], Grouping(), 120).incident, place("x", "shop", [lag], Grouping(),
    ...     9_000).incident
    ('INC-1', '')
    """
    found = [
        (*belongs, one)
        for one in known
        if (belongs := _belongs(group, service, one, rules, at, frozenset(running), crowd))
    ]
    if live := [(rank, why, one) for rank, why, one in found if one.closed_at is None]:
        rank, why, one = min(live, key=lambda each: (each[0], each[2].opened_at, each[2].id))
        same = [each for of, _, each in live if of < _SAME_RUN] or [one]
        oldest = min(same, key=lambda each: (each.opened_at, each.id))
        rest = tuple(dict.fromkeys(each.id for each in same if each.id != oldest.id))
        return Place(incident=oldest.id, merged=rest, why=why, crowded=rank == _CROWD)
    if found:
        _, why, one = max(found, key=lambda each: each[2].last_alert_at)
        return Place(
            incident=one.id, why=f"{why}; the incident was closed recently and is reopened"
        )
    return Place()


_SAME_GROUP, _SAME_SERVICE, _SAME_RUN, _CROWD = range(4)


def _belongs(
    group: str,
    service: str,
    one: Known,
    rules: Grouping,
    at: float,
    running: frozenset[str],
    crowd: str,
) -> tuple[int, str] | None:
    if one.closed_at is not None and at - one.closed_at > rules.reopen_min * 60:
        return None
    if group and one.group == group:
        return _SAME_GROUP, "same alert group of the sender"
    if service and one.service == service and at - one.last_alert_at <= rules.window_min * 60:
        return _SAME_SERVICE, "same service, within the time window"
    if one.id in running and one.closed_at is None:
        return _SAME_RUN, "the unfinished run that the alert joins belongs to this incident"
    if one.id == crowd and one.closed_at is None:
        return _CROWD, "storm: too many incidents without a runbook; joins the newest"
    return None


def group_of(alert: Alert) -> str:
    """Return a hash of the group in which the sender put the alert; empty without a group.

    >>> from rbkernel.evidence.incident import AlertStatus
    >>> def group(key):
    ...     return group_of(Alert(source="alertmanager", group_key=key, fingerprint="f",
    ...         status=AlertStatus.FIRING, starts_at=datetime(2026, 11, 20, tzinfo=UTC)))
    >>> group(""), group("{}:{}"), group('{}/{team="orders"}:{}'), len(group('{}:{a="b"}'))
    ('', '', '', 64)
    """
    key = alert.group_key.strip()
    if not key or f":{key}".endswith(_NO_LABELS):
        return ""
    return _digest(alert.source, alert.group_key)


def service_name(labels: Mapping[str, str], rules: Grouping) -> str:
    """Return the service that an alert's labels name; empty when no label names one.

    >>> service_name({"app": "shop", "pod": "a"}, Grouping())
    'shop'
    """
    return next((labels[name] for name in rules.service_labels if labels.get(name)), "")


def service_of(alert: Alert, rules: Grouping) -> str:
    """Return a hash of the alert's service; without service and group, of the alert's name."""
    name = service_name(alert.labels, rules)
    if name:
        return _digest("service", name)
    return "" if group_of(alert) else _digest("alert", alert.name or alert.fingerprint)


def incident_id(alert: Alert, at: datetime) -> str:
    """Return the id of the incident that an alert opens; the same arguments give the same id.

    >>> from rbkernel.evidence.incident import AlertStatus
    >>> when = datetime(2026, 11, 20, 3, tzinfo=UTC)
    >>> incident_id(Alert(source="generic", group_key="g", fingerprint="f", starts_at=when,
    ...                   status=AlertStatus.FIRING), when)
    'INC-20261120-...'
    """
    return f"INC-{at.astimezone(UTC):%Y%m%d}-{alert.identity[:6]}"


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
