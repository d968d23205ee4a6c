"""The command `rbkernel why`: find the cause of a server's problem, without a notebook."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rbkernel.cli.output import AsJson, Ending, print_json
from rbkernel.model import Finding, Verdict

if TYPE_CHECKING:
    from rbkernel.checks.answer import Answer
    from rbkernel.config import Settings
    from rbkernel.sources.postgres.causes import Cause
    from rbkernel.sources.postgres.diagnosis import Diagnosis
    from rbkernel.sources.postgres.situation import Situation

# the most rows of the histogram that are printed
_WAITS = 8


def why(
    db: Annotated[str, typer.Argument(help="The connection.")],
    seconds: Annotated[
        float,
        typer.Option(
            help="For how many seconds to sample what busy sessions wait for; 0: no sampling.",
            min=0,
            max=300,
        ),
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Find the cause of a problem on a server and its configured standby.

    Exit codes: 0 no cause found, 1 warning, 2 critical, 3 unknown or error.

    Example: rbkernel why orders-primary
    """
    from rbkernel import config
    from rbkernel.sources.postgres import history
    from rbkernel.sources.postgres.connection.session import Session
    from rbkernel.sources.postgres.diagnosis import looked
    from rbkernel.sources.postgres.ring import Ring

    settings = config.load()
    with ExitStack() as stack:

        def opened(name: str) -> Session:
            session = Session(settings.connection(name), application_name="rbkernel/why")
            return stack.enter_context(closing(session))

        found = looked(
            db,
            opened,
            standby=settings.connection(db).standby,
            primary=settings.primary_of(db),
            seconds=seconds,
        )
    ring = Ring(settings.watch_root, db)
    glances = ring.glances()
    causes = [
        _FoundCause(
            cause=cause,
            since=history.first_seen(cause, glances),
            connection=seen.situation.connection,
            parameters=_parameters(cause, seen.situation, settings),
            reached=seen.reached,
        )
        for seen in found
        for cause in seen.causes
    ]
    causes.sort(key=lambda one: -one.cause.verdict.rank)
    earlier = list(history.findings(found[0], ring.earlier(glances)))
    if as_json:
        print_json(_as_json(found, causes, earlier))
    else:
        _print(db, found, causes)
        for finding in earlier:
            typer.echo(f"EARLIER {finding.cause}")
            typer.echo(f"  next: {finding.next_step}")
    raise Ending(_verdict(found).exit_code)


@dataclass(frozen=True, kw_only=True)
class _FoundCause:
    """A cause of a problem, the connection of its server, and when it was first seen, if known.

    ``parameters`` are the options of `rbkernel run` for the runbook to open.
    """

    cause: Cause
    connection: str
    parameters: str
    reached: bool
    since: str


def _parameters(cause: Cause, situation: Situation, settings: Settings) -> str:
    """Return the parameters of the runbook that a cause opens, as options of `rbkernel run`."""
    from rbkernel.sources.postgres.overview import as_options, parameters

    name = situation.connection
    # the primary of a standby may not be configured
    primary = settings.primary_of(name) or "<primary>"
    standby = name if situation.standby else ""
    return as_options(parameters(cause.opens, name, primary=primary, standby=standby))


def _verdict(found: Sequence[Diagnosis]) -> Verdict:
    return Verdict.worst(seen.verdict for seen in found)


def _print(db: str, found: Sequence[Diagnosis], causes: Sequence[_FoundCause]) -> None:
    from rbkernel.sources.postgres.history import clock

    if not causes:
        slots = ", ".join(_slots(seen.situation) for seen in found)
        typer.echo(f"OK no cause found: {slots}; no long waits")
    for one in causes:
        cause = one.cause
        elsewhere = "" if one.connection in {db, *cause.headline.split()} else one.connection
        where = f"{elsewhere}: " if elsewhere else ""
        typer.echo(f"{cause.verdict.value.upper()} {where}{cause.headline}")
        typer.echo(f"  why:  {cause.mechanism}")
        if one.since:
            typer.echo(f"  seen: since {clock(one.since)}, by rbkernel watch")
        for excluded in cause.ruled_out:
            typer.echo(f"  not:  {excluded}")
        if cause.next_step:
            typer.echo(f"  next: {cause.next_step}")
        # a runbook cannot examine an unreachable server either
        if cause.opens and one.reached:
            typer.echo(f"  open: rbkernel run {cause.opens} {one.parameters}")
    if found[0].sampled is not None:
        _print_waits(found[0].sampled)


def _slots(situation: Situation) -> str:
    return f"{situation.used} of {situation.usable} slots of {situation.connection} used"


def _print_waits(sampled: Answer) -> None:
    from rbkernel.sources.postgres.sampling import waits

    if sampled.provenance.reason:
        typer.echo(f"waits: unknown, {sampled.provenance.reason}")
        return
    typer.echo(f"waits of the busy sessions ({sampled.provenance.notes[0]}):")
    for wait in waits(sampled)[:_WAITS]:
        typer.echo(f"  {wait.share_pct:3.0f} % {wait.wait} ({wait.application})")
    if not sampled.rows:
        typer.echo("  no session was busy")


def _as_json(
    found: Sequence[Diagnosis], causes: Sequence[_FoundCause], earlier: Sequence[Finding]
) -> dict[str, Any]:
    from rbkernel.sources.postgres import history

    here = found[0]
    return {
        "verdict": _verdict(found).value,
        "connection": here.situation.connection,
        "standby": "".join(seen.situation.connection for seen in found[1:]),
        "at": here.situation.at,
        "causes": [
            {
                "connection": one.connection,
                **_cause(one.cause),
                "first_seen": one.since or None,
            }
            for one in causes
        ],
        "earlier": [
            {"said": one.cause, "over": history.is_over(one), "next_step": one.next_step}
            for one in earlier
        ],
        **({"waits": here.sampled.records()} if here.sampled is not None else {}),
    }


def _cause(cause: Cause) -> dict[str, Any]:
    remedy = cause.remedy
    return {
        "verdict": cause.verdict.value,
        "headline": cause.headline,
        "mechanism": cause.mechanism,
        "culprits": [dataclasses.asdict(one) for one in cause.culprits],
        "victims": dataclasses.asdict(cause.victims),
        "ruled_out": cause.ruled_out,
        "next_step": cause.next_step,
        "opens": cause.opens,
        "action": remedy
        and {
            "verb": remedy.verb,
            "pids": [target.pid for target in remedy.targets],
            "cancels": [target.pid for target in remedy.cancelled],
            "frees_at_once": len(remedy.freed.at_once),
            "frees_later": len(remedy.freed.later),
            "leaves": remedy.left,
            "loss": remedy.loss,
            "sure": remedy.sure,
        },
    }
