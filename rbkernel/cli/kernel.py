"""The commands for fork servers, which start kernels and runs quickly: `rbkernel kernel …`."""

from __future__ import annotations

import os
import time
from typing import Annotated

import typer

from rbkernel import amounts
from rbkernel.cli.output import AsJson, print_json, tell
from rbkernel.forkserver import client, place

app = typer.Typer(
    help="Fast start of kernels: show whether it is on, and stop its servers.\n\n"
    "Exit codes: 0 done, 3 error.\n\n"
    "Example: rbkernel kernel status"
)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show the fork servers of this user: processes that start kernels and runs quickly.

    Exit codes: 0 shown, 3 error.

    Example: rbkernel kernel status
    """
    servers = client.living()
    if as_json:
        print_json(
            [
                {
                    "pid": one.pid,
                    "ready": one.ready,
                    "programs": one.programs,
                    "age_s": round(time.time() - one.since, 1),
                    "log": str(one.place.log),
                }
                for one in servers
            ]
        )
        return
    if not place.is_supported():
        typer.echo(f"fast start is off: it needs Linux, and {place.SWITCH} must not be off")
    elif not servers and (reason := client.problem(os.environ)):
        typer.echo(f"no fork server can be started: {reason}")
    elif not servers:
        typer.echo("no fork server runs: the next kernel starts one")
    for one in servers:
        state = f"{amounts.count(one.programs, 'program')} running" if one.ready else "starting"
        typer.echo(f"process {one.pid}: {state}, for {amounts.duration(time.time() - one.since)}")


@app.command()
def stop(
    now: Annotated[
        bool, typer.Option("--now", help="Also end the running kernels and runs.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Stop the fork servers of this user when their programs have ended.

    Exit codes: 0 stopped or none was running, 3 error.

    Example: rbkernel kernel stop --now
    """
    servers = client.living()
    for one in servers:
        client.stop(one, now=now)
    asked = f"{amounts.count(len(servers), 'fork server')} asked to stop"
    pids = [one.pid for one in servers]
    tell(asked if pids else "no fork server runs", as_json=as_json, asked_to_stop=pids)
