"""A decision belongs to the incident: the first answer counts, wherever it was given."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from rbkernel.cli import app
from rbkernel.errors import AlreadyDecided, EvidenceError, ParameterError
from rbkernel.evidence import bundle, incident, reading
from rbkernel.evidence.incident import ASKED_AGAIN, DECIDED, Line, answers_of, append, instant
from rbkernel.evidence.incident.decisions import Answer
from rbkernel.evidence.timeline import timeline
from rbkernel.incidents import plans, postmortem, questions, status, workflow
from rbkernel.model import Decision, DecisionState, Origin, question_identity, situation_identity
from rbkernel.render.documents import report
from tests.support.journal_builder import INCIDENT, RUN_ID, Journal, other_run, whole_run

AT = "2026-11-20T03:02:00+00:00"
OPTIONS = ("resume replay", "wait")
FINDINGS = (("Replay lag", "critical"),)
IDENTITY = question_identity("RUN-005", {"db": "shop"}, "What now?", OPTIONS)
ASKED = Decision(
    id="d1",
    question="What now?",
    options=OPTIONS,
    recommended="resume replay",
    reason="replay is paused",
    state=DecisionState.PARKED,
    identity=IDENTITY,
    findings=FINDINGS,
    rests_on=situation_identity(FINDINGS, "resume replay", needed=True),
)


def parked(root: Path, run_id: str = RUN_ID, **more: Any) -> Journal:
    """A headless run that asked and found nobody."""
    journal = whole_run(root, run_id, **more)
    said: dict[str, Any] = {"recommended": ASKED.recommended, "reason": ASKED.reason}
    journal.event(
        "decision", id="d1", question=ASKED.question, options=list(OPTIONS), state="parked",
        identity=IDENTITY, findings=[list(pair) for pair in FINDINGS], rests_on=ASKED.rests_on,
        **said,
    )  # fmt: skip
    return journal


def answer(root: Path, choice: str = "wait", by: str = "ann", **more: Any) -> Answer:
    said: dict[str, Any] = {"origin": Origin.PAGE, "run_id": RUN_ID, "runbook": "RUN-005", **more}
    return incident.answer(root, INCIDENT, ASKED, choice, by=by, **said)


def again(root: Path, seen: Answer) -> None:
    incident.ask_again(root, INCIDENT, ASKED, by="bob", origin=Origin.NOTEBOOK, replaces=seen.at)


def kinds(root: Path) -> list[str]:
    return [line.kind for line in incident.read(root, INCIDENT).lines]


# --- what lines say


LINES = st.lists(
    st.tuples(
        st.sampled_from([DECIDED, ASKED_AGAIN, "note"]),
        st.sampled_from(["q", "r"]),
        st.sampled_from(OPTIONS),
        st.sampled_from(["ann", "bob"]),
    ),
    max_size=12,
)


@given(LINES)
def test_the_first_answer_since_the_question_was_asked_counts(
    said: list[tuple[str, str, str, str]],
) -> None:
    lines, counts = [], dict[str, tuple[str, str] | None]()
    for number, (kind, identity, choice, by) in enumerate(said, 1):
        data = {"identity": identity, "choice": choice}
        at = f"2026-11-20T03:{number:02d}:00+00:00"
        lines.append(Line(number=number, kind=kind, at=at, by=by, data=data))
        if kind == DECIDED and counts.get(identity) is None:
            counts[identity] = (choice, by)
        elif kind == ASKED_AGAIN:
            counts[identity] = None
    found = answers_of(lines)
    for identity in ("q", "r"):
        one = found.to(identity)
        assert (one and (one.choice, one.by)) == counts.get(identity)


@pytest.mark.parametrize(
    ("state", "lines", "expected"),
    [
        ("parked", [DECIDED], "chosen"),
        ("not needed", [DECIDED], "chosen"),
        ("chosen", [DECIDED, ASKED_AGAIN], "open"),
        ("parked", [DECIDED, ASKED_AGAIN], "parked"),
        ("parked", [], "parked"),
    ],
)
def test_the_record_counts_more_than_a_journal(state: str, lines: list[str], expected: str) -> None:
    data = {"identity": IDENTITY, "choice": "wait", "rests_on": ASKED.rests_on}
    said = [Line(number=1, kind=kind, at=AT, by="ann", data=data) for kind in lines]
    decision = replace(ASKED, state=DecisionState(state), at=AT)
    if state == "chosen":
        decision = replace(decision, choice="wait")
    assert answers_of(said).applied(decision).state == expected


ALERT = {"source": "a", "fingerprint": "f"}
FIRED = ("alert", {**ALERT, "status": "firing", "starts_at": AT})
OVER = ("alert", {**ALERT, "status": "resolved", "starts_at": AT})
LATER = "2026-12-11T03:02:00+00:00"
SAID = (DECIDED, {"identity": IDENTITY, "choice": "wait", "rests_on": ASKED.rests_on})


@pytest.mark.parametrize(
    ("lines", "over"),
    [
        ([FIRED, SAID], ""),
        ([FIRED, SAID, FIRED], ""),
        ([FIRED, SAID, ("alert", {**FIRED[1], "fingerprint": "g"})], ""),
        ([FIRED, SAID, OVER], ""),
        ([FIRED, SAID, OVER, FIRED], ""),  # a message that was late
        ([FIRED, SAID, OVER, ("alert", {**FIRED[1], "starts_at": LATER})], "its alert fired again"),
        ([FIRED, SAID, OVER, ("alert", {**FIRED[1], "fingerprint": "g"})], "its alert fired again"),
        ([SAID, ("closed", {})], "the incident was closed"),
        ([SAID, ("closed", {}), ("reopened", {})], "the incident was closed"),
    ],
)
def test_an_answer_counts_until_the_incident_or_its_alert_begins_again(
    lines: list[tuple[str, dict[str, str]]], over: str
) -> None:
    said = [Line(number=1, kind=kind, at=AT, by="ann", data=data) for kind, data in lines]
    found = answers_of(said)
    assert found.applied(ASKED).state == ("parked" if over else "chosen")
    last = found.last(IDENTITY)
    assert last
    assert last.over == over
    # the view of the run to which it was given still shows it
    run = replace(ASKED, state=DecisionState.CHOSEN, choice="wait", at=AT)
    assert found.in_run(RUN_ID, [run])[0].choice == "wait"


@pytest.mark.parametrize(
    "changed",
    [
        ([("Replay lag", "ok")], "resume replay", True),
        ([("Replay lag", "critical"), ("Slots", "ok")], "resume replay", True),
        ([], "resume replay", True),
        (FINDINGS, "wait", True),
        (FINDINGS, None, True),
        (FINDINGS, "resume replay", False),
    ],
)
@pytest.mark.parametrize("state", ["open", "parked", "not needed"])
def test_an_answer_does_not_count_in_another_situation(
    tmp_path: Path, changed: tuple[Any, Any, bool], state: str
) -> None:
    answer(tmp_path)
    found, recommended, needed = changed
    now = situation_identity(found, recommended, needed=needed)
    asked = replace(ASKED, state=DecisionState(state), rests_on=now)
    known = incident.answers(tmp_path, INCIDENT)
    assert known.applied(asked) == asked
    # whoever answers in the new situation is not refused because of the old answer
    made = incident.answer(
        tmp_path, INCIDENT, asked, "resume replay", by="bob", origin="page", run_id=RUN_ID,
        runbook="RUN-005",
    )  # fmt: skip
    known = incident.answers(tmp_path, INCIDENT)
    assert known.applied(asked).choice == made.choice
    assert known.applied(ASKED) == ASKED


def test_an_answer_that_only_the_run_knows_stays_until_the_question_is_asked_again() -> None:
    mine = replace(ASKED, state=DecisionState.CHOSEN, choice="wait", at=LATER)
    again = (ASKED_AGAIN, {"identity": IDENTITY})
    lines = [
        Line(number=1, kind=kind, at=AT, by="ann", data=data)
        for kind, data in (SAID, again, ("note", {}))
    ]
    assert answers_of(lines).applied(mine) == mine
    last = Line(number=4, kind=DECIDED, at="2026-12-12T00:00:00Z", by="ann", data=SAID[1])
    more = [*lines, last, replace(last, kind=ASKED_AGAIN)]
    assert answers_of(more).applied(mine).state == "open"


def test_a_clock_that_was_ahead_does_not_keep_an_answer() -> None:
    """The order of lines counts, as they were written under the lock."""
    said = Line(number=1, kind=DECIDED, at=LATER, by="ann", data=SAID[1])
    again = Line(number=2, kind=ASKED_AGAIN, at=AT, by="ann", data={"identity": IDENTITY})
    asked = replace(ASKED, state=DecisionState.CHOSEN, choice="wait", at=LATER)
    assert answers_of([said, again]).applied(asked).state == "open"


def test_a_redacted_option_is_answered(tmp_path: Path) -> None:
    secret = "fail over to postgresql://ann:hunter2@db/shop"
    asked = replace(ASKED, options=(secret, "wait"))
    for _ in range(2):  # the same answer again is no other answer
        incident.answer(
            tmp_path, INCIDENT, asked, secret, by="ann", origin="page", run_id=RUN_ID,
            runbook="RUN-005",
        )  # fmt: skip
    assert incident.answers(tmp_path, INCIDENT).applied(asked).choice == secret
    assert b"hunter2" not in (tmp_path / INCIDENT / "incident.jsonl").read_bytes()


def test_the_same_answer_again_adds_its_note(tmp_path: Path) -> None:
    answer(tmp_path)
    answer(tmp_path, by="bob", note="the backup ends in 5 min")
    last = incident.read(tmp_path, INCIDENT).lines[-1]
    assert (last.kind, last.by, last.text("text")) == ("note", "bob", "the backup ends in 5 min")


def test_a_newer_run_takes_a_question_away_only_once_it_has_asked_or_is_complete(
    evidence: Path,
) -> None:
    parked(evidence)
    begun = Journal(evidence, other_run(5))
    begun.cell("1")
    begun.run("m1")
    found = questions.questions(evidence, INCIDENT)
    assert [one.run_id for one in found.waiting] == [RUN_ID]
    whole_run(evidence, other_run(6)).line("end")
    assert questions.questions(evidence, INCIDENT).waiting == ()


def test_a_question_of_an_older_run_with_other_findings_takes_no_answer(evidence: Path) -> None:
    parked(evidence)
    old = questions.questions(evidence, RUN_ID)
    journal = whole_run(evidence, other_run(5))
    journal.event(
        "decision", id="d1", question=ASKED.question, options=list(OPTIONS), state="parked",
        identity=IDENTITY, findings=[["Replay lag", "warning"]], rests_on="another",
    )  # fmt: skip
    with pytest.raises(EvidenceError, match="has found another situation since"):
        questions.answer(evidence, old, old.asked[0], "wait", by="ann", origin=Origin.COMMAND)
    run(INCIDENT, "wait")
    assert questions.questions(evidence, INCIDENT).waiting == ()


def test_an_acknowledgement_counts_until_the_incident_is_reopened(waiting: Path) -> None:
    append(waiting, INCIDENT, "acknowledged", by="ann", text="")
    assert incident.read(waiting, INCIDENT).acknowledged
    shown = CliRunner().invoke(app, ["incident", "show", INCIDENT]).output
    assert "acknowledged" in shown.split("Runs")[0]
    for kind in ("closed", "reopened"):
        append(waiting, INCIDENT, kind, by="ann", why="", resolution="")
        assert incident.read(waiting, INCIDENT).acknowledged is None


def test_an_answer_to_other_options_is_none() -> None:
    data = {"identity": IDENTITY, "choice": "reboot"}
    said = Line(number=1, kind=DECIDED, at="", by="ann", data=data)
    assert answers_of([said]).applied(ASKED) == ASKED


# --- the record


def test_an_answer_is_written_with_all_that_it_rests_on(tmp_path: Path) -> None:
    parked(tmp_path)
    made = answer(tmp_path, note="load falls")
    line = incident.read(tmp_path, INCIDENT).lines[-1]
    assert (line.kind, line.by, line.at) == (DECIDED, "ann", made.at)
    assert dict(line.data) == {
        "identity": IDENTITY,
        "question": "What now?",
        "options": list(OPTIONS),
        "recommended": "resume replay",
        "reason": "replay is paused",
        "choice": "wait",
        "origin": "page",
        "note": "load falls",
        "findings": [["Replay lag", "critical"]],
        "rests_on": ASKED.rests_on,
        "place": 1,
        "run_id": RUN_ID,
        "runbook": "RUN-005",
    }


def test_a_second_answer_is_refused_and_the_same_one_changes_nothing(tmp_path: Path) -> None:
    first = answer(tmp_path)
    assert answer(tmp_path, by="bob") == first
    with pytest.raises(
        AlreadyDecided, match=r"answered \d+ s ago by ann \(page\): 'wait'"
    ) as error:
        answer(tmp_path, "resume replay", by="bob")
    assert "--again" in error.value.next_step
    assert kinds(tmp_path) == ["opened", DECIDED]


def test_a_replaced_answer_stays_in_the_record(tmp_path: Path) -> None:
    first = answer(tmp_path)
    again(tmp_path, first)
    second = answer(tmp_path, "resume replay", by="bob")
    assert kinds(tmp_path) == ["opened", DECIDED, ASKED_AGAIN, DECIDED]
    again(tmp_path, first)  # of a person who has seen the first answer only
    assert incident.answers(tmp_path, INCIDENT).to(IDENTITY) == second
    told = [entry.what for entry in timeline(incident.read(tmp_path, INCIDENT), [])]
    assert [what for what in told if what != "record opened"] == [
        "decided: What now? wait (on the page)",
        "asked again: What now?",
        "decided: What now? resume replay (on the page)",
    ]


def test_asking_again_opens_the_question_unless_it_was_answered_anew(tmp_path: Path) -> None:
    first = answer(tmp_path)
    again(tmp_path, first)
    assert incident.answers(tmp_path, INCIDENT).to(IDENTITY) is None
    second = answer(tmp_path, "resume replay")
    again(tmp_path, first)
    assert incident.answers(tmp_path, INCIDENT).to(IDENTITY) == second


RACE = """
import sys
import time
from pathlib import Path
from rbkernel.errors import AlreadyDecided
from tests.unit.test_decisions import answer
print("ready", flush=True)
begin = float(sys.stdin.readline())
for n in range({rounds}):
    while time.time() < begin + n * 0.05:  # both begin each round at the same moment
        pass
    try:
        answer(Path(sys.argv[1]) / str(n), sys.argv[2], sys.argv[3])
        print("won", flush=True)
    except AlreadyDecided:
        print("refused", flush=True)
