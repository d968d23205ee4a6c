"""How commands speak: JSON or text on standard output, one line of error, an exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from rbkernel.cli.terminal import styled
from rbkernel.displaytext import one_line
from rbkernel.errors import ParameterError
from rbkernel.model import Finding

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


class Ending(Exception):
    """A command's own exit code, not to be confused with typer's codes for usage errors."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(code)


def name_and_value(text: str) -> tuple[str, str]:
    """Read ``name=value``.

    Raises
    ------
    ParameterError
        It is not of that form.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ParameterError(
            "a parameter must be name=value",
            where="-p",
            next_step="write, for example, -p db=orders-primary",
        )
    return name, value


def print_json(value: Any) -> None:
    """Print a value for machines."""
    typer.echo(json.dumps(value, indent=2, default=str))


def print_table(names: Iterable[str], rows: Iterable[tuple[str, ...]]) -> None:
    """Print rows under their names, a line each."""
    # imported late: not every command prints a table
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*names, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))  # Text: brackets are no markup
    file = styled(sys.stdout)
    # a pipe gets whole lines, whatever the width of the terminal that is not there
    console = Console(file=file) if file.isatty() else Console(file=file, width=240)
    console.print(table)


def print_step(finding: Finding) -> None:
    """Print one step of an examination, with cause and next step where it is not ok."""
    typer.echo(f"{finding.verdict.value.upper():8} {finding.title:14} {finding.actual}")
    if finding.cause and finding.cause != finding.actual:
        typer.echo(f"{'':24}because: {finding.cause}")
    if finding.next_step:
        typer.echo(f"{'':24}next: {finding.next_step}")


def progress(text: str) -> None:
    """Say what is being done, to a terminal only."""
    if sys.stderr.isatty():
        typer.echo(text, err=True)


def complain(problem: object) -> None:
    """Say what went wrong, in one line on standard error."""
    typer.echo(f"rbkernel: {problem}", err=True)
