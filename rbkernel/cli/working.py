"""The commands `rbkernel worker` and `route`: execute jobs; show what an alert would start."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from rbkernel import amounts, config
from rbkernel.cli.output import AsJson, Ending, complain, print_json
from rbkernel.errors import Unreadable
from rbkernel.gateway import logs


def worker(
    kernels: Annotated[
        int | None,
        typer.Option(
            help="How many runs to execute at the same time. Default: as configured.", min=1
        ),
    ] = None,
) -> None:
    """Execute queued jobs, next to `rbkernel serve` or on another host.

    Runs until SIGTERM or Ctrl-C. Exit codes: 0 stopped by a signal, 3 error.

    Example: rbkernel worker --kernels 4
    """
    from rbkernel.gateway.jobs.storage.store import Store
    from rbkernel.gateway.jobs.supervisor import Supervisor, advice

    logs.begin()
    settings = config.load()
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    store = Store.open(settings.store_url)
    try:
        supervisor = Supervisor(settings, store, kernels=kernels).start()
        typer.echo(
            f"worker {supervisor.id}: executes up to {amounts.count(supervisor.kernels, 'run')}"
            f" at the same time, from the queue in {store.where}"
        )
        for line in advice(store):
            typer.echo(line)
        ending.wait()
        typer.echo(f"stopping: waiting for {amounts.count(supervisor.busy, 'run')} to finish")
        supervisor.drain()
    finally:
        store.close()


def route(
    alert: Annotated[
        Path,
        typer.Argument(
            help="A JSON file: the labels of an alert, or the request body that a sender posts;"
            " - for stdin."
        ),
    ],
    source: Annotated[str, typer.Option(help="The sender, if the format is ambiguous.")] = "",
    as_json: AsJson = False,
) -> None:
    """Show which runbooks an alert would start, with which parameters, and why.

    Exit codes: 0 every alert starts a runbook, 1 an alert starts none, 3 error.

    Example: rbkernel route alert.json
    """
    from rbkernel.gateway.intake import dry_run
    from rbkernel.runbook import catalogue

    raw = sys.stdin.buffer.read() if str(alert) == "-" else _read(alert)
    settings = config.load()
    dry_runs = dry_run.dry_run_of(raw, source, settings)
    if as_json:
        print_json([one.to_json() for one in dry_runs])
    else:
        for one in dry_runs:
            typer.echo(one.text())
    sys.stdout.flush()  # print the answer first, even if both streams go into one pipe
    for problem in catalogue.look(settings.catalogue.paths).problems:
        complain(problem)
    raise Ending(0 if all(one.routing.routes for one in dry_runs) else 1)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unreadable(
            f"the alert cannot be read: {error.strerror}",
            where=str(path),
            next_step="use a JSON file with the request body that a sender posts, or with the"
            " labels of an alert",
        ) from error
