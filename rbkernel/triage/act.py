"""`rb.act` and `rb.done`: propose a change that a human executes, then record and verify it.

Nothing here changes a database: the kernel holds a read-only role. A plan shows the exact SQL to
copy, the sessions or rows that the SQL changes, and how to undo the change.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets
from IPython.display import DisplayHandle, display

from rbkernel.arguments import checked
from rbkernel.errors import EvidenceError
from rbkernel.evidence import current
from rbkernel.evidence.incident import DoneByHand, instant
from rbkernel.model import PLAN_TRANSITIONS, ActionPlan, PlanState, now
from rbkernel.render import cards
from rbkernel.triage.context import headless, triage
from rbkernel.triage.decide import Condition
from rbkernel.triage.decisions import decided
from rbkernel.triage.decisions.buttons import without_kernel
from rbkernel.triage.panel.copying import copy_button
from rbkernel.triage.panel.note_box import note_box, with_text
from rbkernel.triage.query import query

_VERIFY = "Next: run the cells of the step that verifies it."
_COLOURS = {
    PlanState.PROPOSED: "warning",
    PlanState.NOT_CHOSEN: "unknown",
    PlanState.DONE: "ok",
}


class ProposedPlan:
    """A plan on the screen; its state changes when a human answers the question in `when`."""

    def __init__(self, plan: ActionPlan, when: Condition | bool) -> None:
        self.plan = plan
        self._when = when
        self._done = False
        self._card: DisplayHandle | None = None
        self.listen(self.show)

    def listen(self, listener: Callable[[], None]) -> None:
        """Call a function whenever the question in `when` is answered or asked again."""
        if isinstance(self._when, Condition):
            self._when.decision.listen(listener)

    @property
    def state(self) -> PlanState:
        """The state of the plan: done once a human has executed it; until then, it follows
        `when`.
        """
        if self._done or self.done_before:
            return PlanState.DONE
        chosen = self._when.state if isinstance(self._when, Condition) else self._when
        if chosen is None:
            return PlanState.WAITING
        return PlanState.PROPOSED if chosen else PlanState.NOT_CHOSEN

    @property
    def recorded(self) -> DoneByHand | None:
        """What the incident's record says about this plan, also before the last decision."""
        return decided.done(self.plan.id)

    @property
    def first_chosen_at(self) -> str:
        """When it was first chosen in this incident; empty if it was not, or if that is unknown."""
        return self._when.first_at if isinstance(self._when, Condition) else ""

    @property
    def done_before(self) -> DoneByHand | None:
        """What the incident's record says: somebody carried out the plan after the decision for it.

        An earlier record does not count: a new decision needs a new action.
        """
        if not isinstance(self._when, Condition) or not self._when.state:
            return None
        found = self.recorded
        decided_at = self._when.decision.record.at
        return found if found and instant(found.at) >= instant(decided_at) else None

    def _answers(self) -> Mapping[str, Any]:
        """Return the question that the plan answers, and its options for it; empty without one."""
        if not isinstance(self._when, Condition):
            return {}
        asked = self._when.decision.record
        names = ("question", "identity", "rests_on", "recommended")
        said = {name: getattr(asked, name) for name in names}
        return {**said, "options": list(self._when.options)}

    def _ipython_display_(self) -> None:
        """Show nothing as the last value of a cell: `rb.act` has shown the plan."""

    def show(self) -> None:
        """Journal the plan's state, and replace its display with the current one."""
        state = self.state
        triage().add_plan(self.plan, state, self._answers())
        bundle = cards.bundle(
            "plan",
            {**dataclasses.asdict(self.plan), "state": state},
            cards.plan_card(self.plan, state, _COLOURS.get(state, "open")),
            cards.plan_text(self.plan, state),
        )
        if self._card is None:
            self._card = display(bundle, raw=True, display_id=f"rbkernel-plan-{self.plan.id}")
        else:
            self._card.update(bundle, raw=True)

    def mark_done(self, note: str) -> str:
        """Record that a human has executed the plan; return a remark if only this run knows it.

        Raises
        ------
        ValueError
            The plan is not in the state "proposed".
        """
        PLAN_TRANSITIONS.check(self.state, PlanState.DONE)
        self._done = True
        current().event("done", plan=self.plan.id, title=self.plan.title, note=note, at=now())
        self.show()
        try:
            decided.mark_done(self.plan.id, self.plan.title, note)
        except EvidenceError as error:
            return f" Only this run knows it: the incident's record was not written: {error}"
        return ""


