"""The commands for incidents: `rbkernel incident …`."""

from __future__ import annotations

import dataclasses
import getpass
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from rbkernel import amounts, config
from rbkernel.cli.operations import reviewing
from rbkernel.cli.output import AsJson, Ending, complain, print_json, print_table, progress, tell
from rbkernel.cli.terminal import completing
from rbkernel.displaytext import short_line
from rbkernel.errors import ParameterError

app = typer.Typer(
    help="Incidents: list, show, notes, status updates, close.\n\n"
    "Exit codes: 0 done, 3 error.\n\n"
    "Example: rbkernel incident list --open"
)
# a page and a timeline cannot show longer notes
_MOST_NOTE_BYTES = 64 * 1024
Name = Annotated[
    str, typer.Argument(help="The incident's id.", autocompletion=completing.incidents)
]


@app.command("list")
def list_incidents(
    only_open: Annotated[bool, typer.Option("--open", help="Only open incidents.")] = False,
    as_json: AsJson = False,
) -> None:
    """List incidents, the newest last, and say when the next status update is due.

    Exit codes: 0 listed, 3 error.

    Example: rbkernel incident list --open
    """
    from rbkernel.evidence.incident import IncidentState
    from rbkernel.incidents import status, workflow

    root, now = config.load().evidence_root, datetime.now(UTC)
    known = workflow.list_all(root)
    still_open = [one for one in known if one.record.state is IncidentState.OPEN]
    found = still_open if only_open else known
    if as_json:
        print_json(
            [_summary(one, status.next_due(one.record, now, one.update_every_s)) for one in found]
        )
        return
    print_table(
        ("incident", "state", "age", "found", "title", "status update", "severity"),
        [_row(one, now) for one in found],
    )
    count = amounts.count(len(known), "incident")
    typer.echo(f"{count}, {len(still_open)} open, in {root}")


