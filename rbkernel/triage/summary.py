"""`rb.note` and `rb.summary`: remarks of a human, and the end of a runbook."""

from __future__ import annotations

from IPython.display import display

from rbkernel.arguments import checked
from rbkernel.evidence import current
from rbkernel.model import now
from rbkernel.render import cards
from rbkernel.triage.context import triage


@checked
def note(text: str) -> None:
    """Keep a remark with the run: what was seen elsewhere, who was called, what was tried."""
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
