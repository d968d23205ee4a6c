"""A database whose owner shadows all that PostgreSQL has: same verdicts, and nothing planted runs.

The owner is no superuser. `adversary` says what is planted; each piece writes into the server's log
when it runs. The same role asks a clean copy of the database, before and after, so that what a
moment changes in between is no difference.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from rbkernel import actions, config
from rbkernel.checks import rules
from rbkernel.checks.answer import provenance
from rbkernel.config import Connection
from rbkernel.model import Finding, Verdict
from rbkernel.reconciliation import Question, compare, repair
from rbkernel.run import runner
from rbkernel.sources.postgres import diagnostics, doctor, overview
from rbkernel.sources.postgres.connection.session import Session
from tests.integration import adversary
from tests.integration.adversary import CLEAN, HOSTILE, ran
from tests.support.servers import ROW, Servers

RUNBOOKS = ("RUN-000", "RUN-001", "RUN-005", "RUN-006", "RUN-007")
WAITERS = 11


@pytest.fixture(scope="module")
def planted(server: Servers) -> Iterator[Servers]:
    """The two databases, in each of them the same queue for a lock."""
    adversary.settle(server)
    server.start("idle", "BEGIN", ROW)
    for number in range(WAITERS):
        server.send(f"waiter-{number}", ROW)
    yield server
    server.end_sessions()
    adversary.take_away(server)


def connection(of: Servers, dbname: str) -> Connection:
    return of.access.connection("rb_diag", "primary", dbname)


@pytest.fixture
def both(planted: Servers) -> Iterator[tuple[Session, Session]]:
    """A session in the clean database, and one in the other."""
    with (
        closing(Session(connection(planted, CLEAN), application_name="test")) as clean,
        closing(Session(connection(planted, HOSTILE), application_name="test")) as hostile,
    ):
        yield clean, hostile


@pytest.fixture(autouse=True)
def nothing_planted_runs(planted: Servers, request: pytest.FixtureRequest) -> Iterator[None]:
    before = ran(planted)
    yield
    if request.function not in {test_the_trap_is_armed, test_a_table_that_runs_code_is_not_read}:
        assert ran(planted) == before


def test_the_trap_is_armed(planted: Servers) -> None:
    """Whoever does not take care runs it, and is not even in a read-only transaction."""
    before = ran(planted)
    with planted.access.connect("rb_diag", dbname=HOSTILE, autocommit=False) as raw:
        raw.execute(b"SELECT now()")
        assert raw.execute(b"SHOW transaction_read_only").fetchall() == [("off",)]
    with planted.access.connect("rb_diag", dbname=HOSTILE) as raw:
        assert raw.execute(b"SELECT FROM pg_stat_activity").fetchall() == []
    assert ran(planted) > before


def verdicts(session: Session, name: str) -> tuple[dict[str, Verdict], str]:
    """The verdict of each rule of a diagnostic, and why there is none."""
    frame = diagnostics.run(session, name)
    told = provenance(frame)
    assert told is not None
    return {
        rule.title: rules.apply(rule, frame).verdict for rule in diagnostics.get(name).rules
    }, told.reason


# they read tables of which there is another one in front, or a setting that is overridden
UNKNOWN = {
    *("queue/delivery", "queue/depth", "queue/stuck", "reconciliation/open"),
    *("reconciliation/recorded", "settings/notable"),
}


@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize("name", diagnostics.names())
def test_a_diagnostic_says_the_same(both: tuple[Session, Session], name: str) -> None:
    clean, hostile = both
    before, found, after = (verdicts(one, name) for one in (clean, hostile, clean))
    if name not in UNKNOWN:
        same = found[0], found[1].replace(f" in {HOSTILE} ", f" in {CLEAN} ")
        assert same in (before, after)
        return
    assert all(
        verdict in (before[0][title], after[0][title], Verdict.UNKNOWN)
        for title, verdict in found[0].items()
    )
    assert ("several schemas have a table" in found[1]) is (name != "settings/notable")


def test_a_hidden_setting_is_unknown(both: tuple[Session, Session]) -> None:
    frame = diagnostics.run(both[1], "settings/notable").set_index("setting")
    assert frame["at_risk"].isna().to_dict() == {
        name: name == "idle_in_transaction_session_timeout" for name in frame.index
    }


def test_the_queue_is_seen(both: tuple[Session, Session]) -> None:
    """Of this the issue was: critical became ok."""
    rows = diagnostics.run(both[1], "locks/blocking")
    assert rows["waits"].max() == WAITERS


def test_the_schema_of_the_tables_can_be_named(planted: Servers) -> None:
    named = connection(planted, HOSTILE).model_copy(update={"app_schema": "public"})
    with closing(Session(named, application_name="test")) as session:
        found, reason = verdicts(session, "queue/depth")
    assert reason == ""
    assert found["Oldest undelivered message"] is Verdict.CRITICAL


def same(found: Mapping[str, Finding], expected: Mapping[str, Finding]) -> bool:
    """Whether all verdicts are the expected ones, or unknown with a reason."""
    assert found.keys() == expected.keys()
    return all(
        one.verdict is expected[title].verdict or (one.verdict is Verdict.UNKNOWN and one.actual)
        for title, one in found.items()
    )


def test_the_overview_says_the_same(both: tuple[Session, Session]) -> None:
    clean, hostile, later = (
        {finding.title: finding for finding in overview.look(session)}
        for session in (*both, both[0])
    )
    assert same(hostile, clean) or same(hostile, later)
    assert "RUN-007" in overview.next_runbooks(hostile.values())


def test_doctor_says_the_same(planted: Servers) -> None:
    clean, hostile = (
        {finding.title: finding for finding in doctor.examine(connection(planted, name))}
        for name in (CLEAN, HOSTILE)
    )
    assert {t: f.verdict for t, f in hostile.items()} == {t: f.verdict for t, f in clean.items()}


class TestTeamSql:
    def test_pg_catalog_comes_first_and_the_path_is_told(
        self, both: tuple[Session, Session]
    ) -> None:
        frame = both[1].query(
            "SELECT count(*) AS n, current_setting('transaction_read_only') AS read_only,"
            " now()::text AS at FROM pg_stat_activity"
        )
        assert frame["n"][0] > WAITERS
        assert frame["read_only"][0] == "on"
        assert frame["at"][0].endswith("+00")
        told = provenance(frame)
        assert told
        assert told.search_path == 'pg_catalog, "rb_diag", "evil", "public", pg_temp'

    def test_settings_are_ours_and_theirs_are_told(self, both: tuple[Session, Session]) -> None:
        names = ("DateStyle", "IntervalStyle", "TimeZone", "bytea_output", "extra_float_digits")
        asked = ", ".join(f"current_setting('{name}') AS {name.lower()}" for name in names)
        frame = both[1].query(f"SELECT {asked}")
        assert frame.iloc[0].tolist() == ["ISO, YMD", "postgres", "UTC", "hex", "1"]
        told = {str(one) for one in both[1].server.overrides}
        assert "search_path = rb_diag, evil, public, pg_catalog" in " ".join(told)
        assert "default_transaction_isolation = serializable (set for the database)" in told
        assert "DateStyle = SQL, DMY (set for the role in this database)" in told
        assert [one for one in both[0].server.overrides if one.name != "search_path"] == []


class TestReconcile:
    def test_says_the_same_of_qualified_tables(self, both: tuple[Session, Session]) -> None:
        question = Question(source="public.orders_legacy", target="public.orders")
        clean, hostile = (
            compare(session, session, question, recheck_after_s=0) for session in both
        )
        assert hostile.differences == clean.differences
        assert hostile.source_rows == clean.source_rows > 0

    def test_an_unqualified_table_is_found_where_there_is_one(
        self, both: tuple[Session, Session]
    ) -> None:
        question = Question(source="orders_legacy", target="orders")
        outcome = compare(both[1], both[1], question, recheck_after_s=0)
        assert outcome.source_rows > 0
        with pytest.raises(Exception, match="several schemas have a table") as caught:
            compare(
                both[1],
                both[1],
                Question(source="outbox_messages", target="orders"),
                recheck_after_s=0,
            )
        assert "evil.outbox_messages" in caught.value.next_step  # type: ignore[attr-defined]

    def test_two_servers_and_a_script(self, both: tuple[Session, Session]) -> None:
        question = Question(source="public.orders_legacy", target="public.orders")
        clean, hostile = both
        outcome = compare(clean, hostile, question, recheck_after_s=0, portable=True)
        assert outcome.source_rows > 0
        script = repair.write(clean, hostile, question, outcome.differences)
        assert "SET LOCAL search_path = pg_catalog, " in script.sql


def test_a_plan_runs_nothing_planted(planted: Servers) -> None:
    """Also where a human runs it, as the role that may signal."""
    planted.start("victim", "SELECT 1")
    with closing(Session(connection(planted, HOSTILE), application_name="test")) as session:
        frame = session.query(
            "SELECT pid, backend_start FROM pg_stat_activity WHERE application_name = 'victim'"
        )
    plan = actions.terminate_sessions(HOSTILE, frame)
    with planted.access.connect("rb_action", dbname=HOSTILE) as raw:
        rows = raw.execute(plan.sql.encode()).fetchall()
    assert [(name, done) for _, name, done in rows] == [("victim", True)]


_TRAP = """
DROP SCHEMA IF EXISTS trap CASCADE;
CREATE SCHEMA trap;
GRANT USAGE ON SCHEMA trap TO PUBLIC;
CREATE FUNCTION trap.f() RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
    'BEGIN RAISE LOG ''planted code ran: trap''; RETURN true; END';
