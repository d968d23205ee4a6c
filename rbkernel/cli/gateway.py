"""`rbkernel serve`: alerts in."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated

import typer

from rbkernel import config
from rbkernel.cli.output import AsJson, Ending, print_json, print_step
from rbkernel.config import Settings


def serve(
    host: Annotated[str, typer.Option(help="Where to listen, instead of what is configured.")] = "",
    port: Annotated[
        int | None, typer.Option(help="Its port; 0 takes a free one.", min=0, max=65535)
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Say what each sender would see, and end.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Take alerts from Alertmanager, Grafana, PagerDuty, Datadog and others, and keep them."""
    settings = _settings(host, port)
    if check:
        raise Ending(_check(settings, as_json=as_json))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(_serve(settings))


def _settings(host: str, port: int | None) -> Settings:
    settings = config.load()
    given = {
        name: value for name, value in (("host", host), ("port", port)) if value not in ("", None)
    }
    gateway = settings.gateway.model_copy(update=given)
    return settings.model_copy(update={"gateway": gateway})


async def _serve(settings: Settings) -> None:
    from rbkernel.gateway import pages, server
    from rbkernel.gateway.notify import Notifier
    from rbkernel.gateway.store import Store

    store = Store.open(settings.store_url)
    try:
        gateway = server.Server.start(settings, store, pages=pages.handlers(settings, store))
        typer.echo(f"listening on {gateway.address}")
        typer.echo(f"pages at {gateway.address}{pages.BASE}: {pages.who_may_read(settings)}")
        for line in server.warnings(settings.gateway):
            typer.echo(line)
        # links have the port that it listens on, also when that was any free one
        reached = settings.model_copy(update={"gateway": gateway.desk.settings})
        with Notifier(reached, store):
            await server.serve(gateway, typer.echo)
    finally:
        store.close()


def _check(settings: Settings, *, as_json: bool) -> int:
    import dataclasses

    from rbkernel.gateway import serve_check
    from rbkernel.model import Verdict

    findings = serve_check.check(settings)
    if as_json:
        print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        for finding in findings:
            print_step(finding)
    return Verdict.worst(finding.verdict for finding in findings).exit_code
