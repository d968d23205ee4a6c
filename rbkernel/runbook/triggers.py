"""Match the labels of an alert with the triggers of runbooks. Pure.

The result is deterministic, so that coverage and the routing of alerts always agree. An alert is a
set of labels; its name is the label ``alertname``. Triggers are case-sensitive globs.

Grafana renames an alert whose rule has no data, or whose query fails, to ``DatasourceNoData`` or
``DatasourceError``; the rule's own name is then the label ``rulename``. Such an alert matches the
triggers of both names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TypeVar

from rbkernel.runbook.frontmatter_sections import Trigger

NAME = "alertname"
RULE = "rulename"
NO_DATA, FAILING = "DatasourceNoData", "DatasourceError"
_LABEL = "labels."
_Key = TypeVar("_Key")


def matches(trigger: Trigger, labels: Mapping[str, str]) -> bool:
    """Tell whether an alert matches a trigger.

    A label that the alert does not have counts as empty, as in Prometheus. A trigger with only a
    description is for people and never matches.

    >>> lag = Trigger(alert="Postgres*Lag", match={"severity": "critical"})
    >>> matches(lag, {"alertname": "PostgresReplicationLag", "severity": "critical"})
    True
    >>> matches(lag, {"alertname": "PostgresReplicationLag", "severity": "info"})
    False
    >>> matches(Trigger(when="somebody telephones"), {"alertname": "x"})
    False
    >>> matches(Trigger(alert="Lag"), {"alertname": "DatasourceNoData", "rulename": "Lag"})
    True
    """
    return any(_fits(trigger, named) for named in _by_each_name(labels))


def _fits(trigger: Trigger, labels: Mapping[str, str]) -> bool:
    wanted = _wanted(trigger)
    return bool(wanted) and all(
        fnmatchcase(labels.get(name, ""), pattern) for name, pattern in wanted.items()
    )


def _by_each_name(labels: Mapping[str, str]) -> list[Mapping[str, str]]:
    """Return the labels; for an alert of Grafana about a rule, also with the name of that rule."""
    renamed = labels.get(NAME) in {NO_DATA, FAILING} and labels.get(RULE)
    return [labels, {**labels, NAME: renamed}] if renamed else [labels]


def may_match(trigger: Trigger, labels: Mapping[str, str]) -> bool:
    """Tell whether an alert may match if only some labels are known, as in a rule file.

    >>> lag = Trigger(alert="Postgres*Lag", match={"cluster": "orders-*"})
    >>> may_match(lag, {"alertname": "PostgresLag"}), matches(lag, {"alertname": "PostgresLag"})
    (True, False)
    >>> may_match(lag, {"alertname": "PostgresLag", "cluster": "billing"})
    False
    >>> may_match(lag, {"alertname": "PostgresLag", "cluster": "{{ $labels.cluster }}"})
    True
    """
    wanted = _wanted(trigger)
    return bool(wanted) and any(
        all(fnmatchcase(known[name], pattern) for name, pattern in wanted.items() if name in known)
        for named in _by_each_name(labels)
        for known in [{name: value for name, value in named.items() if "{{" not in value}]
    )


def is_catch_all(trigger: Trigger) -> bool:
    """Tell whether a trigger matches alerts of any name.

    >>> is_catch_all(Trigger(alert="*")), is_catch_all(Trigger(match={"severity": "critical"}))
    (True, True)
    >>> is_catch_all(Trigger(alert="Postgres*"))
    False
    """
    return not trigger.alert.strip("*?")


def specificity(trigger: Trigger) -> tuple[bool, int, int]:
    """Return how specific a trigger is; of several matching triggers, the most specific one
    applies.

    An exact name is narrower than a glob; then a longer name; then more labels.

    >>> narrow, wide = Trigger(alert="PostgresLag"), Trigger(alert="Postgres*", match={"a": "b"})
    >>> specificity(narrow) > specificity(wide)
    True
    """
    exact = bool(trigger.alert) and not set(trigger.alert) & set("*?[")
    return exact, len(trigger.alert.replace("*", "")), len(trigger.match)


def best(
    candidates: Iterable[tuple[_Key, Iterable[Trigger]]], labels: Mapping[str, str]
) -> list[tuple[_Key, Trigger]]:
    """Return the candidates that match an alert, narrowest first; ties keep their order.

    >>> runbooks = [("RUN-000", [Trigger(alert="*")]), ("RUN-005", [Trigger(alert="*Lag")])]
    >>> [name for name, trigger in best(runbooks, {"alertname": "PostgresLag"})]
    ['RUN-005', 'RUN-000']
    >>> runbooks = [(name, [Trigger(alert=name)]) for name in ("DatasourceNoData", "Lag")]
    >>> labels = {"alertname": "DatasourceNoData", "rulename": "Lag"}
    >>> [name for name, trigger in best(runbooks, labels)]  # one rule is narrower than all rules
    ['Lag', 'DatasourceNoData']
    """

    def narrow(trigger: Trigger) -> tuple[bool, bool, int, int]:
        exact, length, count = specificity(trigger)
        of_the_rule = RULE in trigger.match or not _fits(trigger, labels)
        return exact, of_the_rule, length, count

    found = [
        (key, max(matching, key=narrow))
        for key, triggers in candidates
        if (matching := [trigger for trigger in triggers if matches(trigger, labels)])
    ]
    return sorted(found, key=lambda pair: narrow(pair[1]), reverse=True)


def parameters(trigger: Trigger, labels: Mapping[str, str]) -> dict[str, str]:
    """Return the runbook parameters that a trigger sets from an alert: ``db: labels.cluster``.

    A value that does not begin with ``labels.`` is used literally. If the alert lacks the label,
    the parameter keeps its default.

    >>> parameters(Trigger(alert="x", parameters={"db": "labels.cluster", "module": "orders",
    ...     "standby": "labels.gone"}), {"cluster": "orders-primary"})
    {'db': 'orders-primary', 'module': 'orders'}
    """
    given = {name: _value(said, labels) for name, said in trigger.parameters.items()}
    return {name: value for name, value in given.items() if value is not None}


def key(trigger: Trigger, labels: Mapping[str, str]) -> tuple[str, ...]:
    """Return the values of the trigger's key labels; there is one live run per key.

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
