"""Check in advance whether the runbooks that alerts and schedules start can run.

Each problem names the runbook that cannot run, the reason, and the next step. The runbook may be
added later, so a problem does not prevent the start: `rbkernel serve` logs it, and `rbkernel serve
--check` reports it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from rbkernel.config import Settings
from rbkernel.config.positions import KeyPath
from rbkernel.config.queue import Given, RouteRule
from rbkernel.errors import ConfigError, RbkernelError
from rbkernel.gateway.jobs.routing import FALLBACK
from rbkernel.run.preflight import accept
from rbkernel.runbook import catalogue, connections
from rbkernel.runbook import parameters as declared
from rbkernel.runbook.catalogue import Catalogue, Runbook

_OF_LABEL = "labels."
_GLOB = frozenset("*?[")


@dataclass(frozen=True, kw_only=True)
class Plans:
    """The checks' result: ``problems`` would prevent a run, ``cautions`` are to be reviewed."""

    problems: tuple[RbkernelError, ...]
    cautions: tuple[RbkernelError, ...]


def examine(settings: Settings) -> Plans:
    """Check the runbooks of all schedules, routes and triggers; return problems and cautions.

    A document without an id and without readable triggers is only a caution: it may be a notebook
    that is not a runbook.
    """
    known = catalogue.look(settings.catalogue.paths)
    runbooks = [one for one in known.unreadable if one.id or one.triggers]
    other = [one for one in known.unreadable if one not in runbooks]
    return Plans(
        problems=(
            *_of_schedules(known, settings),
            *_of_routes(known, settings),
            *_of_triggers(known, settings),
            *(one.problem for one in runbooks),
        ),
        cautions=(*_of_fallback(settings), *known.doubles, *(one.problem for one in other)),
    )


def _of_fallback(settings: Settings) -> Iterator[ConfigError]:
    if not settings.default_connection:
        yield ConfigError(
            f"no default connection is configured: {FALLBACK} cannot run for an alert that has no"
            " runbook and whose labels name no connection; such an alert is notified as unhandled",
            where=str(settings.file or "rbkernel.toml"),
            next_step="add a connection with `rbkernel init`, and set `default = true` on it",
        )


def _of_schedules(known: Catalogue, settings: Settings) -> Iterator[ConfigError]:
    runbooks = {one.id: one for one in known.runbooks}
    for place, schedule in enumerate(settings.schedules):
        name = schedule.runbook
        try:
            # a name that is no id may be the path of a runbook
            runbook = runbooks.get(name.upper()) or catalogue.find(name, settings.catalogue.paths)
            accept(runbook, schedule.parameters, "", settings)
        except RbkernelError as error:
            yield _with_place(f"[[schedules]] {schedule.name}", name, error, ("schedules", place))


def _of_routes(known: Catalogue, settings: Settings) -> Iterator[ConfigError]:
    runbooks = {one.id: one for one in known.runbooks}
    for place, rule in enumerate(settings.routes):
        named = ", ".join([rule.alert, *(f"{k}={v}" for k, v in rule.match.items())]).strip(", ")
        for name in rule.runbooks:
            try:
                _look_at_route(rule, runbooks.get(name) or _missing(name, known), settings)
            except RbkernelError as error:
                yield _with_place(f"[[routes]] {named}", name, error, ("routes", place))


def _missing(name: str, known: Catalogue) -> Runbook:
    if broken := known.broken(name):
        raise ConfigError(broken.reason, next_step=broken.error.next_step)
    raise ConfigError("there is no such runbook", next_step="`rbkernel list` shows all runbooks")


def _look_at_route(rule: RouteRule, runbook: Runbook, settings: Settings) -> None:
    _look(runbook, _with_matched(rule.parameters, rule.match, rule.names), settings)
    carriers = {*runbook.front_matter.connections, *runbook.used_connections}
    of_labels = [name for name, said in rule.parameters.items() if _is_of_label(said)]
    if of_labels and all(name in carriers for name in of_labels):
        for name in rule.names.values():
            settings.connection(name, parameter="names")


def _of_triggers(known: Catalogue, settings: Settings) -> Iterator[ConfigError]:
    for runbook in known.runbooks:
        for trigger in runbook.front_matter.triggers:
            if not (trigger.alert or trigger.match):
                continue  # as text for people
            try:
                _look(runbook, _with_matched(trigger.parameters, trigger.match), settings)
            except RbkernelError as error:
                where = f"trigger {trigger.alert or dict(trigger.match)} of {runbook.path}"
                yield _with_place(where, runbook.id, error)


def _with_matched(
    said: Mapping[str, Given], match: Mapping[str, str], names: Mapping[str, str] | None = None
) -> dict[str, Given]:
    """Return parameters in which labels that a rule matches exactly are replaced by their values.

    >>> _with_matched({"db": "labels.cluster", "pod": "labels.pod"}, {"cluster": "a", "pod": "b-*"})
    {'db': 'a', 'pod': 'labels.pod'}
    """
    exact = {f"{_OF_LABEL}{name}": value for name, value in match.items() if not _GLOB & {*value}}
    known = {label: (names or {}).get(value, value) for label, value in exact.items()}
    return {
        name: known.get(one, one) if isinstance(one, str) else one for name, one in said.items()
    }


def _look(runbook: Runbook, said: Mapping[str, Given], settings: Settings) -> None:
    """Raise an error if a runbook cannot run, whatever values the alert's labels have."""
    # parameters are checked against the declaration, even if a label gives the value
    open_ones = {name for name, one in said.items() if _is_of_label(one)} & {*runbook.parameters}
    given = {name: one for name, one in said.items() if name not in open_ones}
    defaults = {name: one.default for name, one in runbook.parameters.items()}
    values = {**defaults, **declared.validate(given, runbook.parameters, runbook.id)}
    carriers = {
        name: pattern
        for name, pattern in runbook.front_matter.connections.items()
        if name not in open_ones
    }
    values |= connections.filled(carriers, values, settings)
    others = runbook.used_connections - open_ones
    for parameter, name in connections.named(carriers, values, runbook.id, others=others).items():
        settings.connection(name, parameter=parameter)
        if not fnmatchcase(name, carriers.get(parameter, "*")):
            raise ConfigError(
                f"{parameter}={name!r} is not a connection that the runbook lists"
                f" ({carriers[parameter]})",
                next_step="name another connection, or extend `connections` in its front matter",
            )


def _is_of_label(said: Given) -> bool:
    return isinstance(said, str) and said.startswith(_OF_LABEL)


def _with_place(where: str, runbook: str, error: RbkernelError, path: KeyPath = ()) -> ConfigError:
    return ConfigError(
        f"{runbook} cannot run: {error.what}",
        where=where,
        next_step=error.next_step or "correct that entry",
        path=path,
    )
