"""The command `rbkernel decide`: answer a question of an incident."""

from __future__ import annotations

import dataclasses
import getpass
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rbkernel import config
from rbkernel.cli.output import AsJson, print_json
from rbkernel.cli.terminal import completing

if TYPE_CHECKING:
    from rbkernel.config import Settings


def decide(
    what: Annotated[
        str,
        typer.Argument(help="An incident id, or a run id.", autocompletion=completing.incidents),
    ],
    option: Annotated[
        str, typer.Argument(help="The answer: an option, its beginning, or its number.")
    ] = "",
    question: Annotated[
        str,
        typer.Option(help="The question: its short name, or its beginning. Default: the open one."),
    ] = "",
    by: Annotated[str, typer.Option(help="Who decides. Default: your user name.")] = "",
    note: Annotated[str, typer.Option(help="Why.")] = "",
    again: Annotated[
        bool, typer.Option("--again", help="Replace an answer that was given before.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Answer a question of an incident, or list its questions with the recommendation and reason.

    The first answer counts, in all runs of the incident.

    Exit codes: 0 answered or listed, 3 not recorded, for example because another answer was given
    before, or error.

    Example: rbkernel decide INC-20261120-7f3a "resume replay"
    """
    from rbkernel.cli.output import complain
    from rbkernel.evidence import store
    from rbkernel.incidents import questions
    from rbkernel.kernel import secrets
    from rbkernel.model import DecisionState, Origin

    settings = config.load()
    found = questions.questions(settings.evidence_root, what)
    if not option:
        _list(found, as_json=as_json)
        return
    asked = questions.choose(found, question, again=again)
    choice = questions.pick(option, asked.decision.options, where=asked.decision.question)
    redactor = secrets.redactor(settings, os.environ)
    store.prepare(settings.evidence_root, group=settings.evidence.group_access)
    answer = questions.answer(
        settings.evidence_root,
        found,
        asked,
        choice,
        by=_name(by),
        origin=Origin.COMMAND,
        note=note,
        again=again,
        redactor=redactor,
    )
    if redactor.counts:
        complain(f"redacted what looks like a secret: {', '.join(redactor.counts)}")
    if as_json:
        print_json({"incident": found.incident, **dataclasses.asdict(answer)})
        return
    for line in _answered(found.incident, answer):
        typer.echo(line)
    if asked.decision.state is DecisionState.PARKED:
        typer.echo(_next(settings, found.incident, asked.run_id))


def _next(settings: Settings, name: str, run_id: str) -> str:
    """Return what continues a run that asked: the gateway that started it, or a command."""
    from rbkernel.evidence import incident

    record = incident.look(settings.evidence_root, name)
    of_gateway = any(one.run_id == run_id and one.queued_at for one in record.runs)
    if of_gateway and settings.queue.resume:
        return "Next: the gateway continues the run that asked, once all its questions are answered"
    return f"Next: `rbkernel resume {name}` continues the run that asked"


def _name(by: str) -> str:
    """Return who decides; a name that was given is recorded together with the user's own name."""
    user = getpass.getuser()
    return f"{by} (entered by {user})" if by and by != user else user


def _list(found: Any, *, as_json: bool) -> None:
    if as_json:
        said = [
            {"run_id": one.run_id, "runbook": one.runbook, **dataclasses.asdict(one.decision)}
            for one in found.asked
        ]
        print_json({"incident": found.incident, "questions": said})
        return
    for line in _listed(found):
        typer.echo(line)


def _listed(found: Any) -> Iterator[str]:
    from rbkernel.displaytext import short_line

    if not found.waiting:
        yield f"no open question in {found.incident}"
    for one in found.waiting:
        decision = one.decision
        about = ", ".join(filter(None, [one.runbook, one.server, f"run {one.run_id}"]))
        yield f"{one.name} {short_line(decision.question)} ({short_line(about)})"
        for place, option in enumerate(decision.options, 1):
            recommended = " (recommended)" if option == decision.recommended else ""
            yield f"   {place} {short_line(option)}{recommended}"
        if decision.reason:
            yield f"   Why: {short_line(decision.reason)}"
        if decision.findings:
            named = ", ".join(f"{title} {verdict}" for title, verdict in decision.findings[:3])
            yield f"   Findings: {short_line(named)}"
        if not decision.identity:
            yield "   An earlier version asked this: answer it in a working copy,"
            yield f"   `rbkernel open {one.run_id}`"
    for one in found.asked:
        if one.decision.choice:
            told = f"{short_line(one.decision.choice)} ({short_line(one.decision.by_whom)})"
            yield f"decided: {short_line(one.decision.question)} {told}"
        if one.acted:
            yield f"   done: {short_line(one.acted.done)}. Next: look again"
    if found.waiting:
        which = f" --question {found.waiting[0].name}" if found.waiting[0].name else ""
        yield f"Next: `rbkernel decide {found.incident} OPTION{which}`"


def _answered(incident: str, answer: Any) -> Iterator[str]:
    from datetime import UTC, datetime

    from rbkernel.displaytext import short_line

    yield f"{incident}: {short_line(answer.question)} {short_line(answer.told(datetime.now(UTC)))}"
