"""Decide which runbooks an alert starts, and with which parameters. Pure and deterministic.

Ordering rules: the first of these that matches the alert decides. (1) The most specific
`[[routes]]` entry of the team. (2) All runbooks with a matching specific trigger. (3) Entries, then
triggers, that match every alert. (4) RUN-000. A matching runbook cannot always run: its document
may be unreadable, a label's value may not fit the declared parameter, or a connection may not be
configured or not be listed by the runbook. In that case the next level is tried, and `Routing.why`
and `Routing.mind` explain this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from rbkernel.config import Settings
from rbkernel.config.queue import RouteRule
from rbkernel.errors import ParameterError
from rbkernel.model import SEVERITY_LABELS, Severity
from rbkernel.runbook import connections, triggers
from rbkernel.runbook import parameters as declared
from rbkernel.runbook.catalogue import Catalogue, Runbook, Unreadable
from rbkernel.runbook.frontmatter_sections import Trigger
from rbkernel.runbook.parameters import Value
from rbkernel.spelling import did_you_mean

FALLBACK = "RUN-000"
NOBODY_KNOWS = "the unreadable document may be the runbook for this alert"
_DEFAULTS = Settings()
_LONGEST_VALUE = 1_000
# labels that senders commonly use for the name of a database
_DATABASE_LABELS = ("connection", "cluster", "database", "instance", "db")


@dataclass(frozen=True, kw_only=True)
class Route:
    """A runbook that an alert starts, with its parameters; ``key`` identifies its live job.

    ``wide`` is true when nothing identifies the subject of the alert; each incident then has its
    own live run. ``db`` is the connection in the parameter ``db``; empty without that parameter.
    """

    runbook: str
    parameters: Mapping[str, Value]
    key: tuple[str, ...]
    connections: tuple[str, ...]
    severity: Severity
    why: str
    wide: bool = False
    db: str = ""


@dataclass(frozen=True, kw_only=True)
class Routing:
    """The runbooks that an alert starts, and the reasons for this decision.

    ``mind`` lists caveats that a reader of the findings must know, such as a runbook that was left
    out. ``severity`` is the highest severity of the routes, else the severity in a label, else
    None. ``by_rule`` is true when a ``[[routes]]`` entry says to start nothing.
    """

    routes: tuple[Route, ...] = ()
    why: tuple[str, ...] = ()
    mind: tuple[str, ...] = ()
    severity: Severity | None = None
    by_rule: bool = False


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """A candidate runbook, and where its parameters come from."""

    runbook: Runbook
    trigger: Trigger
    names: Mapping[str, str]
    constants: Mapping[str, Value]
    severity: str
    because: str


def route(
    labels: Mapping[str, str], catalogue: Catalogue, settings: Settings = _DEFAULTS
) -> Routing:
    """Decide which runbooks an alert starts.

    Parameters
    ----------
    labels
        The alert's labels; its name is the label ``alertname``. The values are not trusted.
    catalogue
        The runbooks, and the documents that cannot be read.
    settings
        The configuration: its ``[[routes]]`` and its connections.

    Returns
    -------
    Routing
        Has no route if not even RUN-000 can run; `Routing.why` then gives the reason.
    """
    why = _Why()
    for step in _steps(labels, catalogue, settings, why):
        is_second_best = bool(why.mind)
        found = [_routed(choice, labels, settings, why) for choice in step]
        if routes := tuple(one for one in found if one):
            instead = map(_instead, routes) if is_second_best else ()
            worst = min((one.severity for one in routes), key=Severity.place)
            mind = (*why.mind, *instead)
            return Routing(routes=_distinct(routes), why=tuple(why), mind=mind, severity=worst)
        if step is _NOTHING:
            by_rule = not why.mind
            break
    else:
        by_rule = False
    return Routing(
        why=tuple(why), mind=tuple(why.mind), severity=severity_of(labels), by_rule=by_rule
    )


def severity_of(labels: Mapping[str, str]) -> Severity | None:
    """Return the severity that an alert's labels give, on rbkernel's scale; None without one.

    >>> severity_of({"severity": "SEV1"}), severity_of({"severity": "page"})
    (<Severity.CRITICAL: 'critical'>, None)
    """
    for name in SEVERITY_LABELS:
        try:
            return Severity.parse(labels[name])
        except (KeyError, ValueError):
            continue
    return None


_NOTHING: list[_Choice] = []


class _Why(list[str]):
    """Collects the reasons for a routing; ``mind`` says which matching runbooks cannot run."""

    def __init__(self) -> None:
        super().__init__()
        self.mind: list[str] = []

    def leave_out(self, reason: str) -> None:
        self.append(reason)
        self.mind.append(reason)


def _instead(route: Route) -> str:
    """Return a caveat: this runbook runs, on these connections, instead of the intended one."""
    at = f" runs on {', '.join(route.connections)}" if route.connections else " runs"
    return f"{route.runbook}{at} instead"


def _steps(
    labels: Mapping[str, str], catalogue: Catalogue, settings: Settings, why: _Why
) -> Iterable[list[_Choice]]:
    """Yield the candidate runbooks for an alert, one list for each level, the best level first."""
    takers = [rule for rule in settings.routes if triggers.matches(_as_trigger(rule), labels)]
    narrow = [rule for rule in takers if not triggers.is_catch_all(_as_trigger(rule))]
    best = max(narrow, key=lambda rule: triggers.specificity(_as_trigger(rule)), default=None)
    if best is not None:
        if not best.runbooks:
            why.append(f"{_named(best)} starts no runbook")
            yield _NOTHING
        yield _by_rule(best, catalogue, why)
    own, wide = _by_triggers(labels, catalogue)
    _leave_out_unreadable(labels, catalogue, why, wide=False)
    yield own
    for rule in takers:
        if rule not in narrow:
            if not rule.runbooks:
                why.append(f"{_named(rule)} starts no runbook")
                yield _NOTHING
            yield _by_rule(rule, catalogue, why)
    _leave_out_unreadable(labels, catalogue, why, wide=True)
    yield wide
    why.append("no other runbook can run" if why.mind else "no runbook handles this alert")
    if broken := catalogue.broken(FALLBACK):
        why.leave_out(broken.reason)
    yield [
        _fallback(one, labels, settings, why) for one in catalogue.runbooks if one.id == FALLBACK
    ]


def _leave_out_unreadable(
    labels: Mapping[str, str], catalogue: Catalogue, why: _Why, *, wide: bool
) -> None:
    """Add a reason to ``why`` for each unreadable runbook that matches the alert or may match it.

    With ``wide`` (the level of triggers that match every alert), these are the runbooks that match
    every alert, and those whose triggers cannot be read. Else, they are the runbooks with a
    specific trigger.
    """
    for one in catalogue.unreadable:
        if one.triggers is None and wide:
            why.leave_out(f"{one.reason}; {NOBODY_KNOWS}")
        elif _takes(one, labels, wide=wide):
            why.leave_out(one.reason)


def _takes(unreadable: Unreadable, labels: Mapping[str, str], *, wide: bool) -> bool:
    return any(
        triggers.matches(trigger, labels) and triggers.is_catch_all(trigger) == wide
        for trigger in unreadable.triggers or ()
    )


def _by_rule(rule: RouteRule, catalogue: Catalogue, why: _Why) -> list[_Choice]:
    runbooks = {one.id: one for one in catalogue.runbooks}
    for name in (name for name in rule.runbooks if name not in runbooks):
        broken = catalogue.broken(name)
        reason = broken.reason if broken else "there is no such runbook"
        why.leave_out(f"{_named(rule)} names {name}, but {reason}")
    said = {name: value for name, value in rule.parameters.items() if isinstance(value, str)}
    constants = {name: value for name, value in rule.parameters.items() if name not in said}
    return [
        _Choice(
            runbook=runbooks[name],
            trigger=_as_trigger(rule).model_copy(update={"parameters": said}),
            names=rule.names,
            constants=constants,
            severity=rule.severity,
            because=_named(rule),
        )
        for name in rule.runbooks
        if name in runbooks
    ]


def _by_triggers(
    labels: Mapping[str, str], catalogue: Catalogue
) -> tuple[list[_Choice], list[_Choice]]:
    """Return runbooks whose trigger is specific to the alert, and those that match every alert."""
    candidates = [(runbook, runbook.front_matter.triggers) for runbook in catalogue.runbooks]
    own: list[_Choice] = []
    wide: list[_Choice] = []
    for runbook, trigger in triggers.best(candidates, labels):
        choice = _chosen(runbook, trigger, f"its trigger {_said(trigger)}")
        (wide if triggers.is_catch_all(trigger) else own).append(choice)
    return own, wide


def _fallback(
    runbook: Runbook, labels: Mapping[str, str], settings: Settings, why: _Why
) -> _Choice:
    """Return RUN-000 as candidate, for the connection that a label names, else the default."""
    known = settings.connections
    label = next((label for label in _DATABASE_LABELS if labels.get(label) in known), None)
    if label is None:
        why.leave_out("no label names a configured connection")
    given = {"db": f"labels.{label}"} if label and "db" in runbook.parameters else {}
    trigger = Trigger(alert="*", parameters=given)
    return _chosen(runbook, trigger, "the default for alerts without a runbook")


def _chosen(runbook: Runbook, trigger: Trigger, because: str) -> _Choice:
    return _Choice(
        runbook=runbook, trigger=trigger, names={}, constants={}, severity="", because=because
    )


def _routed(
    choice: _Choice, labels: Mapping[str, str], settings: Settings, why: _Why
) -> Route | None:
    """Return the route for a candidate; None, with the reason in ``why``, if it cannot run."""
    runbook = choice.runbook
    try:
        given = {**_given(choice, labels), **choice.constants}
        values = declared.validate(given, runbook.parameters, runbook.id)
        asked = _connections(runbook, values, settings)
    except ParameterError as error:
        why.leave_out(f"{runbook.id} ({choice.because}) cannot run: {error.what}")
        return None
    values |= asked.filled
    because = f"{runbook.id}: {choice.because}"
    why.append(because)
    key = triggers.key(choice.trigger, labels)
    return Route(
        runbook=runbook.id,
        parameters=values,
        key=key or tuple(f"{n}={v}" for n, v in values.items()),
        connections=asked.names,
        severity=_severity(choice, labels),
        why=because,
        wide=not key and triggers.is_catch_all(choice.trigger),
        db=asked.db,
    )


def _given(choice: _Choice, labels: Mapping[str, str]) -> dict[str, str]:
    """Return a candidate's parameter values from the alert's labels, as text.

    Raises
    ------
    ParameterError
        A value is too long or is not plain text.
    """
    given = triggers.parameters(choice.trigger, labels)
    for name, value in given.items():
        if len(value) > _LONGEST_VALUE or not _is_plain(value):
            raise ParameterError(f"the value of the alert for {name} is too long or not plain text")
    return {name: choice.names.get(value, value) for name, value in given.items()}


def _is_plain(text: str) -> bool:
    r"""Return whether a database can store this text.

    >>> _is_plain("orders; DROP TABLE x"), _is_plain("a\0"), _is_plain("\ud800")
    (True, False, False)
    """
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """The connections of a run; ``filled`` are parameters that got the default connection.

    ``db`` is the connection in the parameter ``db``.
    """

    names: tuple[str, ...]
    db: str
    filled: Mapping[str, str]


def _connections(runbook: Runbook, values: Mapping[str, Value], settings: Settings) -> _Asked:
    """Return the connections that a run would use.

    Raises
    ------
    ParameterError
        A connection is not configured, or the runbook does not list it.
    """
    carriers = runbook.front_matter.connections
    defaults = {name: one.default for name, one in runbook.parameters.items()}
    all_values = {**defaults, **values}
    filled = connections.filled(carriers, all_values, settings)
    named = connections.named(
        carriers, {**all_values, **filled}, runbook.id, others=runbook.used_connections
    )
    for parameter, name in named.items():
        if not fnmatchcase(name, carriers.get(parameter, "*")):
            raise ParameterError(
                f"{parameter}={name!r} is not a connection that the runbook lists"
                f" ({carriers[parameter]})"
            )
        if name not in settings.connections:
            meant = did_you_mean(name, settings.connections)
            raise ParameterError(f"{parameter}={name!r} is not a configured connection{meant}")
    names = tuple(dict.fromkeys(named.values()))
    return _Asked(names=names, db=named.get("db", ""), filled=filled)


def _severity(choice: _Choice, labels: Mapping[str, str]) -> Severity:
    by_rule = severity_of({"severity": choice.severity}) if choice.severity else None
    own = choice.runbook.front_matter.internal_severity
    return by_rule or severity_of(labels) or own or Severity.MEDIUM


def _distinct(routes: tuple[Route, ...]) -> tuple[Route, ...]:
    return tuple({(one.runbook, one.key): one for one in routes}.values())


def _as_trigger(rule: RouteRule) -> Trigger:
    return Trigger(alert=rule.alert, match=dict(rule.match), key=rule.key)


def _named(rule: RouteRule) -> str:
    return f"[[routes]] {_said(_as_trigger(rule))}"


def _said(trigger: Trigger) -> str:
    labels = (f"{name}={pattern}" for name, pattern in trigger.match.items())
    return ", ".join(filter(None, [trigger.alert, *labels]))
