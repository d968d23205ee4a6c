"""`rbkernel why DB`: the cause of what is wrong, in one line, without a notebook."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from typing import Annotated, Any

import typer

from rbkernel.cli.output import AsJson, Ending, print_json


def why(
    db: Annotated[str, typer.Argument(help="The connection to look at.")],
    as_json: AsJson = False,
) -> None:
    """Look at a server once, and say who or what causes its trouble.

    Ends with 0 when no cause is found, else with the exit code of the worst one.
    Example: rbkernel why orders-primary
    """
    from rbkernel import config
    from rbkernel.postgres.diagnosis import diagnose
    from rbkernel.postgres.session import Session

    connection = config.load().connection(db)
    with closing(Session(connection, application_name="rbkernel/why")) as session:
        found = diagnose(session)
    if as_json:
        print_json(_as_json(found))
    else:
        _print(found)
    raise Ending(found.verdict.exit_code)


def _print(found: Any) -> None:
    if not found.causes:
        seen = found.situation
        typer.echo(
            f"OK no cause found: {seen.used} of {seen.usable} slots used, no session waits for long"
        )
    for cause in found.causes:
        typer.echo(f"{cause.verdict.value.upper()} {cause.headline}")
        typer.echo(f"  why:  {cause.mechanism}")
        for excluded in cause.ruled_out:
            typer.echo(f"  not:  {excluded}")
        if cause.next_step:
            typer.echo(f"  next: {cause.next_step}")
        if cause.opens:
            typer.echo(f"  open: {cause.opens}")


def _as_json(found: Any) -> dict[str, Any]:
    return {
        "verdict": found.verdict.value,
        "connection": found.situation.connection,
        "at": found.situation.at,
        "causes": [_cause(cause) for cause in found.causes],
    }


def _cause(cause: Any) -> dict[str, Any]:
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
