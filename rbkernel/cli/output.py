"""Print a command's result as JSON or text, print errors in one line, and set exit codes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from rbkernel.cli.terminal import styled
from rbkernel.displaytext import one_line
from rbkernel.model import Finding

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


class Ending(Exception):
    """Raised to end a command with this exit code."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(code)


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output."""
    typer.echo(json.dumps(value, indent=2, default=str))


def print_table(names: Iterable[str], rows: Iterable[tuple[str, ...]]) -> None:
    """Print a table with a header, one line for each row."""
    # imported here, because not every command prints a table
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*names, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))  # Text: brackets are no markup
    file = styled(sys.stdout)
    # without a terminal, lines are not cut to a width
    console = Console(file=file) if file.isatty() else Console(file=file, width=240)
    console.print(table)


def print_step(finding: Finding) -> None:
    """Print one step of a connection's examination; if not ok, with its cause and next step."""
    typer.echo(f"{finding.verdict.value.upper():8} {finding.title:14} {finding.actual}")
    if finding.cause and finding.cause != finding.actual:
        typer.echo(f"{'':24}because: {finding.cause}")
    if finding.next_step:
        typer.echo(f"{'':24}next: {finding.next_step}")


def progress(text: str) -> None:
    """Print a progress text on standard error, but only on a terminal."""
    if sys.stderr.isatty():
        typer.echo(text, err=True)


def complain(problem: object) -> None:
    """Print an error in one line on standard error."""
    typer.echo(f"rbkernel: {problem}", err=True)
