"""The data classes that all packages share. They are frozen and do no IO.

Verdicts are ordered by urgency, and each has an exit code.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import secrets
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from rbkernel.transitions import Transitions

INCIDENT_ID = re.compile(r"INC-[0-9A-Za-z](?:[0-9A-Za-z-]{0,62}[0-9A-Za-z])?", re.ASCII)
RUN_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}", re.ASCII)
RUN_ID_LENGTH = 23


class Verdict(StrEnum):
    """The result of a check: ok, warning, critical or unknown.

    >>> Verdict.worst([Verdict.OK, Verdict.UNKNOWN, Verdict.WARNING])
    <Verdict.UNKNOWN: 'unknown'>
    >>> Verdict.worst([])
    <Verdict.UNKNOWN: 'unknown'>
    """

    OK = "ok"
    WARNING = "warning"
    UNKNOWN = "unknown"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """The urgency, from 0 (least) to 3 (most). Unknown is more urgent than warning."""
        return list(Verdict).index(self)

    @property
    def exit_code(self) -> int:
        """The exit code of a command with this verdict: 0 ok, 1 warning, 2 critical, 3 unknown."""
        return {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}[self.value]

    @classmethod
    def worst(cls, verdicts: Iterable[Verdict]) -> Verdict:
        """Return the most urgent verdict; unknown if there is none."""
        return max(verdicts, key=lambda verdict: verdict.rank, default=cls.UNKNOWN)


# the labels in which senders give the severity of an alert
SEVERITY_LABELS = ("severity", "priority", "level")


class Severity(StrEnum):
    """The internal scale of severity. Output shows the runbook's own word (P1, SEV2, high …).

    >>> Severity.parse("SEV1"), Severity.parse("P3"), Severity.parse("High")
    (<Severity.CRITICAL: 'critical'>, <Severity.LOW: 'low'>, <Severity.HIGH: 'high'>)
    >>> Severity.parse("s1").value, Severity.parse("SEV-2").value, Severity.parse("Sev 3").value
    ('critical', 'high', 'medium')
    """

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @classmethod
    def parse(cls, words: str) -> Severity:
        """Convert a severity word of one of the four usual scales, such as P1 or SEV2.

        Raises
        ------
        ValueError
            The word belongs to none of the four scales.
        """
        plain = _BEFORE_NUMBER.sub("", words.strip().lower())
        try:
            return cls(_SEVERITY_WORDS.get(plain, plain))
        except ValueError:
            scales = "critical|high|medium|low, critical|warning|info, P0-P4, SEV1-SEV4 or S1-S4"
            raise ValueError(f"unknown severity {words!r}: use {scales}") from None

    @classmethod
    def place(cls, words: str) -> int:
        """Return the sort position of a severity word: 0 for the most severe; unknown words come
        last.

        >>> Severity.place("SEV1"), Severity.place("low"), Severity.place("")
        (0, 3, 4)
        """
        try:
            return list(cls).index(cls.parse(words))
        except ValueError:
            return len(cls)


# what separates a word from its number: SEV-1, Sev 1, sev_1
_BEFORE_NUMBER = re.compile(r"(?<=[a-z])[\s_-]+(?=\d$)")
_SEVERITY_WORDS = {
    "p0": "critical",
    "p1": "high",
    "p2": "medium",
    "p3": "low",
    "p4": "low",
    **dict.fromkeys(("sev0", "s0", "sev1", "s1"), "critical"),
    **dict.fromkeys(("sev2", "s2"), "high"),
    **dict.fromkeys(("sev3", "s3"), "medium"),
    **dict.fromkeys(("sev4", "s4", "sev5", "s5"), "low"),
    "warning": "medium",
    "info": "low",
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one check, with the verdict, the reason and the next step.

    ``which`` identifies the wrong rows, for example by process ids or keys; ``opens`` is the
    runbook to open next. A cause lists in ``explains`` the runbooks whose findings it
    explains, and its ``actual`` is a sentence; each explained finding names its cause in
    ``explained_by``.
    """

    title: str
    verdict: Verdict
    expected: str
    actual: str
    cause: str = ""
    which: str = ""
    next_step: str = ""
    opens: str = ""
    value: float | None = None
    at: str = ""
    explains: tuple[str, ...] = ()
    explained_by: str = ""

    def that_can_open(self, runbooks: Container[str]) -> Finding:
        """Return the finding; ``opens`` is emptied if it names none of these runbooks."""
        known = not self.opens or self.opens in runbooks
        return self if known else dataclasses.replace(self, opens="")

    @property
    def ok(self) -> bool:
        """Whether the verdict is ok."""
        return self.verdict is Verdict.OK

    @property
    def warning(self) -> bool:
        """Whether the verdict is warning."""
        return self.verdict is Verdict.WARNING

    @property
    def critical(self) -> bool:
        """Whether the verdict is critical."""
        return self.verdict is Verdict.CRITICAL

    @property
    def unknown(self) -> bool:
        """Whether the verdict is unknown. Such a finding is neither ok nor wrong."""
        return self.verdict is Verdict.UNKNOWN

    @property
    def wrong(self) -> bool:
        """Whether the verdict is warning or critical."""
        return self.warning or self.critical

    @property
    def is_cause(self) -> bool:
        """Whether this finding explains other findings."""
        return bool(self.explains)

    def _ipython_display_(self) -> None:
        """Show nothing as the last value of a cell, because `rb.check` has shown the finding."""

    @property
    def headline(self) -> str:
        """The text for a headline: the cause if it is known, else the title."""
        return self.actual if self.is_cause else self.cause or self.title


