"""Print a command's result as JSON or text, print errors in one line, and set exit codes."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer

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
    """Print a table with a header, one line for each row; a terminal's width is respected."""
    # imported here, because not every command prints a table
    from rbkernel.cli.terminal import columns

    cells = [tuple(map(one_line, row)) for row in rows]
    for line in columns.table(tuple(names), cells, width()):
        typer.echo(line)


def width() -> int | None:
    """Return the width of the terminal in characters; None if the output is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def tell(*lines: object, as_json: bool, **facts: Any) -> None:
    """Print facts as JSON if that is asked for, else the lines of text about them."""
    if as_json:
        print_json(facts)
        return
    for line in lines:
        typer.echo(line)


def print_findings(findings: Iterable[Finding]) -> None:
    """Print findings, the most urgent first; the checks that are ok share one line."""
    from rbkernel.cli.terminal import findings as text

    for line in text.lines(findings, width()):
        typer.echo(line)


def progress(text: str) -> None:
    """Print a progress text on standard error, but only on a terminal."""
    if sys.stderr.isatty():
        typer.echo(text, err=True)


def complain(problem: object) -> None:
    """Print an error in one line on standard error."""
    typer.echo(f"rbkernel: {problem}", err=True)
