"""`rbkernel watch` as a process, and what a run makes of what it kept; looks that take seconds."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from rbkernel.sandbox.access import DATABASE, HOST, passfile
from rbkernel.sources.postgres import sampling, setup
from rbkernel.sources.postgres.connection.session import Session
from rbkernel.sources.postgres.diagnosis import diagnose
from rbkernel.sources.postgres.ring import Ring
from tests.support.command import run_command
from tests.support.servers import ROW, Servers
from tests.support.waiting import until


@pytest.fixture
def environment(server: Servers, tmp_path: Path) -> dict[str, str]:
    """What a command needs to know the server as `orders`."""
    fields: dict[str, str | int] = {
        "host": HOST,
        "port": server.access.primary_port,
        "dbname": DATABASE,
        "user": "rb_diag",
        "passfile": str(passfile(server.access.home, "rb_diag")),
    }
    file = tmp_path / "rbkernel.toml"
    file.write_text(setup.with_connection("", "orders", fields), encoding="utf-8")
    return {
        **os.environ,
        "RBKERNEL_CONFIG": str(file),
        "RBKERNEL_SANDBOX": str(tmp_path / "none"),
        "RBKERNEL_WATCH": str(tmp_path / "watch"),
    }


@contextmanager
def watching(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "rbkernel", "watch", "orders", "--every", "1"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def why(environment: dict[str, str], *arguments: str) -> dict[str, Any]:
    done = run_command("why", "orders", "--json", *arguments, environment=environment)
    assert done.returncode in {0, 1, 2}, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_it_keeps_what_it_sees_and_ends_when_told(
    alone: Servers, environment: dict[str, str], tmp_path: Path
) -> None:
    ring = Ring(tmp_path / "watch", "orders")
    with watching(environment) as process:
        until(lambda: len(ring.glances()) >= 1, "a look is kept")
        root = alone.start("refund-job", "BEGIN", ROW)
        for _ in range(3):
            alone.send("web", ROW)
        until(lambda: any(one.waiting == 3 for one in ring.glances()), "the queue is seen")
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=30)
        assert process.returncode == 0, said
    # a change is logged, and what is as it was is not
    assert said.count(f"orders: warning: refund-job (pid {root}") == 1
    first = next(one for one in ring.glances() if one.causes)
    assert first.causes[0].headline.startswith(f"refund-job (pid {root}, idle in transaction")
    situation = ring.situation(first.at)
    assert situation is not None
    assert situation.backend(root) is not None
    assert "SELECT" not in "".join(
        one.query for one in situation.backends if not one.blocked_by and one.pid != root
    )

    # who asks later learns since when
    [cause] = why(environment)["causes"]
    assert cause["first_seen"] == first.at


def test_what_is_over_is_told(alone: Servers, environment: dict[str, str], tmp_path: Path) -> None:
    ring = Ring(tmp_path / "watch", "orders")
    with watching(environment) as process:
        root = alone.start("refund-job", "BEGIN", ROW)
        alone.send("web", ROW)
        until(
            lambda: any(one.verdict == "critical" for g in ring.glances() for one in g.causes),
            "the queue is seen",
        )
        alone.end_sessions()
        until(lambda: not ring.glances()[-1].causes, "it is over")
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=30)
    assert said.count(f"orders: this cause is no longer present: refund-job (pid {root}") == 1
    found = why(environment)
    assert found["causes"] == []
    [earlier] = found["earlier"]
    assert earlier["over"]
    assert f"refund-job (pid {root}" in earlier["said"]
    assert "end no session for a past cause" in earlier["next_step"]


def test_its_standby_is_looked_at_too(environment: dict[str, str]) -> None:
    """Who asks about a primary is told that its configured standby is down, and opens nothing."""
    file = Path(environment["RBKERNEL_CONFIG"])
    at = re.search(r"port = (\d+)", file.read_text())
    assert at
    nobody: dict[str, str | int] = {"host": HOST, "port": 1, "dbname": DATABASE, "user": "rb_diag"}
    text = setup.with_connection(file.read_text(), "copy", nobody)
    file.write_text(text.replace(at[0], f'{at[0]}\nstandby = "copy"'))
    [cause] = why(environment)["causes"]
    assert cause["connection"] == "copy"
    assert cause["headline"].startswith("copy does not answer")
    done = subprocess.run(
        [sys.executable, "-m", "rbkernel", "why", "orders"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout.startswith("CRITICAL copy does not answer")
    assert "open: " not in done.stdout  # a runbook would see no more


def test_one_connection_is_all_that_it_takes(
    alone: Servers, environment: dict[str, str], tmp_path: Path
) -> None:
    ring = Ring(tmp_path / "watch", "orders")
    with watching(environment):
        until(lambda: len(ring.glances()) >= 2, "it looks again")
        with alone.access.connect("postgres") as raw:
            [(number, locks)] = raw.execute(
                b"SELECT count(DISTINCT a.pid), count(l.pid) FROM pg_stat_activity a"
                b" LEFT JOIN pg_locks l USING (pid)"
                b" WHERE a.application_name = 'rbkernel/watch' AND a.state = 'idle'"
            ).fetchall()
    assert (number, locks) == (1, 0)


def test_a_fast_look_imports_nothing_large(alone: Servers, environment: dict[str, str]) -> None:
    """Each of these takes longer than the look: `why` answers within a second."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "rbkernel", "why", "orders"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "psycopg" in imported
    assert not imported & {"numpy", "pandas", "sqlalchemy", "sqlglot", "rich.table", "IPython"}


