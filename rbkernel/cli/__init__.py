"""The command line `rbkernel`. An error is printed as one line on standard error.

Exit codes of all commands: 0 ok or same; 1 warning or different; 2 critical; 3 unknown, usage,
error or incomplete.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
import traceback
from typing import Annotated, Any, Literal

import typer

from rbkernel import __version__, config
from rbkernel.cli import (
    acting,
    connections,
    deciding,
    documents,
    evidence,
    extending,
    gateway,
    importing,
    incidents,
    kernel,
    links,
    opening,
    postmortem,
    quality,
    quarantine,
    queries,
    reconciling,
    watching,
    why,
    working,
)
from rbkernel.cli.drills import drilling
from rbkernel.cli.operations import configuring, maintenance, notifying, stats
from rbkernel.cli.output import (
    AsJson,
    Ending,
    complain,
    print_findings,
    print_json,
    progress,
    tell,
)
from rbkernel.cli.parameters import Parameters, TakesParameters, name_and_value
from rbkernel.cli.terminal import completing, visible_streams
from rbkernel.errors import RbkernelError

ERROR = 3

app = typer.Typer(
    help="Runbooks as notebooks: run them, keep the evidence, practise in a sandbox.\n\n"
    "Exit codes: 0 ok or same, 1 warning or different, 2 critical, 3 unknown, usage, error or"
    " incomplete.\n\n"
    "Example: rbkernel run RUN-005",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
sandbox_app = typer.Typer(
    help="A throw-away PostgreSQL primary and standby, with faults.\n\n"
    "Exit codes: 0 done, 3 error; `status` has 1 for a sandbox that is down.\n\n"
    "Example: rbkernel sandbox up"
)
app.add_typer(acting.app, name="action", no_args_is_help=True)
app.add_typer(configuring.app, name="config", no_args_is_help=True)
app.add_typer(evidence.app, name="evidence", no_args_is_help=True)
app.add_typer(incidents.app, name="incident", no_args_is_help=True)
app.add_typer(kernel.app, name="kernel", no_args_is_help=True)
app.add_typer(maintenance.app, name="maintenance", no_args_is_help=True)
app.add_typer(sandbox_app, name="sandbox", no_args_is_help=True)
app.command("list")(documents.list_runbooks)
app.command("open")(opening.open_copy)
app.command()(deciding.decide)
app.command()(postmortem.postmortem)
app.command()(documents.show)
app.command()(documents.search)
app.command()(documents.new)
app.command()(documents.schema)
app.command()(connections.init)
app.command()(connections.doctor)
app.command()(connections.grant)
app.command(cls=TakesParameters)(queries.query)
app.command()(why.why)
app.command()(watching.watch)
app.command("import")(importing.import_runbook)
app.command()(quality.lint)
app.command()(quality.coverage)
app.command()(drilling.drill)
app.command()(stats.stats)
app.command("extensions")(extending.show)
app.command()(reconciling.reconcile)
app.command()(gateway.serve)
app.command()(working.worker)
app.command()(working.route)
app.command()(quarantine.quarantine)
app.command()(links.link)
app.command()(notifying.notify)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"rbkernel {__version__}")
        raise typer.Exit


@app.command(cls=TakesParameters)
def run(
    runbook: Annotated[
        str,
        typer.Argument(
            help="A runbook's id, or the path of a notebook.", autocompletion=completing.runbooks
        ),
    ],
    parameter: Parameters = [],  # noqa: B006  # typer reads the default, nobody changes it
    incident: Annotated[str, typer.Option(help="The incident that the run joins.")] = "",
    exit_zero_on_finding: Annotated[
        bool, typer.Option(help="Exit with 0 if the run finished, also if findings are not ok.")
    ] = False,
    as_json: AsJson = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            help="Time-out in seconds; the run is then stopped and sealed. 0: no time-out."
            " Default: run_timeout_s of [queue], 1800.",
            min=0,
        ),
    ] = None,
    run_id: Annotated[str, typer.Option("--run-id", hidden=True)] = "",
    continues: Annotated[str, typer.Option(hidden=True)] = "",
    sha256: Annotated[str, typer.Option(hidden=True)] = "",
    parameters_on_stdin: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Execute a runbook headless, and seal its evidence.

    Exit codes: 0 ok, 1 warning, 2 critical, 3 unknown, not finished, or error.

    Example: rbkernel run RUN-005 -p db=orders-primary
    """
    from rbkernel.run import runner
    from rbkernel.run.stopping import Stop

    # a worker sends the parameters as JSON, because an argument is limited in length and characters
    given = json.load(sys.stdin) if parameters_on_stdin else {}
    settings = config.load()
    # until the process ends, so that another Ctrl-C does not suppress summary and exit code
    stop = Stop(settings.queue.run_timeout_s if timeout is None else timeout)
    stop.begin()
    outcome = runner.run(
        runbook,
        {**given, **dict(name_and_value(text) for text in parameter)},
        settings,
        incident=incident,
        run_id=run_id,
        continues=continues,
        sha256=sha256,
        progress=sys.stderr.isatty(),
        stop=stop,
    )
    _print(outcome, as_json=as_json)
    raise Ending(0 if exit_zero_on_finding and not outcome.failure else outcome.exit_code)


