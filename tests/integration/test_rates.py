"""What happens between two samples, and what keeps WAL or commits waiting: on 15 and on the newest.

The pause of a diagnostic is where a test makes the effect, so that it lies between the samples and
nobody waits for time to pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from psycopg import errors

from rbkernel.checks import rules
from rbkernel.checks.answer import provenance
from rbkernel.model import Finding, Verdict
from rbkernel.sources.postgres import diagnostics
from rbkernel.sources.postgres.connection.driver import RawConnection
from rbkernel.sources.postgres.connection.session import Session
from tests.support.servers import Servers, ask, verdicts
from tests.support.waiting import until

OK, WARNING, CRITICAL, UNKNOWN = Verdict.OK, Verdict.WARNING, Verdict.CRITICAL, Verdict.UNKNOWN


@pytest.fixture(params=["newest", "oldest"])
def patient(request: pytest.FixtureRequest) -> Iterator[Servers]:
    """The server of the sandbox's version, and one of the oldest that is supported."""
    made = request.getfixturevalue("server" if request.param == "newest" else "older")
    if made is None:
        pytest.skip("PostgreSQL 15 is not installed")
    yield made
    made.end_sessions()


@pytest.fixture
def diag(patient: Servers) -> Iterator[Session]:
    with closing(patient.diagnostic_session()) as session:
        yield session


@pytest.fixture
def admin(patient: Servers) -> RawConnection:
    return patient.connect("admin", role="postgres")


Between = Callable[..., Any]


@pytest.fixture
def between(diag: Session, meanwhile: Callable[[Callable[[], object]], None]) -> Between:
    """Ask a diagnostic; what is given happens between its looks."""

    def asked(name: str, effect: Callable[[], object]) -> Any:
        def pause() -> None:
            with diag.lent() as raw:
                assert raw.info.transaction_status.name == "IDLE"  # nothing is held open
            effect()

        meanwhile(pause)
        return ask(diag, name)

    return asked


def judged(name: str, frame: Any) -> dict[str, Finding]:
    return {rule.title: rules.apply(rule, frame) for rule in diagnostics.get(name).rules}


def run(raw: RawConnection, *statements: str) -> None:
    """Run statements, and have what they did counted at once."""
    for statement in (*statements, "SELECT pg_stat_force_next_flush()"):
        raw.execute(statement.encode())


@contextmanager
def setting(admin: RawConnection, name: str, value: str) -> Iterator[None]:
    run(admin, f"ALTER SYSTEM SET {name} = '{value}'", "SELECT pg_reload_conf()")
    try:
        yield
    finally:
        run(admin, f"ALTER SYSTEM RESET {name}", "SELECT pg_reload_conf()")


class TestDatabases:
    def test_a_sort_that_does_not_fit_into_work_mem(
        self, patient: Servers, between: Between
    ) -> None:
        raw = patient.connect("report")
        sort = "SELECT count(*) FROM (SELECT n FROM generate_series(1, 400000) n ORDER BY -n) s"
        frame = between("activity/rates", lambda: run(raw, "SET work_mem = '64MB'", sort))
        assert set(verdicts("activity/rates", frame).values()) == {OK}
        frame = between("activity/rates", lambda: run(raw, "SET work_mem = '64kB'", sort))
        row = frame.set_index("database").loc["shop"]
        assert row["temp_files"] >= 1
        assert 3 < row["temp_mb_per_s"] * row["window_s"] < 12
        finding = judged("activity/rates", frame)["Temporary files, now"]
        assert finding.verdict is (WARNING if frame["temp_mb_per_s"].sum() > 10 else OK)

    def test_a_deadlock(self, patient: Servers, between: Between) -> None:
        one, other = (patient.connect(name, role="postgres") for name in ("one", "other"))
        rows = [f"SELECT 1 FROM orders WHERE id = {id_} FOR UPDATE" for id_ in (100004, 100008)]

        def deadlock() -> None:
            run(other, "SET deadlock_timeout = '10ms'", "BEGIN", rows[1])
            run(one, "BEGIN", rows[0])
            one.pgconn.send_query(rows[1].encode())
            waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = %s"
            pid = [one.info.backend_pid]
            until(lambda: other.execute(waits, pid).fetchall() == [(1,)], "the first one waits")
            with pytest.raises(errors.DeadlockDetected):
                other.execute(rows[0].encode())
            run(other, "ROLLBACK")

        frame = between("activity/rates", deadlock)
        finding = judged("activity/rates", frame)["Deadlocks, now"]
        assert finding.verdict is WARNING
        assert finding.actual == "1 deadlock"
        assert finding.cause.endswith(": shop")
        frame = between("activity/rates", lambda: None)
        assert verdicts("activity/rates", frame)["Deadlocks, now"] is OK
        assert frame.set_index("database").loc["shop", "deadlocks_before"] >= 1

    def test_counters_that_are_reset_in_between(
        self, between: Between, admin: RawConnection
    ) -> None:
        frame = between("activity/rates", lambda: run(admin, "SELECT pg_stat_reset()"))
        shop = frame.set_index("database").loc["shop"]
        assert shop[["deadlocks", "temp_mb_per_s", "commits_per_s"]].isna().all()
        assert set(verdicts("activity/rates", frame).values()) == {UNKNOWN}


