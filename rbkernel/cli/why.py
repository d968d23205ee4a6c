"""`rbkernel why DB`: the cause of what is wrong, in one line, without a notebook."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rbkernel.cli.output import AsJson, Ending, print_json

if TYPE_CHECKING:
    from rbkernel.postgres.answer import Answer
    from rbkernel.postgres.causes import Cause
    from rbkernel.postgres.diagnosis import Diagnosis

# rows of the histogram that are printed
_WAITS = 8


def why(
    db: Annotated[str, typer.Argument(help="The connection to look at.")],
    seconds: Annotated[
        float,
        typer.Option(
            help="How long to look, to learn what the busy sessions wait for; 0 for a fast look.",
            min=0,
            max=300,
        ),
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Look at a server, and say who or what causes its trouble.

    Ends with 0 when no cause is found, else with the exit code of the worst one.
    Example: rbkernel why orders-primary
    """
    from rbkernel import config
    from rbkernel.postgres.diagnosis import diagnose
    from rbkernel.postgres.history import first_seen
    from rbkernel.postgres.ring import Ring
    from rbkernel.postgres.session import Session

    settings = config.load()
    with closing(Session(settings.connection(db), application_name="rbkernel/why")) as session:
        found = diagnose(session, seconds=seconds)
    glances = Ring(settings.watch_root, db).glances()
    since = [first_seen(cause, glances) for cause in found.causes]
    if as_json:
        print_json(_as_json(found, since))
    else:
        _print(found, since)
    raise Ending(found.verdict.exit_code)


def _print(found: Diagnosis, since: Sequence[str]) -> None:
    if not found.causes:
        seen = found.situation
        typer.echo(
            f"OK no cause found: {seen.used} of {seen.usable} slots used, no session waits for long"
        )
    for cause, first in zip(found.causes, since, strict=True):
        typer.echo(f"{cause.verdict.value.upper()} {cause.headline}")
        typer.echo(f"  why:  {cause.mechanism}")
        if first:
            typer.echo(f"  seen: since {first[:19]} UTC, by rbkernel watch")
        for excluded in cause.ruled_out:
            typer.echo(f"  not:  {excluded}")
        if cause.next_step:
            typer.echo(f"  next: {cause.next_step}")
        if cause.opens:
            typer.echo(f"  open: {cause.opens}")
    if found.sampled is not None:
        _print_waits(found.sampled)


def _print_waits(sampled: Answer) -> None:
    from rbkernel.postgres.sampling import waits

    if sampled.told.reason:
        typer.echo(f"waits: unknown, {sampled.told.reason}")
        return
    typer.echo(f"waits of the busy sessions ({sampled.told.notes[0]}):")
    for wait in waits(sampled)[:_WAITS]:
        typer.echo(f"  {wait.share_pct:3.0f} % {wait.wait} ({wait.application})")
    if not sampled.rows:
        typer.echo("  none was busy")


def _as_json(found: Diagnosis, since: Sequence[str]) -> dict[str, Any]:
    return {
        "verdict": found.verdict.value,
        "connection": found.situation.connection,
        "at": found.situation.at,
        "causes": [
            {**_cause(cause), "first_seen": first or None}
            for cause, first in zip(found.causes, since, strict=True)
        ],
        **({"waits": found.sampled.records()} if found.sampled is not None else {}),
    }


def _cause(cause: Cause) -> dict[str, Any]:
    remedy = cause.remedy
    return {
        "verdict": cause.verdict.value,
        "headline": cause.headline,
        "mechanism": cause.mechanism,
        "culprits": [dataclasses.asdict(one) for one in cause.culprits],
        "victims": dataclasses.asdict(cause.victims),
        "ruled_out": cause.ruled_out,
        "next_step": cause.next_step,
        "opens": cause.opens,
        "action": remedy
        and {
            "verb": remedy.verb,
            "pids": [target.pid for target in remedy.targets],
            "frees_at_once": len(remedy.freed.at_once),
            "frees_later": len(remedy.freed.later),
            "leaves": remedy.left,
            "loss": remedy.loss,
            "sure": remedy.sure,
        },
    }
