"""The commands for the configuration: `rbkernel config …`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from rbkernel import amounts
from rbkernel.cli.output import AsJson, Ending, print_json, print_table
from rbkernel.errors import ParameterError

app = typer.Typer(
    help="The configuration: check it, show it, print its JSON Schema.\n\n"
    "Exit codes: 0 done, 3 error.\n\n"
    "Example: rbkernel config check"
)


@app.command()
def check(
    online: Annotated[
        bool,
        typer.Option(
            "--online", help="Also log in to databases and sources, and look up host names."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find all problems of rbkernel.toml and the files that it includes, with file and line.

    A valid configuration is compared with the runbooks, variables, files and programs that it
    names: would every route, schedule, connection and notification work? Unused entries are
    warnings. Nothing is sent.

    Exit codes: 0 no problems, 1 warnings, 2 errors, 3 unreadable.

    Example: rbkernel config check --online
    """
    from rbkernel.config import files
    from rbkernel.gateway import config_check

    found = files.examine()
    remarks = config_check.check(found, online=online)
    errors = sum(one.level == "error" for one in remarks)
    if as_json:
        print_json([dataclasses.asdict(one) for one in remarks])
    else:
        for one in remarks:
            typer.echo(str(one))
        read = ", ".join(str(one.file) for one in found.layers.files) or "no configuration file"
        counted = f"{amounts.count(errors, 'error')}, "
        typer.echo(f"{counted}{amounts.count(len(remarks) - errors, 'warning')} in {read}")
    raise Ending(2 if errors else 1 if remarks else 0)


@app.command()
def show(
    section: Annotated[
        str, typer.Argument(help="Only this section, such as connections.orders.")
    ] = "",
    origin: Annotated[
        bool, typer.Option("--origin", help="Show where each value comes from.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the configuration that applies here, with defaults; secrets are hidden.

    Exit codes: 0 shown, 3 error.

    Example: rbkernel config show connections --origin
    """
    from rbkernel.config import files, origins

    found = files.examine()
    if found.settings is None:
        raise found.problems[0].error(len(found.problems) - 1)
    wanted = [
        one
        for one in origins.values(found, found.settings)
        if not section or f"{one.name}.".startswith(f"{section}.")
    ]
    if not wanted:
        raise ParameterError(
            f"there is no section {section!r}",
            where="rbkernel config show",
            next_step="run `rbkernel config show` to see all",
        )
    if as_json:
        print_json([dataclasses.asdict(one) for one in wanted])
        return
    rows = [(one.name, _text(one.value), one.origin) for one in wanted]
    names = ("field", "value", "origin")
    print_table(names if origin else names[:2], [row if origin else row[:2] for row in rows])


def _text(value: object) -> str:
    if value is None or value in ("", (), {}):
        return "-"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


@app.command()
def schema() -> None:
    """Print the JSON Schema of rbkernel.toml, for an editor.

    Exit codes: 0 printed, 3 error.

    Example: rbkernel config schema > rbkernel-schema.json
    """
    from rbkernel.config import schema as schemas

    print_json(schemas.schema())