@app.command()
def resume(
    what: Annotated[
        str,
        typer.Argument(
            help="A run id, or an incident id: its newest run that asked.",
            autocompletion=completing.incidents,
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Continue a run whose questions are answered now: run it again, with the answers.

    It is a new run of the same document with the same parameters, in the same incident. It is
    refused if a question is open or the runbook has changed.

    Exit codes: 0 ok, 1 warning, 2 critical, 3 unknown, not finished, refused, or error.

    Example: rbkernel resume INC-20261120-7f3a
    """
    from rbkernel.incidents import resuming
    from rbkernel.run.stopping import Stop

    settings = config.load()
    stop = Stop(settings.queue.run_timeout_s)
    stop.begin()
    outcome = resuming.resume(what, settings, progress=sys.stderr.isatty(), stop=stop)
    _print(outcome, as_json=as_json)
    raise Ending(outcome.exit_code)


@app.command()
def demo() -> None:
    """Start the sandbox, inject three faults, and run the runbooks that find them.

    Exit codes: 0 every runbook found its fault, 3 a fault was not found, or error.

    Example: rbkernel demo
    """
    from rbkernel.sandbox import demo as demonstration

    raise Ending(demonstration.show())


@sandbox_app.command()
def up(
    port: Annotated[
        int | None, typer.Option(help="Port of the primary of the sandbox. Default: a free port.")
    ] = None,
    extra: Annotated[
        Literal["service"] | None,
        typer.Option(
            "--with",
            help="service: also a simulated shop, with a real Prometheus and Alertmanager.",
        ),
    ] = None,
    gateway: Annotated[
        str,
        typer.Option(help="With --with service: where alerts are sent. Default: the usual port."),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Start the sandbox: a PostgreSQL primary and standby with traffic.

    Exit codes: 0 running, 3 error.

    Example: rbkernel sandbox up
    """
    from rbkernel.sandbox import control

    made = control.up(
        port=port,
        with_service=extra is not None,
        gateway=gateway or control.GATEWAY,
        report=progress,
    )
    _tell_status(made, as_json=as_json)


@sandbox_app.command()
def status(as_json: AsJson = False) -> None:
    """Show whether the sandbox is up, and which faults are injected.

    Exit codes: 0 up, 1 down, 3 broken, or error.

    Example: rbkernel sandbox status
    """
    from rbkernel.sandbox import control

    found = control.status()
    _tell_status(found, as_json=as_json)
    raise Ending({"up": 0, "down": 1}.get(found.state, ERROR))


@sandbox_app.command()
def inject(
    fault: Annotated[
        str, typer.Argument(help="The fault to inject; an unknown name lists all faults.")
    ],
    seed: Annotated[
        int,
        typer.Option(help="Seed of the fault's random values; the same seed gives the same fault."),
    ] = 1,
    as_json: AsJson = False,
) -> None:
    """Inject a fault, and print what a runbook must find.

    Exit codes: 0 injected, 3 error.

    Example: rbkernel sandbox inject replay-paused
    """
    from rbkernel.sandbox import control

    injected = control.inject(fault, seed)
    tell(
        f"injected {injected.fault} (seed {injected.seed}). What a runbook must find:",
        json.dumps(injected.truth, indent=2, default=str),
        as_json=as_json,
        **dataclasses.asdict(injected),
    )


@sandbox_app.command()
def heal(
    fault: Annotated[
        str | None, typer.Argument(help="The fault to remove. Default: all faults.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remove injected faults.

    Exit codes: 0 removed, 3 error.

    Example: rbkernel sandbox heal replay-paused
    """
    from rbkernel.sandbox import control

    healed = control.heal(fault)
    said = f"healed: {', '.join(healed) or 'there was no fault'}"
    tell(said, as_json=as_json, healed=list(healed))


@sandbox_app.command()
def down(as_json: AsJson = False) -> None:
    """Stop the sandbox and delete its data.

    Exit codes: 0 stopped, 3 error.

    Example: rbkernel sandbox down
    """
    from rbkernel.sandbox import control

    was_up = control.down()
    said = "the sandbox is down" if was_up else "the sandbox was not running"
    tell(said, as_json=as_json, state="down", was_up=was_up)


def main() -> None:
    """Run the command line, and exit with a documented exit code in every case."""
    with visible_streams():
        code = _exit_code()
    sys.exit(code)


@functools.cache
def command() -> Any:
    """Return the command line as one object of Click; the fork server makes it in advance."""
    return typer.main.get_command(app)


def _exit_code() -> int:
    code = 0
    try:
        command()()
    except Ending as ending:
        code = ending.code
    except SystemExit as ending:
        code = ERROR if ending.code else 0
    except RbkernelError as error:
        complain(error)
        code = ERROR
    except KeyboardInterrupt:
        complain("interrupted")
        code = ERROR
    except Exception:  # noqa: BLE001  # the outermost handler: any error exits with 3
        traceback.print_exc()
        complain("this is a bug in rbkernel. Next: report it with the lines above")
        code = ERROR
    return code


def _print(outcome: Any, *, as_json: bool) -> None:
    if as_json:
        print_json(outcome.summary())
    else:
        _print_outcome(outcome)


def _print_outcome(outcome: Any) -> None:
    from rbkernel.cli import incident_text
    from rbkernel.evidence import incident
    from rbkernel.render import verification
    from rbkernel.render.cards import decision_text

    print_findings(outcome.record.findings)
    for decision in outcome.record.decisions:
        typer.echo(decision_text(decision))
    if outcome.failure:
        complain(f"the run did not finish: {outcome.failure}")
    typer.echo(f"{outcome.verdict.value.upper()} in {outcome.duration_s:.1f} s")
    typer.echo(f"incident {outcome.incident}")
    typer.echo(f"evidence {outcome.folder}")
    if outcome.sealed:
        typer.echo(f"head     {outcome.head}")
        for line in verification.signed(outcome.sealed):
            typer.echo(f"         {line}")
    for line in incident_text.outdated(
        incident.look(config.load().evidence_root, outcome.incident)
    ):
        typer.echo(line)


def _tell_status(status: Any, *, as_json: bool) -> None:
    if as_json:
        print_json(dataclasses.asdict(status))
        return
    typer.echo(f"the sandbox is {status.state}")
    for problem in status.problems:
        typer.echo(f"  {problem}")
    if status.state != "up":
        return
    typer.echo(f"  PostgreSQL {status.server_version}, in {status.home}")
    typer.echo(
        f"  primary 127.0.0.1:{status.primary_port}, standby 127.0.0.1:{status.standby_port}"
    )
    typer.echo(f"  connections: {', '.join(status.connections)}")
    for part, port in status.service_ports.items():
        typer.echo(f"  {part}: http://127.0.0.1:{port}")
    for fault in status.faults:
        typer.echo(f"  fault: {fault.fault} (seed {fault.seed}) since {fault.injected_at}")
