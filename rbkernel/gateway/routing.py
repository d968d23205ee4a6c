"""Which runbooks an alert starts, with which parameters. Pure and deterministic.

Ordering rules: a `[[routes]]` entry of the team's that takes the alert decides alone (the
narrowest one); else every runbook whose trigger takes it; else entries and triggers that take
everything; else RUN-000. Whoever fits cannot always be run: what a label gives is held against the
runbook's declaration, and may name no connection but one that is configured and that the runbook
lists. Then the next in line is tried, and `Routing.why` and `Routing.mind` say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from rbkernel.config.queue import RouteRule
from rbkernel.errors import ParameterError
from rbkernel.model import Severity
from rbkernel.runbook import parameters as declared
from rbkernel.runbook import triggers
from rbkernel.runbook.catalogue import Runbook
from rbkernel.runbook.frontmatter_sections import Trigger
from rbkernel.runbook.parameters import Scalar

FALLBACK = "RUN-000"
_LONGEST_VALUE = 1_000
# the labels in which senders usually name a database
_DATABASE_LABELS = ("connection", "cluster", "database", "instance", "db")


@dataclass(frozen=True, kw_only=True)
class Route:
    """One runbook to run: `parameters` are typed and declared, ``key`` tells its live run apart.

    ``wide``: nothing says what it is about, so each incident has a live run of its own.
    """

    runbook: str
    parameters: Mapping[str, Scalar]
    key: tuple[str, ...]
    connections: tuple[str, ...]
    severity: Severity
    why: str
    wide: bool = False


@dataclass(frozen=True, kw_only=True)
class Routing:
    """What an alert starts, and in words why this and nothing else.

    ``mind`` is what is not as it was meant to be: whoever reads what the routes find must know it.
    ``severity`` is the alert's: of its routes the most severe, else what a label says, else None.
    """

    routes: tuple[Route, ...] = ()
    why: tuple[str, ...] = ()
    mind: tuple[str, ...] = ()
    severity: Severity | None = None


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """A runbook that might be run, and how its parameters come about."""

    runbook: Runbook
    trigger: Trigger
    names: Mapping[str, str]
    constants: Mapping[str, Scalar]
    severity: str
    because: str


def route(
    labels: Mapping[str, str],
    runbooks: Sequence[Runbook],
    rules: Sequence[RouteRule] = (),
    connections: Iterable[str] = (),
) -> Routing:
    """Decide what an alert starts.

    Parameters
    ----------
    labels
        The alert's; its name is the label ``alertname``. Nothing in them is trusted.
    runbooks
        The catalogue.
    rules
        ``[[routes]]`` of the configuration.
    connections
        The names of all connections that are configured.

    Returns
    -------
    Routing
        Without a route when not even RUN-000 can be run as it is; `Routing.why` then says why.
    """
    known = frozenset(connections)
    why = _Why()
    for step in _steps(labels, {one.id: one for one in runbooks}, rules, known, why):
        is_second_best = bool(why.mind)
        found = [_routed(choice, labels, known, why) for choice in step]
        if routes := tuple(one for one in found if one):
            instead = map(_instead, routes) if is_second_best else ()
            worst = min((one.severity for one in routes), key=Severity.place)
            mind = (*why.mind, *instead)
            return Routing(routes=_distinct(routes), why=tuple(why), mind=mind, severity=worst)
        if step is _NOTHING:
            break
    return Routing(why=tuple(why), mind=tuple(why.mind), severity=severity_of(labels))


def severity_of(labels: Mapping[str, str]) -> Severity | None:
    """Return how severe the sender says it is, on our scale; None when it does not say.

    >>> severity_of({"severity": "SEV1"}), severity_of({"severity": "page"})
    (<Severity.CRITICAL: 'critical'>, None)
    """
    for name in ("severity", "priority", "level"):
        try:
            return Severity.parse(labels[name])
        except (KeyError, ValueError):
            continue
    return None


_NOTHING: list[_Choice] = []


class _Why(list[str]):
    """The reasons, and among them those for which something fitting is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.mind: list[str] = []

    def leave_out(self, reason: str) -> None:
        self.append(reason)
        self.mind.append(reason)


def _instead(route: Route) -> str:
    """Say what is looked at in the place of what was meant."""
    at = f" looks at {', '.join(route.connections)}" if route.connections else " is run"
    return f"{route.runbook}{at} instead"


