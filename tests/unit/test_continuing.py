"""The gateway continues an answered run: once, and only if it may."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from rbkernel.config import Settings
from rbkernel.config.queue import Queue
from rbkernel.config.settings import Catalogue
from rbkernel.errors import EvidenceError, RunbookChanged
from rbkernel.evidence import incident, reading
from rbkernel.evidence.incident import CONTINUED, IncidentState, append, mark_continued
from rbkernel.gateway.jobs.context import GatewayContext
from rbkernel.gateway.jobs.continuing.claim import claimed
from rbkernel.gateway.jobs.continuing.continuer import Continuer
from rbkernel.gateway.jobs.execution import JobExecutor
from rbkernel.gateway.jobs.ledger import JobRequest
from rbkernel.gateway.jobs.records import Job
from rbkernel.gateway.jobs.states import JobState
from rbkernel.gateway.jobs.storage.store import Store
from rbkernel.incidents import continuing, questions
from rbkernel.model import Origin, Severity, question_identity
from rbkernel.run import runner
from rbkernel.run.outcome import Ending, Outcome
from rbkernel.runbook import catalogue
from rbkernel.runbook.catalogue import Runbook
from tests.support import kernels
from tests.support.journal_builder import INCIDENT, Journal, other_run, whole_run
from tests.unit.test_decisions import ASKED, OPTIONS, again, answer, parked

OTHER = "INC-20261120-bbbb"


class Desk:
    """The store of a gateway, and an incident with runs of it."""

    def __init__(self, root: Path, **rules: Any) -> None:
        self.root = root
        folders = Catalogue(paths=(Path("runbooks").absolute(),))
        settings = Settings(queue=Queue(**rules), catalogue=folders)
        self.context = GatewayContext.of(settings, Store.open(settings.store_url))
        self.continuer = Continuer(self.context)

    def restarted(self) -> Desk:
        """As after the end of all processes."""
        self.context.store.close()
        return Desk(self.root)

    def ended(
        self, *, name: str = INCIDENT, seed: str = "alert", key: str = "shop", **how: Any
    ) -> Job:
        """Run a job to its end; its evidence is not written here."""
        order = JobRequest(
            seed=seed,
            runbook="RUN-005",
            parameters={"db": "shop"},
            key=(key,),
            connections=("shop",),
            severity=Severity.HIGH,
            incident=name,
            source="alert",
            why="alert Lag",
        )
        with self.context.store.planning() as connection:
            id_, _ = self.context.ledger.add(connection, order)
        return self.end(id_, **how)

    def end(self, id_: str, *, outcome: Outcome = Outcome.DONE, verdict: str = "critical") -> Job:
        assert self.context.ledger.promote()
        begun = self.context.ledger.begin(id_, 1, "w")
        assert begun
        self.context.ledger.end(id_, 1, Ending(outcome=outcome, verdict=verdict))
        return begun

    @property
    def continuations(self) -> list[Job]:
        """The jobs that continue a run, oldest first."""
        return [one for one in reversed(self.context.store.jobs()) if one.continues]

    def look(self, times: int = 2) -> list[Job]:
        """Look repeatedly, as if each record had just changed."""
        for _ in range(times):
            self.continuer._seen.clear()
            self.continuer.sweep()
        return self.continuations

    def told(self) -> list[str]:
        record = incident.look(self.root, INCIDENT)
        return [one.text("refused") for one in record.lines if one.kind == CONTINUED]


@pytest.fixture
def desk(evidence: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runbooks").mkdir()
    front = kernels.FRONT_MATTER.replace(kernels.RUNBOOK, "RUN-005")
    monkeypatch.setattr(kernels, "FRONT_MATTER", front)
    kernels.write_runbook(tmp_path / "runbooks" / "r.ipynb", ["db"], parameters='db: str = "x"')
    os.mkfifo(tmp_path / "pipe")
    # ids of runs within one second have no order
    ids = map(other_run, count(1))
    monkeypatch.setattr("rbkernel.gateway.jobs.ledger.new_run_id", lambda: next(ids))
    monkeypatch.setenv("RBKERNEL_STORE_URL", f"sqlite:///{tmp_path}/store.sqlite")
    return Desk(evidence)


@pytest.fixture
def run(desk: Desk) -> Job:
    """An ended run of the gateway that asked a question."""
    job = desk.ended()
    asked(desk, job)
    return job


def asked(desk: Desk, job: Job) -> None:
    """A run of a worker's runbook asked; its kernel has written a path of its own."""
    digest = hashlib.sha256(Path("runbooks/r.ipynb").read_bytes()).hexdigest()
    parked(desk.root, job.run_id).event("snapshot", path="pipe", sha256=digest)


