"""`rbkernel postmortem`: from the record of an incident, what people go on writing."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from rbkernel import config
from rbkernel.cli.destinations import destination
from rbkernel.cli.output import AsJson, print_json


def postmortem(
    incident: Annotated[str, typer.Argument(help="The incident's id.")],
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", help="The notebook; runs/INC-…/postmortem.ipynb if not given."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an incident's postmortem, or bring what is new on record into it."""
    from rbkernel.incidents import postmortem as writing

    # a notebook that is there is brought up to date, and never replaced
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
        typer.echo("nothing new on record: the notebook is as it was")
    elif not made.is_new:
        typer.echo("brought up to date; what people wrote is as it was")
    for chapter in made.outdated:
        typer.echo(f"  the record now says something else of: {chapter} (it was kept as written)")
    typer.echo(f"{len(made.to_write)} places are for a human to write, marked ‹…›")
    typer.echo(_due("written", made.written_by))
    typer.echo(_due("meeting", made.meeting_by))


def _due(what: str, due: datetime | None) -> str:
    from rbkernel import amounts

    if due is None:
        return f"{what}: counts from when it is resolved, which the record does not tell"
    left = (due - datetime.now(UTC)).total_seconds()
    when = f"in {amounts.duration(left)}" if left >= 0 else f"OVERDUE by {amounts.duration(-left)}"
    return f"{what}: due by {due:%Y-%m-%d %H:%M} UTC, {when}"
