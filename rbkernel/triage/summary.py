"""`rb.acknowledge`, `rb.note` and `rb.summary`: what a human says, and the end of a runbook."""

from __future__ import annotations

from functools import partial

from IPython.display import display

from rbkernel.arguments import checked
from rbkernel.evidence import current, incident
from rbkernel.evidence.incident import IncidentRecord, Line
from rbkernel.model import Origin, now
from rbkernel.render import cards
from rbkernel.triage.context import headless, triage
from rbkernel.triage.decisions import decided
from rbkernel.triage.panel import bar


@checked
def note(text: str) -> None:
    """Store a remark with the run, for example who was called or what was tried."""
    triage()
    at = now()
    current().event("note", text=text, at=at)
    html = cards.message_card("note", f"{text} ({at})", "open")
    data = {"text": text, "at": at}
    display(cards.bundle("note", data, html, f"NOTE     {text} ({at})"), raw=True)


@checked
def acknowledge(text: str = "") -> None:
    """Record in the incident that you respond to it, with an optional remark.

    A headless run records nothing, because nobody responds.

    Raises
    ------
    EvidenceError
        The incident's record cannot be written.
    """
    record = incident.remaining(partial(incident.look, current().root), triage().run.incident)
    name = record.id
    if headless():
        say = "Not acknowledged: nobody is present in a headless run."
    else:
        line = _acknowledged(record, text) or incident.append(
            current().root,
            name,
            "acknowledged",
            by=decided.user(),
            redactor=current().redactor,
            text=text,
            origin=Origin.NOTEBOOK,
        )
        say = f"{name} is acknowledged by {line.by} since {line.at[11:19]} UTC"
    html = cards.message_card("incident", say, "open")
    display({"text/html": html, "text/plain": say}, raw=True)


def _acknowledged(record: IncidentRecord, text: str) -> Line | None:
    """Return the line with which this user acknowledged the incident before, as by *Run All*."""
    if not record.acknowledged:
        return None  # nobody has since it was reopened
    said = ("acknowledged", decided.user(), text)
    return next((one for one in record.lines if (one.kind, one.by, one.text("text")) == said), None)


@checked
def summary() -> None:
    """End the runbook: show its findings and the open decisions."""
    run = triage()
    run.finish()
    run.show()
    bar.show()
