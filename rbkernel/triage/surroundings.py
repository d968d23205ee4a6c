"""Collect what lint needs besides a document: configuration, catalogue, guard, diagnostics."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence

import rbkernel
from rbkernel.config import Settings
from rbkernel.errors import ConfigError, QueryError, RbkernelError
from rbkernel.lint import RULES, Document, Level, Surroundings, reading
from rbkernel.runbook import registry
from rbkernel.sources.postgres.library import Library
from rbkernel.sql import guard

# connections that the sandbox creates while it runs; a runbook may always name them
_SANDBOX = ("sandbox-primary", "sandbox-standby")


def surroundings(
    settings: Settings,
    read: Iterable[Document],
    *,
    today: datetime.date | None = None,
    faults: Sequence[str] | None = None,
) -> Surroundings:
    """Collect the data that the lint rules need besides the document.

    Parameters
    ----------
    settings
        The configuration.
    read
        The documents to check.
    today
        The date that is compared with the dates of tests; by default, today on this machine.
    faults
        The sandbox's faults by name. If they are not given, the drills that a document names are
        not checked.

    Raises
    ------
    ConfigError
        ``[lint]`` names a rule that does not exist, or a registry is wrong.
    """
    folders = reading.catalogue_folders(settings.catalogue.paths)
    library = Library(settings.catalogue.diagnostics)
    allowed = tuple(name for one in settings.connections.values() for name in one.allow_functions)

    def refuse_sql(text: str) -> str:
        try:
            guard.check(text, allowed)
        except RbkernelError as error:
            return error.what
        return ""

    def rules_of(name: str) -> frozenset[str] | None:
        try:
            return frozenset(rule.name for rule in library.get(name).rules)
        except QueryError:  # another lint rule reports a diagnostic that is missing or unreadable
            return None

    return Surroundings(
        today=today or datetime.datetime.now().astimezone().date(),
        connections=frozenset({*settings.connections, *_SANDBOX}),
        runbooks=reading.ids(read, folders),
        registry=registry.read(settings.catalogue.paths),
        refuse_sql=refuse_sql,
        diagnostics=frozenset(library.names()),
        rules_of=rules_of,
        faults=frozenset(faults) if faults is not None else None,
        calls=frozenset(rbkernel.__all__),
        deprecated=settings.lint.deprecated,
        levels=_levels(settings),
    )


def _levels(settings: Settings) -> dict[str, Level]:
    for code in settings.lint.severity:
        if code not in RULES:
            raise ConfigError(
                f"[lint.severity] names {code}, which is no rule",
                where=str(settings.file),
                next_step="see `rbkernel lint --rules`",
            )
    return {code: Level(level) for code, level in settings.lint.severity.items()}
