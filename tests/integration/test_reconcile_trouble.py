"""Whatever goes wrong while two tables are compared: the right answer or a clear error, never a
false "same".
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from rbkernel.errors import ConfigError, DatabaseError, NothingCompared, ParameterError, QueryError
from rbkernel.reconciliation import Progress, Question, load, parts
from rbkernel.sandbox.faults import waiting
from rbkernel.sources.postgres.connection.troubles import Trouble
from tests.support.kernels import PATIENCE_S
from tests.support.places import Place, answer, found, place
from tests.support.servers import servers

ROWS = """
CREATE TABLE {name} (id int PRIMARY KEY, v int, w text);
INSERT INTO {name} SELECT i, i, md5(i::text) FROM generate_series(1, {rows}) i;
ANALYZE {name};
"""
Q = Question(source="pairs.s", target="pairs.t")


def fill(both: tuple[Place, Place], rows: int = 4000) -> None:
    one, two = both
    one.run(ROWS.format(name="s", rows=rows) + ROWS.format(name="t", rows=rows))
    two.run(ROWS.format(name="t", rows=rows))


@pytest.fixture(params=[1, 2], ids=["one server", "two servers"])
def full(
    request: pytest.FixtureRequest, places: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch
) -> tuple[Place, Place]:
    """Tables of four parts, in one place or in two."""
    fill(places)
    monkeypatch.setattr(parts, "ROWS_OF_A_RANGE", 1000)
    return places[0], places[request.param - 1]


@contextmanager
def meanwhile(do: Callable[[], None]) -> Iterator[None]:
    """Do something again and again while the block runs."""
    ended = threading.Event()
    failures: list[BaseException] = []

    def again() -> None:
        while not ended.is_set():
            try:
                do()
            except BaseException as error:  # noqa: BLE001  # told below
                failures.append(error)
                return

    thread = threading.Thread(target=again)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    assert not failures


class TestAnswers:
    def test_equal_tables_are_the_same(self, full: tuple[Place, Place]) -> None:
        outcome = answer(*full, Q)
        assert outcome.same
        assert (outcome.source_rows, outcome.target_rows, outcome.parts) == (4000, 4000, 4)
        assert outcome.snapshots == 1

    def test_differences_in_every_part(self, full: tuple[Place, Place]) -> None:
        full[1].run("""
            DELETE FROM t WHERE id IN (1, 2500);
            INSERT INTO t VALUES (0, 0, ''), (-7, 0, ''), (9999, 0, NULL);
            UPDATE t SET v = -v WHERE id % 1000 = 7;
        """)
        outcome = answer(*full, Q)
        assert dict(outcome.counts()) == {"missing": 2, "extra": 3, "changed": 4}
        assert outcome.columns() == {"v": 4}
        assert found(outcome)[("-7",)] == ("extra", set())

    def test_everything_differs(self, full: tuple[Place, Place]) -> None:
        full[1].run(
            "UPDATE t SET w = w || 'x', v = v + 1 WHERE id > 5; DELETE FROM t WHERE id <= 5"
        )
        outcome = answer(*full, Q)
        assert dict(outcome.counts()) == {"missing": 5, "changed": 3995}
        assert outcome.columns() == {"v": 3995, "w": 3995}

    def test_more_than_are_listed_are_counted(self, full: tuple[Place, Place]) -> None:
        full[1].run("UPDATE t SET v = 0")
        outcome = answer(*full, Q, most=10)
        assert len(outcome.differences) == 10
        assert outcome.beyond == 3990
        assert not outcome.same

    def test_a_text_key_in_slices(
        self, places: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(parts, "ROWS_OF_A_SLICE", 1000)
        fill(places)
        for each in places:
            each.run("ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD PRIMARY KEY (w)")
        places[0].run("ALTER TABLE s DROP CONSTRAINT s_pkey; ALTER TABLE s ADD PRIMARY KEY (w)")
        places[1].run("UPDATE t SET v = 0 WHERE id = 17; DELETE FROM t WHERE id = 18")
        places[0].run("UPDATE t SET v = 0 WHERE id = 17; DELETE FROM t WHERE id = 18")
        for other in places:
            outcome = answer(
                places[0], other, Question(source="pairs.s", target="pairs.t", key=("w",))
            )
            assert dict(outcome.counts()) == {"missing": 1, "changed": 1}
            assert outcome.parts == 4
            assert outcome.source_rows == 4000

    def test_an_integer_key_without_order_in_slices(
        self, full: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(parts, "ROWS_OF_A_SLICE", 2000)
        for each in {id(one): one for one in full}.values():
            for table in tables_of(each):
                each.run(f"""
                    CREATE TABLE x AS SELECT * FROM {table} ORDER BY w;
                    DROP TABLE {table};
                    ALTER TABLE x RENAME TO {table};
                    ALTER TABLE {table} ADD PRIMARY KEY (id);
                    ANALYZE {table};
                """)
        full[1].run("UPDATE t SET v = 0 WHERE id = 17")
        outcome = answer(*full, Q)
        assert outcome.parts == 2
        assert found(outcome) == {("17",): ("changed", {"v"})}

    def test_where_window_and_what_they_pick(self, full: tuple[Place, Place]) -> None:
        full[1].run("UPDATE t SET v = 0 WHERE id IN (5, 3000)")
        assert set(found(answer(*full, question(where="id <= 100")))) == {("5",)}
        assert not found(answer(*full, question(where="w LIKE '%a%' AND id = 4")))
        # the row is in scope at the source only: it is compared all the same, not called missing
        picked = answer(*full, question(where="v = 5 -- of the old table"))
        assert found(picked) == {("5",): ("changed", {"v"})}
        for each in {id(one): one for one in full}.values():
            column = "ADD COLUMN at timestamptz DEFAULT now() - interval '2 h'"
            each.run("; ".join(f"ALTER TABLE {t} {column}" for t in tables_of(each)))
        full[1].run("UPDATE t SET at = now() WHERE id = 3000")
        window = question(window_s=3600.0, window_column="at")
        assert found(answer(*full, window)) == {("3000",): ("changed", {"v", "at"})}

    def test_tolerance(self, full: tuple[Place, Place]) -> None:
        full[1].run("UPDATE t SET v = v + 1 WHERE id < 9; UPDATE t SET v = v + 2 WHERE id = 9;"
                    "UPDATE t SET v = NULL WHERE id = 10")  # fmt: skip
        outcome = answer(*full, question(tolerance={"v": 1.0}))
        assert set(found(outcome)) == {("9",), ("10",)}

    def test_renamed_columns_and_time_zones(self, places: tuple[Place, Place]) -> None:
        one = places[0]
        one.run("""
            CREATE TABLE s (id int PRIMARY KEY, old_at timestamp, gone int);
            INSERT INTO s VALUES (1, '2026-07-01 12:00'), (2, '2026-07-01 12:00');
        """)
        new = (
            "CREATE TABLE t (number bigint PRIMARY KEY, new_at timestamptz);"
            "INSERT INTO t VALUES (1, '2026-07-01 10:00+00'), (2, '2026-07-01 12:00+00')"
        )
        mapping = {"id": "number", "old_at": "new_at"}
        asked = question(mapping=mapping, time_zone="Europe/Berlin")
        for other in places:
            other.run(new)
            outcome = answer(one, other, asked)
            assert found(outcome) == {
                ("2",): ("changed", {"old_at"}),
                (): ("column", {"gone"}),
            }

    def test_the_connection_is_as_it_was(self, full: tuple[Place, Place]) -> None:
        with closing(full[0].session()) as session:
            from rbkernel.reconciliation import compare

            compare(session, session, Q, recheck_after_s=0)
            [setting] = session.query("SELECT current_setting('enable_sort') AS s")["s"]
            assert setting == "on"


def question(**fields: Any) -> Question:
    return Question(source="pairs.s", target="pairs.t", **fields)


def tables_of(where: Place) -> list[str]:
    rows = where.rows("SELECT tablename::text FROM pg_tables WHERE schemaname = 'pairs'")
    return [name for (name,) in rows]


class TestMovingRows:
    def test_one_snapshot_for_all_parts(self, full: tuple[Place, Place]) -> None:
        def report(progress: Progress) -> None:
            if progress.done == 1:
                full[1].run("INSERT INTO t VALUES (9999, 0, '')")

        assert answer(*full, Q, report=report).same

    def test_rows_in_flight_are_no_drift(self, full: tuple[Place, Place]) -> None:
        """Each row is written to the source, and a little later to the target."""
        source, target = full
        target.run("UPDATE t SET v = -1 WHERE id IN (10, 2010)")
        with closing(copy(source)) as early, closing(copy(target)) as late:
            number = 100

            def write() -> None:
                nonlocal number
                number += 37
                row = 100 + number % 3800
                early.execute(b"UPDATE pairs.s SET v = %s WHERE id = %s", [number, row])
                time.sleep(0.02)
                late.execute(b"UPDATE pairs.t SET v = %s WHERE id = %s", [number, row])

            settled = {("10",), ("2010",)}
            with meanwhile(write):
                outcomes = [answer(*full, Q, recheck_after_s=0.3) for _ in range(3)]
        for outcome in outcomes:
            states = {one.key: one.state for one in outcome.differences}
            assert {key for key, state in states.items() if state == "persistent"} == settled
            assert not outcome.same

    def test_what_keeps_changing_is_unsettled(self, full: tuple[Place, Place]) -> None:
        with closing(copy(full[1])) as raw:

            def write() -> None:
                raw.execute(b"UPDATE pairs.t SET v = v - 1 WHERE id = 5")
                time.sleep(0.01)

            with meanwhile(write):
                outcome = answer(*full, Q, recheck_after_s=0.2)
        assert {one.key: one.state for one in outcome.differences} == {("5",): "unsettled"}
        assert not outcome.same


def copy(where: Place) -> Any:
    import psycopg

    return psycopg.connect(where.raw.info.dsn, password=where.raw.info.password, autocommit=True)


class TestRefusals:
    @pytest.mark.parametrize(
        ("asked", "error", "words"),
        [
            (Question(source="pairs.nix", target="pairs.t"), QueryError, "no table pairs.nix"),
            (question(key=("nix",)), QueryError, "need the key column 'nix'"),
            (question(columns=("nix",)), QueryError, "no column 'nix'"),
            (question(mapping={"v": "nix"}), QueryError, "no column 'nix'"),
            (question(key=("w",)), None, ""),
            (question(key=("v",)), None, ""),
            (question(where="pg_sleep(1) IS NULL"), QueryError, "refused"),
            (question(where="nix > 1"), QueryError, 'column "nix" does not exist'),
            (question(where="s.id = 1", target_where="t.id = 1"), QueryError, "FROM-clause"),
            (question(where="v < random()"), QueryError, "condition calls random"),
            (question(where="now() < clock_timestamp ()"), QueryError, "calls clock_timestamp"),
            (question(where="at < now()", target_where="1 = 2"), QueryError, '"at" does not'),
            *(
                (
                    question(where=where),
                    NothingCompared,
                    "nothing was compared: the where matched no",
                )
                for where in ("false", "null", "id < 0")
            ),
            (question(time_zone="Mars/X"), ParameterError, "no time zone 'Mars/X'"),
            (question(tolerance={"w": 1.0}), QueryError, "is not a number"),
            (question(window_s=1.0, window_column="w"), QueryError, "is not a time"),
        ],
    )
    def test_a_question_that_cannot_be_answered(
        self, full: tuple[Place, Place], asked: Question, error: type[Exception] | None, words: str
    ) -> None:
        if error is None:
            assert answer(*full, asked).same
            return
        with pytest.raises(error, match=words) as caught:
            answer(*full, asked)
        assert caught.value.next_step  # type: ignore[attr-defined]

    def test_words_are_those_of_a_command(self, full: tuple[Place, Place]) -> None:
        asked = (question(where="pg_sleep(1) IS NULL"), question(where="nix > 1"))
        steps = []
        for each in asked:
            with pytest.raises(QueryError) as caught:
                answer(*full, each)
            steps.append(caught.value.next_step)
        assert not any("cell" in step or "rb." in step for step in steps)

    def test_columns_with_their_table(self, full: tuple[Place, Place]) -> None:
        with pytest.raises(QueryError) as caught:
            answer(*full, question(where="s.id = 1"))
        assert "without the table's name" in caught.value.next_step

    def test_a_table_with_itself(self, full: tuple[Place, Place]) -> None:
        one = full[1]
        asked = Question(source="pairs.t", target="pairs.t")
        again = Place("again", one.raw, one.connection)
        for other in (one, again):
            with pytest.raises(QueryError, match="are the same table"):
                answer(one, other, asked)

    def test_a_key_that_cannot_be_one(self, places: tuple[Place, Place]) -> None:
        for each, name in zip(places, ("s", "t"), strict=True):
            each.run(f"CREATE TABLE {name} (id jsonb PRIMARY KEY, v int)")
        with pytest.raises(QueryError, match="the key id is jsonb, whose equal values"):
            answer(*places, Q)

    def test_tables_without_a_common_column(self, places: tuple[Place, Place]) -> None:
        places[0].run("CREATE TABLE s (id int PRIMARY KEY, a int)")
        places[1].run("CREATE TABLE t (id int PRIMARY KEY, b int)")
        with pytest.raises(QueryError, match="have no common column except the key"):
            answer(*places, Q)

    def test_a_key_that_is_null(self, full: tuple[Place, Place]) -> None:
        full[1].run("ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ALTER id DROP NOT NULL;"
                    "UPDATE t SET id = NULL WHERE id = 4")  # fmt: skip
        with pytest.raises(QueryError, match="the key id is NULL in some rows"):
            answer(*full, Q)

    def test_no_privilege_on_one_column(self, full: tuple[Place, Place]) -> None:
        full[1].run("REVOKE SELECT ON t FROM rb_diag; GRANT SELECT (id, v) ON t TO rb_diag")
        with pytest.raises(
            DatabaseError, match="permission denied: the role rb_diag may not read w"
        ):
            answer(*full, Q)
        assert answer(*full, question(columns=("v",))).same

    def test_a_refused_connection(self, places: tuple[Place, Place]) -> None:
        fill(places)
        dead = Place("dead", places[1].raw, places[1].connection.model_copy(update={"port": 1}))
        with pytest.raises(DatabaseError, match="refused"):
            answer(places[0], dead, Q)

    def test_a_locked_table(self, full: tuple[Place, Place]) -> None:
        with closing(copy(full[1])) as holder:
            holder.execute(b"BEGIN; LOCK TABLE pairs.t")
            who = f"pid {holder.info.backend_pid}, idle in transaction for .*"
            with pytest.raises(
                DatabaseError, match=rf"{who} holds AccessExclusiveLock on pairs\.t; .*lock timeout"
            ):
                answer(*full, Q)

    def test_a_table_that_is_queued_for(self, full: tuple[Place, Place]) -> None:
        with closing(copy(full[1])) as reader, closing(copy(full[1])) as migration:
            reader.execute(b"BEGIN; SELECT count(*) FROM pairs.t")
            pid = migration.info.backend_pid
            migration.pgconn.send_query(b"ALTER TABLE pairs.t ADD COLUMN x int")
            waits = b"SELECT count(*) > 0 FROM pg_locks WHERE pid = %s AND NOT granted"
            waiting.until(reader, waits, [pid], what="it waits")
            with pytest.raises(
                DatabaseError, match=rf"pid {pid}, .* waits for AccessExclusiveLock on pairs\.t; "
            ):
                answer(*full, Q)

    def test_the_session_is_ended(self, full: tuple[Place, Place]) -> None:
        def report(progress: Progress) -> None:
            if progress.done == 2:
                full[1].rows(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                    " WHERE application_name = 'reconcile-test'"
                )

        with pytest.raises(DatabaseError, match="incomplete, 2 of 4 parts compared") as caught:
            answer(*full, Q, report=report)
        # by which a finding is folded under its cause
        assert (caught.value.sqlstate, caught.value.trouble) == ("57P01", Trouble.ENDED)

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"key": ()}, "the key is empty"),
            ({"where": "1=1) OR (1=1"}, "not one expression"),
            ({"where": "id = :id"}, "has no value"),
            ({"where": "id=$1"}, r"\$1 in a condition has no value"),
            ({"where": "  "}, "condition is empty"),
            ({"columns": ("v", "v")}, "named twice"),
            ({"columns": ("",)}, "has no name"),
            ({"window_s": 5.0}, "its length and a column"),
            ({"tolerance": {"v": float("nan")}}, "is not a valid tolerance"),
            ({"tolerance": {"id": 1.0}}, "cannot have a tolerance"),
        ],
    )
    def test_questions_that_are_none(self, fields: dict[str, Any], words: str) -> None:
        with pytest.raises(ParameterError, match=words):
            question(**fields)


def test_a_server_that_restarts_in_the_middle(
    places: tuple[Place, Place], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "ROWS_OF_A_RANGE", 1000)
    fill(places)
    kept: list[Progress] = []
    with servers(tmp_path / "home") as made:
        target = place(made, "restarts", "shop")
        target.clear()
        target.run(ROWS.format(name="t", rows=4000))
        target.run("UPDATE t SET v = 0 WHERE id IN (1, 3999)")

        def report(progress: Progress) -> None:
            kept.append(progress)
            if progress.done == 2:
                # the postmaster then ends all sessions
                clients = b"SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
                sessions = [psutil.Process(pid) for (pid,) in target.raw.execute(clients)]
                os.kill(target.raw.info.backend_pid, signal.SIGKILL)
                psutil.wait_procs(sessions, PATIENCE_S)

        with pytest.raises(DatabaseError, match="incomplete, 2 of 4"):
            answer(places[0], target, Q, report=report)
        made.cluster.wait("primary")
        again = place(made, "restarts", "shop")
        outcome = answer(places[0], again, Q, resume=kept[-1])
        assert set(found(outcome)) == {("1",), ("3999",)}
        assert outcome.resumed
        assert outcome.snapshots == 2
        again.run("ALTER TABLE t ADD COLUMN x int")
        with pytest.raises(ConfigError, match="a table was changed since"):
            answer(places[0], again, Q, resume=kept[-1])
        target.raw.close()
        again.raw.close()


class TestLoad:
    def test_it_waits_and_gives_up(
        self, full: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(load, "PATIENCE_S", 0.5)
        with closing(copy(full[1])) as busy:
            busy.pgconn.send_query(b"SELECT pg_sleep(3)")
            with pytest.raises(DatabaseError, match=r"incomplete, 0 of 4 .* gave up: 1 session"):
                answer(*full, Q, max_load=0)

    def test_it_goes_on_when_it_is_calm(self, full: tuple[Place, Place]) -> None:
        with closing(copy(full[1])) as busy:
            busy.pgconn.send_query(b"SELECT pg_sleep(1.2)")
            began = time.monotonic()
            assert answer(*full, Q, max_load=0).same
        assert time.monotonic() - began > 1

    def test_a_role_that_cannot_see_it(self, full: tuple[Place, Place]) -> None:
        nobody = Place("nobody", full[1].raw, full[1].connection)
        full[1].raw.execute(b"REVOKE pg_monitor FROM rb_diag")
        try:
            with pytest.raises(DatabaseError, match="cannot see what"):
                answer(full[0], full[0] if full[0] is full[1] else nobody, Q, max_load=5)
        finally:
            full[1].raw.execute(b"GRANT pg_monitor TO rb_diag")


KILLED = """
import os, signal
from rbkernel.cli import main, reconciling
from rbkernel.reconciliation import parts
parts.ROWS_OF_A_RANGE = 1000
save = reconciling._State.save
def saved(self, progress):
    save(self, progress)
    if progress.done == int(os.environ["DIE_AFTER"]):
        os.kill(os.getpid(), signal.SIGKILL)