@checked
def act(plan: ActionPlan, *, when: Condition | bool = True) -> ProposedPlan:
    """Propose a change to a database: show the exact SQL to copy, and its targets.

    Parameters
    ----------
    plan
        From `rb.actions`.
    when
        The condition under which the plan is proposed, usually ``choice.chose("…")``; the card
        updates when the choice is made.

    Returns
    -------
    ProposedPlan
        The argument for `rb.done`.
    """
    proposed = ProposedPlan(plan, when)
    proposed.show()
    if before := proposed.recorded:
        _say(_told(before))
    return proposed


@checked
def done(proposed: ProposedPlan, note: str = "") -> None:
    """Record that a human executed the proposed plan, and run the plan's verification query.

    Parameters
    ----------
    proposed
        What `rb.act` returned.
    note
        What was done, and what the server answered. If the note is empty, nothing is recorded.
    """
    if not note.strip() and proposed.state is PlanState.DONE:
        _verify(proposed)
        return
    if not note.strip() and headless():
        _say("Nothing is recorded as done: nobody could carry out the plan in a headless run.")
    elif not note.strip():
        _ask(proposed)
    else:
        _say(_record(proposed, note.strip()))
        before = proposed.recorded
        if proposed.state is PlanState.DONE or (before and before.note == note.strip()):
            _verify(proposed)


def _record(proposed: ProposedPlan, note: str) -> str:
    """Record that a plan is done, if that is possible now; return what to say about it."""
    if not PLAN_TRANSITIONS.allows(proposed.state, PlanState.DONE):
        return f"Not recorded: the plan's state is '{proposed.state}'. Answer its question first."
    if (before := proposed.recorded) and before.note == note:
        return _told(before)
    if other := decided.noted_for_another(proposed.plan.id, note):
        return (
            f"Not recorded: this note is recorded for another plan, {other.title} ({other.plan})."
            " If you have run this plan, too, write another note."
        )
    remark = proposed.mark_done(note)
    return f"Recorded: {proposed.plan.title}. {note}{remark}"


def _ask(proposed: ProposedPlan) -> None:
    """Show a text box with *Done* for a plan that can be carried out now; else say why not."""
    handle = display(_box(proposed), raw=True, display_id=True)
    proposed.listen(lambda: handle.update(_box(proposed), raw=True))
    if proposed.plan.text:  # never empty and never changed: JupyterLab drops an empty output
        text = f"{without_kernel()} Or write it into note=."
        display({"text/html": cards.hint(text), "text/plain": text}, raw=True)


def _can_be_done(proposed: ProposedPlan) -> bool:
    return bool(proposed.plan.text) and proposed.state is PlanState.PROPOSED


def _box(proposed: ProposedPlan) -> dict[str, Any]:
    plan = proposed.plan
    if not _can_be_done(proposed):
        text = f"Nothing is recorded as done: {plan.title}: {proposed.state}"
        return {"text/html": cards.hint(text), "text/plain": text}
    what = "SQL" if plan.sql else "command"
    label = f"{plan.title}: after you have run it, what did you do?"
    asked = note_box(label, "Done", lambda text: _recorded(proposed, text))
    text = f"[ {label} | Done ] {without_kernel()} Or write it into note= of this cell."
    return with_text(widgets.VBox([copy_button(what, plan.text), asked]), text)


def _recorded(proposed: ProposedPlan, note: str) -> str:
    said = _record(proposed, note)
    return f"{said} {_VERIFY}" if proposed.recorded else said


def _told(before: DoneByHand) -> str:
    return f"Recorded as done at {before.at[11:19]} UTC by {before.by}: {before.note}"


def _verify(proposed: ProposedPlan) -> None:
    """Run the plan's verification query."""
    if proposed.plan.verify:
        query(proposed.plan.verify, proposed.plan.connection, **proposed.plan.verify_values)


def _say(text: str) -> None:
    html = cards.message_card("action", text, "open")
    display({"text/html": html, "text/plain": text}, raw=True)
