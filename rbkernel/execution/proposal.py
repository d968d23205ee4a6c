"""Find the actions that runbooks have proposed, in the journals of their runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rbkernel.errors import ActionRefused, EvidenceError
from rbkernel.evidence import reading, runs, store
from rbkernel.evidence.incident import Answers, instant
from rbkernel.evidence.reading import Event, Record
from rbkernel.model import RUN_ID, PlanState, plan_id

# the fewest characters of an id that name a plan
_SHORTEST = 4


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A plan as the newest run proposed it; ``state`` is the text of a `PlanState`.

    ``answers`` is the question that it answers: its text, ``identity``, ``rests_on``,
    ``recommended``, and the ``options`` for which the plan is made; empty if there is none.
    ``undoes`` is the digest of the executed action that it undoes; empty for the plan of a runbook.
    ``doubt`` says why the question cannot be one of its run; empty if it is one.
    ``owner`` is the id of the OS user who owns the folder of the run; ``host`` is where its kernel
    says that it ran. A plan has either ``sql`` or a ``command``.
    """

    plan: str
    title: str
    action: str
    arguments: Mapping[str, Any]
    connection: str
    sql: str
    risk: str
    incident: str
    run_id: str
    runbook: str
    owner: int
    host: str
    at: str
    state: str
    answers: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    undoes: str = ""
    doubt: str = ""

    def altered(self, why: str) -> ActionRefused:
        """Return the error that says why a proposal is not one that rbkernel wrote."""
        return ActionRefused(
            f"plan {self.plan} was altered: {why}",
            where=f"run {self.run_id}",
            next_step="run the runbook again, and check the notebook that proposed it",
        )


def find(root: Path, plan: str, more: Iterable[Proposal] = ()) -> Proposal:
    """Return the newest proposal of a plan.

    Parameters
    ----------
    root
        The evidence folder.
    plan
        The plan's id, or its first characters, at least 4.
    more
        Proposals that no run made.

    Raises
    ------
    ActionRefused
        There is no such plan, or several begin with these characters.
    """
    known = (*_all(root, plan), *more)
    found = {one.plan: one for one in known if one.plan.startswith(plan)}
    if len(found) == 1 and len(plan) >= _SHORTEST:
        return next(iter(found.values()))
    what = f"{len(found)} plans begin with {plan!r}" if found else f"there is no plan {plan!r}"
    if len(plan) < _SHORTEST:
        what = f"{plan!r} is too short to name a plan"
    raise ActionRefused(
        what, where=str(root), next_step="`rbkernel action list` lists the proposed plans"
    )


def in_incidents(root: Path, incidents: frozenset[str]) -> list[Proposal]:
    """Return the newest proposal of each plan that can be executed, in these incidents."""
    found = {one.plan: one for one in _all(root, "") if one.incident in incidents and one.action}
    return sorted(found.values(), key=lambda one: one.at)


def plans_of(root: Path, what: str) -> dict[str, str]:
    """Return the plans that a run, or the runs of an incident, propose to execute.

    Returns
    -------
    dict
        The id of each plan, with the id of the incident of its newest run here.

    Raises
    ------
    EvidenceError
        A record or a journal cannot be read.
    """
    if RUN_ID.fullmatch(what):
        entries = [one for one in runs.list_runs(root) if one.run_id == what]
    else:
        entries = [one for one in runs.of_incident(root, what) if one.is_readable]
    return {
        one.plan: one.incident
        for entry in entries
        for one in of_run(reading.read(entry.folder), entry.incident)
        if one.action
    }


def _all(root: Path, plan: str) -> Iterator[Proposal]:
    """Yield the proposals of all runs, oldest first."""
    yield from sorted(_unsorted(root, plan), key=lambda one: instant(one.at))


def _unsorted(root: Path, plan: str) -> Iterator[Proposal]:
    for entry in runs.list_runs(root):
        try:
            # most journals do not contain the plan, and need not be parsed
            if plan.encode() in (entry.folder / store.JOURNAL).read_bytes():
                yield from of_run(reading.read(entry.folder), entry.incident)
        except (OSError, EvidenceError):
            continue  # `rbkernel evidence list` reports an unreadable journal


