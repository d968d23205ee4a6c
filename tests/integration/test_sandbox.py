"""The sandbox on a real PostgreSQL: built, broken on purpose, healed, taken away.

One sandbox serves all tests of a fault; tests of building and of crashes use their own.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from rbkernel import config
from rbkernel.errors import DatabaseError, SandboxError
from rbkernel.sandbox import binaries, control, processes
from rbkernel.sandbox import home as homes
from rbkernel.sandbox.faults import catalogue, pool, readers
from rbkernel.sandbox.home import Home
from rbkernel.sandbox.service import LAST_ID
from rbkernel.sources.postgres.connection import driver
from tests.support.tiers import first
from tests.support.waiting import until

DIFFERENCES = b"""
SELECT id, l.id IS NULL AS extra, o.id IS NULL AS missing, l.amount_cents <> o.amount_cents,
       l.status <> o.status
FROM orders_legacy l FULL JOIN orders o USING (id)
WHERE l IS DISTINCT FROM o ORDER BY id
"""
BY_APPLICATION = b"SELECT pid, state FROM pg_stat_activity WHERE application_name = %s ORDER BY pid"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RBKERNEL_SANDBOX", str(tmp_path_factory.mktemp("sandbox") / "home"))
        control.up()
        yield Home.configured()
        control.down()


@pytest.fixture
def sandbox(home: Home) -> Iterator[Home]:
    if control.status().state != "up":
        control.up()
    yield home
    if control.status().state == "up":
        control.heal()


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setenv("RBKERNEL_SANDBOX", str(tmp_path / "it's ours"))
    home = Home.configured()
    yield home
    control.down()
    assert leftovers(home) == []


def leftovers(home: Home) -> list[str]:
    """Every live process that names the folder or works in it, ours or not."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "cwd", "status"]):
        told = " ".join([*(process.info["cmdline"] or []), process.info["cwd"] or ""])
        if str(home.path) in told and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(told)
    return found


def rows(
    query: bytes, values: Any = (), *, role: Any = "postgres", server: Any = "primary"
) -> list[Any]:
    with control.connect_as(role, server) as raw:
        return list(raw.execute(query, values).fetchall())


class TestUp:
    def test_says_what_runs_and_publishes_connections_that_work(self, sandbox: Home) -> None:
        status = control.status()
        assert status.state == "up"
        assert status.traffic
        assert set(status.pids) == {"primary", "standby", "traffic"}
        assert sandbox.path.stat().st_mode & 0o777 == 0o700
        published = tomllib.loads(config.sandbox_connections_file().read_text())["connections"]
        assert sorted(published) == sorted(status.connections)
        for name in published:
            connection = config.load().connection(name)
            with driver.connect(connection, application_name="test") as raw:
                found = raw.execute("SELECT current_user, pg_is_in_recovery()").fetchone()
            user = "rb_nobody" if "unprivileged" in name else "rb_diag"
            assert found == (user, name.endswith("standby"))

    def test_traffic_reaches_the_standby_evenly_and_costs_little(self, sandbox: Home) -> None:
        traffic = psutil.Process(control.status().pids["traffic"])
        before = sum(traffic.cpu_times()[:2])
        ages = []
        with control.connect_as("rb_diag", "standby") as raw:
            for _ in range(60):
                row = raw.execute(
                    "SELECT extract(epoch FROM clock_timestamp()"
                    " - pg_last_xact_replay_timestamp())::float"
                ).fetchone()
                ages.append(row[0] if row else 99)
                time.sleep(0.05)
        assert sorted(ages)[-4] < 0.25
        assert sum(traffic.cpu_times()[:2]) - before < 0.15 * 3
        assert rows(DIFFERENCES) == []

    def test_roles_may_only_do_their_part(self, sandbox: Home) -> None:
        with control.connect_as("rb_diag") as raw, pytest.raises(raw.Error, match="denied"):
            raw.execute("DELETE FROM orders")
        with control.connect_as("rb_nobody") as raw, pytest.raises(raw.Error, match="denied"):
            raw.execute("SELECT count(*) FROM orders")
        with control.connect_as("rb_action") as raw, pytest.raises(raw.Error, match="owner"):
            raw.execute("ALTER TABLE orders ADD COLUMN harmless int")
        privileges = (
            b"SELECT pg_has_role('rb_diag', 'pg_monitor', 'MEMBER'),"
            b" pg_has_role('rb_diag', 'pg_signal_backend', 'MEMBER'),"
            b" pg_has_role('rb_action', 'pg_signal_backend', 'MEMBER'),"
            b" has_function_privilege('rb_action', 'pg_wal_replay_resume()', 'EXECUTE'),"
            b" has_function_privilege('rb_diag', 'pg_wal_replay_resume()', 'EXECUTE')"
        )
        assert rows(privileges) == [(True, False, True, True, False)]

    def test_a_second_up_is_refused_and_harms_nothing(self, sandbox: Home) -> None:
        pids = control.status().pids
        with pytest.raises(SandboxError, match="already up") as caught:
            control.up()
        assert "sandbox down" in caught.value.next_step
        assert control.status().pids == pids

    def test_of_two_ups_at_once_one_wins(self, own_home: Home) -> None:
        both = [start_up(own_home) for _ in range(2)]
        outputs = [process.communicate(timeout=60)[0] for process in both]
        assert sorted(process.returncode for process in both) == [0, 1]
        assert sum("already up" in output for output in outputs) == 1
        assert control.status().state == "up"


