"""Tables of a team's own: columns are found by what they mean, and an error names the parameter."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_notebook, new_raw_cell

from rbkernel import config
from rbkernel.checks.answer import provenance
from rbkernel.config import Connection, Settings
from rbkernel.model import Verdict
from rbkernel.run import runner
from rbkernel.sources.postgres import diagnostics, overview
from rbkernel.sources.postgres.connection.driver import RawConnection
from rbkernel.sources.postgres.connection.session import Session
from tests.support.servers import Servers, ask, verdicts

K6 = """\
http_req_duration..............: avg=130.31ms med=121ms p(90)=201ms p(95)=1.2s
  { expected_response:true }...: avg=100.00ms med=99ms p(90)=150ms p(95)=160ms
http_req_failed................: 0.07% 7 out of 10000
iteration_duration.............: avg=3.1s p(95)=3.9s
"""
# the conditions as the templates' authors write them
FRONT = """\
---
id: RUN-912
title: HITL queue stuck
summary: Tasks wait for a human.
category: incident
severity: P2
owner: Team
connections: {db: "*"}
severity_levels:
  - {level: P1, any_of: [data_at_risk], action: page}
  - {level: P2, any_of: ["pending HITL tasks > 200, or HITL oldest > 4h"], action: tell}
  - {level: P3, when: all else}
escalation:
  levels:
    - {level: L2, when: HITL oldest > 4h, contact: the backup approver}
    - {level: L3, when: the backup approver is away, contact: the manager}
metrics:
  - {name: HITL tasks pending, diagnostic: queue/tasks, column: tasks, agg: sum, warning: 50}
  - {name: HITL oldest, diagnostic: queue/tasks, column: oldest_s, unit: s, warning: "> 4h"}
  - {name: Diff rate, query: "SELECT 0.5 AS pct", column: pct, unit: "%", slo: "< 0.1%",
     warning: "> SLO"}
  - {name: In words, query: "SELECT 1 AS n", column: n, warning: as usual, critical: 9}