@app.command("open")
def open_incident(
    title: Annotated[str, typer.Argument(help="What is wrong, in a few words.")],
    severity: Annotated[
        str, typer.Option(help="The severity in your team's words: P1, SEV2, high …")
    ] = "",
    service: Annotated[str, typer.Option(help="The affected service.")] = "",
    name: Annotated[
        str, typer.Option("--id", help="The id of the incident. Default: a new id.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Open an incident by hand, and print its id.

    Exit codes: 0 opened, 3 error.

    Example: rbkernel incident open "Reports are stale" --severity P1
    """
    from rbkernel.model import new_incident_id

    name, title = name or new_incident_id(), _said(title, "title")
    line = _append(name, "opened", title=title, severity=_severity(severity), service=service)
    kept = f": its title stays “{short_line(line.text('title'))}”"
    known = f"{name} already exists{kept}; `rbkernel incident note {name} …` adds to it"
    said = name if line.is_new else known
    tell(said, as_json=as_json, incident=name, new=line.is_new, title=line.text("title"))


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show the alerts, runs, open decisions and timeline of an incident.

    Exit codes: 0 shown, 3 the record was changed after its seal, or error.

    Example: rbkernel incident show INC-20261120-7f3a
    """
    from rbkernel.cli import incident_text
    from rbkernel.incidents import status, workflow
    from rbkernel.runbook.catalogue import POSTMORTEM

    found = workflow.look(config.load().evidence_root, name)
    now = datetime.now(UTC)
    due = status.next_due(found.record, now, found.update_every_s)
    is_written = any(run.runbook == POSTMORTEM for run in found.runs)
    later = status.postmortem_due(found.record, now, is_written=is_written)
    if as_json:
        told = {**_summary(found, due), **_details(found), "postmortem": _due(later)}
        print_json(told)
    else:
        for line in incident_text.incident_lines(found, due, later):
            typer.echo(line)
    if not found.record.is_proven:
        complain(
            f"the record of {name} was changed after the seal: do not trust it. Next:"
            f" `rbkernel evidence verify {name}`"
        )
        raise Ending(3)


@app.command()
def note(
    name: Name,
    text: Annotated[str, typer.Argument(help="The text of the note; - reads standard input.")],
    as_json: AsJson = False,
) -> None:
    """Add a note to an incident, with the time and your name.

    Exit codes: 0 recorded, 3 error.

    Example: rbkernel incident note INC-20261120-7f3a "resumed replay on db2"
    """
    from rbkernel.model import Origin

    _known(name)
    text = _said(_from_input() if text == "-" else text, "note")
    line = _append(name, "note", text=text, origin=Origin.COMMAND)
    said = f"{name}: noted at {line.at[11:19]} UTC by {line.by}"
    tell(said, as_json=as_json, incident=name, at=line.at, by=line.by)


@app.command()
def acknowledge(
    name: Name,
    text: Annotated[str, typer.Argument(help="A remark, such as what you do first.")] = "",
    as_json: AsJson = False,
) -> None:
    """Record that you respond to an incident; escalation for missing answers then stops.

    Exit codes: 0 recorded, 3 error.

    Example: rbkernel incident acknowledge INC-20261120-7f3a "looking at the standby"
    """
    from rbkernel.model import Origin

    name = _known(name).record.merged_into or name
    line = _append(name, "acknowledged", text=text, origin=Origin.COMMAND)
    said = f"{name}: acknowledged at {line.at[11:19]} UTC by {line.by}"
    tell(said, as_json=as_json, incident=name, at=line.at, by=line.by)


@app.command()
def done(
    name: Name,
    plan: Annotated[
        str, typer.Argument(help="The plan that you carried out: its id, or the title's beginning.")
    ],
    text: Annotated[str, typer.Argument(help="What you did, and what the server answered.")],
    as_json: AsJson = False,
) -> None:
    """Record that you carried out a proposed plan; nothing is executed.

    Exit codes: 0 recorded, 3 error.

    Example: rbkernel incident done INC-20261120-7f3a "Resume replay" "t, replay goes on"
    """
    from rbkernel.incidents import plans
    from rbkernel.model import Origin

    _known(name)
    settings = config.load()
    made = plans.record(
        settings.evidence_root,
        name,
        plans.find(plans.proposed(settings.evidence_root, name), plan),
        text,
        by=getpass.getuser(),
        origin=Origin.COMMAND,
        redactor=_redactor(settings),
    )
    said = f"{name}: {made.title} recorded as done at {made.at[11:19]} UTC by {made.by}"
    tell(said, as_json=as_json, incident=name, **dataclasses.asdict(made))


@app.command()
def status(
    name: Name,
    state: Annotated[
        str, typer.Argument(help="Investigating, Identified, Monitoring or Resolved.")
    ] = "",
    impact: Annotated[str, typer.Option(help="What users see.")] = "",
    action: Annotated[str, typer.Option(help="What is being done to resolve the incident.")] = "",
    eta: Annotated[str, typer.Option(help="When the incident will be over.")] = "",
    draft: Annotated[
        bool, typer.Option("--draft", help="Propose the next update; nothing is recorded.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Record a status update and print it to send, or draft the next update.

    Exit codes: 0 recorded or drafted, 3 error.

    Example: rbkernel incident status INC-20261120-7f3a --draft
    """
    from rbkernel.cli import incident_text
    from rbkernel.evidence.incident import StatusUpdate
    from rbkernel.incidents import status as updates
    from rbkernel.incidents import workflow

    now = datetime.now(UTC)
    if draft:
        found = workflow.look(config.load().evidence_root, name)
        made = updates.draft(found.record, found.timeline, now)
        due = updates.next_due(found.record, now, found.update_every_s)
        if as_json:
            print_json({**dataclasses.asdict(made), "due": _due(due)})
            return
        for line in incident_text.drafted(name, made, due):
            typer.echo(line)
        return
    _known(name)
    recorded = _append(
        *(name, "status"), status=_status(state), impact=impact, action=action, eta=eta
    )
    said = {part: recorded.text(part) for part in ("status", "impact", "action", "eta")}
    update = StatusUpdate(at=recorded.at, by=recorded.by, **said)
    if as_json:
        print_json({**dataclasses.asdict(update), "text": updates.update_text(update)})
        return
    typer.echo(updates.update_text(update))


@app.command()
def close(
    name: Name,
    resolution: Annotated[str, typer.Option(help="How the incident was resolved.")] = "",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="A folder for report and archive. Default: the working folder."
        ),
    ] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Close the incident although runs have not finished.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Close and seal an incident, export report and archive, and print the path to attach.

    Exit codes: 0 closed, 3 not closed, or error.

    Example: rbkernel incident close INC-20261120-7f3a --resolution "replay resumed"
    """
    from rbkernel.cli import incident_text
    from rbkernel.incidents import workflow

    settings = config.load()
    progress(f"sealing and exporting {name}")
    closed = workflow.close(
        *(settings, name),
        by=getpass.getuser(),
        resolution=resolution,
        folder=_folder(output),
        redactor=_redactor(settings),
        anyway=anyway,
    )
    if as_json:
        print_json(dataclasses.asdict(closed))
        return
    for line in incident_text.closed(closed):
        typer.echo(line)


app.command("postmortem")(reviewing.postmortem_state)


@app.command()
def reopen(
    name: Name,
    why: Annotated[str, typer.Argument(help="The reason.")],
    as_json: AsJson = False,
) -> None:
    """Reopen a closed incident; sealed evidence stays sealed.

    Exit codes: 0 reopened, 3 error.

    Example: rbkernel incident reopen INC-20261120-7f3a "it came back"
    """
    from rbkernel.evidence.incident import IncidentState

    state: str = _known(name).record.state
    if state == IncidentState.CLOSED:
        _append(name, "reopened", why=why)
        state = "reopened"
    tell(f"{name} is {state}", as_json=as_json, incident=name, state=state)


def _known(name: str) -> Any:
    """Return an incident; raise an error if it does not exist, because the id may be mistyped."""
    from rbkernel.incidents import workflow

    return workflow.look_to_write(config.load().evidence_root, name)


def _append(name: str, kind: str, **fields: str) -> Any:
    """Append a line to an incident's record, and warn if a secret in it was redacted."""
    from rbkernel.evidence import incident, store

    settings = config.load()
    redactor = _redactor(settings)
    store.prepare(settings.evidence_root, group=settings.evidence.group_access)
    said: dict[str, Any] = {**fields, "redactor": redactor}
    line = incident.append(settings.evidence_root, name, kind, by=getpass.getuser(), **said)
    if redactor.counts:
        complain(f"redacted what looks like a secret: {', '.join(redactor.counts)}")
    return line


def _redactor(settings: config.Settings) -> Any:
    """Return a redactor that knows the secrets of the configuration and the environment."""
    from rbkernel.kernel import secrets

    return secrets.redactor(settings, os.environ)


def _said(text: str, what: str) -> str:
    """Return a text for the record; raise an error if the text is empty."""
    if not text.strip():
        raise ParameterError(
            f"the {what} is empty: nothing was written",
            where=f"rbkernel incident {'open' if what == 'title' else what}",
            next_step=f"give the {what} in quotes",
        )
    return text


def _from_input() -> str:
    """Read a note from standard input; raise an error if it is too long."""
    data = sys.stdin.buffer.read(_MOST_NOTE_BYTES + 1)
    if len(data) > _MOST_NOTE_BYTES:
        raise ParameterError(
            f"a note is at most {_MOST_NOTE_BYTES // 1024} KiB, and this is more: nothing was"
            " written",
            where="standard input",
            next_step="note only the part that matters, for example with `… | tail -n 50`",
        )
    return data.decode(errors="replace").strip()


def _status(word: str) -> str:
    from rbkernel.evidence.incident import STATUSES

    known = {one.lower(): one for one in STATUSES}
    if word.lower() not in known:
        raise ParameterError(
            f"{word!r} is not a status" if word else "no status was given",
            where="rbkernel incident status",
            next_step=f"use one of {', '.join(STATUSES)}; or --draft for a proposal",
        )
    return known[word.lower()]


def _severity(words: str) -> str:
    from rbkernel.model import Severity

    try:
        Severity.parse(words or "low")
    except ValueError as error:
        raise ParameterError(
            str(error), where="--severity", next_step="use one of these words, such as high or SEV2"
        ) from error
    return words


def _folder(output: Path | None) -> Path:
    folder = output or Path()
    if not folder.is_dir():
        raise ParameterError(
            "report and archive need a folder, and this is not a folder",
            where=str(folder),
            next_step="create the folder, or change -o",
        )
    return folder


def _row(one: Any, now: datetime) -> tuple[str, ...]:
    from rbkernel.cli import incident_text
    from rbkernel.evidence.incident import instant
    from rbkernel.incidents import status

    record = one.record
    due = status.next_due(record, now, one.update_every_s)
    return (
        record.id,
        one.standing.state,
        # its largest unit is enough, such as 5 min or 12 d
        " ".join(amounts.duration((now - instant(record.began.at)).total_seconds()).split()[:2]),
        one.verdict,
        short_line(one.title),
        incident_text.to_look_at(record, due),
        short_line(record.severity),
    )


def _due(due: Any) -> dict[str, Any] | None:
    return {"at": due.at.isoformat(), "overdue": due.overdue} if due else None


def _summary(one: Any, due: Any) -> dict[str, Any]:
    record = one.record
    lasted = record.duration
    return {
        "incident": record.id,
        "title": one.title,
        "state": record.state,
        "severity": record.severity,
        "service": record.service,
        "verdict": one.verdict,
        "began": dataclasses.asdict(record.began),
        "resolved": dataclasses.asdict(record.resolved) if record.resolved else None,
        "duration_s": None if lasted is None else lasted.total_seconds(),
        "opened_at": record.opened_at,
        "closed_at": record.closed_at,
        "resolution": record.resolution,
        "status": record.statuses[-1].status if record.statuses else "",
        "next_update": _due(due),
        "runs": [run.run_id for run in one.runs],
        "damaged": [str(damage) for damage in record.damaged],
    }


def _details(one: Any) -> dict[str, Any]:
    return {
        "alerts": [dataclasses.asdict(alert) for alert in one.whole.alerts],
        "runs": [dataclasses.asdict(run) for run in one.runs],
        "actions": [
            {
                "plan": action.plan,
                "title": action.facts.get("title", ""),
                "digest": action.digest,
                "state": action.state(datetime.now(UTC)),
                "approved_by": [approval.by for approval in action.approvals],
                "result": action.result,
            }
            for action in one.record.actions
        ],
        "waiting": [
            {"run_id": asked.run_id, **dataclasses.asdict(asked.decision)} for asked in one.waiting
        ],
        "decided": [
            {"run_id": asked.run_id, **dataclasses.asdict(asked.decision)}
            for asked in one.asked
            if asked.decision.choice
        ],
        "continues": dict(one.continues),
        "timeline": [dataclasses.asdict(entry) for entry in one.timeline],
    }
