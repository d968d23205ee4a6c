"""The alerts of an incident, folded: alerts with the same name are one group. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rbkernel import amounts
from rbkernel.evidence.incident import AlertHistory, AlertStatus, instant

_NAMED = 12


@dataclass(frozen=True, kw_only=True)
class AlertGroup:
    """Alerts with the same name, in the order of their first receipt."""

    name: str
    alerts: tuple[AlertHistory, ...]

    @property
    def firing(self) -> int:
        """The number of alerts that fire."""
        return sum(one.status is AlertStatus.FIRING for one in self.alerts)

    @property
    def status(self) -> AlertStatus:
        """Firing as long as one of them fires."""
        return AlertStatus.FIRING if self.firing else AlertStatus.RESOLVED

    @property
    def count(self) -> str:
        """How many alerts there are, and how many of them fire."""
        some = f", {self.firing} firing" if 0 < self.firing < len(self.alerts) else ""
        return f"{amounts.count(len(self.alerts), 'alert')}{some}"

    @property
    def since(self) -> str:
        """When the first of them fired first."""
        return min((one.first_firing_at for one in self.alerts), key=instant)

    @property
    def where(self) -> str:
        """The values of the labels in which the alerts differ, such as the names of servers."""
        names = dict.fromkeys(name for one in self.alerts for name in one.labels)
        differ = [name for name in names if len({one.labels.get(name) for one in self.alerts}) > 1]
        found = dict.fromkeys(
            str(one.labels[name])
            for name in differ[:1]
            for one in self.alerts
            if name in one.labels
        )
        left = len(found) - _NAMED
        return ", ".join(list(found)[:_NAMED]) + (f" and {left} more" if left > 0 else "")


def grouped(alerts: Sequence[AlertHistory]) -> tuple[AlertGroup, ...]:
    """Return the alerts by name; groups with a firing alert come first."""
    by_name: dict[str, list[AlertHistory]] = {}
    for alert in alerts:
        by_name.setdefault(alert.name, []).append(alert)
    groups = [AlertGroup(name=name, alerts=tuple(found)) for name, found in by_name.items()]
    return tuple(sorted(groups, key=lambda group: not group.firing))