class TestWal:
    def test_checkpoints_that_follow_one_another(
        self, between: Between, admin: RawConnection
    ) -> None:
        def write() -> None:
            for _ in range(2):
                run(admin, "SELECT pg_logical_emit_message(false, '', repeat('x', 4000000))")
                run(admin, "CHECKPOINT")

        frame = between("io/rates", write)
        row = frame.iloc[0]
        assert row["requested"] == 2
        assert row["wal_mb_per_s"] * row["window_s"] > 7
        title = "Requested checkpoints, now"
        assert verdicts("io/rates", frame)[title] is WARNING
        frame = between("io/rates", lambda: run(admin, "CHECKPOINT"))
        assert verdicts("io/rates", frame)[title] is OK
        frame = between("io/rates", lambda: run(admin, "SELECT pg_stat_reset_shared('archiver')"))
        assert verdicts("io/rates", frame)[title] is UNKNOWN

    def test_an_archive_that_falls_behind(
        self, between: Between, diag: Session, admin: RawConnection
    ) -> None:
        def fill(files: int) -> None:
            for _ in range(files):
                run(admin, "SELECT pg_logical_emit_message(false, '', 'x')")
                run(admin, "SELECT pg_switch_wal()")

        title = "Archiving rate"
        assert verdicts("io/rates", between("io/rates", lambda: fill(1)))[title] is OK
        with setting(admin, "archive_command", "false"):
            shown = "SELECT current_setting('archive_command') = 'false'"
            until(lambda: admin.execute(shown.encode()).fetchall() == [(True,)])
            fill(9)
            frame = between("io/rates", lambda: fill(2))
            assert frame["waiting"].iloc[0] >= 10
            assert frame["folder_mb_per_s"].notna().all()
            assert verdicts("io/rates", frame)[title] is CRITICAL
            # many wait, but no more than before
            assert verdicts("io/rates", between("io/rates", lambda: None))[title] is OK
            held = ask(diag, "archive/wal").set_index("holder").loc["the archiver"]
            assert held["held_mb"] >= 160
        run(admin, "SELECT pg_switch_wal()")
        until(lambda: ask(diag, "archive/status")["waiting"].iloc[0] == 0, "the archive has all")
        held = ask(diag, "archive/wal").set_index("holder").loc["the archiver"]
        assert held["held_mb"] == 0

    def test_what_keeps_wal_is_named(self, diag: Session, admin: RawConnection) -> None:
        run(
            admin,
            "SELECT pg_create_physical_replication_slot('left behind', true)".replace(" b", "_b"),
        )
        try:
            for _ in range(2):
                run(admin, "SELECT pg_logical_emit_message(false, '', repeat('x', 20000000))")
                run(admin, "SELECT pg_switch_wal()", "CHECKPOINT")
            frame = ask(diag, "archive/wal").set_index("holder")
            # the test before may have left more files for reuse than the slot keeps
            assert set(frame["held_by"]) == {frame["held_mb"].idxmax()}
            assert frame["held_mb"].drop("files for reuse").idxmax() == "slot left_behind"
            assert frame.loc["slot left_behind", "held_mb"] >= 40
            assert frame.loc["the last checkpoint", "held_mb"] < 20
            in_folder = (
                "SELECT sum(size) / 1048576 FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'"
            )
            [(size,)] = admin.execute(in_folder.encode()).fetchall()
            assert frame["folder_mb"].iloc[0] == pytest.approx(float(size), abs=64)
            title = "WAL folder"
            assert verdicts("archive/wal", ask(diag, "archive/wal"))[title] is OK
            with setting(admin, "max_wal_size", "32MB"):
                shown = "SELECT current_setting('max_wal_size') = '32MB'"
                until(lambda: admin.execute(shown.encode()).fetchall() == [(True,)])
                frame = ask(diag, "archive/wal", large_mb=64)
                assert set(frame["allowed_mb"]) == {32}
                assert verdicts("archive/wal", frame)[title] is WARNING
                # a small folder may be many times what is allowed
                assert verdicts("archive/wal", ask(diag, "archive/wal"))[title] is OK
        finally:
            run(admin, "SELECT pg_drop_replication_slot('left_behind')")
        frame = ask(diag, "archive/wal").set_index("holder")
        assert frame.loc["nothing any more", "held_mb"] >= 32
        run(admin, "CHECKPOINT")
        frame = ask(diag, "archive/wal").set_index("holder")
        assert frame.loc["nothing any more", "held_mb"] == 0