reconciling._State.save = saved
main()
"""


class TestCommand:
    @pytest.fixture
    def settings(self, places: tuple[Place, Place], tmp_path: Path) -> dict[str, str]:
        fill(places)
        text = ""
        for each in places:
            it = each.connection
            text += f'[connections.{each.name}]\nhost = "{it.host}"\nport = {it.port}\n'
            text += f'dbname = "{it.dbname}"\nuser = "{it.user}"\npassfile = "{it.passfile}"\n'
        file = tmp_path / "rbkernel.toml"
        file.write_text(text)
        return {"RBKERNEL_CONFIG": str(file), "XDG_STATE_HOME": str(tmp_path / "state")}

    @staticmethod
    def reconcile(
        settings: dict[str, str], *arguments: str, die_after: int = 0
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", KILLED, "reconcile", "one:pairs.s", "two:pairs.t"]
        return subprocess.run(
            [*command, *arguments],
            env={**os.environ, **settings, "DIE_AFTER": str(die_after)},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def test_same_different_and_error(
        self, places: tuple[Place, Place], settings: dict[str, str], tmp_path: Path
    ) -> None:
        same = self.reconcile(settings, "--recheck-after", "0")
        assert (same.returncode, same.stderr) == (0, "")
        assert same.stdout.startswith("SAME")
        places[1].run("UPDATE t SET v = 0 WHERE id = 7; DELETE FROM t WHERE id = 8")
        script = tmp_path / "fix.sql"
        different = self.reconcile(
            settings, "--recheck-after", "0.1", "--json", "--repair", str(script)
        )
        assert different.returncode == 1
        told = json.loads(different.stdout)
        assert told["counts"] == {"missing": 1, "changed": 1}
        assert [one["state"] for one in told["differences"]] == ["persistent", "persistent"]
        assert script.is_file()
        assert (tmp_path / "fix.inverse.sql").is_file()
        wrong = self.reconcile(settings, "--key", "nix")
        assert wrong.returncode == 3
        assert wrong.stdout == ""
        [line] = wrong.stderr.splitlines()
        assert " Next: " in line

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("--repair", "/nonexistent/x.sql"), "is not in a writable folder (--repair)"),
            (("--repair", "/"), "/ is a folder (--repair)"),
            (("--columns", "v, v"), "named twice"),
            (("--columns", " , "), "has no name"),
            (("--where", "lo_unlink(1) = 1"), "write a condition that only reads"),
        ],
    )
    def test_what_is_refused_at_once(
        self, settings: dict[str, str], arguments: tuple[str, ...], words: str
    ) -> None:
        refused = self.reconcile(settings, *arguments)
        assert (refused.returncode, refused.stdout) == (3, "")
        [line] = refused.stderr.splitlines()
        assert words in line
        assert "evidence" not in line
        assert not list(Path(settings["XDG_STATE_HOME"]).rglob("*.json"))

    def test_a_resumed_run_that_is_the_same_says_what_it_missed(
        self, places: tuple[Place, Place], settings: dict[str, str]
    ) -> None:
        assert self.reconcile(settings, die_after=3).returncode == -signal.SIGKILL
        places[0].run("UPDATE s SET v = v; ANALYZE s")  # estimates change at any time
        resumed = self.reconcile(settings, "--resume", "--recheck-after", "0")
        assert resumed.returncode == 0
        assert "were not compared again; run without --resume to be sure" in resumed.stdout

    def test_blanks_around_commas_and_signs(self, settings: dict[str, str]) -> None:
        done = self.reconcile(
            settings, "--columns", " v , w ", "--tolerance", "v = 1", "--recheck-after", "0"
        )
        assert (done.returncode, done.stderr) == (0, "")

    @pytest.mark.parametrize(("jobs", "later"), [("1", "1"), ("2", "3")])
    def test_a_killed_run_is_resumed(
        self, places: tuple[Place, Place], settings: dict[str, str], jobs: str, later: str
    ) -> None:
        places[1].run("UPDATE t SET v = 0 WHERE id IN (5, 3990)")
        killed = self.reconcile(settings, "--jobs", jobs, die_after=3)
        assert killed.returncode == -signal.SIGKILL
        # mended since, and broken since: what was suspect is looked at again
        places[1].run("UPDATE t SET v = 5 WHERE id = 5")
        resumed = self.reconcile(settings, "--resume", "--recheck-after", "0.1", "--jobs", later)
        assert resumed.returncode == 1
        assert "resuming after 3 of 4 parts" in resumed.stderr
        assert "DIFFERENT: 1 changed" in resumed.stdout
        assert "in flight: 1 row " in resumed.stdout
        assert "resumed" in resumed.stdout
        assert not list(Path(settings["XDG_STATE_HOME"]).rglob("*.json"))

    def test_nothing_to_resume(self, settings: dict[str, str]) -> None:
        done = self.reconcile(settings, "--resume", "--recheck-after", "0")
        assert done.returncode == 0
        assert "no interrupted comparison to resume" in done.stderr

    def test_a_stale_state_is_not_used(self, settings: dict[str, str]) -> None:
        assert self.reconcile(settings, die_after=1).returncode == -signal.SIGKILL
        [file] = Path(settings["XDG_STATE_HOME"]).rglob("*.json")
        old = time.time() - 25 * 3600
        os.utime(file, (old, old))
        done = self.reconcile(settings, "--resume", "--recheck-after", "0")
        assert done.returncode == 0
        assert "25 h old; starting over" in done.stderr
