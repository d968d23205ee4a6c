"""Workers that are killed, drained and taken over from: every alert has one run, and one only."""

from __future__ import annotations

import random
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import psutil
import pytest

from rbkernel.evidence import incident as records
from rbkernel.evidence import reading, seals
from rbkernel.gateway.jobs.records import Job
from rbkernel.gateway.jobs.states import JobState
from rbkernel.gateway.jobs.storage.store import Store
from tests.support.gateways import Place, Process, alert, make_place
from tests.support.waiting import until


def ended(number: int, state: str = JobState.DONE) -> Callable[[Store], bool]:
    def condition(store: Store) -> bool:
        return store.counts().jobs.get(state, 0) >= number

    return condition


def killed_while_it_works(place: Place, *, alerts: int, kills: int, seed: int) -> None:
    """Fire alerts, kill whoever works at moments of chance, and let the last one end it."""
    chance = random.Random(seed)
    fired = [alert("Quick", f"w{number}") for number in range(alerts)]
    batches = [fired[start :: kills + 1] for start in range(kills + 1)]
    for batch in batches[:-1]:
        with place.process("worker") as worker:
            place.fire(*batch)
            time.sleep(chance.uniform(0.5, 12))
            worker.kill()
    with place.process("worker"):
        place.fire(*batches[-1])
        place.until(
            lambda store: (
                not store.counts().running + store.counts().waiting
                and (store.counts().alerts == {"done": alerts})
            ),
            60 * alerts,
        )
    with place.store() as store:
        jobs = store.jobs(limit=alerts + 1)
        attempts = [one for job in jobs for one in store.attempts(job.id)]
    assert len(jobs) == alerts
    lost = [job for job in jobs if job.state != JobState.DONE]
    assert all(job.state == JobState.GIVEN_UP and job.attempt == 3 for job in lost), lost
    assert len(lost) <= kills // 5
    assert place.sealed() == {f"w{n}": 1 for n in range(alerts)} | {job.key[0]: 0 for job in lost}
    assert len({one.run_id for one in attempts}) == len(attempts)
    (folder,) = place.evidence.glob("INC-*")
    record = records.read(place.evidence, folder.name)
    assert len(record.alerts) == alerts
    assert not record.damaged
    told = {run.run_id: run for run in record.runs}
    assert {one.run_id for one in attempts} <= told.keys()
    assert not list((place.evidence / "open").glob("2*")), "an attempt was not sealed"


def test_killed_in_the_middle_each_alert_has_one_whole_run(tmp_path: Path) -> None:
    killed_while_it_works(make_place(tmp_path), alerts=6, kills=2, seed=1)


@pytest.mark.soak
def test_killed_twenty_times_during_two_hundred_alerts(tmp_path: Path) -> None:
    place = make_place(tmp_path, queue="starts_per_minute = 600")
    killed_while_it_works(place, alerts=200, kills=20, seed=2)


