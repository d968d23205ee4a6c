"""`rb.decide`: ask a human a question without blocking; a headless run leaves it open.

The answer belongs to the incident, so it counts in every run of it: after *Run All*, after a
restart of the kernel, in a working copy. `chose` returns a `Condition`, which calls its listeners
when the question is answered. Until then ``bool(condition)`` raises, so that no cell reads "not
yet" as "no".
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from IPython import get_ipython
from IPython.display import DisplayHandle, display

from rbkernel.arguments import checked
from rbkernel.errors import AlreadyDecided, EvidenceError, NotStarted, ParameterError, Undecided
from rbkernel.evidence.incident import Answers
from rbkernel.model import (
    DECISION_TRANSITIONS,
    Decision,
    DecisionState,
    Finding,
    Origin,
    Run,
    by_urgency,
    now,
    question_identity,
    situation_identity,
)
from rbkernel.render import cards
from rbkernel.sources.postgres import history
from rbkernel.sources.postgres.diagnosis import Diagnosis
from rbkernel.spelling import nearest
from rbkernel.triage.context import headless, triage
from rbkernel.triage.decisions import buttons, decided
from rbkernel.triage.decisions.recommendation import Recommendation, by_cause, by_conditions, offers
from rbkernel.triage.overview import Overview

# the findings that the record keeps with a question, the most urgent first
_MOST_FINDINGS = 50


class OpenDecision:
    """A question on the screen that a human can answer, now or later.

    Parameters
    ----------
    record
        The initial state of the question.
    """

    def __init__(self, record: Decision) -> None:
        self.record = record
        self._asked = record
        self._remark = ""
        self._run: Run | None = None
        self._listeners: list[Callable[[], None]] = []
        self._card: DisplayHandle | None = None

    @property
    def choice(self) -> str | None:
        """The option that a human has chosen; None if the question is open."""
        return self.record.choice

    def choose(self, option: str) -> None:
        """Answer the question, as a click on its button does, in the incident's record.

        If the record cannot be written, the answer counts in this run only, and the card says so.

        Raises
        ------
        ParameterError
            The answer is not one of the options.
        AlreadyDecided
            Somebody has given another answer before. The card shows that answer.
        """
        self._must_offer(option)
        self._must_be_current()
        try:
            decided.answer(self._asked, option)
        except AlreadyDecided:
            self.update(decided.answers())
            raise
        except EvidenceError as error:
            if decided.is_closed():
                raise
            mine = dataclasses.replace(
                self._asked, choice=option, at=now(), by=decided.user(), origin=Origin.NOTEBOOK
            )
            self._set(
                dataclasses.replace(mine, state=DecisionState.CHOSEN),
                f"Only this run knows this answer, because the incident's record was not written:"
                f" {error}",
            )
        else:
            self.update(decided.answers())

    def ask_again(self) -> None:
        """Ask an answered question again, for all runs and pages of the incident.

        Raises
        ------
        EvidenceError
            The incident's record cannot be written.
        """
        self._must_be_current()
        answers = decided.ask_again(self._asked, replaces=self.record.at)
        if answers.has(self.record.identity, self.record.at):
            self.update(answers)
        else:  # only this run knew the answer
            self._set(self._asked, "")

    def update(self, answers: Answers) -> None:
        """Show the state of the question in the incident's record, if it has changed."""
        known = answers.applied(self.record)
        if known != self.record and self._run is triage().run:
            self._set(known, decided.since(known, answers))

    def begin(self) -> None:
        """Journal and show the question, with the answer that the incident's record holds.

        An answer to another situation does not count: the question is then asked again.
        """
        self._run = triage().run
        try:
            answers = decided.answers()
            if changed := decided.no_longer_counts(self._asked, answers, self._run.started_at):
                self._remark = f"An earlier answer does not count: {changed}."
                answers = decided.ask_again_because(self._asked, answers, changed)
            self.record = answers.applied(self._asked)
            self._remark = decided.since(self.record, answers)
        except EvidenceError as error:
            said = f"Answers from other runs are not known, or not recorded: {error}"
            self._remark = f"{self._remark} {said}".strip()
        triage().add_decision(self.record)
        self.show()

    def remark(self, text: str) -> None:
        """Show a remark under the question, such as why a click was refused."""
        self._remark = text
        self.show()

    def _set(self, record: Decision, remark: str) -> None:
        DECISION_TRANSITIONS.check(self.record.state, record.state)
        self.record, self._remark = record, remark
        triage().add_decision(record)
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

    def _must_be_current(self) -> None:
        """Raise an error if `rb.start` has run since: the question is about what was then."""
        if self._run is not None and self._run is not triage().run:
            raise NotStarted(
                "this question belongs to an earlier execution of rb.start",
                where=self.record.question,
                next_step="run the cell with the question again, and answer there",
            )

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
        """Call a function whenever the question is answered or asked again."""
        self._listeners.append(listener)

    def _ipython_display_(self) -> None:
        """Show nothing as the last value of a cell: `rb.decide` has shown the question."""

    def show(self) -> None:
        """Replace the displayed question with its current state."""
        record = self.record
        html = cards.decision_card(record, remark=self._remark)
        text = "\n".join(filter(None, [cards.decision_text(record), self._remark]))
        bundle = cards.bundle("decision", dataclasses.asdict(record), html, text)
        if self._card is None:
            self._card = display(bundle, raw=True, display_id=f"rbkernel-decision-{record.id}")
        else:
            self._card.update(bundle, raw=True)


