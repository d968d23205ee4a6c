"""The bar under the verdict at the end of a runbook: state, and what to do next, in one place."""

from __future__ import annotations

from datetime import UTC, datetime

import ipywidgets as widgets
from IPython.display import DisplayHandle, display

from rbkernel.errors import RbkernelError
from rbkernel.evidence import current, incident
from rbkernel.model import DecisionState, Origin
from rbkernel.render import cards
from rbkernel.triage import diagnose
from rbkernel.triage.context import headless, triage
from rbkernel.triage.decisions import decided
from rbkernel.triage.decisions.buttons import without_kernel
from rbkernel.triage.panel.note_box import note_box, with_text

_UNANSWERED = frozenset({DecisionState.OPEN, DecisionState.PARKED})


def show() -> None:
    """Show the bar; nothing in a headless run, where nobody can press a button."""
    if headless():
        return
    state = display(_state(), raw=True, display_id=True)
    look = widgets.Button(description="Look again", tooltip="ask the servers for causes again")
    call = widgets.Button(description="Escalate", tooltip="whom to call, and what to tell them")
    look.on_click(lambda _: _look(look, state))
    call.on_click(lambda _: _renew(state, _escalation()))
    notes = note_box("Note for the incident", "Add note", _noted)
    row = widgets.HBox([look, call])
    text = f"[ Look again | Escalate | Add note ] {without_kernel()}"
    display(with_text(widgets.VBox([row, notes]), text), raw=True)
    display({"text/html": cards.hint(without_kernel()), "text/plain": without_kernel()}, raw=True)


def _look(button: widgets.Button, state: DisplayHandle) -> None:
    """Look again, once at a time: each look costs the server queries."""
    button.disabled = True
    _renew(state, "looking …")
    try:
        _renew(state, _looked())
    finally:
        button.disabled = False


def _renew(state: DisplayHandle, said: str) -> None:
    state.update(_state(said), raw=True)


def _state(said: str = "") -> dict[str, str]:
    """Return the state of the run as one card: verdict, question, recording, incident."""
    run = triage()
    asked = [one for one in run.decisions.values() if one.state in _UNANSWERED]
    broken = current().broken
    facts = [
        ("Question", "; ".join(one.question for one in asked) or "none is open"),
        ("Recording", f"STOPPED: {broken}" if broken else f"on, as run {run.run.id}"),
        ("Incident", f"{run.run.incident}: `rbkernel incident show {run.run.incident}`"),
        ("Now", said),
    ]
    verdict = run.verdict.value if run.findings else "unknown"
    title = f"{run.run.runbook} {run.run.title}"
    text = "\n".join(
        [f"{verdict.upper()} {title}", *(f"{name}: {value}" for name, value in facts if value)]
    )
    return {"text/html": cards.bar_card(verdict, title, facts), "text/plain": text}


def _looked() -> str:
    """Diagnose the databases of this run again, and return what to say about it."""
    run = triage()
    if not run.diagnosed:
        return "this runbook did not look for causes: choose Run > Run All Cells to look again"
    try:
        for finding in diagnose.found_again():
            run.add_finding(finding)
    except RbkernelError as error:
        return f"not looked again: {error}"
    at = f"{datetime.now(UTC):%H:%M:%S} UTC"
    return f"causes as of {at}; all other findings are as of their cells (Run > Run All Cells)"


def _escalation() -> str:
    """Return whom to call, from the front matter, and what to give them."""
    run = triage()
    front = run.document.front_matter if run.document else None
    levels = front.escalation.levels if front else ()
    whom = [one.contact for one in levels if one.contact]
    first = whom or ([front.on_call or front.owner] if front else [])
    called = ", then ".join(filter(None, first)) or "the runbook names nobody: ask your team"
    return f"call {called}; give them {run.run.incident}; then write below whom you called"


def _noted(text: str) -> str:
    line = incident.append(
        current().root,
        triage().run.incident,
        "note",
        by=decided.user(),
        redactor=current().redactor,
        text=text,
        origin=Origin.NOTEBOOK,
    )
    return f"Noted at {line.at[11:19]} UTC by {line.by}"
