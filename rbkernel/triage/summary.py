"""`rb.note` and `rb.summary`: store remarks of a human, and end a runbook."""

from __future__ import annotations

from IPython.display import display

from rbkernel.arguments import checked
from rbkernel.evidence import current
from rbkernel.model import now
from rbkernel.render import cards
from rbkernel.triage.context import triage


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
def summary() -> None:
    """End the runbook: show its findings and the open decisions."""
    run = triage()
    run.finish()
    run.show()