class Condition:
    """Whether a question was answered with certain options: true, false, or not known yet."""

    def __init__(self, decision: OpenDecision, options: Sequence[str]) -> None:
        self.decision = decision
        self.options = options

    @property
    def state(self) -> bool | None:
        """True or False once the question is answered; None before."""
        choice = self.decision.choice
        return None if choice is None else choice in self.options

    @property
    def first_at(self) -> str:
        """When one of them was first chosen in the incident, also if the question was asked again.

        Empty if none was, or if the record of the incident cannot be read.
        """
        return decided.first_chosen(self.decision.record.identity, self.options)

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
    answers it: on the page of the incident, with `rbkernel decide`, or in JupyterLab. If the
    question was already answered in a run of this incident, with the same parameters and options,
    that answer counts here, too.

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
    _must_be_one(question)
    decision = OpenDecision(_asked(question, names, chosen, _culprits(recommended), needed=needed))
    decision.begin()
    if not headless():
        buttons.show(decision)
        decided.follow(decision)
    return decision


def _must_be_one(question: str) -> None:
    """Raise an error if this cell has asked the same question already, as in a loop over servers.

    One answer would then count for all of them.
    """
    shell = get_ipython()
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    request = str(parent.get("header", {}).get("msg_id", ""))
    if request and triage().asked_in.get(question) == request:
        raise ParameterError(
            "this cell asks the same question twice",
            where=question,
            next_step="name the server in the text of the question",
        )
    triage().asked_in[question] = request


def _asked(
    question: str,
    options: Sequence[str],
    chosen: Recommendation,
    culprits: Sequence[tuple[str, str]],
    *,
    needed: bool | None,
) -> Decision:
    """Return the question as this run asks it."""
    run = triage().run
    waiting = DecisionState.PARKED if headless() else DecisionState.OPEN
    needed = chosen.needed if needed is None else needed
    urgent = by_urgency(triage().findings.values())
    found = [(_name(finding), finding.verdict.value) for finding in urgent]
    volatile = triage().volatile
    lasting = [(_name(one), one.verdict.value) for one in urgent if one.title not in volatile]
    return Decision(
        id=hashlib.sha256(question.encode()).hexdigest()[:12],
        question=question,
        options=tuple(options),
        recommended=chosen.option,
        reason=chosen.reason,
        state=waiting if needed else DecisionState.NOT_NEEDED,
        identity=question_identity(run.runbook, run.parameters, question, options),
        findings=tuple(found[:_MOST_FINDINGS]),
        rests_on=situation_identity([*lasting, *culprits], chosen.option, needed=needed),
    )


def _name(finding: Finding) -> str:
    """Return the title of a finding, with the sessions or rows that are wrong."""
    return f"{finding.title} ({finding.which})" if finding.which else finding.title


def _culprits(recommended: object) -> list[tuple[str, str]]:
    """Return the causes of a diagnosis with their sessions: another one may get the same pid."""
    causes = recommended.causes if isinstance(recommended, Diagnosis) else ()
    return [
        (f"{cause.subject} {one.pid} {one.backend_start}", cause.verdict.value)
        for cause in causes
        for one in cause.culprits
    ]


def _recommendation(
    options: Sequence[str] | Mapping[str, Any], recommended: str | Diagnosis | Overview | None
) -> Recommendation:
    """Return the option to recommend, from a diagnosis, a given option, or conditions."""
    findings = [one for one in triage().findings.values() if not history.is_over(one)]
    conditions = options if isinstance(options, Mapping) else {}
    if isinstance(recommended, Overview):
        seen = recommended
        return Recommendation(option=seen.recommended, reason=seen.reason, needed=seen.needed)
    if isinstance(recommended, Diagnosis):
        if not conditions or offers([*options], recommended):
            return by_cause(recommended, [*options], findings)
        recommended = None
    if recommended is None and conditions:
        return by_conditions(conditions, findings)
    return Recommendation(option=recommended, reason="", needed=True)