---
"""
# only the columns that the templates' own queries use
_CORPORA = Path(__file__).parents[1] / "corpora"
SEEDSHOP = (_CORPORA / "seedshop.sql").read_bytes()
_HISTORIES = yaml.safe_load((_CORPORA / "migration_histories.yaml").read_text())


@pytest.fixture(scope="module")
def seedshop(server: Servers) -> Iterator[tuple[RawConnection, Connection]]:
    with server.access.connect("postgres") as admin:
        admin.execute("CREATE DATABASE seedshop")
        with server.access.connect("postgres", dbname="seedshop") as raw:
            raw.execute(SEEDSHOP)
            raw.execute("CREATE TABLE orders_legacy AS SELECT n AS id FROM generate_series(1, 9) n")
            raw.execute("ALTER TABLE orders_legacy ADD PRIMARY KEY (id)")
            raw.execute("CREATE TABLE orders (LIKE orders_legacy INCLUDING ALL)")
            raw.execute("INSERT INTO orders SELECT * FROM orders_legacy")
            raw.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO rb_diag")
            own = server.access.connection("rb_diag", "primary")
            yield raw, own.model_copy(update={"name": "seedshop", "dbname": "seedshop"})
        admin.execute("DROP DATABASE seedshop WITH (FORCE)")


@pytest.fixture
def session(seedshop: tuple[RawConnection, Connection]) -> Iterator[Session]:
    raw, connection = seedshop
    with closing(Session(connection, application_name="test")) as session:
        yield session
    raw.execute("TRUNCATE outbox_messages, reconciliation_diffs")


def test_a_queue_with_only_the_time_of_its_last_change(
    seedshop: tuple[RawConnection, Connection], session: Session
) -> None:
    seedshop[0].execute(
        "INSERT INTO outbox_messages (destination, status, updated_at) VALUES"
        " ('mail', 'pending', now() - interval '2 hours'), ('mail', 'sent', now())"
    )
    frame = ask(session, "queue/depth")
    assert frame[["destination", "messages"]].to_numpy().tolist() == [["mail", 1]]
    assert verdicts("queue/depth", frame)["Oldest undelivered message"] == Verdict.CRITICAL
    told = provenance(frame)
    assert told is not None
    assert any("created_at: read from updated_at" in note for note in told.notes)


def test_few_tasks_of_which_one_waits_for_a_working_day(session: Session) -> None:
    frame = ask(session, "queue/tasks")
    assert verdicts("queue/tasks", frame) == {
        "Pending human tasks": Verdict.OK,
        "Oldest pending human task": Verdict.WARNING,
    }
    opened = {found.title: found.opens for found in overview.look(session, topics=["queue/tasks"])}
    assert opened["Oldest pending human task"] == "RUN-012"


def test_differences_of_a_table_that_does_not_say_which_are_resolved(
    seedshop: tuple[RawConnection, Connection], session: Session
) -> None:
    seedshop[0].execute(
        "INSERT INTO reconciliation_diffs (module, detected_at)"
        " VALUES ('orders', now() - interval '2 days'), ('invoices', now())"
    )
    assert len(ask(session, "reconciliation/open")) == 2
    recorded = ask(session, "reconciliation/recorded", module="orders")
    assert recorded["module"].tolist() == ["orders"]
    assert recorded["oldest_h"].iloc[0] == pytest.approx(48, abs=0.1)


# 9 clerks had three actions until 20 min ago
_REFUSALS = """
CREATE TABLE authorization_audit (user_id text, action text, granted boolean, at timestamptz);
GRANT SELECT ON authorization_audit TO rb_diag;
INSERT INTO authorization_audit
SELECT 'clerk-' || clerk, 'orders:' || action, mins > 20, now() - make_interval(mins => mins)
FROM generate_series(1, 9) clerk, generate_series(1, 3) action, generate_series(2, 50, 2) mins"""
_TRIES = b"""
INSERT INTO authorization_audit
SELECT who, %s || action, %s, now() - make_interval(mins => %s) - n * interval '10 s'
FROM unnest(%s::text[]) who, generate_series(1, 3) action, generate_series(1, 9) n"""


def test_who_lost_a_role_is_no_suspect(
    seedshop: tuple[RawConnection, Connection], session: Session
) -> None:
    raw, _ = seedshop
    lost = ["orders:1", "orders:2", "orders:3"]

    def seen() -> tuple[list[str], list[str]]:
        """Actions that were withdrawn, and users who try what they may not."""
        frame = ask(session, "audit/refused")
        return (
            sorted(set(frame.loc[frame["withdrawn"].eq(True), "action"])),
            sorted(set(frame.loc[frame["probing"].eq(True), "user"])),
        )

    raw.execute(_REFUSALS.encode())
    try:
        assert seen() == (lost, [])
        # nothing was taken from strangers who never had it
        raw.execute(_TRIES, ["admin:", True, 30, ["owner"]])
        raw.execute(_TRIES, ["admin:", False, 3, ["x", "y", "z"]])
        assert seen() == (lost, [])
        # the clerks are victims although the owner still has it
        raw.execute(_TRIES, ["orders:", True, 0, ["owner"]])
        assert seen() == ([], [])
        raw.execute(_TRIES, ["keys:", False, 3, ["partner"]])
        assert seen() == ([], ["partner"])
    finally:
        raw.execute("DROP TABLE authorization_audit")


@pytest.mark.parametrize("name", _HISTORIES)
def test_what_a_migration_tool_wrote_is_read(
    seedshop: tuple[RawConnection, Connection], session: Session, name: str
) -> None:
    raw, _ = seedshop
    told = _HISTORIES[name]
    raw.execute(f'CREATE TABLE "{name}" ({told["columns"]})'.encode())
    try:
        for row in told["rows"]:
            raw.execute(f'INSERT INTO "{name}" VALUES ({row})'.encode())
        raw.execute(f'GRANT SELECT ON "{name}" TO rb_diag'.encode())
        frame = ask(session, "migration/history", table=name)
        assert len(frame) == len(told["rows"])
        assert frame.loc[frame["failed"], "version"].tolist() == told["failed"]
        assert frame["version"].is_unique
        verdict = Verdict.WARNING if told["failed"] else Verdict.OK
        assert verdicts("migration/history", frame) == {"Failed migrations": verdict}
    finally:
        raw.execute(f'DROP TABLE "{name}"'.encode())


def test_a_young_log_says_what_is_usual_since_it_began(
    seedshop: tuple[RawConnection, Connection], session: Session
) -> None:
    raw, _ = seedshop
    raw.execute(_REFUSALS.encode())
    try:
        assert ask(session, "audit/refused")["usual"].isna().all()
        raw.execute(
            "INSERT INTO authorization_audit SELECT 'x', 'y', false, now() - n * interval '6 min'"
            " FROM generate_series(11, 250) n"
        )
        frame = ask(session, "audit/refused")
        assert frame["usual"].iloc[0] == pytest.approx(10, abs=0.1)
    finally:
        raw.execute("DROP TABLE authorization_audit")


@pytest.mark.parametrize(
    ("create", "values", "expected"),
    [
        ('("Status" text, "queuedAt" timestamptz, target text)', {}, ""),
        ("(status text, seen timestamptz)", {}, ""),  # the only time there is
        ("(status text, seen date, written date)", {}, "no column for created_at"),
        ("(status text, seen date, written date)", {"created_at_column": "written"}, ""),
        ("(status text, seen date)", {"created_at_column": "gone"}, "no column gone"),
        ("(status text, created_at bigint)", {}, "no column for created_at, a date or time"),
        ("(word text, created_at date)", {}, "no column for status"),
        ("(word text, created_at date)", {"status_column": "word"}, ""),
    ],
)
def test_columns_are_found_by_name_and_type(
    seedshop: tuple[RawConnection, Connection],
    session: Session,
    create: str,
    values: dict[str, Any],
    expected: str,
) -> None:
    raw, _ = seedshop
    raw.execute(f"CREATE TABLE team_queue {create}".encode())
    raw.execute("GRANT SELECT ON team_queue TO rb_diag")
    try:
        told = provenance(diagnostics.run(session, "queue/depth", table="team_queue", **values))
        assert told is not None
        assert expected in told.reason
        assert bool(expected) is bool(told.reason)
        if expected:
            assert "_column=" in told.next_step
            assert "failover" not in told.next_step
    finally:
        raw.execute("DROP TABLE team_queue")


@pytest.fixture
def configured(
    seedshop: tuple[RawConnection, Connection],
    session: Session,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Settings:
    """Settings with the connection seedshop, and a command that prints what k6 does."""
    _, of = seedshop
    fields = {"host": of.host, "port": of.port, "dbname": of.dbname, "user": of.user}
    lines = [f"{key} = {json.dumps(value)}" for key, value in fields.items()]
    lines.append(f"passfile = {json.dumps(str(of.passfile))}")
    file = tmp_path / "rbkernel.toml"
    program = [sys.executable, "-c", f"print({K6!r})"]
    lines += ["[commands.load-test]", f"argv = {json.dumps(program)}"]
    file.write_text("\n".join(["[connections.seedshop]", *lines]), encoding="utf-8")
    monkeypatch.setenv("RBKERNEL_CONFIG", str(file))
    monkeypatch.setenv("RBKERNEL_EVIDENCE", str(tmp_path / "evidence"))
    return config.load()


def test_run_006_goes_to_its_end(
    seedshop: tuple[RawConnection, Connection], configured: Settings
) -> None:
    raw, _ = seedshop
    raw.execute("INSERT INTO reconciliation_diffs (module, detected_at) VALUES ('orders', now())")
    outcome = runner.run("RUN-006", {"db": "seedshop", "recheck_after_s": "0"}, configured)
    assert outcome.failure == ""
    assert {cell.status for cell in outcome.record.cells} == {"done"}
    assert {finding.verdict for finding in outcome.record.findings} == {Verdict.OK}


def test_conditions_are_evaluated_asked_or_unknown(configured: Settings, tmp_path: Path) -> None:
    cells = [
        new_raw_cell(FRONT),
        new_code_cell('db: str = "seedshop"  # connection', metadata={"tags": ["parameters"]}),
        new_code_cell('import rbkernel as rb\nrb.start("RUN-912", db=db)'),
        new_code_cell("rb.metrics()"),
        new_code_cell("rb.escalation(severity=rb.severity(data_at_risk=False))"),
        new_code_cell(
            'rb.shell("Load, met", "load-test", expect={"p95": "< 2s", "error rate": "< 0.1%"})\n'
            'rb.shell("Load, missed", "load-test", expect={"p95": "< 800ms"})\n'
            'rb.shell("Load, not told", "load-test", expect={"p99": "< 1s"})'
        ),
    ]
    path = tmp_path / "hitl.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    outcome = runner.run(str(path), {}, configured)
    assert outcome.failure == ""
    found = {finding.title: finding for finding in outcome.record.findings}
    expected = {
        "HITL tasks pending": Verdict.OK,
        "HITL oldest": Verdict.WARNING,
        "Diff rate": Verdict.WARNING,
        "In words": Verdict.UNKNOWN,
        "Severity": Verdict.WARNING,
        "Escalation, by attempts and time": Verdict.WARNING,
        "Load, met": Verdict.OK,
        "Load, missed": Verdict.CRITICAL,
        "Load, not told": Verdict.UNKNOWN,
    }
    assert {title: found[title].verdict for title in expected} == expected
    assert "as usual" in found["In words"].actual
    assert found["Severity"].actual.startswith("P2: pending HITL tasks > 200, or HITL oldest > 4h")
    due = found["Escalation, by attempts and time"]
    assert due.actual.startswith("due: L2 (HITL oldest > 4h)")
    assert "p95: 1.2 s" in found["Load, missed"].actual