class TestStatements:
    def test_the_busiest_of_this_moment(
        self, patient: Servers, between: Between, admin: RawConnection
    ) -> None:
        raw = patient.connect("report")
        run(raw, *["SELECT count(*) FROM orders WHERE amount_cents > 5"] * 20)  # the most so far
        frame = between("queries/busiest", lambda: run(raw, "SELECT pg_sleep(0.4)"))
        top = frame.iloc[0]
        assert top["query"] == "SELECT pg_sleep($1)"
        assert top["calls"] == 1
        assert top["sessions"] * top["window_s"] == pytest.approx(0.4, abs=0.05)
        [finding] = judged("queries/busiest", frame).values()
        if top["heavy"]:
            assert finding.verdict is WARNING
            assert top["query_id"] in finding.cause
        reset = between("queries/busiest", lambda: forget(admin, raw))
        told = provenance(reset)
        assert told
        assert "the counters were reset between the two samples" in told.notes[-1]
        assert reset["calls"].isna().any()

    def test_an_index_is_dropped(self, patient: Servers, between: Between) -> None:
        raw = patient.connect("web")
        by_email = "SELECT id FROM people WHERE email = 'p70000@example.org'"
        run(
            raw,
            "CREATE TABLE people AS SELECT n AS id, format('p%s@example.org', n) AS email"
            " FROM generate_series(1, 150000) n",
            "CREATE INDEX people_email ON people (email)",
            "ANALYZE people",
            "SET max_parallel_workers_per_gather = 0",
        )
        try:
            run(raw, *[by_email] * 30)
            frame = between("queries/regression", lambda: run(raw, *[by_email] * 30))
            assert WARNING not in verdicts("queries/regression", frame).values()
            frame = between(
                "queries/regression", lambda: run(raw, "DROP INDEX people_email", *[by_email] * 12)
            )
        finally:
            run(raw, "DROP TABLE people")
        row = frame[frame["query"].str.startswith("SELECT id FROM people")].iloc[0]
        assert row["calls"] == 12
        assert row["calls_before"] == 60
        assert row["pages_a_call"] > 100 > row["pages_a_call_before"]
        assert row["slower"] > 5
        found = judged("queries/regression", frame)
        finding = found["Statements that read more than before"]
        assert finding.verdict is WARNING
        assert f"SELECT id FROM people WHERE email = $1 (id {row['query_id']})" in finding.cause
        assert "p70000" not in finding.cause
        assert found["Statements that return more than before"].verdict is OK

    def test_more_rows_are_another_question(self, patient: Servers, between: Between) -> None:
        raw = patient.connect("web")
        few, many = (
            f"SELECT /* export */ n FROM generate_series(1, {rows}) n" for rows in (10, 90000)
        )
        run(raw, *[few] * 25)
        frame = between("queries/regression", lambda: run(raw, *[many] * 6))
        title = "Statements that return more than before"
        assert "/* export */" in judged("queries/regression", frame)[title].cause

    def test_the_same_work_takes_longer(self, patient: Servers, between: Between) -> None:
        raw = patient.connect("web")
        run(raw, *["SELECT pg_sleep(0.0005), 1"] * 25)
        frame = between("queries/regression", lambda: run(raw, *["SELECT pg_sleep(0.05), 1"] * 6))
        found = judged("queries/regression", frame)
        cause = found["Statements that take longer for the same work"].cause
        assert "SELECT pg_sleep($1), $2 " in cause

    def test_after_a_reset_nobody_knows(
        self, patient: Servers, between: Between, admin: RawConnection
    ) -> None:
        raw = patient.connect("web")
        forget(admin, raw)
        run(raw, *["SELECT pg_sleep(0.0005), 1, 2"] * 3)
        frame = between(
            "queries/regression", lambda: run(raw, *["SELECT pg_sleep(0.05), 1, 2"] * 6)
        )
        assert UNKNOWN in verdicts("queries/regression", frame).values()

    def test_a_call_that_is_under_way(self, patient: Servers, between: Between) -> None:
        raw = patient.connect("web")
        run(raw, "SELECT pg_sleep(0), 1, 2, 3")
        runs = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%(60), 1, 2, 3'"

        def begin() -> None:
            patient.send("web", "SELECT pg_sleep(60), 1, 2, 3")
            until(lambda: raw.execute(runs.encode()).fetchall() == [(1,)], "it runs")

        frame = between("queries/regression", begin)
        row = frame[frame["query"] == "SELECT pg_sleep($1), $2, $3, $4"].iloc[0]
        assert row["calls"] == 0
        assert 0 < row["running_s"] < 60

    def test_without_the_extension_nobody_knows(self, patient: Servers) -> None:
        elsewhere = patient.access.connection("rb_diag", "primary", dbname="postgres")
        with closing(Session(elsewhere, application_name="test")) as session:
            for name in ("queries/busiest", "queries/regression"):
                frame = diagnostics.run(session, name, every_s=1)
                assert set(verdicts(name, frame).values()) == {UNKNOWN}
                told = provenance(frame)
                assert told
                assert "pg_stat_statements is not created in postgres" in told.reason