def given_now(root: Path, choice: str = "wait", by: str = "ann") -> None:
    """Answer the question of the newest run."""
    found = questions.questions(root, INCIDENT)
    asked = next(one for one in found.waiting if one.decision.question == ASKED.question)
    questions.answer(root, found, asked, choice, by=by, origin=Origin.PAGE)


def test_an_answer_continues_the_run_once(desk: Desk, run: Job) -> None:
    assert desk.look() == []
    given_now(desk.root)
    [job] = desk.look()
    assert job.continues == (run.run_id, job.source.partition(" ")[2])
    assert job.why == (f"continues run {run.run_id}: What now? wait (ann)",)
    like = ("runbook", "parameters", "key", "connections", "priority", "incident")
    assert [getattr(job, one) for one in like] == [getattr(run, one) for one in like]
    # also after a restart, and once it has ended without having asked anything
    later = desk.restarted()
    assert len(later.look()) == 1
    later.end(job.id, outcome=Outcome.FAILED)
    assert len(later.restarted().look()) == 1


def test_an_answer_before_a_restart_is_not_lost(desk: Desk, run: Job) -> None:
    given_now(desk.root)
    assert len(desk.restarted().look(1)) == 1


def test_several_processes_and_people_at_once(desk: Desk, run: Job) -> None:
    others = [desk, *(Desk(desk.root) for _ in range(3))]
    start = Barrier(len(others) + 2, timeout=60)

    def look(one: Desk) -> None:
        start.wait()
        for _ in range(20):
            one.look()

    def answers(by: str) -> None:
        found = questions.questions(desk.root, INCIDENT)
        start.wait()
        questions.answer(desk.root, found, found.waiting[0], "wait", by=by, origin=Origin.PAGE)

    with ThreadPoolExecutor(len(others) + 2) as threads:
        every = [threads.submit(answers, by) for by in ("ann", "bob")]
        every += [threads.submit(look, one) for one in others]
        for one in every:
            one.result()
    assert len(desk.look()) == 1


def test_it_waits_for_all_answers(desk: Desk, run: Job) -> None:
    other = "Whom to call?"
    journal = Journal.__new__(Journal)
    journal.folder, journal.count = desk.root / "open" / run.run_id, 100
    same = question_identity("RUN-005", {"db": "shop"}, other, OPTIONS)
    journal.event(
        "decision", id="d2", question=other, options=list(OPTIONS), state="parked", identity=same,
        rests_on=ASKED.rests_on,
    )  # fmt: skip
    given_now(desk.root)
    assert desk.look() == []
    found = questions.questions(desk.root, INCIDENT)
    questions.answer(desk.root, found, found.waiting[0], "wait", by="bob", origin=Origin.COMMAND)
    [job] = desk.look()
    assert job.why[0].endswith(": What now? wait (ann); Whom to call? wait (bob)")


def continued(desk: Desk, job: Job) -> None:
    """The job ends, and its run has asked the same question, with the answers of today."""
    if job.state in Job.NOT_STARTED:
        desk.end(job.id)
    journal = whole_run(desk.root, job.run_id)
    known = incident.answers(desk.root, INCIDENT).applied(ASKED)
    said = {**dataclasses.asdict(known), "options": list(OPTIONS), "state": known.state.value}
    journal.event("decision", **{name: one for name, one in said.items() if one is not None})


def test_another_answer_continues_the_newest_run_once(desk: Desk, run: Job) -> None:
    given_now(desk.root)
    [first] = desk.look()
    continued(desk, first)
    assert len(desk.look()) == 1
    seen = incident.answers(desk.root, INCIDENT).to(ASKED.identity)
    assert seen
    again(desk.root, seen)
    assert len(desk.look()) == 1
    given_now(desk.root, "resume replay")
    _, second = desk.look()
    assert second.continues
    assert second.continues[0] == first.run_id
    continued(desk, second)
    assert len(desk.look()) == 2


