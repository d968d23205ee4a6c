"""The command `rbkernel postmortem`: create or update the postmortem of an incident."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from rbkernel import amounts, config
from rbkernel.cli.destinations import destination
from rbkernel.cli.output import AsJson, print_json


def postmortem(
    incident: Annotated[str, typer.Argument(help="The incident's id.")],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="The notebook. Default: runs/INC-…/postmortem.ipynb."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create the postmortem of an incident, or update it from the incident's record.

    Exit codes: 0 written, 3 error.

    Example: rbkernel postmortem INC-20261120-7f3a
    """
    from rbkernel.incidents import postmortem as writing

    # an existing notebook is updated, never replaced
    path = Path("runs") / incident / writing.NAME
    if output:
        path = destination(output, writing.NAME, force=True).path
    made = writing.make(config.load().evidence_root, incident, path)
    if as_json:
        print_json(dataclasses.asdict(made))
        return
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


def _due(what: str, due: datetime | None) -> str:
    if due is None:
        return f"{what}: the deadline starts when the incident is resolved"
    left = (due - datetime.now(UTC)).total_seconds()
    when = f"in {amounts.duration(left)}" if left >= 0 else f"OVERDUE by {amounts.duration(-left)}"
    return f"{what}: due by {due:%Y-%m-%d %H:%M} UTC, {when}"