def forget(admin: RawConnection, raw: RawConnection) -> None:
    """Reset pg_stat_statements, and let something run afterwards."""
    run(admin, "SELECT pg_stat_statements_reset()")
    run(raw, "SELECT pg_sleep(0.05)")


class TestSynchronous:
    def test_a_standby_that_is_not_there(
        self, patient: Servers, diag: Session, admin: RawConnection
    ) -> None:
        name = "replication/synchronous"
        missing, waits = (rule.title for rule in diagnostics.get(name).rules)
        assert verdicts(name, ask(diag, name)) == {missing: OK, waits: OK}
        with setting(admin, "synchronous_standby_names", 'ANY 1 (far, "far away")'):
            until(lambda: bool(ask(diag, name)["asked"].iloc[0]))
            found = judged(name, ask(diag, name))
            assert found[missing].verdict is CRITICAL
            assert 'ANY 1 (far, "far away")' in found[missing].which
            assert "also connected: nobody" in found[missing].which
            assert found[waits].verdict is OK
            patient.send("web", "UPDATE orders SET updated_at = now() WHERE id = 100012")
            until(lambda: ask(diag, name)["waiting_s"].max() > 1)
            frame = ask(diag, name)
            assert frame["waiting"].tolist() == [1]
            assert verdicts(name, frame)[waits] in {WARNING, CRITICAL}
        until(lambda: ask(diag, name)["waiting"].sum() == 0, "the commit returns")
        assert verdicts(name, ask(diag, name)) == {missing: OK, waits: OK}


def test_a_pause_out_of_range_is_refused(diag: Session) -> None:
    for every_s in (0, 0.5, 4000):
        with pytest.raises(Exception, match="is not a valid time between two samples"):
            diagnostics.run(diag, "activity/rates", every_s=every_s)