def start_up(home: Home) -> subprocess.Popen[str]:
    code = "from rbkernel.sandbox import control; control.up()"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**processes.environment(), "RBKERNEL_SANDBOX": str(home.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


class TestRefusals:
    def test_port_in_use(self, own_home: Home) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            with pytest.raises(SandboxError, match=f"port {port} is in use"):
                control.up(port=port)
        assert control.status().state == "down"
        assert [path.name for path in own_home.path.iterdir()] == ["lock"]

    def test_no_binaries(
        self, own_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RBKERNEL_PG_BIN", str(tmp_path))
        with pytest.raises(SandboxError, match="RBKERNEL_PG_BIN") as caught:
            control.up()
        assert "unset it" in caught.value.next_step
        assert not own_home.path.exists()

    def test_too_old(self, own_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fake = fake_binaries(tmp_path / "bin", postgres="echo 'postgres (PostgreSQL) 14.9'")
        monkeypatch.setenv("RBKERNEL_PG_BIN", str(fake))
        with pytest.raises(SandboxError, match=r"14\.9 is too old"):
            control.up()

    def test_initdb_fails(
        self, own_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fake = fake_binaries(tmp_path / "bin", initdb="echo 'no locale data' >&2; exit 1")
        monkeypatch.setenv("RBKERNEL_PG_BIN", str(fake))
        with pytest.raises(SandboxError, match="initdb failed: no locale data"):
            control.up()
        assert control.status().state == "down"

    def test_folder_that_holds_something_else(self, own_home: Home) -> None:
        own_home.path.mkdir(mode=0o755)
        (own_home.path / "thesis.tex").touch()
        with pytest.raises(SandboxError, match=r"contains other files \(thesis\.tex\)"):
            control.up()
        assert not control.down()
        assert own_home.path.stat().st_mode & 0o777 == 0o755

    def test_folder_that_cannot_be_made(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("RBKERNEL_SANDBOX", str(tmp_path / "file" / "home"))
        with pytest.raises(SandboxError, match="cannot be used"):
            control.up()

    def test_no_room(self, own_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(homes, "NEEDED_BYTES", 1 << 60)
        with pytest.raises(SandboxError, match="MB are free"):
            control.up()

    def test_faults_need_a_sandbox(self, own_home: Home) -> None:
        for call in (lambda: control.inject("replay-paused"), control.heal):
            with pytest.raises(SandboxError, match="not up") as caught:
                call()
            assert "sandbox up" in caught.value.next_step

    def test_unknown_fault_lists_those_there_are(self, sandbox: Home) -> None:
        for call in (control.inject, control.heal):
            with pytest.raises(SandboxError) as caught:
                call("earthquake")
            assert all(name in caught.value.next_step for name in catalogue.FAULTS)

    def test_fault_that_is_already_active(self, sandbox: Home) -> None:
        control.inject("orders-drift", seed=5)
        with pytest.raises(SandboxError, match="already active"):
            control.inject("orders-drift", seed=6)
        assert [fault.seed for fault in control.status().faults] == [5]


def fake_binaries(folder: Path, **scripts: str) -> Path:
    """The real programs, some replaced by a shell script."""
    real = binaries.find().folder
    folder.mkdir()
    for program in ("initdb", "postgres", "pg_basebackup"):
        if program in scripts:
            (folder / program).write_text(f"#!/bin/sh\n{scripts[program]}\n")
            (folder / program).chmod(0o755)
        else:
            (folder / program).symlink_to(real / program)
    return folder


class TestCrashes:
    @pytest.mark.parametrize("seed", first(range(5)))
    def test_up_killed_half_way_leaves_nothing_behind(self, own_home: Home, seed: int) -> None:
        started = start_up(own_home)
        until(own_home.state_file.exists)
        time.sleep(random.Random(seed).uniform(0, 1.5))
        started.kill()
        started.communicate()
        assert control.down()
        assert leftovers(own_home) == []
        assert [path.name for path in own_home.path.iterdir()] == ["lock"]

    def test_up_works_after_an_up_that_was_killed(self, own_home: Home) -> None:
        started = start_up(own_home)
        until(lambda: processes.alive(own_home, "primary"))
        started.kill()
        started.communicate()
        assert control.up().state == "up"

    def test_survives_its_parent_and_goes_with_down(self, own_home: Home) -> None:
        started = start_up(own_home)
        assert started.communicate(timeout=60)[0] == ""
        assert control.status().state == "up"
        assert control.down()
        assert leftovers(own_home) == []
        assert not control.down()
        assert control.status().state == "down"

    @pytest.mark.parametrize("victim", first(["primary", "standby", "traffic"]))
    def test_up_rebuilds_what_was_killed(self, own_home: Home, victim: str) -> None:
        control.up()
        os.kill(control.status().pids[victim], signal.SIGKILL)
        until(lambda: control.status().state == "broken")
        assert control.status().problems == (f"{victim} is not running",)
        with pytest.raises(SandboxError, match=f"{victim} is not running"):
            control.inject("replay-paused")
        assert control.up().state == "up"

    def test_a_frozen_server_goes_with_down(self, own_home: Home) -> None:
        control.up()
        os.kill(control.status().pids["standby"], signal.SIGSTOP)
        assert control.down()

    def test_down_spares_a_stranger_that_names_the_folder(self, own_home: Home) -> None:
        control.up()
        stranger = subprocess.Popen(["tail", "-f", str(own_home.log("primary"))])
        try:
            assert control.down()
            assert stranger.poll() is None
        finally:
            stranger.kill()
            stranger.wait()

    def test_an_unreadable_state_can_be_taken_down(self, own_home: Home) -> None:
        control.up()
        own_home.state_file.write_text("{")
        with pytest.raises(SandboxError, match="state cannot be read"):
            control.status()
        assert control.down()

    def test_traffic_survives_a_restart_of_the_database(self, sandbox: Home) -> None:
        newest = b"SELECT max(updated_at) FROM orders"
        [(backend, *_)] = rows(
            b"SELECT pid FROM pg_stat_activity WHERE application_name = 'shop-worker'"
        )
        before = datetime.now(UTC)
        os.kill(backend, signal.SIGKILL)  # the postmaster then restarts all sessions

        def goes_on() -> bool:
            try:
                arrived: datetime = rows(newest, server="standby")[0][0]
                return arrived > before + timedelta(seconds=1.5)
            except DatabaseError:
                return False

        until(goes_on)
        assert control.status().state == "up"


class TestPool:
    @pytest.mark.parametrize("fault", ["pool-idle-in-transaction", "pool-active-queries"])
    @pytest.mark.parametrize("seed", first([1, 2, 3]))
    def test_fills_the_pool_and_frees_it(self, sandbox: Home, fault: str, seed: int) -> None:
        truth = control.inject(fault, seed).truth
        seen = rows(BY_APPLICATION, [truth["application_name"]])
        assert [pid for pid, _ in seen] == truth["pids"]
        assert {state for _, state in seen} == {truth["state"]}
        assert len(seen) == truth["sessions"]
        assert 0.89 <= truth["used_slots"] / truth["usable_slots"] <= 0.97
        assert timedelta() < datetime.now(UTC) - datetime.fromisoformat(truth["since"])
        assert rows(b"SELECT 1", role="rb_diag") == [(1,)]
        assert control.heal(fault) == [fault]
        assert rows(BY_APPLICATION, [truth["application_name"]]) == []
        assert not processes.alive(sandbox, fault)
        assert control.status().faults == ()

    def test_active_queries_cost_no_cpu(self, sandbox: Home) -> None:
        truth = control.inject("pool-active-queries").truth
        backends = [psutil.Process(pid) for pid in truth["pids"]]
        before = sum(sum(backend.cpu_times()[:2]) for backend in backends)
        time.sleep(1)
        assert sum(sum(backend.cpu_times()[:2]) for backend in backends) - before < 0.05

    def test_terminated_sessions_do_not_come_back(self, sandbox: Home) -> None:
        truth = control.inject("pool-idle-in-transaction", seed=4).truth
        terminate = b"SELECT pg_terminate_backend(pid) FROM unnest(%s) AS pid"
        assert set(rows(terminate, [truth["pids"]], role="rb_action")) == {(True,)}
        until(lambda: not rows(BY_APPLICATION, [truth["application_name"]]))
        until(lambda: not processes.alive(sandbox, "pool-idle-in-transaction"))
        assert rows(BY_APPLICATION, [truth["application_name"]]) == []
        assert control.heal() == ["pool-idle-in-transaction"]

    def test_heal_after_the_holder_was_killed(self, sandbox: Home) -> None:
        truth = control.inject("pool-active-queries", seed=9).truth
        os.kill(control.status().pids["pool-active-queries"], signal.SIGKILL)
        assert control.heal() == ["pool-active-queries"]
        assert rows(BY_APPLICATION, [truth["application_name"]]) == []

    def test_a_pool_fault_on_a_full_pool_is_refused(self, sandbox: Home) -> None:
        fullest = max(range(50), key=pool.IDLE.share)
        emptiest = min(range(50), key=pool.ACTIVE.share)
        control.inject("pool-idle-in-transaction", fullest)
        with pytest.raises(SandboxError, match="slots are taken"):
            control.inject("pool-active-queries", emptiest)
        assert [fault.fault for fault in control.status().faults] == ["pool-idle-in-transaction"]


class TestReplication:
    @pytest.mark.parametrize("seed", first([1, 2, 3]))
    def test_replay_stands_still_since_the_moment_that_is_told(
        self, sandbox: Home, seed: int
    ) -> None:
        truth = control.inject("replay-paused", seed).truth
        look = b"SELECT pg_is_wal_replay_paused(), pg_last_xact_replay_timestamp()"
        [(paused, last)] = rows(look, server="standby", role="rb_diag")
        assert paused
        paused_at = datetime.fromisoformat(truth["paused_at"])
        assert timedelta() <= paused_at - last < timedelta(seconds=0.4)
        assert rows(b"SELECT 1 FROM pg_stat_wal_receiver", server="standby") == [(1,)]
        behind = b"SELECT pg_wal_lsn_diff(sent_lsn, replay_lsn) FROM pg_stat_replication"
        assert rows(behind)[0][0] > truth["burst_bytes"] * 0.9
        assert control.heal() == ["replay-paused"]
        [(paused, last)] = rows(look, server="standby")
        assert not paused
        assert datetime.now(UTC) - last < timedelta(seconds=1)

    def test_heal_after_an_operator_resumed(self, sandbox: Home) -> None:
        control.inject("replay-paused")
        rows(b"SELECT pg_wal_replay_resume()", server="standby", role="rb_action")
        assert control.heal("replay-paused") == ["replay-paused"]

    def test_receiver_is_gone_and_comes_back(self, sandbox: Home) -> None:
        receivers = b"SELECT count(*) FROM pg_stat_wal_receiver"
        truth = control.inject("receiver-down", seed=2).truth
        assert rows(receivers, server="standby") == [(0,)]
        assert rows(b"SELECT count(*) FROM pg_stat_replication") == [(0,)]
        assert rows(b"SELECT pg_is_wal_replay_paused()", server="standby") == [(False,)]
        [(last,)] = rows(b"SELECT pg_last_xact_replay_timestamp()", server="standby")
        stopped_at = datetime.fromisoformat(truth["receiver_stopped_at"])
        assert abs(stopped_at - last) < timedelta(seconds=0.4)
        control.heal()
        until(lambda: rows(receivers, server="standby") == [(1,)])
        [(last,)] = rows(b"SELECT pg_last_xact_replay_timestamp()", server="standby")
        assert datetime.now(UTC) - last < timedelta(seconds=2)

    @pytest.mark.parametrize("seed", first([1, 2, 3]))
    def test_a_delayed_standby_waits_for_its_delay_and_catches_up(
        self, sandbox: Home, seed: int
    ) -> None:
        truth = control.inject("standby-delayed", seed).truth
        setting = b"SELECT setting::int FROM pg_settings WHERE name = 'recovery_min_apply_delay'"
        assert rows(setting, server="standby") == [(1000 * truth["delay_s"],)]
        behind = b"SELECT pg_wal_lsn_diff(sent_lsn, replay_lsn) FROM pg_stat_replication"
        assert rows(behind)[0][0] > truth["burst_bytes"] * 0.9
        assert control.heal() == ["standby-delayed"]
        assert rows(setting, server="standby") == [(0,)]
        [(last,)] = rows(b"SELECT pg_last_xact_replay_timestamp()", server="standby")
        assert datetime.now(UTC) - last < timedelta(seconds=2)

    @pytest.mark.parametrize("fault", readers.KINDS)
    def test_replay_cancels_a_report_until_it_is_healed(self, sandbox: Home, fault: str) -> None:
        truth = control.inject(fault).truth
        kinds = (
            b"SELECT confl_snapshot, confl_lock FROM pg_stat_database_conflicts WHERE datid = %s"
        )
        [(database,)] = rows(b"SELECT oid FROM pg_database WHERE datname = 'shop'")
        place = ("snapshot", "lock").index(truth["conflict"])
        before = rows(kinds, [database], server="standby")[0]
        until(lambda: rows(kinds, [database], server="standby")[0][place] > before[place])
        assert control.heal() == [fault]
        settings = b"SELECT current_setting('max_standby_streaming_delay')"
        until(lambda: rows(settings, server="standby") == [("30s",)])
        assert rows(BY_APPLICATION, [truth["reader"]], server="standby") == []
        assert rows(b"SELECT to_regclass(%s)", [truth["table"]]) == [(None,)]


class TestOrders:
    @pytest.mark.parametrize("seed", first([1, 2, 3]))
    def test_drift_is_exactly_what_is_told(self, sandbox: Home, seed: int) -> None:
        truth = control.inject("orders-drift", seed).truth
        found = rows(DIFFERENCES)
        assert [row[0] for row in found if row[1]] == truth["extra"]
        assert [row[0] for row in found if row[2]] == truth["missing"]
        columns = {
            str(row[0]): [
                name for name, differs in (("amount_cents", row[3]), ("status", row[4])) if differs
            ]
            for row in found
            if not row[1] and not row[2]
        }
        assert columns == truth["changed"]
        reported = b"""SELECT array_agg(entity_id ORDER BY entity_id) FROM reconciliation_diffs
            WHERE module = 'orders' AND resolved_at IS NULL"""
        assert rows(reported) == [(truth["reported"],)]
        control.heal("orders-drift")
        assert rows(DIFFERENCES) == []
        assert rows(reported) == [(None,)]

    def test_seeds_differ_and_repeat(self, sandbox: Home) -> None:
        truths = []
        for seed in (1, 2, 1):
            truths.append(control.inject("orders-drift", seed).truth)
            control.heal()
        assert truths[0] == truths[2] != truths[1]

    def test_heal_after_an_operator_mended_a_part(self, sandbox: Home) -> None:
        truth = control.inject("orders-drift", seed=7).truth
        with control.connect_as("rb_action") as raw:
            raw.execute("DELETE FROM orders WHERE id = ANY(%s)", [truth["extra"]])
        control.heal()
        assert rows(DIFFERENCES) == []

    def test_rows_in_flight_arrive(self, sandbox: Home) -> None:
        truth = control.inject("orders-in-flight", seed=3).truth
        until(lambda: len(rows(DIFFERENCES)) >= 10)
        suspects = {row[0] for row in rows(DIFFERENCES)}
        assert min(suspects) > LAST_ID
        time.sleep(truth["delay_s"] + 1)
        later = {row[0] for row in rows(DIFFERENCES)}
        assert later
        assert not later & suspects
        control.heal()
        assert rows(DIFFERENCES) == []

    def test_drift_shows_among_rows_in_flight(self, sandbox: Home) -> None:
        control.inject("orders-in-flight", seed=1)
        truth = control.inject("orders-drift", seed=1).truth
        drifted = {row[0] for row in rows(DIFFERENCES) if row[0] <= LAST_ID}
        assert drifted == {*truth["missing"], *truth["extra"], *map(int, truth["changed"])}
        assert sorted(control.heal()) == ["orders-drift", "orders-in-flight"]
        assert rows(DIFFERENCES) == []


@pytest.mark.skipif(
    not Path("/usr/lib/postgresql").is_dir(), reason="no PostgreSQL of the system's packages"
)
def test_runs_the_binaries_it_is_told_to(own_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = max(Path("/usr/lib/postgresql").glob("*/bin"))
    monkeypatch.setenv("RBKERNEL_PG_BIN", str(folder))
    assert control.up().server_version == binaries.find().version
    for fault in ("pool-idle-in-transaction", "replay-paused", "orders-drift"):
        control.inject(fault, seed=2)
        assert control.heal() == [fault]
    assert shutil.which("initdb", path=str(folder))
