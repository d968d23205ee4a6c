"""The command `rbkernel watch`: sample servers and keep the samples of the last hour."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer


def watch(
    databases: Annotated[list[str], typer.Argument(metavar="DB…", help="The connections.")],
    every: Annotated[float, typer.Option(help="Interval in seconds.", min=1, max=3600)] = 10.0,
) -> None:
    """Sample servers regularly, and keep the samples of the last hour for runbooks.

    Runs until SIGTERM or Ctrl-C. A server that is slow or refuses a connection is sampled less
    often.

    Exit codes: 0 stopped by a signal, 3 error.

    Example: rbkernel watch orders-primary orders-standby
    """
    import os

    from rbkernel import config
    from rbkernel.gateway import logs
    from rbkernel.kernel import secrets
    from rbkernel.sources.postgres.ring import KEPT, Ring
    from rbkernel.sources.postgres.watching import Watcher
    from rbkernel.sources.postgres.watching import watch as work

    settings = config.load()
    connections = [settings.connection(name) for name in dict.fromkeys(databases)]
    redactor = secrets.redactor(settings, os.environ, later=True)
    rings = [Ring(settings.watch_root, one.name) for one in connections]
    watchers = [
        Watcher(connection, ring, redactor, every_s=every)
        for connection, ring in zip(connections, rings, strict=True)
    ]
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    logs.begin()
    names = ", ".join(one.name for one in connections)
    minutes = KEPT.total_seconds() / 60
    typer.echo(f"watching {names} every {every:g} s; the last {minutes:.0f} min are kept in")
    typer.echo(f"  {settings.watch_root}")
    work(watchers, rings, stop)