class TestSampling:
    def test_a_histogram_of_waits(self, alone: Servers, diag: Session) -> None:
        alone.start("holder", "BEGIN", ROW)
        for _ in range(3):
            alone.send("web", ROW)
        alone.send("report", "SELECT pg_sleep(600)")
        seen: list[sampling.Wait] = []

        def all_wait() -> bool:
            seen[:] = sampling.waits(sampling.sample(diag, 1.2))
            return sum(one.sessions for one in seen) == pytest.approx(4)

        until(all_wait, "three wait for a row, one sleeps")
        shares = {(one.application, one.wait_type): one.share_pct for one in seen}
        # one waits for the transaction, the others for their turn at the row
        locks = [one.share_pct for one in seen if one.wait_type == "Lock"]
        assert sum(locks) == pytest.approx(75)
        assert shares["report", "Timeout"] == pytest.approx(25)
        assert seen == sorted(seen, key=lambda one: -one.share_pct)

    def test_a_look_that_takes_seconds_finds_the_cause_too(
        self, alone: Servers, diag: Session
    ) -> None:
        root = alone.start("refund-job", "BEGIN", ROW)
        for _ in range(3):
            alone.send("web", ROW)
        until(lambda: bool(diagnose(diag, seconds=0.5).causes), "the waits count")
        found = diagnose(diag, seconds=0.5)
        assert [one.pid for one in found.causes[0].culprits] == [root]
        assert found.sampled is not None
        assert "sample" in found.sampled.provenance.notes[0]

    def test_who_is_not_answered_does_not_ask_again(self, server: Servers) -> None:
        connection = server.access.connection("shop_app", "primary")
        with closing(Session(connection, application_name="test")) as session:
            answer = sampling.sample(session, 600)
        assert "may do more than read" in answer.provenance.reason
        assert not answer.rows

    def test_the_command_says_what_is_waited_for(
        self, alone: Servers, environment: dict[str, str]
    ) -> None:
        alone.send("report", "SELECT pg_sleep(600)")
        done = subprocess.run(
            [sys.executable, "-m", "rbkernel", "why", "orders", "--seconds", "0.5"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert re.search(r"waits of the busy sessions \(the mean of \d+ samples", done.stdout)
        assert "  100 % Timeout: PgSleep (report)" in done.stdout
