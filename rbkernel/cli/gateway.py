"""The command `rbkernel serve`: receive alerts and run runbooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rbkernel import amounts, config
from rbkernel.cli.output import AsJson, Ending, print_findings, print_json
from rbkernel.gateway import logs

if TYPE_CHECKING:
    from rbkernel.config import Settings


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on. Default: the configured one.")
    ] = "",
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; 0 for a free one.", min=0, max=65535)
    ] = None,
    kernels: Annotated[
        int | None,
        typer.Option(
            help="How many runs to execute at the same time; 0 only receives alerts. Default: as"
            " configured.",
            min=0,
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Test each sender and the configuration, then exit.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Receive alerts (Alertmanager, Grafana, PagerDuty, Datadog, others) and run runbooks.

    Runs until SIGTERM or Ctrl-C. Exit codes: 0 stopped by a signal, 3 error; with --check 0 ok,
    1 warning, 2 critical.

    Example: rbkernel serve --check
    """
    import asyncio

    settings = _settings(host, port, kernels)
    if check:
        raise Ending(_check(settings, as_json=as_json))
    logs.begin()
    asyncio.run(_serve(settings))


def _settings(host: str, port: int | None, kernels: int | None) -> Settings:
    settings = config.load()
    given = {
        name: value for name, value in (("host", host), ("port", port)) if value not in ("", None)
    }
    gateway = settings.gateway.model_copy(update=given)
    queue = settings.queue
    if kernels is not None:
        queue = queue.model_copy(update={"kernels": kernels})
    return settings.model_copy(update={"gateway": gateway, "queue": queue})


async def _serve(settings: Settings) -> None:
    import asyncio

    from rbkernel.gateway.assembly import assemble, must_be_set

    must_be_set(settings)
    from rbkernel.gateway import http_connections, server

    http_connections.raise_file_limit()
    # the port is bound before the slow imports, so that a port in use is reported at once
    bound = server.bind(settings)
    settings = bound.settings  # these settings contain the real port, which links need

    from rbkernel.gateway import web as pages
    from rbkernel.gateway.jobs.storage.store import Store

    store = Store.open(settings.store_url, upgrade=True)
    try:
        parts = assemble(settings, store)
        # imported last because it is slow: a wrong configuration is reported first
        from rbkernel.gateway.jobs.supervisor import Supervisor, advice

        work = Supervisor(settings, store, recorded=parts.notifier.wake)
        gateway = server.Server.start(bound, store, work=work, pages=parts.pages)
        await asyncio.to_thread(work.start)
        typer.echo(f"listening on {gateway.address}")
        typer.echo(f"pages at {gateway.address}{pages.BASE}: {pages.who_may_read(settings)}")
        typer.echo(
            f"executes up to {amounts.count(work.kernels, 'run')} at the same time, from the queue"
            f" in {store.where}"
        )
        told = [*server.warnings(settings.gateway), *pages.warnings(settings), *advice(store)]
        for line in told:
            typer.echo(line)
        with parts.notifier:
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
        print_findings(findings)
    return Verdict.worst(finding.verdict for finding in findings).exit_code