def _steps(
    labels: Mapping[str, str],
    runbooks: Mapping[str, Runbook],
    rules: Sequence[RouteRule],
    known: frozenset[str],
    why: _Why,
) -> Iterable[list[_Choice]]:
    """Yield who may take the alert, one level after the other; the first that can, does."""
    takers = [rule for rule in rules if triggers.matches(_as_trigger(rule), labels)]
    narrow = [rule for rule in takers if not triggers.is_catch_all(_as_trigger(rule))]
    best = max(narrow, key=lambda rule: triggers.specificity(_as_trigger(rule)), default=None)
    if best is not None:
        if not best.runbooks:
            why.append(f"{_named(best)} starts nothing")
            yield _NOTHING
        yield _by_rule(best, runbooks, why)
    own, wide = _by_triggers(labels, runbooks)
    yield own
    for rule in takers:
        if rule not in narrow:
            if not rule.runbooks:
                why.append(f"{_named(rule)} starts nothing")
                yield _NOTHING
            yield _by_rule(rule, runbooks, why)
    yield wide
    if FALLBACK in runbooks:
        choice = _fallback(runbooks[FALLBACK], labels, known)
        why.append("no runbook is made for this alert")
        if not choice.trigger.parameters:
            why.leave_out("no label names a connection that is configured")
        yield [choice]


def _by_rule(rule: RouteRule, runbooks: Mapping[str, Runbook], why: _Why) -> list[_Choice]:
    missing = [name for name in rule.runbooks if name not in runbooks]
    for name in missing:
        why.leave_out(f"{_named(rule)} names {name}, and there is no such runbook")
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
    labels: Mapping[str, str], runbooks: Mapping[str, Runbook]
) -> tuple[list[_Choice], list[_Choice]]:
    """Return the runbooks whose triggers take the alert: made for it, and made for everything."""
    candidates = [(runbook, runbook.front_matter.triggers) for runbook in runbooks.values()]
    own: list[_Choice] = []
    wide: list[_Choice] = []
    for runbook, trigger in triggers.best(candidates, labels):
        choice = _chosen(runbook, trigger, f"its trigger {_said(trigger)}")
        (wide if triggers.is_catch_all(trigger) else own).append(choice)
    return own, wide


def _fallback(runbook: Runbook, labels: Mapping[str, str], known: frozenset[str]) -> _Choice:
    """Return the overview, of the connection that a label names, else of its default."""
    named = (label for label in _DATABASE_LABELS if labels.get(label) in known)
    label = next(named, None)
    given = {"db": f"labels.{label}"} if label and "db" in runbook.parameters else {}
    trigger = Trigger(alert="*", parameters=given)
    return _chosen(runbook, trigger, "it takes what nothing else does")


def _chosen(runbook: Runbook, trigger: Trigger, because: str) -> _Choice:
    return _Choice(
        runbook=runbook, trigger=trigger, names={}, constants={}, severity="", because=because
    )


def _routed(
    choice: _Choice, labels: Mapping[str, str], known: frozenset[str], why: _Why
) -> Route | None:
    """Return the route, or None when it cannot be run; ``why`` is told either way."""
    runbook = choice.runbook
    try:
        given = {**_given(choice, labels), **choice.constants}
        values = declared.validate(given, runbook.parameters, runbook.id)
        connections = _connections(runbook, values, known)
    except ParameterError as error:
        why.leave_out(f"{runbook.id} ({choice.because}) cannot be run: {error.what}")
        return None
    because = f"{runbook.id}: {choice.because}"
    why.append(because)
    key = triggers.key(choice.trigger, labels)
    return Route(
        runbook=runbook.id,
        parameters=values,
        key=key or tuple(f"{n}={v}" for n, v in values.items()),
        connections=connections,
        severity=_severity(choice, labels),
        why=because,
        wide=not key and triggers.is_catch_all(choice.trigger),
    )


def _given(choice: _Choice, labels: Mapping[str, str]) -> dict[str, str]:
    """Return the texts for the parameters.

    Raises
    ------
    ParameterError
        One is no text that a parameter can hold.
    """
    given = triggers.parameters(choice.trigger, labels)
    for name, value in given.items():
        if len(value) > _LONGEST_VALUE or not _is_plain(value):
            raise ParameterError(f"what the alert gives for {name} is too long, or is no text")
    return {name: choice.names.get(value, value) for name, value in given.items()}


def _is_plain(text: str) -> bool:
    r"""Tell whether a text is one that a database could hold.

    >>> _is_plain("orders; DROP TABLE x"), _is_plain("a\0"), _is_plain("\ud800")
    (True, False, False)
    """
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _connections(
    runbook: Runbook, values: Mapping[str, Scalar], known: frozenset[str]
) -> tuple[str, ...]:
    """Return the connections that a run would use.

    Raises
    ------
    ParameterError
        One is not configured, or is not one that the runbook lists.
    """
    carriers = runbook.front_matter.connections
    defaults = {name: one.default for name, one in runbook.parameters.items()}
    named = declared.connection_names(carriers, {**defaults, **values}, runbook.id)
    for parameter, name in named.items():
        if not fnmatchcase(name, carriers[parameter]):
            raise ParameterError(
                f"{parameter}={name!r} is no connection that the runbook lists"
                f" ({carriers[parameter]})"
            )
        if name not in known:
            raise ParameterError(f"{parameter}={name!r} is no connection that is configured")
    return tuple(dict.fromkeys(named.values()))


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