def test_a_continuation_that_cannot_read_the_answers_is_not_continued_for_ever(
    desk: Desk, run: Job
) -> None:
    given_now(desk.root)
    for _ in range(3):
        for job in desk.look():
            if job.state not in Job.ENDED:
                desk.end(job.id)
                parked(desk.root, job.run_id)
    assert len(desk.look()) == 1


@pytest.mark.parametrize("live", ["a kernel", "shop", "another"])
def test_not_while_its_runbook_runs_on_the_incident(desk: Desk, run: Job, live: str) -> None:
    if live == "a kernel":
        other = Journal(desk.root, other_run(50))
        other.run(other.cell("rb.start('RUN-005')"))
        with other.kernel():
            given_now(desk.root)
            assert desk.look() == []
    else:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(desk, "end", lambda id_: desk.context.store.job(id_))
            queued = desk.ended(seed="another", key=live)
        given_now(desk.root)
        assert desk.look() == []
        desk.end(queued.id)
    # the end of a run may not show in the record of the incident
    assert desk.continuer._again
    desk.continuer._again[INCIDENT] = (0.0, 5.0)
    assert desk.continuer.sweep() == 1


def test_a_live_job_with_the_same_key_in_another_incident_comes_first(desk: Desk, run: Job) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(desk, "end", lambda id_: desk.context.store.job(id_))
        queued = desk.ended(seed="another", name=OTHER)
    given_now(desk.root)
    assert desk.look() == []
    desk.end(queued.id)
    desk.continuer._again[INCIDENT] = (0.0, 5.0)
    assert desk.continuer.sweep() == 1


def by_hand(desk: Desk, run: Job) -> None:
    """What `rbkernel resume` writes before its run starts."""
    record = reading.read(desk.root / "open" / run.run_id)
    basis = continuing.of_run(desk.root, record).basis
    said = {"run_id": run.run_id, "runbook": run.runbook, "basis": basis}
    mark_continued(desk.root, INCIDENT, by="ann", **said)


def test_not_if_a_person_continues_it(desk: Desk, run: Job) -> None:
    given_now(desk.root)
    by_hand(desk, run)
    assert desk.look() == []


def claim(desk: Desk, job: Job) -> Runbook | Ending:
    """What a worker does first in an attempt."""
    return claimed(desk.context.settings, job)


def performed(desk: Desk, job: Job, number: int = 1) -> Job:
    """Let a worker do an attempt that ends before a process starts."""
    assert desk.context.ledger.promote()
    JobExecutor(desk.context, worker="w").perform(job.id, number)
    found = desk.context.store.job(job.id)
    assert found
    return found


def is_well(desk: Desk) -> bool:
    return desk.context.ledger.all_well([INCIDENT])


def test_the_document_is_that_of_the_workers_catalogue(desk: Desk, run: Job) -> None:
    given_now(desk.root)
    [job] = desk.look()
    found = claim(desk, job)
    # the journal names a pipe, which nobody can open
    assert isinstance(found, Runbook)
    assert found.path == Path("runbooks/r.ipynb").absolute()


def test_each_attempt_at_the_job_may_continue_it_and_no_other_job(desk: Desk, run: Job) -> None:
    given_now(desk.root)
    [job] = desk.look()
    for _ in range(2):
        assert isinstance(claim(desk, job), Runbook)
    assert len(desk.told()) == 1
    other = claim(desk, dataclasses.replace(job, id="another"))
    assert isinstance(other, Ending)
    assert other.outcome is Outcome.WITHDRAWN
    assert other.failure.endswith("by rbkernel already")