def test_the_verdict_is_recorded_before_the_seal(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    place.fire(alert("Quick", "a"))
    with place.process("worker"):
        place.until(ended(1))
    (job,) = place.jobs()
    lines = records.read(place.evidence, job.incident).lines
    told = [line.text("state") or line.kind for line in lines if line.data.get("run_id")]
    assert told == ["queued", "started", "ended", "sealed"]
    assert [line.text("verdict") for line in lines if line.text("state") == "ended"] == ["unknown"]


def test_later_alerts_join_the_live_run_and_show_in_the_evidence(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    place.fire(*(alert("Quick", "same", pod=str(number)) for number in range(30)))
    with place.process("worker"):
        place.until(ended(1))
        place.until(lambda store: store.counts().alerts == {"done": 30})
    (job,) = place.jobs()
    with place.store() as store:
        assert len(store.alerts(job=job.id)) == 30
        assert store.job_of_run(job.run_id) == job
        assert store.counts().outcomes == {"started": 1, "attached": 29}
    record = records.read(place.evidence, job.incident)
    assert [line.data["runs"] for line in record.lines if line.kind == "alert"] == [
        [job.run_id]
    ] * 30
    (run,) = record.runs
    assert (run.run_id, run.verdict, run.attempt) == (job.run_id, "unknown", 1)
    assert place.sealed() == {"same": 1}


def test_a_run_that_is_told_to_end_is_sealed_and_made_again(tmp_path: Path) -> None:
    place = make_place(tmp_path, queue="drain_s = 0.5")
    place.fire(alert("Slow", "s"))
    with place.process("serve", "--port", "0") as gateway:
        place.until(lambda store: any(cells_of(place, job) > 2 for job in store.jobs()))
        assert gateway.end() == 0
    (job,) = place.jobs()
    assert (job.state, job.attempt) == (JobState.WAITING, 1)
    with place.store() as store:
        (attempt,) = store.attempts(job.id)
        assert attempt.outcome == "drained"
        assert not store.workers()
    assert attempt.run_id != job.run_id
    record = records.read(place.evidence, job.incident)
    assert [(run.run_id, run.state) for run in record.runs] == [
        (attempt.run_id, "sealed"),
        (job.run_id, "queued"),
    ]


def test_what_kills_its_kernel_is_given_up_after_its_attempts(tmp_path: Path) -> None:
    place = make_place(tmp_path, queue="attempts = 2")
    place.fire(alert("Deadly", "d"))
    with place.process("worker"):
        place.until(ended(1, JobState.GIVEN_UP))
    (job,) = place.jobs()
    with place.store() as store:
        attempts = store.attempts(job.id)
    assert [one.outcome for one in attempts] == ["interrupted"] * 2
    assert len({one.run_id for one in attempts}) == 2
    record = records.read(place.evidence, job.incident)
    assert [run.state for run in record.runs] == ["sealed"] * 2
    assert "failed after 2 attempts" in record.notes[-1].text


def test_a_frozen_worker_loses_its_run_and_changes_nothing_when_it_comes_back(
    tmp_path: Path,
) -> None:
    place = make_place(tmp_path, queue="lease_s = 12")
    place.fire(alert("Quick", "a"))
    with place.process("worker") as frozen:
        place.until(lambda store: any(cells_of(place, job) > 0 for job in store.jobs()))
        freeze(place, frozen)
        with place.process("worker"):
            place.until(ended(1))  # its run went on by itself, and its evidence was found
            frozen.popen.send_signal(signal.SIGCONT)
            frozen.await_text("considered lost")
            place.fire(alert("Quick", "b"), alert("Quick", "c"))
            place.until(ended(3))
    assert place.sealed() == {"a": 1, "b": 1, "c": 1}
    assert [job.attempt for job in place.jobs()] == [1, 1, 1]


def test_two_gateways_and_two_workers_share_a_database_and_one_is_killed(
    tmp_path: Path, database: tuple[str, dict[str, str]]
) -> None:
    url, variables = database
    place = make_place(tmp_path, url, queue="kernels = 2", **variables)
    with ExitStack() as stack:
        gateways = [
            stack.enter_context(place.process("serve", "--port", "0", "--kernels", "0"))
            for _ in range(2)
        ]
        workers = [stack.enter_context(place.process("worker")) for _ in range(2)]
        place.fire(alert("Slow", "s"))
        place.until(lambda store: any(cells_of(place, job) > 2 for job in store.jobs()))
        (lost,) = place.jobs()
        killed = next(one for one in workers if f"-{one.popen.pid}-" in lost.worker)
        killed.kill()
        place.fire(alert("Quick", "q"))
        place.until(lambda store: begun_again(store, [lost.id]), 60)
        place.until(ended(1))
        assert [one.popen.poll() for one in gateways] == [None, None]
    with place.store() as store:
        assert store.counts().outcomes == {"started": 2}
        first, *_ = store.attempts(lost.id)
    assert (first.run_id, first.outcome) == (lost.run_id, "interrupted")
    assert lost.worker in first.failure
    sealed = seals.sealed_folder(place.evidence, lost.run_id)
    assert sealed is not None
    assert reading.read(sealed).cells[-1].status == reading.INTERRUPTED
    assert place.sealed() == {"q": 1}


@pytest.mark.soak
def test_the_runs_of_a_host_that_is_gone_are_made_elsewhere_within_a_minute(
    tmp_path: Path, database: tuple[str, dict[str, str]]
) -> None:
    """Nobody can see there that its worker is dead: the lease has to end first."""
    url, variables = database
    place = make_place(tmp_path, url, queue="kernels = 2", **variables)
    fired = [alert("Steady", "a"), alert("Steady", "b")]
    with place.process("worker", elsewhere=True) as gone:
        place.fire(*fired)
        place.until(
            lambda store: [cells_of(place, job) > 2 for job in store.jobs()] == [True] * len(fired)
        )
        gone.kill()
        with place.process("worker"):
            place.until(ended(len(fired)), 60)
    assert [job.attempt for job in place.jobs()] == [2, 2]
    assert place.sealed() == {"a": 1, "b": 1}


def freeze(place: Place, worker: Process) -> None:
    """Stop a worker at a moment when it does not write: SQLite would keep its lock."""
    while True:
        worker.popen.send_signal(signal.SIGSTOP)
        until(lambda: psutil.Process(worker.popen.pid).status() == psutil.STATUS_STOPPED)
        with closing(sqlite3.connect(place.store_url.removeprefix("sqlite:///"), 0.0)) as store:
            try:
                store.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                worker.popen.send_signal(signal.SIGCONT)
                time.sleep(0.05)
            else:
                return


def begun_again(store: Store, jobs: list[str]) -> bool:
    found = [store.job(job) for job in jobs]
    return all(one and (one.attempt > 1 or one.state == JobState.DONE) for one in found)


def cells_of(place: Place, job: Job) -> int:
    folder = place.evidence / "open" / job.run_id
    return len(reading.read(folder).cells) if (folder / "journal.jsonl").is_file() else 0
