"""Compute which runs alerts would start, without starting any; for `rbkernel route`."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from rbkernel import amounts
from rbkernel.config import Settings
from rbkernel.errors import ExtensionError, Unreadable
from rbkernel.gateway import intake
from rbkernel.gateway.intake import limits
from rbkernel.gateway.intake.clean import labels_without_secrets
from rbkernel.gateway.jobs import routing
from rbkernel.gateway.jobs.routing import Route, Routing
from rbkernel.kernel import secrets
from rbkernel.runbook import catalogue, triggers
from rbkernel.runbook.catalogue import Runbook
from rbkernel.runbook.frontmatter_sections import Trigger
from rbkernel.spelling import did_you_mean


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """The labels of one alert, and the runs that it would start.

    ``triggers`` has the trigger that matched, by runbook; none for a runbook that runs instead.
    """

    labels: Mapping[str, str]
    routing: Routing
    triggers: Mapping[str, Trigger]

    def text(self) -> str:
        """Return the labels and runs as text for a terminal."""
        name = self.labels.get("alertname") or "unnamed alert"
        lines = [f"{name} starts {amounts.count(len(self.routing.routes), 'run')}"]
        for route in self.routing.routes:
            values = " ".join(f"{key}={json.dumps(v)}" for key, v in route.parameters.items())
            lines.append(f"  {route.runbook}  {values}".rstrip())
            each = [*route.key, *(["incident"] if route.wide else [])]
            live = f"for each {', '.join(each)}" if each else "for all alerts"
            lines.append(f"    severity {route.severity.value}; one run at a time {live}")
            if route.connections:
                lines.append(f"    on {', '.join(route.connections)}")
            if cause := self._said(route, "cause"):
                lines.append(f"    likely cause: {cause}")
            if first := self._said(route, "first_action"):
                lines.append(f"    first: {first}")
        # the reasons for the runs first, then the reasons against others
        decisive = [route.why for route in self.routing.routes]
        rest = [why for why in self.routing.why if why not in decisive]
        known = [why for why in rest if not why.endswith(routing.NOBODY_KNOWS)]
        lines += [f"  because {why}" for why in [*decisive, *known]]
        if unreadable := len(rest) - len(known):
            count = amounts.count(unreadable, "notebook")
            lines.append(f"  {count} cannot be read, but may be the runbook for this alert")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return the labels and runs as JSON data."""
        return {
            "labels": dict(self.labels),
            "routes": [
                {
                    **dataclasses.asdict(route),
                    "cause": self._said(route, "cause"),
                    "first_action": self._said(route, "first_action"),
                }
                for route in self.routing.routes
            ],
            "why": list(self.routing.why),
            "mind": list(self.routing.mind),
        }

    def _said(self, route: Route, field: Literal["cause", "first_action"]) -> str:
        """Return what the trigger of a route says of the alert; empty if it says nothing."""
        return str(getattr(self.triggers.get(route.runbook), field, ""))


def dry_run_of(raw: bytes, source: str, settings: Settings) -> list[DryRun]:
    """Return the runs that the alerts in a body would start.

    Parameters
    ----------
    raw
        A body that a sender posts, or one JSON object of labels, or one with ``labels``.
    source
        The sender whose format the body has; empty to detect it.
    settings
        The configuration.

    Raises
    ------
    Unreadable
        The body holds no alert in any known format.
    """
    known = catalogue.look(settings.catalogue.paths)
    redactor = secrets.redactor(settings, os.environ)
    found = [labels_without_secrets(one, redactor) for one in _labels(raw, source, settings)]
    return [
        DryRun(
            labels=labels,
            routing=routing.route(labels, known, settings),
            triggers=_triggers(labels, known.runbooks),
        )
        for labels in found
    ]


def _triggers(labels: Mapping[str, str], runbooks: Iterable[Runbook]) -> dict[str, Trigger]:
    """Return the most specific trigger that matches an alert, by runbook."""
    matching = {
        one.id: [t for t in one.front_matter.triggers if triggers.matches(t, labels)]
        for one in runbooks
    }
    return {name: max(of_it, key=triggers.specificity) for name, of_it in matching.items() if of_it}


def _labels(raw: bytes, source: str, settings: Settings) -> list[Mapping[str, str]]:
    if source and source not in intake.SENDERS:
        raise Unreadable(
            f"no installed package adds a sender {source!r}{did_you_mean(source, intake.SENDERS)}",
            where="--source",
            next_step=f"use one of {', '.join(intake.SENDERS)}, or install the package",
        )
    most = settings.gateway.limits.alerts
    body = limits.parse(raw)
    bare = not source and _bare(body)
    if bare and "alertname" in bare:
        return [bare]
    for one in [source] if source else intake.SENDERS:
        try:
            reading = intake.read(one, raw, datetime.now(UTC), most_alerts=most)
        except (Unreadable, ExtensionError):
            if source:
                raise
            continue
        if reading.delivery.alerts:
            return [alert.labels for alert in reading.delivery.alerts]
    if bare:
        return [bare]
    raise Unreadable(
        "the file contains no alert",
        where=source or "the alert",
        next_step="use the request body that a sender posts, or the labels of an alert, such as"
        ' {"alertname": "PostgresLag"}',
    )


def _bare(body: Any) -> Mapping[str, str] | None:
    """Return the labels that a JSON object holds itself or under ``labels``; None for other bodies.

    >>> _bare({"cluster": "a"}), _bare({"labels": {"cluster": "a"}}), _bare({"alerts": []})
    ({'cluster': 'a'}, {'cluster': 'a'}, None)
    """
    if not isinstance(body, dict):
        return None
    own = body.get("labels", body)
    plain = isinstance(own, dict) and all(isinstance(value, str) for value in own.values())
    return own if plain and (own is body or "name" not in body) else None
