"""Several parts at the same time: the same answer as one after the other, and as gentle an end."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from rbkernel.errors import DatabaseError, ParameterError
from rbkernel.reconciliation import Outcome, Progress, Question, join, load, parts, verdict
from rbkernel.reconciliation.parts import Part
from rbkernel.reconciliation.snapshot import Readers
from tests.support.places import Place, answer, found
from tests.support.waiting import until

TABLE = """
CREATE TABLE {name} (id int PRIMARY KEY, v int, w text);
INSERT INTO {name} SELECT i, i, md5(i::text) FROM generate_series(1, 4000) i;
ANALYZE {name};
"""
DIFFER = """
UPDATE t SET v = -v WHERE id % 20 = 7;
DELETE FROM t WHERE id % 500 = 3;
INSERT INTO t SELECT i + 9000, 0, '' FROM generate_series(1, 5) i;
"""
Q = Question(source="pairs.s", target="pairs.t")
SESSIONS = "FROM pg_stat_activity WHERE application_name = 'reconcile-test'"
ASLEEP = f"{SESSIONS} AND state = 'active' AND query LIKE '%pg_sleep%'"
# of the job that opened last, whose part is not the first
LATEST = f"{ASLEEP} ORDER BY backend_start DESC LIMIT 1"


@pytest.fixture(params=["one server", "two servers", "one server, two sessions"])
def full(
    request: pytest.FixtureRequest, places: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch
) -> tuple[Place, Place]:
    """Tables of some twenty parts."""
    monkeypatch.setattr(parts, "ROWS_OF_A_RANGE", 200)
    one, two = places
    one.run(TABLE.format(name="s") + TABLE.format(name="t"))
    two.run(TABLE.format(name="t"))
    again = Place("again", one.raw, one.connection)
    return one, {"one server": one, "two servers": two}.get(request.param, again)


@contextmanager
def slowed(number: int, seconds: float, *, but_fails: int = 0) -> Iterator[None]:
    """Let the first part and one in `number` take longer, on the server; the one of a key fails."""
    with pytest.MonkeyPatch.context() as patch:
        for way in (join, verdict):
            patch.setattr(way, "search", _slow(way, number, seconds, but_fails))
        yield


def _slow(way: ModuleType, number: int, seconds: float, but_fails: int) -> Any:
    search = way.search

    def slow(layout: Any, pair: Any, part: Part, both: Readers, *, dense: bool) -> Any:
        if part.least <= but_fails <= part.most:
            raise DatabaseError("it broke", where="here", next_step="mend it")
        if part.low is None or part.low % number == 0:
            for reader in {id(one): one for one in (both.source, both.target)}.values():
                reader.rows(f"SELECT pg_sleep({seconds})::text")
        return search(layout, pair, part, both, dense=dense)

    return slow


def timeless(progress: Progress) -> Progress:
    return replace(progress, started_at="", snapshots=0)


def sessions(both: tuple[Place, Place], which: str = SESSIONS) -> int:
    """Count those of a comparison, on all servers."""
    servers = {id(one.raw): one for one in both}.values()
    return sum(count for one in servers for (count,) in one.rows(f"SELECT count(*) {which}"))


class TestAnswers:
    @pytest.mark.parametrize("most", [10**6, 30])
    def test_as_with_one_job_whatever_ends_first(
        self, full: tuple[Place, Place], most: int
    ) -> None:
        full[1].run(DIFFER)
        alone: list[Progress] = []
        expected = answer(*full, Q, report=alone.append, most=most)
        assert len(alone) == expected.parts >= 20
        assert expected.counts() if most > 30 else expected.beyond
        together: list[Progress] = []
        with slowed(4, 0.2):
            outcome = answer(*full, Q, jobs=3, resume=alone[0], report=together.append, most=most)
        assert [timeless(one) for one in together] == [timeless(one) for one in alone[1:]]
        assert told(outcome) == told(expected)

    def test_every_job_has_a_part(self, full: tuple[Place, Place]) -> None:
        full[1].run(DIFFER)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(parts, "ROWS_OF_A_RANGE", 10**6)
            seen: list[int] = []
            outcome = answer(*full, Q, jobs=3, report=lambda _: seen.append(sessions(full)))
        assert outcome.parts == 3
        assert seen[0] == (3 if full[0] is full[1] else 6)
        assert found(outcome) == found(answer(*full, Q))

    def test_no_more_jobs_than_parts(self, full: tuple[Place, Place]) -> None:
        kept: list[Progress] = []
        answer(*full, Q, report=kept.append)
        seen: list[int] = []
        answer(*full, Q, jobs=8, resume=kept[-3], report=lambda _: seen.append(sessions(full)))
        assert seen[0] == (2 if full[0] is full[1] else 4)

    def test_slices(self, full: tuple[Place, Place]) -> None:
        full[1].run(DIFFER)
        asked = replace(Q, key=("id", "w"))
        outcome = answer(*full, asked, jobs=3)
        assert outcome.parts == 4
        assert told(outcome)[:4] == told(answer(*full, asked))[:4]

    @pytest.mark.parametrize("jobs", [0, 9])
    def test_how_many(self, full: tuple[Place, Place], jobs: int) -> None:
        with pytest.raises(ParameterError, match="ask for 1 to 8"):
            answer(*full, Q, jobs=jobs)


def told(outcome: Outcome) -> tuple[Any, ...]:
    return (
        sorted(found(outcome).items()),
        outcome.beyond,
        outcome.source_rows,
        outcome.target_rows,
        outcome.parts,
        outcome.differences,
    )


class TestEnds:
    def test_a_part_that_fails_leaves_those_before_it(self, full: tuple[Place, Place]) -> None:
        full[1].run(DIFFER)
        expected = answer(*full, Q)
        kept: list[Progress] = []
        with (
            slowed(4, 0.2, but_fails=1700),
            pytest.raises(DatabaseError, match=r"incomplete, \d+ of \d+ parts compared: it broke"),
        ):
            answer(*full, Q, jobs=3, report=kept.append)
        assert [one.done for one in kept] == list(range(1, len(kept) + 1))
        assert 1 <= len(kept) <= 8
        outcome = answer(*full, Q, jobs=2, resume=Progress.from_json(kept[-1].as_json()))
        assert outcome.resumed
        assert told(outcome)[:4] == told(expected)[:4]

    @pytest.mark.parametrize("jobs", [1, 3])
    @pytest.mark.parametrize("interrupted", [False, True])
    def test_no_query_is_left_behind(
        self, full: tuple[Place, Place], jobs: int, interrupted: bool
    ) -> None:
        def break_off() -> None:
            until(lambda: sessions(full, ASLEEP) >= jobs)
            if interrupted:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            else:
                full[0].rows(f"SELECT pg_terminate_backend(pid) {LATEST}")

        thread = threading.Thread(target=break_off)
        began = time.monotonic()
        error = KeyboardInterrupt if interrupted else DatabaseError
        with slowed(1, 12):
            thread.start()
            with pytest.raises(error, match=None if interrupted else "incomplete, 0 of"):
                answer(*full, Q, jobs=jobs)
        thread.join()
        assert time.monotonic() - began < 7
        until(lambda: not sessions(full), timeout_s=2)

    def test_no_room_for_so_many(self, full: tuple[Place, Place]) -> None:
        full[0].raw.execute(b"ALTER ROLE rb_diag CONNECTION LIMIT 3")
        try:
            with pytest.raises(DatabaseError, match="too many connections") as caught:
                answer(*full, Q, jobs=8)
        finally:
            full[0].raw.execute(b"ALTER ROLE rb_diag CONNECTION LIMIT 10")
        assert caught.value.next_step.endswith("or ask for fewer jobs")
        until(lambda: not sessions(full), timeout_s=2)

    def test_our_own_sessions_are_no_load(
        self, full: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(load, "PATIENCE_S", 0.0)
        with slowed(2, 0.05):
            assert answer(*full, Q, jobs=3, max_load=0).same
