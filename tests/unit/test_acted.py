"""After a verified action, nobody is asked the same again, and the gateway looks again, once."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rbkernel.cli import app
from rbkernel.config import Connection, Settings
from rbkernel.config.actions import ActionRule, Actions
from rbkernel.errors import ActionRefused
from rbkernel.evidence import bundle, incident, reading, runs
from rbkernel.evidence.incident import ActionState, append, tell
from rbkernel.evidence.runs import SEALED, RunEntry
from rbkernel.execution import document, proposal
from rbkernel.execution.ledger import Ledger
from rbkernel.gateway.jobs.records import Job
from rbkernel.gateway.notify import watch
from rbkernel.gateway.notify.events import due
from rbkernel.incidents import questions, results, workflow
from rbkernel.model import Origin, PlanState, Verdict, plan_id
from rbkernel.redact import Redactor
from rbkernel.sources.postgres import history
from rbkernel.sources.postgres.history import Earlier
from rbkernel.triage import earlier
from rbkernel.triage.decisions import decided
from tests.support.journal_builder import INCIDENT, Journal, other_run, whole_run
from tests.support.page_server import opened, serving
from tests.unit import test_continuing
from tests.unit.test_continuing import Desk, by_hand, given_now
from tests.unit.test_decisions import ASKED, IDENTITY, again, parked
from tests.unit.test_page_forms import words
from tests.unit.test_ring import look

desk, run = test_continuing.desk, test_continuing.run
TITLE = "Terminate 1 session"
ANSWERS = {
    "question": ASKED.question,
    "identity": IDENTITY,
    "rests_on": ASKED.rests_on,
    "recommended": ASKED.recommended,
    "options": ["resume replay"],
}
DONE = "done: Terminate 1 session, verified"


def act(root: Path, run_id: str, *states: ActionState, **more: object) -> None:
    """Record the preview of an action that needs no approval, and these states."""
    text = document.canonical(
        {
            "title": TITLE,
            "incident": INCIDENT,
            "proposed_in": f"RUN-005 {run_id}",
            "approvers": 0,
            "execute_within_s": 600.0,
            "answers": ANSWERS,
            **more,
        }
    )
    said: dict[str, Any] = {"plan": "p1", "digest": document.digest(text)}
    append(root, INCIDENT, "action", by="ann", state=ActionState.PREVIEWED, document=text, **said)
    for state in states:
        until = "2100-01-01T00:00:00+00:00"
        append(root, INCIDENT, "action", by="bob", state=state, until=until, **said)


def verified(root: Path, run_id: str, **more: object) -> None:
    act(root, run_id, ActionState.EXECUTING, ActionState.VERIFIED, **more)


def test_no_view_asks_the_same_again(desk: Desk, run: Job) -> None:
    verified(desk.root, run.run_id)
    found = questions.questions(desk.root, INCIDENT)
    assert found.waiting == workflow.look(desk.root, INCIDENT).waiting == ()
    [one] = found.asked
    assert (one.decision.choice, one.decision.by) == ("resume replay", "bob")
    assert one.decision.origin == Origin.ACTION
    listed = CliRunner().invoke(app, ["decide", INCIDENT]).output
    assert f"no open question in {INCIDENT}" in listed
    assert DONE in listed
    with serving(opened()) as client:
        for page in (f"incidents/{INCIDENT}", f"runs/{run.run_id}"):
            seen = words(client.get(f"/rbkernel/{page}"))
            assert "Waiting for a decision" not in seen
            assert DONE in seen.lower().replace("terminate", "Terminate")
            assert "by bob. Next: look again" in seen
    append(desk.root, INCIDENT, "run", by="rbkernel", run_id=run.run_id, runbook="RUN-005",
           state="ended", verdict="critical")  # fmt: skip
    record = incident.read(desk.root, INCIDENT)
    seen_by = watch.OnDisk(Settings())
    now = incident.instant(record.lines[-1].at)
    kinds = [one.kind for one in due(record, seen_by, known=(), now=now).events]
    assert "finding" in kinds
    assert "decision" not in kinds


@pytest.mark.parametrize("ending", [ActionState.FAILED, ActionState.INDETERMINATE, None])
def test_an_action_without_effect_answers_nothing(
    desk: Desk, run: Job, ending: ActionState | None
) -> None:
    act(desk.root, run.run_id, ActionState.EXECUTING, *([ending] if ending else []))
    assert len(questions.questions(desk.root, INCIDENT).waiting) == 1
    assert desk.look() == []


def test_it_answers_only_in_the_situation_that_was_approved(desk: Desk, run: Job) -> None:
    verified(desk.root, run.run_id, answers={**ANSWERS, "rests_on": "another"})
    assert len(questions.questions(desk.root, INCIDENT).waiting) == 1
    assert len(desk.look()) == 1


@pytest.mark.parametrize(
    ("given", "rests_on"), [("wait", ASKED.rests_on), ("resume replay", "of now")]
)
def test_what_a_person_said_counts_more(desk: Desk, run: Job, given: str, rests_on: str) -> None:
    said: dict[str, Any] = {"identity": IDENTITY, "choice": given, "rests_on": rests_on}
    append(desk.root, INCIDENT, "decided", by="ann", **said)
    verified(desk.root, run.run_id)
    known = incident.answers(desk.root, INCIDENT)
    counts = known.to(IDENTITY)
    assert counts
    assert (counts.by, counts.choice, counts.rests_on) == ("ann", given, rests_on)
    assert known.acted(IDENTITY) is None


@pytest.mark.parametrize("options", [["go", "resume"], [], 1, "text", None])
def test_nobody_chose_one_of_several_options(desk: Desk, run: Job, options: object) -> None:
    verified(desk.root, run.run_id, answers={**ANSWERS, "options": options})
    assert len(questions.questions(desk.root, INCIDENT).waiting) == 1


def test_an_altered_document_answers_nothing(desk: Desk, run: Job) -> None:
    verified(desk.root, run.run_id)
    file = desk.root / INCIDENT / "incident.jsonl"
    file.write_text(file.read_text().replace("Terminate 1 session", "Terminate 2 session"))
    assert len(questions.questions(desk.root, INCIDENT).waiting) == 1
    assert desk.look() == []


def test_the_gateway_looks_again_once(desk: Desk, run: Job) -> None:
    act(desk.root, run.run_id)
    assert desk.look() == []
    verified(desk.root, run.run_id, nonce="2")
    [job] = desk.look()
    assert job.continues
    assert job.continues[0] == run.run_id
    assert f"{TITLE}, verified" in job.why[0]
    assert len(desk.restarted().look()) == 1
    # the run that looked again began after the action, and has no question any more
    later = desk.restarted()
    later.end(job.id)
    whole_run(desk.root, job.run_id, started_at=datetime.now(UTC).isoformat())
    assert len(later.look()) == 1
    assert questions.questions(desk.root, INCIDENT).asked == ()


def test_an_answer_and_then_its_action_are_two_reasons(desk: Desk, run: Job) -> None:
    given_now(desk.root, "resume replay")
    [first] = desk.look()
    test_continuing.continued(desk, first)
    verified(desk.root, first.run_id)
    found = incident.answers(desk.root, INCIDENT).to(IDENTITY)
    assert found
    assert (found.by, found.origin) == ("ann", Origin.PAGE)
    _, second = desk.look()
    assert second.continues
    assert second.continues[0] == first.run_id
    assert len(desk.look()) == 2


def test_it_looks_again_although_another_question_is_open(desk: Desk, run: Job) -> None:
    verified(desk.root, run.run_id, answers={})
    assert len(questions.questions(desk.root, INCIDENT).waiting) == 1
    assert len(desk.look()) == 1


def test_not_in_a_closed_incident_and_not_if_a_person_looks(desk: Desk, run: Job) -> None:
    verified(desk.root, run.run_id)
    append(desk.root, INCIDENT, "closed", by="ann", resolution="")
    assert desk.look() == []
    append(desk.root, INCIDENT, "reopened", by="ann", why="")
    by_hand(desk, run)
    assert desk.look() == []


def test_people_are_asked_again_if_the_action_made_nothing_better(desk: Desk, run: Job) -> None:
    verified(desk.root, run.run_id)
    known = incident.answers(desk.root, INCIDENT)
    # a run that looked before the action cannot tell
    assert decided.no_longer_counts(ASKED, known, "2026-11-20T03:02:11+00:00") == ""
    now = datetime.now(UTC).isoformat()
    why = decided.no_longer_counts(ASKED, known, now)
    assert why.startswith(f"{TITLE}, verified ")
    assert why.endswith(" by bob, and the situation is as before")
    # what `rb.decide` writes then
    seen = known.to(IDENTITY)
    assert seen
    incident.ask_again(
        desk.root, INCIDENT, ASKED, by="rbkernel", origin="notebook", replaces=seen.at, why=why
    )
    parked(desk.root, other_run(50))
    [one] = questions.questions(desk.root, INCIDENT).waiting
    assert one.run_id == other_run(50)
    assert decided.no_longer_counts(ASKED, incident.answers(desk.root, INCIDENT), now) == ""


def test_a_run_after_the_action_does_not_show_it_as_its_own(desk: Desk, run: Job) -> None:
    verified(desk.root, run.run_id)
    parked(desk.root, other_run(50), started_at=datetime.now(UTC).isoformat())
    [one] = questions.questions(desk.root, INCIDENT).asked
    assert one.acted is None


def test_a_person_who_asks_again_is_asked(desk: Desk, run: Job) -> None:
    verified(desk.root, run.run_id)
    seen = incident.answers(desk.root, INCIDENT).to(IDENTITY)
    assert seen
    again(desk.root, seen)
    [one] = questions.questions(desk.root, INCIDENT).waiting
    assert one.acted is None


def test_an_action_against_the_answer_is_refused(evidence: Path) -> None:
    journal = parked(evidence)
    names = ("title", "connection", "sql")
    plan = dict(zip(names, (TITLE, "orders", "SELECT 1"), strict=True))
    id_ = plan_id(*plan.values())
    data = {**plan, "id": id_, "action": "terminate_sessions", "state": PlanState.WAITING.value}
    journal.event("plan", **data, answers=ANSWERS)
    rule = ActionRule(action="terminate_sessions", approvers=0)
    orders = Connection(name="orders", host="127.0.0.1", port=1)
    settings = Settings(actions=Actions(rules=(rule,)), connections={"orders": orders})
    ledger = Ledger(settings, Redactor())
    found = ledger.find(id_)
    assert found.answers == ANSWERS
    rule = ledger.rule(found)
    given_now(evidence, "wait")
    # what is asked under the lock, between the approval and the intent
    assert "answered with 'wait'" in ledger.changed_since(found, rule)
    # also if it was given in another situation: it is the newest word of a person
    other = dataclasses.replace(found, answers={**ANSWERS, "rests_on": "another"})
    assert "answered with 'wait'" in ledger.refusal(other)
    # and whatever the journal of another run says after the approval
    act(evidence, other_run(1))
    approved = incident.read(evidence, INCIDENT).actions[0]
    for altered in ({}, {**ANSWERS, "identity": "another"}):
        silent = dataclasses.replace(found, answers=altered)
        assert ledger.refusal(silent) == ledger.changed_since(silent, rule) == ""
        assert "answered with 'wait'" in ledger.changed_since(silent, rule, approved)
    with pytest.raises(ActionRefused, match="its question was answered with 'wait' by ann"):
        ledger.find(id_)
    seen = incident.answers(evidence, INCIDENT).to(IDENTITY)
    assert seen
    again(evidence, seen)
    given_now(evidence, "resume replay")
    assert ledger.find(id_).plan == id_
    assert "the situation is another since" in ledger.refusal(other)
    assert ledger.changed_since(found, rule, approved) == ""


@pytest.mark.parametrize(
    "said", ["text", [], {}, {"options": "x"}, {"options": []}, {"options": [1], "identity": {}}]
)
def test_a_plan_with_an_odd_question_is_read(tmp_path: Path, said: object) -> None:
    journal = Journal(tmp_path, other_run(1))
    journal.run(journal.cell("rb.start('RUN-005')"))
    data = {"title": "t", "connection": "c", "sql": "s", "id": plan_id("t", "c", "s")}
    journal.event("plan", **data, answers=said)
    [one] = proposal.of_run(reading.read(journal.folder), INCIDENT)
    assert all(isinstance(text, str) for text in one.answers.get("options", []))


def test_the_newest_run_of_a_runbook_says_how_the_incident_is(tmp_path: Path) -> None:
    ids = count()

    def entry(runbook: str, verdict: Verdict, db: str = "orders") -> RunEntry:
        return RunEntry(
            run_id=str(next(ids)),
            about=db and f"{runbook} {db}",
            incident=INCIDENT,
            runbook=runbook,
            title="",
            state=SEALED,
            verdict=verdict,
            started_at="",
            folder=tmp_path,
        )

    critical, well = entry("RUN-005", Verdict.CRITICAL), entry("RUN-005", Verdict.OK)
    other = entry("RUN-007", Verdict.WARNING)
    elsewhere = entry("RUN-005", Verdict.OK, "billing")
    unknown = entry("RUN-005", Verdict.UNKNOWN)
    before = entry("RUN-005", Verdict.CRITICAL, ""), entry("RUN-005", Verdict.OK, "")
    again, well_again = entry("RUN-005", Verdict.CRITICAL), entry("RUN-005", Verdict.OK)
    said = [(critical,), (critical, well), (well, again), (critical, other, well)]
    found = [results.verdict(tell(()), one) for one in said]
    assert found == [Verdict.CRITICAL, Verdict.OK, Verdict.CRITICAL, Verdict.WARNING]
    # another server, a run that found nothing out, and runs of which nothing is known
    said = [(critical, elsewhere), (critical, unknown), (unknown, again, well_again), before]
    found = [results.verdict(tell(()), one) for one in said]
    assert found == [Verdict.CRITICAL, Verdict.CRITICAL, Verdict.OK, Verdict.CRITICAL]


def test_lists_know_what_a_run_is_about(evidence: Path) -> None:
    first = whole_run(evidence, other_run(1)).folder
    [before] = runs.list_runs(evidence)
    assert before.about
    bundle.seal(evidence, first.name)
    parked(evidence, other_run(2), parameters={"db": "billing"})
    parked(evidence, other_run(3))
    one, other, again_ = (one.about for one in runs.list_runs(evidence))
    assert one == before.about == again_ != other


TARGET = {"pid": 7, "backend_start": "2026-11-20T03:00:00+00:00"}


@pytest.mark.parametrize(
    ("more", "states", "minutes_ago", "expected"),
    [
        ({}, [ActionState.EXECUTING, ActionState.VERIFIED], 1, Verdict.OK),
        ({}, [ActionState.EXECUTING, ActionState.FAILED], 1, Verdict.WARNING),
        ({}, [ActionState.EXECUTING], 1, Verdict.WARNING),
        # the cause was seen after the action: it is another one, or came back
        ({}, [ActionState.EXECUTING, ActionState.VERIFIED], -1, Verdict.WARNING),
        # its query was cancelled, and may be sent again
        (
            {"action": "cancel_queries"},
            [ActionState.EXECUTING, ActionState.VERIFIED],
            1,
            Verdict.WARNING,
        ),
        # nobody approved it
        ({"approvers": 1}, [ActionState.EXECUTING, ActionState.VERIFIED], 1, Verdict.WARNING),
        ({"connection": "other"}, [ActionState.EXECUTING, ActionState.VERIFIED], 1, "warning"),
        # the pid was used again
        (
            {"targets": [{**TARGET, "backend_start": "2026-11-20T03:00:01+00:00"}]},
            [ActionState.EXECUTING, ActionState.VERIFIED],
            1,
            Verdict.WARNING,
        ),
        ({"targets": [7]}, [ActionState.EXECUTING, ActionState.VERIFIED], 1, Verdict.WARNING),
    ],
)
def test_a_cause_that_an_action_ended_is_ok(
    evidence: Path,
    more: dict[str, object],
    states: list[ActionState],
    minutes_ago: float,
    expected: str,
) -> None:
    known = {"action": "terminate_sessions", "connection": "orders", "targets": [TARGET]}
    act(evidence, other_run(1), *states, **{**known, **more})
    actions = incident.read(evidence, INCIDENT).actions
    before = Earlier(diagnosis=look(minutes_ago, waiters=4), occasion="when it was tried")
    [finding] = history.findings(look(0), [before], partial(earlier._solved, actions))
    assert finding.verdict == expected
    is_ok = expected == Verdict.OK
    assert (": Terminate 1 session, verified" in finding.cause) == is_ok
    assert "over by now" in finding.cause
