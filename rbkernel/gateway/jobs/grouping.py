"""Which incident an alert belongs to. Pure.

Ordering rules: an open incident of the same group of its sender's; else one of the same service
that heard of an alert within the window; else the incident of the run that it would join; else, in
a storm, the newest of the crowd. One that was closed a short while ago is opened again. Two open
incidents that one alert belongs to are one: the younger is merged into the older. Else the alert
opens an incident of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rbkernel.config.queue import Grouping
from rbkernel.gateway.jobs.alert import Alert

# how Alertmanager ends the key of a group without labels, whatever route leads to it
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
    """Where an alert belongs: ``incident`` is empty when it opens one; ``merged`` become part.

    ``crowded``: it has nothing to do with the incident but for the storm in which both came.
    """

    incident: str = ""
    reopened: bool = False
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
        The alert's, as `group_of` and `service_of` give them; empty when it has none.
    known
        The incidents that share one of them, or that ``running`` or ``crowd`` name.
    rules
        ``[grouping]``.
    at
        When the alert came in.
    running
        Incidents whose live run the alert would join.
    crowd
        The newest of many incidents that have a live run each for such alerts; empty when there
        are not that many.

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
            incident=one.id, reopened=True, why=f"{why}; it was closed recently and is reopened"
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
        return _SAME_RUN, "the live run for it belongs to this incident"
    if one.id == crowd and one.closed_at is None:
        return _CROWD, "storm: too many incidents without a runbook; joins the newest"
    return None


def group_of(alert: Alert) -> str:
    """Return a digest of the sender's group; empty when the sender groups by nothing.

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
    """Return the service that an alert is of; empty when no label says.

    >>> service_name({"app": "shop", "pod": "a"}, Grouping())
    'shop'
    """
    return next((labels[name] for name in rules.service_labels if labels.get(name)), "")


def service_of(alert: Alert, rules: Grouping) -> str:
    """Return a digest of the service; one of an alert's own name stands in for none."""
    name = service_name(alert.labels, rules)
    if name:
        return _digest("service", name)
    return "" if group_of(alert) else _digest("alert", alert.name or alert.fingerprint)


def incident_id(alert: Alert, at: datetime) -> str:
    """Return the id of the incident that an alert opens, the same one however often it is asked.

    >>> from rbkernel.evidence.incident import AlertStatus
    >>> when = datetime(2026, 11, 20, 3, tzinfo=UTC)
    >>> incident_id(Alert(source="generic", group_key="g", fingerprint="f", starts_at=when,
    ...                   status=AlertStatus.FIRING), when)
    'INC-20261120-...'
    """
    return f"INC-{at.astimezone(UTC):%Y%m%d}-{alert.identity[:6]}"


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
