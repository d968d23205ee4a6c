"""The command `rbkernel extensions`: list the extensions of other packages, and check each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from rbkernel import extensions
from rbkernel.cli.output import AsJson, Ending, print_json, print_table
from rbkernel.extensions import Extension, Group
from rbkernel.spelling import did_you_mean


def show(as_json: AsJson = False) -> None:
    """List installed extensions, and load each to see whether it can be used.

    Exit codes: 0 all can be used, 3 some cannot be used.

    Example: rbkernel extensions
    """
    groups = _groups()
    found = [(one, _problem(one, groups)) for one in extensions.installed()]
    if as_json:
        print_json(
            [
                {
                    "name": one.name,
                    "group": one.group,
                    "package": one.package,
                    "version": one.version,
                    "problem": problem,
                }
                for one, problem in found
            ]
        )
    elif found:
        rows = [
            (one.group.removeprefix(extensions.PREFIX), one.name, one.package, one.version, said)
            for one, problem in found
            for said in [problem or "ok"]
        ]
        print_table(("kind", "name", "package", "version", "state"), rows)
    else:
        kinds = ", ".join(name.removeprefix(extensions.PREFIX) for name in groups)
        typer.echo(
            f"no installed package extends rbkernel; a package can add {kinds}"
            " (docs/how-to/extend.md)"
        )
    raise Ending(3 if any(problem for _, problem in found) else 0)


def _problem(extension: Extension, groups: Mapping[str, Group[Any]]) -> str:
    if extension.group not in groups:
        return f"there is no group {extension.group}{did_you_mean(extension.group, groups)}"
    error = groups[extension.group].problem(extension)
    return f"{error.what}. Next: {error.next_step}" if error else ""


def _groups() -> dict[str, Group[Any]]:
    from rbkernel.actions import ACTIONS
    from rbkernel.gateway.intake import SENDERS
    from rbkernel.gateway.notify.channels import CHANNELS
    from rbkernel.lint import THEMES
    from rbkernel.sandbox.faults.catalogue import FAULTS
    from rbkernel.sources.source import SOURCES

    known: list[Group[Any]] = [SENDERS, SOURCES, ACTIONS, CHANNELS, THEMES, FAULTS]
    return {group.name: group for group in known}