def explained(finding: Finding, topic: str, causes: Iterable[Finding]) -> Finding:
    """Return the finding with the cause that explains it.

    A finding that is unknown because of a cause becomes no more urgent than that cause.

    Parameters
    ----------
    finding
        A finding.
    topic
        Id of the runbook about the problem of this finding.
    causes
        The findings that are causes.
    """
    if finding.verdict is Verdict.OK or finding.is_cause or not topic:
        return dataclasses.replace(finding, explained_by="")
    cause = next((one for one in causes if one.wrong and topic in one.explains), None)
    if cause is None:
        return dataclasses.replace(finding, explained_by="")
    unseen = finding.verdict is Verdict.UNKNOWN
    no_worse = unseen and cause.verdict.rank < finding.verdict.rank
    verdict = cause.verdict if no_worse else finding.verdict
    return dataclasses.replace(finding, verdict=verdict, explained_by=cause.headline)


def leading(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings for a headline: the most urgent unexplained ones, causes first.

    If no finding is wrong, return the unknown ones.

    >>> late = Finding(title="Wait", verdict=Verdict.CRITICAL, expected="", actual="40 s",
    ...                explained_by="refund-job blocks 9 sessions")
    >>> root = Finding(title="Cause", verdict=Verdict.WARNING, expected="", actual="",
    ...                explains=("RUN-007",))
    >>> [finding.title for finding in leading([late, root])]
    ['Cause']
    """
    unexplained = [finding for finding in findings if not finding.explained_by]
    wrong = [finding for finding in unexplained if finding.wrong]
    chosen = wrong or [finding for finding in unexplained if finding.verdict is Verdict.UNKNOWN]
    worst = Verdict.worst(finding.verdict for finding in chosen)
    leaders = [finding for finding in chosen if finding.verdict is worst]
    return sorted(leaders, key=lambda finding: not finding.is_cause)


def folded(findings: Iterable[Finding]) -> list[Finding]:
    """Merge the unknown findings that have the same reason into a single finding with all titles.

    >>> def unseen(title, why):
    ...     return Finding(title=title, verdict=Verdict.UNKNOWN, expected="", actual=why)
    >>> found = [unseen("a", "no pg_monitor"), unseen("b", "cut"), unseen("c", "no pg_monitor")]
    >>> [(one.title, one.actual) for one in folded(found)]
    [('a · c', 'no pg_monitor'), ('b', 'cut')]
    """
    merged: dict[object, Finding] = {}
    for place, one in enumerate(findings):
        unseen = one.verdict is Verdict.UNKNOWN and not one.explained_by
        reason = (one.actual, one.next_step, one.opens) if unseen else place
        first = merged.get(reason)
        merged[reason] = (
            dataclasses.replace(first, title=f"{first.title} · {one.title}", expected="")
            if first
            else one
        )
    return list(merged.values())


def by_urgency(findings: Iterable[Finding]) -> list[Finding]:
    """Sort findings by urgency: causes first within a verdict, explained findings after others.

    >>> def found(title, verdict, **more):
    ...     return Finding(title=title, verdict=verdict, expected="", actual="", **more)
    >>> every = [found("fine", Verdict.OK), found("late", Verdict.CRITICAL, explained_by="it"),
    ...          found("wrong", Verdict.WARNING), found("it", Verdict.WARNING, explains=("R",))]
    >>> [finding.title for finding in by_urgency(every)]
    ['it', 'wrong', 'late', 'fine']
    """
    return sorted(
        findings,
        key=lambda finding: (
            finding.verdict is Verdict.OK,
            bool(finding.explained_by),
            -finding.verdict.rank,
            not finding.is_cause,
        ),
    )


class DecisionState(StrEnum):
    """The state of a question to a human."""

    OPEN = "open"  # an answer is needed
    PARKED = "parked"  # asked in a headless run, where nobody can answer
    NOT_NEEDED = "not needed"  # no option needs to be chosen
    CHOSEN = "chosen"  # answered; stays so until somebody asks the question again


DECISION_TRANSITIONS = Transitions(
    "decision",
    {
        None: {DecisionState.OPEN, DecisionState.PARKED, DecisionState.NOT_NEEDED},
        DecisionState.OPEN: {DecisionState.CHOSEN},
        DecisionState.PARKED: {DecisionState.CHOSEN},
        DecisionState.NOT_NEEDED: {DecisionState.CHOSEN, DecisionState.OPEN},
        DecisionState.CHOSEN: {DecisionState.CHOSEN, DecisionState.OPEN},
    },
)


class Origin(StrEnum):
    """Where a person answered a question, acknowledged an incident or wrote a note."""

    NOTEBOOK = "notebook"
    PAGE = "page"
    COMMAND = "command"
    ACTION = "action"  # by an action that was executed and verified


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A question to a human, and the answer if there is one (times are UTC, ISO 8601).

    ``reason`` says why the ``recommended`` option is recommended. ``identity`` is equal for the
    same question in another run of the incident, see `question_identity`. ``findings`` are titles
    and verdicts of the findings when the question was asked, and ``rests_on`` identifies them, see
    `situation_identity`. ``by`` and ``origin`` say who answered it and where, as far as they are
    known.
    """

    id: str
    question: str
    options: tuple[str, ...]
    recommended: str | None = None
    reason: str = ""
    state: DecisionState = DecisionState.OPEN
    choice: str | None = None
    at: str = ""
    identity: str = ""
    findings: tuple[tuple[str, str], ...] = ()
    rests_on: str = ""
    by: str = ""
    origin: str = ""

    @property
    def is_waiting(self) -> bool:
        """Whether the decision needs an answer and has none."""
        return self.state in {DecisionState.OPEN, DecisionState.PARKED}

    @property
    def by_whom(self) -> str:
        """When, by whom and where the question was answered, as far as it is known.

        >>> Decision(id="", question="", options=(), at="2026-11-20T03:02:11+00:00", by="ann",
        ...          origin="page").by_whom
        '2026-11-20 03:02:11 UTC by ann (page)'
        """
        when = f"{self.at[:10]} {self.at[11:19]} UTC" if self.at else ""
        who = f"by {self.by}" if self.by else ""
        return " ".join(filter(None, [when, who, self.origin and f"({self.origin})"]))


def question_identity(
    runbook: str, parameters: Mapping[str, Any], question: str, options: Iterable[str]
) -> str:
    """Return what identifies a question in all runs of an incident.

    An answer counts only for the same question: of the same runbook, with the same parameters
    (another server is another question), in the same words, with the same options in any order.

    >>> one = question_identity("RUN-005", {"db": "a"}, "What now?", ["wait", "resume"])
    >>> one == question_identity("RUN-005", {"db": "a"}, "What now?", ["resume", "wait"])
    True
    >>> one == question_identity("RUN-005", {"db": "b"}, "What now?", ["wait", "resume"])
    False
    """
    named = [runbook, sorted((name, str(value)) for name, value in parameters.items())]
    text = json.dumps([*named, question, sorted(options)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def situation_identity(
    findings: Iterable[tuple[str, str]], recommended: str | None, *, needed: bool
) -> str:
    """Return what identifies the situation in which a question is asked.

    An answer counts only as long as this is the same: the findings with their verdicts and the
    culprits that they name, the recommended option, and whether an answer is needed.

    >>> one = situation_identity([("Cause (pid 1)", "critical")], "wait", needed=True)
    >>> one == situation_identity([("Cause (pid 2)", "critical")], "wait", needed=True)
    False
    >>> one == situation_identity([("Cause (pid 1)", "critical")], "terminate", needed=True)
    False
    """
    text = json.dumps([sorted(map(list, findings)), recommended, needed])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class PlanState(StrEnum):
    """The state of a proposed action."""

    WAITING = "waits for a decision"  # the decision is not answered yet
    PROPOSED = "proposed"  # a human may execute it
    NOT_CHOSEN = "not chosen"  # another option was chosen
    DONE = "done by a human"  # a human recorded the execution


PLAN_TRANSITIONS = Transitions(
    "plan",
    {
        None: {PlanState.WAITING, PlanState.PROPOSED, PlanState.NOT_CHOSEN},
        PlanState.WAITING: {PlanState.PROPOSED, PlanState.NOT_CHOSEN},
        PlanState.PROPOSED: {PlanState.NOT_CHOSEN, PlanState.DONE},
        PlanState.NOT_CHOSEN: {PlanState.PROPOSED},
        PlanState.DONE: {PlanState.DONE},  # recorded again, with another note
    },
)


@dataclass(frozen=True, kw_only=True)
class ActionPlan:
    """A proposed change, which the runbook itself does not execute.

    The change is SQL for a connection, or a ``command`` for a shell. ``targets`` are rows that
    identify the objects that would change, with their present values. ``effect`` describes the
    expected result. ``verify`` is the diagnostic that shows whether the change worked; its
    parameters are ``verify_values``. ``action`` names the function of `rb.actions` that made the
    plan, and ``arguments`` identify its targets exactly, as JSON values. If rbkernel executes the
    plan, it computes the statements from these two, and never sends ``sql``.
    """

    id: str
    title: str
    connection: str
    sql: str
    action: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    targets: tuple[Mapping[str, Any], ...] = ()
    undo: str = ""
    risk: str = ""
    effect: str = ""
    verify: str = ""
    verify_values: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""

    @property
    def text(self) -> str:
        """The SQL or command to copy; empty if there is nothing to do."""
        return self.command or self.sql


@dataclass(frozen=True, kw_only=True)
class Run:
    """One execution of a runbook, as in the journal's ``run`` record.

    ``continues`` is the id of the earlier run, if this run was made in a working copy of it.
    ``update_every_s`` is how often the runbook asks for status updates; 0 if it does not say.
    """

    id: str
    runbook: str
    title: str
    incident: str
    headless: bool
    started_at: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    continues: str = ""
    update_every_s: float = 0.0


def plan_id(title: str, connection: str, text: str) -> str:
    """Return the id of a plan: a hash of its exact text, so that other targets have another id."""
    return hashlib.sha256("\n".join([title, connection, text]).encode()).hexdigest()[:12]


def new_run_id() -> str:
    """Return a run id that sorts by start time, such as ``20261120T030211Z-3fa9c1``."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def new_incident_id() -> str:
    """Return a new incident id with today's date, such as ``INC-20261120-7f3a``."""
    return f"INC-{datetime.now(UTC):%Y%m%d}-{secrets.token_hex(2)}"


def now() -> str:
    """Return the present time as UTC, ISO 8601 with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
