"""Which alert starts which runbook: the triggers of the front matter against an alert's labels.

Pure and deterministic, so that coverage, and whoever routes alerts, decide alike. An alert is its
labels; its name is the label ``alertname``. Names and values are compared as globs, with case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TypeVar

from rbkernel.runbook.frontmatter_sections import Trigger

NAME = "alertname"
_LABEL = "labels."
_Key = TypeVar("_Key")


def matches(trigger: Trigger, labels: Mapping[str, str]) -> bool:
    """Tell whether an alert starts what has this trigger.

    A label that the alert does not have counts as empty, as it does for Prometheus. A trigger in
    words only is for people.

    >>> lag = Trigger(alert="Postgres*Lag", match={"severity": "critical"})
    >>> matches(lag, {"alertname": "PostgresReplicationLag", "severity": "critical"})
    True
    >>> matches(lag, {"alertname": "PostgresReplicationLag", "severity": "info"})
    False
    >>> matches(Trigger(when="somebody telephones"), {"alertname": "x"})
    False
    """
    wanted = _wanted(trigger)
    return bool(wanted) and all(
        fnmatchcase(labels.get(name, ""), pattern) for name, pattern in wanted.items()
    )


def may_match(trigger: Trigger, labels: Mapping[str, str]) -> bool:
    """Tell whether an alert can match, of which only some labels are known, as of a rule's file.

    >>> lag = Trigger(alert="Postgres*Lag", match={"cluster": "orders-*"})
    >>> may_match(lag, {"alertname": "PostgresLag"}), matches(lag, {"alertname": "PostgresLag"})
    (True, False)
    >>> may_match(lag, {"alertname": "PostgresLag", "cluster": "billing"})
    False
    >>> may_match(lag, {"alertname": "PostgresLag", "cluster": "{{ $labels.cluster }}"})
    True
    """
    wanted = _wanted(trigger)
    known = {name: value for name, value in labels.items() if "{{" not in value}
    return bool(wanted) and all(
        fnmatchcase(known[name], pattern) for name, pattern in wanted.items() if name in known
    )


def is_catch_all(trigger: Trigger) -> bool:
    """Tell whether a trigger takes alerts of any name, and so is made for none.

    >>> is_catch_all(Trigger(alert="*")), is_catch_all(Trigger(match={"severity": "critical"}))
    (True, True)
    >>> is_catch_all(Trigger(alert="Postgres*"))
    False
    """
    return not trigger.alert.strip("*?")


def specificity(trigger: Trigger) -> tuple[bool, int, int]:
    """Return how narrow a trigger is: the greater one wins when several match.

    An exact name comes before a glob, then the longer name, then more labels.

    >>> narrow, wide = Trigger(alert="PostgresLag"), Trigger(alert="Postgres*", match={"a": "b"})
    >>> specificity(narrow) > specificity(wide)
    True
    """
    exact = bool(trigger.alert) and not set(trigger.alert) & set("*?[")
    return exact, len(trigger.alert.replace("*", "")), len(trigger.match)


def best(
    candidates: Iterable[tuple[_Key, Iterable[Trigger]]], labels: Mapping[str, str]
) -> list[tuple[_Key, Trigger]]:
    """Return what an alert starts, the narrowest trigger first; equals keep their order.

    >>> runbooks = [("RUN-000", [Trigger(alert="*")]), ("RUN-005", [Trigger(alert="*Lag")])]
    >>> [name for name, trigger in best(runbooks, {"alertname": "PostgresLag"})]
    ['RUN-005', 'RUN-000']
    """
    found = [
        (key, max(matching, key=specificity))
        for key, triggers in candidates
        if (matching := [trigger for trigger in triggers if matches(trigger, labels)])
    ]
    return sorted(found, key=lambda pair: specificity(pair[1]), reverse=True)


def parameters(trigger: Trigger, labels: Mapping[str, str]) -> dict[str, str]:
    """Return the runbook's parameters that an alert gives: ``db: labels.cluster``.

    What does not begin with ``labels.`` stands for itself. A label that the alert does not have
    gives nothing, so the parameter keeps its default.

    >>> parameters(Trigger(alert="x", parameters={"db": "labels.cluster", "module": "orders",
    ...     "standby": "labels.gone"}), {"cluster": "orders-primary"})
    {'db': 'orders-primary', 'module': 'orders'}
    """
    given = {name: _value(said, labels) for name, said in trigger.parameters.items()}
    return {name: value for name, value in given.items() if value is not None}


def key(trigger: Trigger, labels: Mapping[str, str]) -> tuple[str, ...]:
    """Return what a live run is told apart by: one for each value of these labels.

    >>> key(Trigger(alert="x", key=["labels.cluster"]), {"cluster": "orders", "pod": "a"})
    ('orders',)
    """
    return tuple(_value(said, labels) or "" for said in trigger.key)


def _wanted(trigger: Trigger) -> dict[str, str]:
    name = {NAME: trigger.alert} if trigger.alert else {}
    return {**trigger.match, **name}


def _value(said: str, labels: Mapping[str, str]) -> str | None:
    if not said.startswith(_LABEL):
        return said
    return labels.get(said.removeprefix(_LABEL))
