"""The command `rbkernel postmortem`: create or update the postmortem of an incident."""

from __future__ import annotations

import dataclasses
import getpass
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rbkernel import amounts, config
from rbkernel.cli.destinations import destination
from rbkernel.cli.output import AsJson, Ending, print_json
from rbkernel.cli.terminal import completing
from rbkernel.errors import ConfigError

if TYPE_CHECKING:
    from rbkernel.incidents.postmortem import Postmortem
    from rbkernel.incidents.tickets import Made


def postmortem(
    incident: Annotated[
        str, typer.Argument(help="The incident's id.", autocompletion=completing.incidents)
    ],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="The notebook. Default: runs/INC-…/postmortem.ipynb."),
    ] = None,
    tickets: Annotated[
        bool,
        typer.Option(help="Make a ticket of each open action item, once ([tickets])."),
    ] = False,
    again: Annotated[
        bool,
        typer.Option(
            help="With --tickets: make those again of which nobody knows whether they exist. Look"
            " first: the text of a ticket ends with the key of its item."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Create the postmortem of an incident, or update it from the incident's record.

    Exit codes: 0 written, 1 written without some of the tickets, 3 error.

    Example: rbkernel postmortem INC-20261120-7f3a --tickets
    """
    from rbkernel.incidents import postmortem as writing

    # an existing notebook is updated, never replaced
    path = Path("runs") / incident / writing.NAME
    if output:
        path = destination(output, writing.NAME, force=True).path
    settings = config.load()
    made = writing.make(settings.evidence_root, incident, path)
    filed = _tickets(settings, incident, made.notebook, again=again) if tickets or again else None
    if as_json:
        told = dataclasses.asdict(filed) if filed else {}
        more = {name: told[name] for name in ("tickets", "unclear") if name in told}
        print_json({**dataclasses.asdict(made), **more})
    else:
        _tell(made, filed)
    if filed and filed.is_incomplete:
        raise Ending(1)


def _tell(made: Postmortem, filed: Made | None) -> None:
    typer.echo(made.notebook)
    typer.echo(made.page)
    if not made.is_changed:
        typer.echo("nothing new in the record: the notebook was not changed")
    elif not made.is_new:
        typer.echo("updated; what people wrote was kept")
    for chapter in made.outdated:
        typer.echo(f"  the record has changed for: {chapter} (your text was kept)")
    typer.echo(f"{amounts.count(len(made.to_write), 'place')} to fill in, marked ‹…›")
    typer.echo(_due("written", made.written_by))
    typer.echo(_due("meeting", made.meeting_by))
    for line in filed.lines() if filed else ():
        typer.echo(line)


def _tickets(settings: config.Settings, incident: str, notebook: Path, *, again: bool) -> Made:
    """Make a ticket of each open action item that has none."""
    from rbkernel.incidents import tickets, workflow
    from rbkernel.kernel import secrets
    from rbkernel.runbook import catalogue

    if settings.tickets is None:
        raise ConfigError(
            "no system of tickets is configured",
            where="[tickets]",
            next_step="add [tickets] to rbkernel.toml (docs/how-to/write-a-postmortem.md)",
        )
    workflow.look_to_write(settings.evidence_root, incident)
    return tickets.make(
        settings.evidence_root,
        incident,
        catalogue.parse(notebook.read_bytes()),
        settings.tickets,
        by=getpass.getuser(),
        redactor=secrets.redactor(settings, os.environ),
        again=again,
    )


def _due(what: str, due: datetime | None) -> str:
    if due is None:
        return f"{what}: the deadline starts when the incident is resolved"
    left = (due - datetime.now(UTC)).total_seconds()
    when = f"in {amounts.duration(left)}" if left >= 0 else f"OVERDUE by {amounts.duration(-left)}"
    return f"{what}: due by {due:%Y-%m-%d %H:%M} UTC, {when}"
