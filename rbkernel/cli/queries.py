"""The command `rbkernel query`: run a diagnostic, and judge the result by rules."""

from __future__ import annotations

from typing import Annotated

import typer

from rbkernel.cli.output import AsJson
from rbkernel.cli.parameters import Parameters


def query(
    name: Annotated[
        str, typer.Argument(help="A diagnostic, or overview. Default: list all diagnostics.")
    ] = "",
    db: Annotated[str, typer.Argument(help="The connection.")] = "",
    parameter: Parameters = [],  # noqa: B006  # typer reads the default, nobody changes it
    as_json: AsJson = False,
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL, and do not run it.")] = False,
) -> None:
    """Run a diagnostic, or the overview of common problems, and show the findings.

    Exit codes: 0 ok, 1 warning, 2 critical, 3 unknown or error.

    Example: rbkernel query locks/blocking orders-primary
    """
    from rbkernel.cli import answers

    answers.answer(name, db, parameter, as_json=as_json, sql=sql)