"""


@pytest.mark.slow
def test_of_two_processes_that_answer_at_once_one_wins(tmp_path: Path) -> None:
    rounds = 40
    for number in range(rounds):
        (tmp_path / str(number)).mkdir()
    command = [sys.executable, "-c", RACE.format(rounds=rounds), str(tmp_path)]
    said = (("wait", "ann"), ("resume replay", "bob"))
    racers = [
        subprocess.Popen([*command, *one], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for one in said
    ]
    for racer in racers:
        assert racer.stdout
        racer.stdout.readline()
    begin = time.time() + 0.5
    for racer in racers:
        assert racer.stdin
        racer.stdin.write(f"{begin}\n")
        racer.stdin.flush()
    outcomes = [racer.communicate(timeout=60)[0].split() for racer in racers]
    assert [sorted(pair) for pair in zip(*outcomes, strict=True)] == [["refused", "won"]] * rounds
    for number, (ann, _bob) in enumerate(zip(*outcomes, strict=True)):
        lines = incident.read(tmp_path / str(number), INCIDENT).lines
        decided = [line for line in lines if line.kind == DECIDED]
        assert [line.by for line in decided] == ["ann" if ann == "won" else "bob"]


def test_a_record_that_was_changed_after_its_seal_takes_no_answer(tmp_path: Path) -> None:
    parked(tmp_path)
    append(tmp_path, INCIDENT, "note", by="ann", text="x")
    bundle.seal(tmp_path, RUN_ID)
    record = tmp_path / INCIDENT / "incident.jsonl"
    record.write_bytes(record.read_bytes().replace(b'"x"', b'"y"'))
    with pytest.raises(EvidenceError, match="cannot be changed"):
        answer(tmp_path)


def test_a_secret_in_a_note_is_not_written(tmp_path: Path) -> None:
    answer(tmp_path, note="I used postgresql://ann:hunter2@db/shop")
    assert b"hunter2" not in (tmp_path / INCIDENT / "incident.jsonl").read_bytes()


def test_an_answer_counts_in_merged_incidents(tmp_path: Path) -> None:
    """Asked and answered before the merge, or asked in one and answered in the other after it."""
    other = "INC-20261120-aaaa"
    first = answer(tmp_path)
    append(tmp_path, INCIDENT, "merged", by="rbkernel", into=other)
    merged: dict[str, Any] = {"from": INCIDENT}
    append(tmp_path, other, "merged", by="rbkernel", **merged)
    for name in (INCIDENT, other):
        assert incident.answers(tmp_path, name).to(IDENTITY) == first
    again(tmp_path, first)
    answer(tmp_path, "resume replay", by="bob")
    assert [line.kind for line in incident.read(tmp_path, other).lines][-1] == DECIDED
    for name in (INCIDENT, other):
        found = incident.answers(tmp_path, name).to(IDENTITY)
        assert found
        assert found.by == "bob"


def test_the_decision_of_a_run_that_was_ok_opens_no_incident(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.cell("1")
    journal.run("m1")
    journal.finding("Ready", "ok")
    journal.event("summary", verdict="ok")
    journal.line("end")
    answer(tmp_path)
    bundle.seal(tmp_path, RUN_ID)
    assert incident.read(tmp_path, INCIDENT).state == "runs only"


# --- every view says the same


@pytest.fixture
def decided(tmp_path: Path) -> Path:
    """A run that parked, answered on a page; then the same run again, which knows the answer."""
    root = tmp_path / "evidence"
    parked(root)
    made = answer(root, note="load falls")
    journal = whole_run(root, other_run(1))
    journal.event(
        "decision", id="d1", question=ASKED.question, options=list(OPTIONS), state="chosen",
        identity=IDENTITY, choice="wait", at=made.at, by="ann", origin="page",
        rests_on=ASKED.rests_on,
    )  # fmt: skip
    return root


def test_nothing_waits_after_the_answer(decided: Path) -> None:
    found = workflow.look(decided, INCIDENT)
    assert found.waiting == ()
    assert [(one.decision.choice, one.decision.by) for one in found.asked] == [("wait", "ann")]


def test_the_timeline_has_the_answer_once(decided: Path) -> None:
    told = [one for one in workflow.look(decided, INCIDENT).timeline if "decided" in one.what]
    assert [(one.what, one.source) for one in told] == [
        ("decided: What now? wait (on the page): load falls", "ann")
    ]
    assert told[0].kind == "decision"
    now = instant("2026-11-20T04:00:00Z")
    entries = workflow.look(decided, INCIDENT).timeline
    draft = status.draft(incident.read(decided, INCIDENT), entries, now)
    assert "Action: decided: What now? wait" in draft.text


def test_an_answer_that_only_the_journal_has_is_in_the_timeline(tmp_path: Path) -> None:
    journal = whole_run(tmp_path)
    journal.event(
        "decision", id="d1", question="What now?", options=list(OPTIONS), state="chosen",
        identity=IDENTITY, choice="wait", at="2026-11-20T03:03:00+00:00", by="ann",
    )  # fmt: skip
    append(tmp_path, INCIDENT, "note", by="ann", text="x")
    told = [one.what for one in workflow.look(tmp_path, INCIDENT).timeline]
    assert "decided: What now? wait" in told


def test_report_and_postmortem_have_the_answer(decided: Path) -> None:
    page = report.build(decided, INCIDENT)
    assert [one.choice for run in page.sections for one in run.decisions] == ["wait", "wait"]
    alone = report.build(decided, RUN_ID)
    assert alone.sections[0].decisions[0].by == "ann"
    made = postmortem.make(decided, INCIDENT, decided.parent / "pm.ipynb")
    text = made.notebook.read_text()
    assert "not answered" not in text
    assert "decided: What now? wait" in text


def test_questions_of_other_servers_stay_open(decided: Path) -> None:
    journal = Journal(decided, other_run(2))
    journal.cell("1")
    journal.event(
        "run", "m1", id=other_run(2), runbook="RUN-005", title="Lag", incident=INCIDENT,
        headless=True, started_at="2026-11-20T03:02:11+00:00", parameters={"db": "pay"},
    )  # fmt: skip
    identity = question_identity("RUN-005", {"db": "pay"}, "What now?", OPTIONS)
    journal.event(
        "decision", id="d1", question="What now?", options=list(OPTIONS), state="parked",
        identity=identity,
    )  # fmt: skip
    [waiting] = workflow.look(decided, INCIDENT).waiting
    assert waiting.run_id == other_run(2)
    assert reading.read(decided / "open" / RUN_ID).decisions[0].state == "parked"


# --- the command


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["decide", *words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def waiting(evidence: Path) -> Path:
    """The evidence folder with a run that waits for an answer."""
    parked(evidence)
    return evidence


def test_the_command_lists_questions_with_recommendation_and_reason(waiting: Path) -> None:
    told = run(INCIDENT)
    assert told.splitlines()[:5] == [
        f"{IDENTITY[:6]} What now? (RUN-005, db shop, run {RUN_ID})",
        "   1 resume replay (recommended)",
        "   2 wait",
        "   Why: replay is paused",
        "   Findings: Replay lag critical",
    ]
    said = json.loads(run(RUN_ID, "--json"))
    assert said["questions"][0]["identity"] == IDENTITY


@pytest.mark.parametrize("option", ["2", "WAIT", "wa", "wait"])
def test_the_command_takes_a_number_or_a_beginning(waiting: Path, option: str) -> None:
    run(INCIDENT, option, "--by", "ann", "--note", "load falls")
    found = incident.answers(waiting, INCIDENT).to(IDENTITY)
    assert found
    assert (found.choice, found.origin, found.note) == ("wait", "command", "load falls")
    assert found.by.startswith("ann (entered by ")


def test_the_command_does_not_replace_an_answer_unless_told_so(waiting: Path) -> None:
    run(RUN_ID, "wait")
    with pytest.raises(AlreadyDecided, match="'wait'"):
        run(INCIDENT, "resume")
    run(INCIDENT, "resume", "--again")
    assert "decided: What now? resume replay" in run(INCIDENT)
    shown = CliRunner().invoke(app, ["incident", "show", INCIDENT]).output
    assert "Waiting for a decision" not in shown
    assert "RUN-005: What now? resume replay" in shown


@pytest.mark.parametrize(
    ("words", "what", "next_step"),
    [
        (("reboot",), "no 'reboot'", "1 'resume replay', 2 'wait'"),
        (("3",), "no '3'", "1 'resume replay', 2 'wait'"),
        (("wait", "--question", "Which"), "no such question: 'Which'", "What now?"),
    ],
)
def test_errors_of_the_command_name_what_is_possible(
    waiting: Path, words: tuple[str, ...], what: str, next_step: str
) -> None:
    with pytest.raises(ParameterError) as error:
        run(INCIDENT, *words)
    assert what in error.value.what
    assert next_step in error.value.next_step


def test_an_ambiguous_beginning_is_refused() -> None:
    with pytest.raises(ParameterError, match="'w' fits 'wait' and 'wake ann'"):
        questions.pick("w", ["wait", "wake ann"], where="")


def test_equal_questions_about_two_servers_are_told_apart(waiting: Path) -> None:
    other = whole_run(waiting, other_run(3))
    identity = question_identity("RUN-005", {"db": "pay"}, "What now?", OPTIONS)
    other.event("run", id=other_run(3), runbook="RUN-005", title="Lag", incident=INCIDENT,
                headless=True, started_at=AT, parameters={"db": "pay"})  # fmt: skip
    other.event("decision", id="d1", question="What now?", options=list(OPTIONS), state="parked",
                identity=identity)  # fmt: skip
    for words in ((), ("--question", "What")):
        with pytest.raises(ParameterError, match="has 2 such questions"):
            run(INCIDENT, "wait", *words)
    run(INCIDENT, "wait", "--question", IDENTITY[:6])
    found = incident.answers(waiting, INCIDENT)
    assert (found.to(identity), found.to(IDENTITY) is not None) == (None, True)
    run(other_run(3), "resume")
    assert incident.answers(waiting, INCIDENT).to(identity)


def test_a_closed_incident_takes_no_answer(waiting: Path) -> None:
    append(waiting, INCIDENT, "closed", by="ann", resolution="over")
    with pytest.raises(EvidenceError, match="is closed"):
        run(INCIDENT, "wait")
    append(waiting, INCIDENT, "reopened", by="ann", why="again")
    run(INCIDENT, "wait")


def test_an_unknown_incident_is_an_error(waiting: Path) -> None:
    with pytest.raises(EvidenceError, match="INC-nothing"):
        run("INC-nothing", "wait")
    assert not (waiting / "INC-nothing").exists()


def test_acknowledging_is_in_the_record(waiting: Path) -> None:
    append(waiting, INCIDENT, "note", by="ann", text="x")
    CliRunner().invoke(app, ["incident", "acknowledge", INCIDENT, "on it"])
    line = incident.read(waiting, INCIDENT).lines[-1]
    assert (line.kind, line.text("text"), line.text("origin")) == (
        "acknowledged",
        "on it",
        "command",
    )


# --- what was done


def proposed(root: Path, run_id: str = RUN_ID) -> Journal:
    """A run that proposes a plan, and one that a question of it holds back."""
    journal = whole_run(root, run_id)
    plan: dict[str, Any] = {"title": "Resume replay", "connection": "shop", "sql": "SELECT 1"}
    journal.event("plan", id="p1", **plan, state="proposed", targets=[])
    journal.event("plan", id="p2", **{**plan, "title": "Restart"}, state="not chosen", targets=[])
    return journal


def states(root: Path, what: str) -> list[tuple[str, str]]:
    page = report.build(root, what)
    return [(one.title, one.state) for run in page.sections for one in run.plans]


@pytest.mark.parametrize("plan", ["p1", "resume", "Resume replay"])
def test_done_is_in_every_view_once(evidence: Path, plan: str) -> None:
    proposed(evidence)
    append(evidence, INCIDENT, "note", by="ann", text="x")
    words = ["incident", "done", INCIDENT, plan, "t, replay goes on"]
    for _ in range(2):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
    assert kinds(evidence) == ["opened", "note", "done"]
    for what in (INCIDENT, RUN_ID):
        assert states(evidence, what) == [
            ("Resume replay", "done by a human"),
            ("Restart", "not chosen"),
        ]
    found = workflow.look(evidence, INCIDENT)
    assert [one.what for one in found.timeline if one.kind == "done"] == [
        "done by a human: Resume replay: t, replay goes on"
    ]
    made = postmortem.make(evidence, INCIDENT, evidence.parent / "pm.ipynb")
    assert "not recorded as done" not in made.notebook.read_text()


def test_a_plan_that_was_proposed_again_is_not_done(tmp_path: Path) -> None:
    """The journal's times are in the past; here the plan is proposed after it was done."""
    root = tmp_path / "evidence"
    journal = proposed(root)
    incident.mark_done(
        root, INCIDENT, "p1", "Resume replay", "done", by="ann", origin="page", run_id=RUN_ID
    )
    assert states(root, RUN_ID)[0][1] == "done by a human"
    again = {"id": "p1", "title": "Resume replay", "sql": "SELECT 1", "state": "proposed"}
    line = {"seq": journal.count + 1, "at": "2999-01-01T00:00:00+00:00", "kind": "plan"}
    journal.raw(json.dumps({**line, "data": again}).encode() + b"\n")
    assert states(root, RUN_ID)[0][1] == "proposed"
    made = postmortem.make(root, INCIDENT, tmp_path / "pm.ipynb")
    assert "proposed, not recorded as done: Resume replay" in made.notebook.read_text()


@pytest.mark.parametrize("plan", ["p2", "reboot", ""])
def test_only_what_is_proposed_can_be_done(evidence: Path, plan: str) -> None:
    proposed(evidence)
    found = plans.proposed(evidence, INCIDENT)
    with pytest.raises(ParameterError, match="is proposed") as error:
        plans.find(found, plan)
    assert error.value.next_step == "use one of p1 'Resume replay'"