@pytest.mark.parametrize("what", ["ann", "closed", "changed", "old"])
def test_a_job_that_is_not_needed_any_more_is_no_failed_run(
    desk: Desk, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = desk.ended(verdict="ok")
    asked(desk, run)
    given_now(desk.root)
    [job] = desk.look()
    if what == "ann":
        by_hand(desk, run)
    elif what == "closed":
        append(desk.root, INCIDENT, "closed", by="ann", resolution="")
    elif what == "changed":
        document = Path("runbooks/r.ipynb")
        document.write_bytes(document.read_bytes() + b" ")
    else:
        monkeypatch.setattr(continuing, "_WITHIN", timedelta(seconds=-1))
        desk.look()
    ended = performed(desk, job)
    assert (ended.state, ended.verdict) == (JobState.WITHDRAWN, "")
    assert is_well(desk)
    record = incident.look(desk.root, INCIDENT)
    assert job.run_id not in {one.run_id for one in record.runs}
    assert record.state is (IncidentState.CLOSED if what == "closed" else IncidentState.OPEN)
    told = {"ann": [""], "closed": [], "changed": ["the runbook has changed"], "old": ["run "]}
    assert [one[: len(two)] for one, two in zip(desk.told(), told[what], strict=True)] == told[what]
    assert len(desk.look()) == 1


def test_a_document_that_is_not_there_now_is_looked_for_again(desk: Desk, run: Job) -> None:
    document, elsewhere = Path("runbooks/r.ipynb"), Path("r.ipynb.new")
    # as in a process that has no runbooks
    document.rename(elsewhere)
    given_now(desk.root)
    [job] = desk.look()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogue, "packaged", lambda name: Path("nowhere"))
        waits = performed(desk, job)
    assert (waits.state, waits.attempt) == (JobState.WAITING, 1)
    assert desk.told() == []
    elsewhere.rename(document)
    assert isinstance(claim(desk, waits), Runbook)


def test_a_changed_runbook_is_refused_once(desk: Desk, run: Job) -> None:
    document = Path("runbooks/r.ipynb")
    before = document.read_bytes()
    given_now(desk.root)
    [job] = desk.look()
    document.write_bytes(before + b" ")
    for _ in range(2):
        found = claim(desk, job)
        assert isinstance(found, Ending)
        assert found.outcome is Outcome.WITHDRAWN
    [told] = desk.told()
    assert told.startswith(f"the runbook has changed since run {run.run_id}")
    # what people were told stays true
    document.write_bytes(before)
    assert isinstance(claim(desk, job), Ending)
    assert len(desk.look()) == 1


def test_a_runbook_that_changes_when_its_run_starts(desk: Desk) -> None:
    with pytest.raises(RunbookChanged):
        runner.run("runbooks/r.ipynb", {}, desk.context.settings, sha256="of another")