def of_run(run: Record, incident: str) -> Iterator[Proposal]:
    """Yield the proposals of a run, in the order of its journal."""
    for event in run.of_kind("plan"):
        if _text(event.data) and _is_its_id(event.data):
            yield _proposal(event, run, incident)


def _is_its_id(plan: Mapping[str, Any]) -> bool:
    """Return whether a plan has the id of its title, connection and text.

    A kernel could write any text as an id: a command for a shell, or the id of another plan.
    """
    title, connection = (str(plan.get(name) or "") for name in ("title", "connection"))
    try:
        return plan.get("id") == plan_id(title, connection, _text(plan))
    except UnicodeEncodeError:  # a kernel may write halves of surrogate pairs
        return False


def _text(plan: Mapping[str, Any]) -> str:
    return str(plan.get("sql") or plan.get("command") or "")


def _proposal(event: Event, run: Record, incident: str) -> Proposal:
    texts = {
        name: str(event.data.get(name) or "")
        for name in ("title", "action", "connection", "sql", "command", "risk", "state")
    }
    arguments, asked = event.data.get("arguments"), question(event.data.get("answers"))
    return Proposal(
        **texts,
        answers=asked,
        doubt=_doubt(asked, run),
        plan=str(event.data.get("id", "")),
        arguments=arguments if isinstance(arguments, Mapping) else {},
        incident=run.incident or incident,
        run_id=run.run_id,
        runbook=run.runbook,
        owner=run.folder.stat().st_uid,
        host=str(run.kernel.get("host") or ""),
        at=event.at,
    )


def _doubt(asked: Mapping[str, Any], run: Record) -> str:
    """Return why a run did not ask the question that its plan answers; empty if it did."""
    if not asked or any(
        one.identity == asked["identity"]
        and one.question == asked["question"]
        and set(asked["options"]) <= set(one.options)
        for one in run.decisions
    ):
        return ""
    return f"its run did not ask the question {asked['question']!r}"


def question(said: object) -> dict[str, Any]:
    """Return the question of a plan as a kernel wrote it, as texts; empty if it has no options."""
    said = said if isinstance(said, Mapping) else {}
    options = said.get("options")
    if not isinstance(options, list) or not options:
        return {}
    names = ("question", "identity", "rests_on", "recommended")
    texts = {name: str(said.get(name) or "") for name in names}
    return {**texts, "options": [str(one) for one in options]}


def refusal(proposal: Proposal, answers: Answers) -> str:
    """Return why a proposal cannot be executed; empty if it may be.

    The question of its runbook may be open, as after a headless run: the executed action answers
    it. If another option was chosen, or a human has run the SQL, the proposal is over.

    Parameters
    ----------
    proposal
        The proposal.
    answers
        The answers in its incident, which may be newer than its run.
    """
    if not proposal.incident:
        return "its run belongs to no incident, so that nothing could be recorded"
    if not proposal.action:
        return "plans of this kind are not executed by rbkernel: copy its text"
    if proposal.doubt:
        return proposal.doubt
    if proposal.state not in {PlanState.PROPOSED, PlanState.WAITING}:
        return f"its state in the runbook is “{proposal.state}”"
    return overruled(proposal.answers, answers)


def overruled(asked: Mapping[str, Any], answers: Answers) -> str:
    """Return why the answer that counts forbids the plan of a question; empty if it does not.

    An answer of another situation is the newest word of a person, too. If it chose the plan, the
    plan is of before: it has to be proposed again.

    Parameters
    ----------
    asked
        The question that a plan answers: see `Proposal`, or the document of an action.
    answers
        The answers in its incident.
    """
    said = answers.to(str(asked.get("identity", "")))
    if said is None:
        return ""
    if said.choice not in asked["options"]:
        return f"its question was answered with {said.choice!r} by {said.by}"
    if said.question != asked["question"]:
        return f"the answer is to another question: {said.question!r}, not {asked['question']!r}"
    if said.rests_on != asked["rests_on"]:
        return "the situation is another since: let the runbook propose it again"
    return ""


def refused(found: Proposal, why: str, next_step: str = "") -> ActionRefused:
    """Return the error that says why a step of an action is refused."""
    return ActionRefused(
        f"{found.title}: {why}",
        where=f"plan {found.plan}",
        next_step=next_step or f"`rbkernel action show {found.plan}` shows the action as it is now",
    )
