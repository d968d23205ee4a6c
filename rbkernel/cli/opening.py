"""The command `rbkernel open`: continue a run in a working copy."""

from __future__ import annotations

import shlex
import webbrowser
from pathlib import Path
from typing import Annotated, Any

import typer

from rbkernel import config
from rbkernel.cli.output import AsJson, Ending, print_json
from rbkernel.cli.terminal import completing


def open_copy(
    what: Annotated[
        str,
        typer.Argument(help="An incident id, or a run id.", autocompletion=completing.incidents),
    ],
    root: Annotated[
        Path | None,
        typer.Option(
            help="Jupyter's root folder. Default: that of a running server, or the working folder."
        ),
    ] = None,
    browser: Annotated[
        bool, typer.Option(help="Open JupyterLab, or only print the path and address.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Make a working copy of a run, with its parameters and incident, and open it in JupyterLab.

    Exit codes: 0 opened, 3 error.

    Example: rbkernel open INC-20261120-7f3a
    """
    from rbkernel.incidents import jupyterlab, working_copy

    server = jupyterlab.running(root or Path.cwd(), elsewhere=root is None)
    folder = root or (server.root if server else Path.cwd())
    copy = working_copy.make(config.load(), what, folder)
    served = server is not None and copy.path.is_relative_to(server.root)
    url = server.address(copy.path.relative_to(server.root).as_posix()) if server and served else ""
    if as_json:
        print_json({**_told(copy), "url": url})
        return
    _print(copy)
    if url:
        typer.echo(f"open {url}")
        if browser:
            webbrowser.open(url)
    elif browser:
        typer.echo("starting JupyterLab; stop it with Ctrl-C")
        raise Ending(0 if jupyterlab.serve(copy.path, copy.root) == 0 else 3)
    else:
        typer.echo(f"open it with: {shlex.join(jupyterlab.command(copy.path, copy.root))}")


def _told(copy: Any) -> dict[str, Any]:
    return {
        "path": str(copy.path),
        "run_id": copy.run_id,
        "runbook": copy.runbook,
        "incident": copy.incident,
        "is_new": copy.is_new,
        "others": [entry.run_id for entry in copy.others],
    }


def _print(copy: Any) -> None:
    of = " of ".join(filter(None, [copy.runbook, copy.incident]))
    typer.echo(copy.path)
    state = "a working copy" if copy.is_new else "the existing working copy"
    typer.echo(f"{state} of run {copy.run_id} ({of})")
    for entry in copy.others:
        other = f"{entry.runbook} {entry.verdict.value}: rbkernel open {entry.run_id}"
        typer.echo(f"  also in this incident: {other}")
