"""Tables of a team's own: columns are found by what they mean, and an error names the parameter."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rbkernel import config
from rbkernel.config import Connection
from rbkernel.gateway import runner
from rbkernel.model import Verdict
from rbkernel.postgres import diagnostics, overview
from rbkernel.postgres.driver import RawConnection
from rbkernel.postgres.session import Session, provenance
from tests.integration.servers import Servers, ask, verdicts

# only the columns that the templates' own queries use
SEEDSHOP = (Path(__file__).parents[1] / "corpora" / "seedshop.sql").read_bytes()


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


def test_run_006_goes_to_its_end(
    seedshop: tuple[RawConnection, Connection],
    session: Session,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw, of = seedshop
    raw.execute("INSERT INTO reconciliation_diffs (module, detected_at) VALUES ('orders', now())")
    fields = {"host": of.host, "port": of.port, "dbname": of.dbname, "user": of.user}
    lines = [f"{key} = {json.dumps(value)}" for key, value in fields.items()]
    lines.append(f"passfile = {json.dumps(str(of.passfile))}")
    file = tmp_path / "rbkernel.toml"
    file.write_text("\n".join(["[connections.seedshop]", *lines]), encoding="utf-8")
    monkeypatch.setenv("RBKERNEL_CONFIG", str(file))
    monkeypatch.setenv("RBKERNEL_EVIDENCE", str(tmp_path / "evidence"))
    values = {"db": "seedshop", "recheck_after_s": "0"}
    outcome = runner.run("RUN-006", values, config.load())
    assert outcome.failure == ""
    assert {cell.status for cell in outcome.record.cells} == {"done"}
    assert {finding.verdict for finding in outcome.record.findings} == {Verdict.OK}