CREATE FUNCTION trap.f(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
    'BEGIN RAISE LOG ''planted code ran: trap''; RETURN ''done''; END';
CREATE TABLE trap.t (destination text, status text, created_at timestamptz);
"""
_PLAIN = "(destination text, status text, created_at timestamptz)"


_NAME = "trap.outbox_messages"
_POLICY = f"CREATE POLICY p ON {_NAME} USING (trap.f())"
_TABLE = f"CREATE TABLE {_NAME} {_PLAIN};"
# kind → how the table is made, and what is said of it
TRAPS = {
    "view": ("CREATE VIEW trap.outbox_messages AS SELECT * FROM trap.t WHERE trap.f()", "trap.f()"),
    "index": (
        f"{_TABLE} CREATE INDEX ON trap.outbox_messages (destination) WHERE trap.f()",
        "trap.f()",
    ),
    "partition key": (
        f"CREATE TABLE trap.outbox_messages {_PLAIN} PARTITION BY LIST (trap.f(status))",
        "trap.f(text)",
    ),
    "statistics": (
        f"{_TABLE} CREATE STATISTICS trap.s ON destination, (trap.f(status)) FROM {_NAME}",
        "trap.f(text)",
    ),
    "cast": (
        f"CREATE DOMAIN trap.d AS public.planted; {_TABLE.replace('status text', 'status trap.d')}",
        "planted_cast",
    ),
    "policy": (
        f"{_TABLE} ALTER TABLE {_NAME} ENABLE ROW LEVEL SECURITY; {_POLICY}",
        "row-level security",
    ),
    # it is looked at by the planner, where constraint_exclusion is on
    "constraint": (f"{_TABLE} ALTER TABLE trap.outbox_messages ADD CHECK (trap.f())", ""),
}


@pytest.mark.parametrize(("script", "reason"), TRAPS.values(), ids=TRAPS.keys())
def test_a_table_that_runs_code_is_not_read(planted: Servers, script: str, reason: str) -> None:
    with planted.access.connect("postgres", dbname=HOSTILE) as raw:
        raw.execute(b"SET search_path = pg_catalog")
        raw.execute(f"SET ROLE {adversary.OWNER}".encode())
        raw.execute(_TRAP.encode())
        raw.execute(script.encode())
        raw.execute(b"GRANT SELECT ON trap.outbox_messages TO PUBLIC")
    trap = connection(planted, HOSTILE).model_copy(update={"app_schema": "trap"})
    before = ran(planted)
    with closing(Session(trap, application_name="test")) as session:
        found, told = verdicts(session, "queue/depth")
    assert ran(planted) == before
    assert reason in told
    assert set(found.values()) == ({Verdict.UNKNOWN} if reason else {Verdict.OK})


@pytest.fixture
def run(
    planted: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], dict[str, Finding]]:
    """Run a runbook on one of the databases, and return what it found."""
    sections = []
    for name in (CLEAN, HOSTILE):
        of = connection(planted, name)
        fields = {"host": of.host, "port": of.port, "dbname": of.dbname, "user": of.user}
        lines = [f"{key} = {json.dumps(value)}" for key, value in fields.items()]
        lines.append(f"passfile = {json.dumps(str(of.passfile))}")
        sections.append("\n".join([f"[connections.{name}]", *lines]))
    file = tmp_path / "rbkernel.toml"
    file.write_text("\n\n".join(sections), encoding="utf-8")
    monkeypatch.setenv("RBKERNEL_CONFIG", str(file))
    monkeypatch.setenv("RBKERNEL_EVIDENCE", str(tmp_path / "evidence"))
    settings = config.load()

    def found(runbook: str, name: str) -> dict[str, Finding]:
        outcome = runner.run(runbook, {"db": name, **_values(runbook, name)}, settings)
        assert outcome.failure == ""
        assert outcome.sealed
        return {f.title.replace(name, "db"): f for f in outcome.record.findings}

    return found


def _values(runbook: str, name: str) -> dict[str, str]:
    if runbook == "RUN-006":
        return {"recheck_after_s": "0"}
    if runbook in {"RUN-000", "RUN-005"}:
        return {"standby": "" if runbook == "RUN-000" else name, "standby_name": ""}
    return {}


def test_the_queue_is_wrong_for_its_runbook(
    run: Callable[[str, str], dict[str, Finding]],
) -> None:
    [found] = [one for one in run("RUN-007", HOSTILE).values() if one.is_cause]
    assert found.wrong
    assert found.value == WAITERS


def test_the_record_is_unknown_for_its_runbook(
    run: Callable[[str, str], dict[str, Finding]],
) -> None:
    found = run("RUN-006", HOSTILE)
    record = found.pop("Oldest recorded difference")
    assert record.verdict is Verdict.UNKNOWN
    assert "evil, public" in record.actual
    # the queue is a cause, and the rows are the same
    rows = [finding for finding in found.values() if not finding.is_cause]
    assert {finding.verdict for finding in rows} == {Verdict.OK}


@pytest.mark.soak
@pytest.mark.parametrize("runbook", RUNBOOKS)
def test_a_runbook_says_the_same(
    run: Callable[[str, str], dict[str, Finding]], runbook: str
) -> None:
    clean, hostile = run(runbook, CLEAN), run(runbook, HOSTILE)
    # a wait may have become longer than a threshold in between
    assert same(hostile, clean) or same(hostile, run(runbook, CLEAN))
