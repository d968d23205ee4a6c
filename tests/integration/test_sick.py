"""A sick patient is asked: an answer or an unknown with its reason, in time, and nothing left.

"Left" is any query of ours that still runs on the server after the diagnostic has returned.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from rbkernel.checks.answer import provenance
from rbkernel.config import Connection
from rbkernel.errors import DatabaseError
from rbkernel.sandbox import processes
from rbkernel.sandbox.access import HOST, Access
from rbkernel.sources.postgres import diagnostics
from rbkernel.sources.postgres.connection import driver
from rbkernel.sources.postgres.connection.session import Session
from tests.support.patients import ask, connection, sandbox
from tests.support.pooler import pgbouncer

DIAGNOSTIC = "connections/saturation"
STATEMENT_S, CONNECT_S = 1.0, 2
# the statement time-out, then the grace, the cancel, and the cut; a machine under load adds some
DEADLINE_S = STATEMENT_S + 2 + 2 + 2
QUICK: dict[str, Any] = {"statement_timeout_s": STATEMENT_S, "connect_timeout_s": CONNECT_S}


@pytest.fixture(scope="module")
def access(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Access]:
    with sandbox(tmp_path_factory.mktemp("sick")) as ways:
        yield ways


@contextmanager
def session(to: Connection, *, warm: bool = False) -> Iterator[Session]:
    opened = Session(to, application_name="rbkernel/sick")
    if warm:
        assert opened.server
    try:
        yield opened
    finally:
        opened.close()


def reason(asked: Session, *, within_s: float) -> str:
    """Ask, and return why there is no answer; empty for an answer."""
    started = time.monotonic()
    frame = diagnostics.run(asked, DIAGNOSTIC)
    assert time.monotonic() - started < within_s
    told = provenance(frame)
    assert told
    assert frame.empty == bool(told.reason)
    assert bool(told.reason) == bool(told.next_step)
    return f"{told.reason}. Next: {told.next_step}" if told.reason else ""


def running(access: Access) -> list[tuple[Any, ...]]:
    return ask(
        access,
        "SELECT state, query FROM pg_stat_activity"
        " WHERE application_name = 'rbkernel/sick' AND state <> 'idle'",
    )


def take_all_slots(access: Access, holders: ExitStack) -> None:
    with contextlib.suppress(DatabaseError):
        while True:
            holders.enter_context(access.connect("shop_app"))


class TestLockedCatalogue:
    @pytest.fixture
    def lock(self, access: Access) -> Iterator[driver.RawConnection]:
        with access.connect("postgres", autocommit=False) as raw:
            raw.execute(b"LOCK TABLE pg_catalog.pg_class IN ACCESS EXCLUSIVE MODE")
            yield raw
            raw.rollback()

    def test_a_query_that_needs_it_ends_at_the_lock_time_out(self, access: Access) -> None:
        with session(connection(access, **QUICK), warm=True) as warm:
            with access.connect("postgres", autocommit=False) as raw:
                raw.execute(b"LOCK TABLE pg_catalog.pg_class IN ACCESS EXCLUSIVE MODE")
                started = time.monotonic()
                with pytest.raises(DatabaseError, match=r"lock timeout.*RUN-007"):
                    warm.query("SELECT count(*) FROM pg_class")
                assert time.monotonic() - started < STATEMENT_S + 1
                # a diagnostic may not need it: it answers, or says what it waited for
                assert "lock timeout" in (reason(warm, within_s=STATEMENT_S) or "lock timeout")
                raw.rollback()
            assert running(access) == []

    def test_the_login_of_a_new_session_ends_at_the_lock_time_out(
        self, access: Access, lock: driver.RawConnection
    ) -> None:
        with session(connection(access, **QUICK)) as cold:
            assert "blocks all logins" in reason(cold, within_s=CONNECT_S + 2)
        lock.rollback()
        deadline = time.monotonic() + 5
        while running(access) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert running(access) == []


class TestFrozen:
    def test_our_own_backend(self, access: Access) -> None:
        with session(connection(access, **QUICK), warm=True) as warm:
            [pid] = warm.query("SELECT pg_backend_pid() AS pid")["pid"]
            backend = psutil.Process(int(pid))
            backend.send_signal(signal.SIGSTOP)
            try:
                told = reason(warm, within_s=DEADLINE_S)
                # the next one gets a backend of its own
                assert reason(warm, within_s=DEADLINE_S) == ""
            finally:
                backend.send_signal(signal.SIGCONT)
            assert "not even a cancel was answered" in told
            assert "frozen" in told
            backend.wait(5)  # it sees the cancel, and that we are gone
        assert running(access) == []

    def test_another_backend_hides_nothing(self, access: Access) -> None:
        with access.connect("shop_app") as raw, session(connection(access, **QUICK)) as asked:
            os.kill(raw.info.backend_pid, signal.SIGSTOP)
            try:
                assert reason(asked, within_s=DEADLINE_S) == ""
            finally:
                os.kill(raw.info.backend_pid, signal.SIGCONT)

    def test_the_postmaster(self, access: Access) -> None:
        [postmaster] = [f.process for f in processes.find(access.home) if f.name == "primary"]
        with session(connection(access, **QUICK)) as cold:
            postmaster.send_signal(signal.SIGSTOP)
            try:
                told = reason(cold, within_s=CONNECT_S + 2)
            finally:
                postmaster.send_signal(signal.SIGCONT)
        assert "no login" in told
        assert "stuck" in told


class TestFull:
    def test_slots_of_ordinary_roles(self, access: Access) -> None:
        with ExitStack() as holders:
            take_all_slots(access, holders)
            with session(connection(access, "rb_nobody", **QUICK)) as cold:
                told = reason(cold, within_s=1)
            assert "reserved" in told
            assert "RUN-001" in told

    def test_a_warm_session_keeps_its_slot(self, access: Access) -> None:
        with ExitStack() as holders, session(connection(access, "rb_nobody"), warm=True) as warm:
            take_all_slots(access, holders)
            assert warm.query("SELECT 1 AS a")["a"].tolist() == [1]

    @pytest.mark.parametrize("warm", [True, False])
    def test_the_pool_of_a_pooler(self, access: Access, tmp_path: Path, warm: bool) -> None:
        with ExitStack() as stack:
            port = stack.enter_context(pgbouncer(access, tmp_path, pool_size=2))
            through = connection(access, port=port, **QUICK)
            asked = stack.enter_context(session(through, warm=warm))
            for _ in range(2):
                holder = driver.connect(through, application_name="holder")
                stack.callback(holder.close)
                holder.execute(b"SELECT 1")  # and stays in its transaction
            told = reason(asked, within_s=DEADLINE_S + CONNECT_S)
            assert "no answer within" in told
            assert "pooler" in told
            assert running(access) == []


def test_a_black_hole(access: Access) -> None:
    with socket.socket() as silent:
        silent.bind((HOST, 0))
        silent.listen()
        to = connection(access, port=silent.getsockname()[1], **QUICK)
        with session(to) as asked:
            assert "no login" in reason(asked, within_s=CONNECT_S + 1)
            assert "not tried again" in reason(asked, within_s=0.5)


def test_a_slow_query_is_ended_by_the_server(access: Access) -> None:
    with session(connection(access, **QUICK), warm=True) as warm:
        started = time.monotonic()
        with pytest.raises(DatabaseError, match="statement timeout"):
            warm.query("SELECT count(*) FROM orders a JOIN orders b ON a.id % 2 = b.id % 2")
        assert time.monotonic() - started < STATEMENT_S + 1
    assert running(access) == []
