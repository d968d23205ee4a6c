"""Whether what `[[schedules]]` and `[[routes]]` want to run can be run: asked before it is due."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rbkernel.config import Settings
from rbkernel.config.queue import Given, RouteRule
from rbkernel.errors import ConfigError, RbkernelError
from rbkernel.gateway.admission import accept
from rbkernel.runbook import catalogue
from rbkernel.runbook import parameters as declared
from rbkernel.runbook.catalogue import Runbook

_OF_LABEL = "labels."


def problems(settings: Settings) -> list[ConfigError]:
    """Return what cannot be run as the configuration says: one problem an entry and runbook.

    A runbook may come later, so this is no reason not to start: it is told at the start, and an
    error in `rbkernel serve --check`.
    """
    if not (settings.schedules or settings.routes):
        return []
    found, _ = catalogue.runbooks(settings.catalogue.paths)
    runbooks = {one.id: one for one in found}
    return [*_of_schedules(runbooks, settings), *_of_routes(runbooks, settings)]


def _of_schedules(runbooks: Mapping[str, Runbook], settings: Settings) -> Iterator[ConfigError]:
    for schedule in settings.schedules:
        name = schedule.runbook
        try:
            # what is no id may be the path of one
            runbook = runbooks.get(name.upper()) or catalogue.find(name, settings.catalogue.paths)
            accept(runbook, schedule.parameters, "", settings)
        except RbkernelError as error:
            yield _told(f"[[schedules]] {schedule.name}", name, error)


def _of_routes(runbooks: Mapping[str, Runbook], settings: Settings) -> Iterator[ConfigError]:
    for rule in settings.routes:
        named = ", ".join([rule.alert, *(f"{k}={v}" for k, v in rule.match.items())]).strip(", ")
        for name in rule.runbooks:
            try:
                _look_at_route(rule, name, runbooks, settings)
            except RbkernelError as error:
                yield _told(f"[[routes]] {named}", name, error)


def _look_at_route(
    rule: RouteRule, name: str, runbooks: Mapping[str, Runbook], settings: Settings
) -> None:
    if name not in runbooks:
        raise ConfigError(
            "there is no such runbook", next_step="`rbkernel list` shows those there are"
        )
    runbook = runbooks[name]
    # what a label will say is not known yet; that there is such a parameter is
    known = {
        parameter: said
        for parameter, said in rule.parameters.items()
        if parameter not in runbook.parameters or not _is_of_label(said)
    }
    values = declared.validate(known, runbook.parameters, runbook.id)
    carriers = runbook.front_matter.connections
    for parameter, connection in declared.connection_names(carriers, values, runbook.id).items():
        settings.connection(connection, parameter=parameter)


def _is_of_label(said: Given) -> bool:
    return isinstance(said, str) and said.startswith(_OF_LABEL)


def _told(where: str, runbook: str, error: RbkernelError) -> ConfigError:
    return ConfigError(
        f"{runbook} cannot be run: {error.what}",
        where=where,
        next_step=error.next_step or "mend that entry",
    )
