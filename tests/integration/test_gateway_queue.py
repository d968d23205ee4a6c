"""What DBOS promises, and what we make of its traps; without kernels, in this process."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rbkernel.config.queue import Queue as Rules
from rbkernel.errors import StoreError
from rbkernel.gateway.jobs.ledger import PendingAttempt
from rbkernel.gateway.jobs.queue import Queue
from tests.support.waiting import until

PATIENCE_S = 60.0


class Hands:
    """Takes attempts, and holds them until it is told to let go."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, int]] = []
        self.at_once = self.most_at_once = 0
        self.may_end = threading.Event()
        self._lock = threading.Lock()

    def perform(self, job: str, number: int) -> None:
        with self._lock:
            self.taken.append((job, number))
            self.at_once += 1
            self.most_at_once = max(self.at_once, self.most_at_once)
        self.may_end.wait(PATIENCE_S)
        with self._lock:
            self.at_once -= 1


def attempt(job: str, number: int = 1, priority: int = 3) -> PendingAttempt:
    return PendingAttempt(job=job, number=number, priority=priority)


@pytest.fixture
def hands() -> Iterator[Hands]:
    made = Hands()
    yield made
    made.may_end.set()


@pytest.fixture
def start(tmp_path: Path, hands: Hands) -> Iterator[Callable[..., Queue]]:
    started: list[Queue] = []

    def launch(executor: str, kernels: int = 1, **rules: float) -> Queue:
        for one in started:
            one.stop()
        started[:] = [Queue(f"sqlite:///{tmp_path}/q.sqlite", Rules(**rules), hands.perform)]
        started[0].start(executor, kernels=kernels)
        return started[0]

    yield launch
    hands.may_end.set()
    for one in started:
        one.stop()


def test_a_turn_is_taken_once_the_urgent_first_and_no_more_than_may_run(
    start: Callable[..., Queue], hands: Hands
) -> None:
    queue = start("one", kernels=0)
    queue.put(
        [
            attempt("low", priority=4),
            attempt("again", 2, priority=2),
            attempt("first"),
            attempt("urgent", priority=1),
        ]
    )
    queue.put([attempt("low", priority=4), attempt("first")])
    assert not hands.taken
    start("two", kernels=1)
    until(lambda: len(hands.taken) == 1)
    time.sleep(1.5)
    assert hands.taken == [("urgent", 1)]
    hands.may_end.set()
    until(lambda: len(hands.taken) == 4)
    time.sleep(1.5)
    assert hands.taken == [("urgent", 1), ("again", 2), ("first", 1), ("low", 1)]
    assert hands.most_at_once == 1


def test_what_is_put_in_here_is_taken_without_waiting_for_the_next_look(
    start: Callable[..., Queue], hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rbkernel.gateway.jobs.queue._POLL_S", 3_600.0)
    # on a busy machine, a look may take longer than the attention that `put` causes
    monkeypatch.setattr("rbkernel.gateway.jobs.queue._ATTENTIVE_S", PATIENCE_S)
    queue = start("one", kernels=1)
    queue.put([attempt("first"), attempt("second")])
    until(lambda: len(hands.taken) == 1)  # which one, if both were put in within a millisecond?
    assert hands.most_at_once == 1
    hands.may_end.set()
    queue.wake()  # an attempt has ended
    until(lambda: sorted(hands.taken) == [("first", 1), ("second", 1)])
    assert hands.most_at_once == 1


def test_only_so_many_are_started_in_a_minute(start: Callable[..., Queue], hands: Hands) -> None:
    hands.may_end.set()
    queue = start("one", kernels=5, starts_per_minute=2)
    queue.put([attempt(f"job{number}") for number in range(5)])
    until(lambda: len(hands.taken) == 2)
    time.sleep(2.5)
    assert len(hands.taken) == 2


def test_what_the_dead_took_is_put_back_and_what_is_missing_put_in(
    start: Callable[..., Queue], hands: Hands
) -> None:
    queue = start("dead")
    queue.put([attempt("job")])
    until(lambda: hands.taken == [("job", 1)])
    queue = start("alive")
    time.sleep(1.5)
    assert queue.taken() == [("job.1", "dead")]
    assert hands.taken == [("job", 1)], "a launch recovered what it was not asked to"
    hands.may_end.set()
    queue.put_back(["job.1"])
    until(lambda: hands.taken == [("job", 1)] * 2)
    until(lambda: not queue.taken())
    assert queue.restore([attempt("job"), attempt("lost")]) == 2
    until(lambda: len(hands.taken) == 4)
    assert sorted(hands.taken[2:]) == [("job", 1), ("lost", 1)]
    until(lambda: not queue.taken())
    assert queue.forget("2100-01-01T00:00:00+00:00") == 2


def test_a_queue_that_pauses_takes_nothing_more(start: Callable[..., Queue], hands: Hands) -> None:
    hands.may_end.set()
    queue = start("one")
    queue.pause()
    time.sleep(1.0)
    queue.put([attempt("job")])
    time.sleep(2.0)
    assert not hands.taken


@pytest.mark.parametrize("wanted", ["unixepoch('subsec')", "strftime('%s','now')"])
def test_a_queue_that_another_python_made_goes_on(
    start: Callable[..., Queue], hands: Hands, tmp_path: Path, wanted: str
) -> None:
    """DBOS writes one of these into the schema, by the version of the Python that makes it."""
    start("one", kernels=0).put([attempt("first")])
    hands.may_end.set()
    made_by_another_python(tmp_path / "q.queue.sqlite", wanted)
    start("two").put([attempt("second")])
    until(lambda: sorted(hands.taken) == [("first", 1), ("second", 1)])
    assert hands.most_at_once == 1


def made_by_another_python(file: Path, wanted: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("DELETE FROM application_versions")
        for expression in ("unixepoch('subsec')", "strftime('%s','now')"):
            connection.execute(
                "UPDATE sqlite_master SET sql = replace(sql, ?, ?)", (expression, wanted)
            )
        schema = connection.execute("SELECT group_concat(sql) FROM sqlite_master").fetchone()[0]
    assert schema.count(wanted) > 4


@pytest.mark.parametrize("damage", [b"", b"no database", None])
def test_a_damaged_queue_is_made_again_from_the_ledger(
    start: Callable[..., Queue], hands: Hands, tmp_path: Path, damage: bytes | None
) -> None:
    """What the ledger says is queued is put in again, and runs."""
    file = tmp_path / "q.queue.sqlite"
    queue = start("before", kernels=0)
    queue.put([attempt("job")])
    queue.stop()
    if damage is None:
        os.truncate(file, file.stat().st_size // 2)
    else:
        file.write_bytes(damage)
    hands.may_end.set()
    queue = start("after")
    assert queue.restore([attempt("job")]) == 1
    until(lambda: hands.taken == [("job", 1)])


def test_a_queue_that_fails_says_what_to_do(start: Callable[..., Queue], tmp_path: Path) -> None:
    queue = start("one", kernels=0)
    file = tmp_path / "q.queue.sqlite"
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("DROP TABLE workflow_status")
    with pytest.raises(StoreError, match=r"the queue does not work.*Next: restart this process"):
        queue.taken()