def test_an_error_loses_no_answer(desk: Desk, run: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    given_now(desk.root)
    failures = iter([EvidenceError("moved", where="", next_step=""), OSError("full")])

    def read(*args: Any, **more: Any) -> reading.Record:
        if error := next(failures, None):
            raise error
        return plain(*args, **more)

    plain = reading.read
    monkeypatch.setattr(reading, "read", read)
    pauses = []
    for _ in range(2):
        assert desk.continuer.sweep() == 0
        pauses.append(desk.continuer._again[INCIDENT][1])
        desk.continuer._again[INCIDENT] = (0.0, pauses[-1])
    assert pauses == [10.0, 20.0]
    assert desk.continuer.sweep() == 1
    assert desk.continuer._again == {}


def test_old_incidents_and_those_that_wait_take_turns(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []

    def find(root: Path, name: str) -> tuple[()]:
        looked.append(name)
        return ()

    monkeypatch.setattr(continuing, "find", find)
    names = [f"INC-20261120-{number:04}" for number in range(20)]
    for number, name in enumerate(names):
        append(desk.root, name, "decided", by="ann", identity="q", choice="wait")
        append(desk.root, f"{name}x", "note", by="ann", text="nothing to continue")
        os.utime(desk.root / name / "incident.jsonl", (number, number))
    desk.continuer._again = {names[3]: (0.0, 5.0)}
    assert desk.continuer.sweep() == 0
    # the newest, the one that waits, and the next; nothing else is parsed
    assert sorted(looked) == [names[3], names[18], names[19]]
    late = names[0]
    append(desk.root, late, "decided", by="ann", identity="q2", choice="wait")
    desk.continuer.sweep()
    assert late in looked
    for _ in range(6):
        # a storm changes newer ones all the time
        for name in names[15:]:
            append(desk.root, name, "decided", by="ann", identity="q3", choice="wait")
        desk.continuer.sweep()
    assert {names[17], names[16], names[14], names[13]} <= {*looked}


def test_a_pipe_is_no_record(desk: Desk, run: Job) -> None:
    (desk.root / OTHER).mkdir()
    os.mkfifo(desk.root / OTHER / "incident.jsonl")
    given_now(desk.root)
    assert len(desk.look()) == 1


def test_only_what_people_do_now_is_continued(
    desk: Desk, run: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_now(desk.root)
    with monkeypatch.context() as patch:
        patch.setattr(continuing, "_WITHIN", timedelta(seconds=-1))
        assert desk.look() == desk.restarted().look() == []
    [told] = desk.told()
    assert "it was answered or acted on more than" in told
    assert f"`rbkernel resume {run.run_id}`" in told
    assert desk.look() == []


def test_a_question_that_is_answered_again_and_again(
    desk: Desk, run: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(continuing, "_AN_HOUR", 1)
    given_now(desk.root)
    [first] = desk.look()
    assert isinstance(claim(desk, first), Runbook)
    continued(desk, first)
    seen = incident.answers(desk.root, INCIDENT).to(ASKED.identity)
    assert seen
    again(desk.root, seen)
    given_now(desk.root, "resume replay")
    assert len(desk.look()) == 1
    assert "were continued 1 times in the last hour" in desk.told()[-1]


def test_not_for_a_closed_incident(desk: Desk, run: Job) -> None:
    given_now(desk.root)
    append(desk.root, INCIDENT, "closed", by="ann", resolution="")
    assert desk.look() == []
    append(desk.root, INCIDENT, "reopened", by="ann", why="")
    assert desk.look() == []  # the answer is over
    given_now(desk.root)
    [job] = desk.look()
    append(desk.root, INCIDENT, "closed", by="ann", resolution="")
    found = claim(desk, job)
    assert isinstance(found, Ending)
    assert found.failure == f"{INCIDENT} is closed"


def test_an_incident_that_is_closed_in_this_moment(desk: Desk) -> None:
    append(desk.root, INCIDENT, "closed", by="ann", resolution="")
    said = {"run_id": "r", "runbook": "RUN-005", "basis": "b", "by": "rbkernel"}
    for how in ({"job": "1"}, {"refused": "changed"}, {}):
        with pytest.raises(EvidenceError, match="is closed, so nothing was recorded"):
            mark_continued(desk.root, INCIDENT, **said, **how)


def test_a_setting_switches_it_off(desk: Desk, run: Job) -> None:
    given_now(desk.root)
    off = Desk(desk.root, resume=False)
    assert off.look() == []


def test_not_for_a_run_that_was_given_up(desk: Desk) -> None:
    desk = Desk(desk.root, attempts=1)
    job = desk.ended(outcome=Outcome.INTERRUPTED)
    parked(desk.root, job.run_id)
    given_now(desk.root)
    assert desk.look() == []


def test_not_if_the_run_knew_the_answer(desk: Desk) -> None:
    parked(desk.root, other_run(0))
    answer(desk.root)
    continued(desk, desk.ended())
    assert desk.look() == []


def test_not_for_a_run_that_no_gateway_started(desk: Desk) -> None:
    parked(desk.root)
    answer(desk.root)
    assert desk.look() == []


def test_a_newer_run_replaces_the_one_that_was_answered(desk: Desk, run: Job) -> None:
    given_now(desk.root)
    whole_run(desk.root, other_run(50))
    assert desk.look() == []


def test_an_answer_in_an_older_notebook_continues_the_run_of_the_gateway(
    desk: Desk, run: Job
) -> None:
    asked_in = other_run(0)
    parked(desk.root, asked_in, headless=False)
    answer(desk.root, run_id=asked_in, origin=Origin.NOTEBOOK)
    [job] = desk.look()
    assert job.continues
    assert job.continues[0] == run.run_id


def test_a_newer_notebook_that_asks_the_same_is_the_continuation(desk: Desk, run: Job) -> None:
    asked_in = other_run(50)
    parked(desk.root, asked_in, headless=False)
    answer(desk.root, run_id=asked_in, origin=Origin.NOTEBOOK)
    assert desk.look() == []


def test_in_the_incident_that_it_was_merged_into(desk: Desk, run: Job) -> None:
    append(desk.root, OTHER, "opened", by="rbkernel", title="Lag")
    merged: dict[str, Any] = {"from": INCIDENT}
    append(desk.root, OTHER, "merged", by="rbkernel", **merged)
    append(desk.root, INCIDENT, "merged", by="rbkernel", into=OTHER)
    found = questions.questions(desk.root, OTHER)
    questions.answer(desk.root, found, found.waiting[0], "wait", by="ann", origin=Origin.PAGE)
    [job] = desk.look()
    assert job.incident == OTHER
