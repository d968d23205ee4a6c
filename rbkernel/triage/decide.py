"""`rb.decide`: ask a human a question without blocking; a headless run leaves it open.

`chose` returns a `Condition`, which calls its listeners when the question is answered. Until then
``bool(condition)`` raises, so that no cell reads "not yet" as "no".
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets as widgets
from IPython.display import DisplayHandle, display

from rbkernel.arguments import checked
from rbkernel.errors import ParameterError, Undecided
from rbkernel.model import DECISION_TRANSITIONS, Decision, DecisionState, now
from rbkernel.render import cards
from rbkernel.sources.postgres import history
from rbkernel.sources.postgres.diagnosis import Diagnosis
from rbkernel.spelling import nearest
from rbkernel.triage.context import headless, triage
from rbkernel.triage.overview import Overview
from rbkernel.triage.recommendation import Recommendation, by_cause, by_conditions, offers


class OpenDecision:
    """A question on the screen that a human can answer, now or later.

    Parameters
    ----------
    record
        The initial state of the question.
    """

    def __init__(self, record: Decision) -> None:
        self.record = record
        self._listeners: list[Callable[[], None]] = []
        self._card: DisplayHandle | None = None

    @property
    def choice(self) -> str | None:
        """The option that a human has chosen; None if the question is open."""
        return self.record.choice

    def choose(self, option: str) -> None:
        """Answer the question, as a click on its button does; a later answer replaces an earlier
        one.

        Raises
        ------
        ParameterError
            The answer is not one of the options.
        """
        self._must_offer(option)
        state = DECISION_TRANSITIONS.check(self.record.state, DecisionState.CHOSEN)
        self.record = dataclasses.replace(self.record, state=state, choice=option, at=now())
        triage().add_decision(self.record)
        self.show()
        for listener in self._listeners:
            listener()

    def chose(self, *options: str) -> Condition:
        """Return the condition that one of these options has been chosen.

        Raises
        ------
        ParameterError
            An argument is not an option of this question.
        """
        for option in options:
            self._must_offer(option)
        return Condition(self, options)

    def _must_offer(self, option: str) -> None:
        known = self.record.options
        if option not in known:
            meant = nearest(option, known) if isinstance(option, str) else ""
            raise ParameterError(
                f"{option!r} is not one of the options: {', '.join(known)}",
                where=self.record.question,
                next_step=f"write {meant!r}" if meant else "use one of the options",
            )

    def listen(self, listener: Callable[[], None]) -> None:
        """Call a function after every answer to the question."""
        self._listeners.append(listener)

    def _ipython_display_(self) -> None:
        """Show nothing as the last value of a cell: `rb.decide` has shown the question."""

    def show(self) -> None:
        """Replace the displayed question with its current state."""
        record = self.record
        html, text = cards.decision_card(record), cards.decision_text(record)
        bundle = cards.bundle("decision", dataclasses.asdict(record), html, text)
        if self._card is None:
            self._card = display(bundle, raw=True, display_id=f"rbkernel-decision-{record.id}")
        else:
            self._card.update(bundle, raw=True)


class Condition:
    """Whether a question was answered with certain options: true, false, or not known yet."""

    def __init__(self, decision: OpenDecision, options: Sequence[str]) -> None:
        self.decision = decision
        self._options = options

    @property
    def state(self) -> bool | None:
        """True or False once the question is answered; None before."""
        choice = self.decision.choice
        return None if choice is None else choice in self._options

    def __bool__(self) -> bool:
        state = self.state
        if state is None:
            raise Undecided(
                f"nobody has answered {self.decision.record.question!r} yet",
                next_step="pass the condition as when=, which waits without blocking; or choose,"
                " and run this cell again",
            )
        return state


@checked
def decide(
    question: str,
    options: Sequence[str] | Mapping[str, Any],
    *,
    recommended: str | Diagnosis | Overview | None = None,
    needed: bool | None = None,
) -> OpenDecision:
    """Ask the engineer without blocking, recommend an option, and say why.

    In JupyterLab each option has a button. A headless run leaves the question open, until a human
    opens the runbook and answers it.

    Parameters
    ----------
    question
        The question to decide.
    options
        The possible answers, two at the least; or option → condition, in the order in which they
        count: ``{"escalate": slots.critical, "terminate …": holders, "wait": True}``. The first
        whose condition holds is recommended. A condition is a finding or what `rb.assess` returned
        (it holds when something is wrong), true or false, or a list of conditions of which one must
        hold. If a condition or any finding of the run is unknown, neither ``wait …`` nor the
        default at the end (``True``) is recommended, but the option that begins with ``escalate``.
    recommended
        The option to recommend; or the result of `rb.diagnose` or `rb.overview`. With a diagnosis,
        the recommended option begins with the verb of the least harmful action for the cause, such
        as ``terminate …``. If there is no cause, the conditions decide; if there are no conditions
        either, it is ``wait …`` if all findings are ok, else ``escalate …``.
    needed
        False if no action is necessary: a headless run then leaves no open question. By default,
        the question is not needed if all findings are ok, or if the conditions recommend waiting.

    Returns
    -------
    OpenDecision
        The open question; the call returns at once. Pass ``.chose(option)`` to `rb.act` as `when=`.

    Raises
    ------
    ParameterError
        There are fewer than two options, the recommendation is not one of them, or a condition is
        neither true nor false.
    """
    names = [*options]
    if len(set(names)) < 2 or len(set(names)) < len(names):
        raise ParameterError(
            "a decision needs at least two different options",
            where="rb.decide",
            next_step="give each option once, in a list",
        )
    chosen = _recommendation(options, recommended)
    if chosen.option is not None and chosen.option not in names:
        raise ParameterError(
            f"recommended={chosen.option!r} is not one of the options",
            where="rb.decide",
            next_step=f"recommend {' or '.join(names)}",
        )
    needed = chosen.needed if needed is None else needed
    waiting = DecisionState.PARKED if headless() else DecisionState.OPEN
    decision = OpenDecision(
        Decision(
            id=hashlib.sha256(question.encode()).hexdigest()[:12],
            question=question,
            options=tuple(names),
            recommended=chosen.option,
            reason=chosen.reason,
            state=waiting if needed else DecisionState.NOT_NEEDED,
        )
    )
    triage().add_decision(decision.record)
    decision.show()
    if not headless():
        _show_buttons(decision)
    return decision


def _recommendation(
    options: Sequence[str] | Mapping[str, Any], recommended: str | Diagnosis | Overview | None
) -> Recommendation:
    """Return the option to recommend, from a diagnosis, a given option, or conditions."""
    findings = [one for one in triage().findings.values() if not history.is_over(one)]
    conditions = options if isinstance(options, Mapping) else {}
    if isinstance(recommended, Overview):
        seen = recommended
        return Recommendation(option=seen.recommended, reason="", needed=seen.needed)
    if isinstance(recommended, Diagnosis):
        if not conditions or offers([*options], recommended):
            return by_cause(recommended, [*options], findings)
        recommended = None
    if recommended is None and conditions:
        return by_conditions(conditions, findings)
    return Recommendation(option=recommended, reason="", needed=True)


def _show_buttons(decision: OpenDecision) -> None:
    buttons = [_button(decision, option) for option in decision.record.options]
    row = widgets.Box(buttons, layout=widgets.Layout(flex_flow="row wrap"))
    handle = display(row, display_id=f"rbkernel-buttons-{decision.record.id}")

    def put_away() -> None:
        # a button does nothing without a kernel: the saved output says how to choose again
        text = "Run this cell again to choose differently."
        html = cards.message_card("recorded", text, "ok")
        handle.update({"text/html": html, "text/plain": text}, raw=True)

    decision.listen(put_away)


def _button(decision: OpenDecision, option: str) -> widgets.Button:
    recommended = option == decision.record.recommended
    button = widgets.Button(
        description=option,
        tooltip="recommended" if recommended else option,
        button_style="primary" if recommended else "",
        layout=widgets.Layout(width="auto"),
    )
    button.on_click(lambda _: decision.choose(option))
    return button
