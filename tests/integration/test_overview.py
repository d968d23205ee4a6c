"""A first look at everything: each fault of the sandbox is sent to the runbook that is about it.

First the look itself, which is quick, for each fault; then RUN-000 and RUN-007 for real, once on
the healthy sandbox and once on the queue for a lock.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rbkernel import config
from rbkernel.config import Connection, Settings
from rbkernel.model import Decision, Finding, Verdict
from rbkernel.run import runner
from rbkernel.run.runner import Outcome
from rbkernel.sandbox import control
from rbkernel.sandbox.access import Access
from rbkernel.sandbox.faults import slow, waiting
from rbkernel.sandbox.faults.catalogue import FAULTS
from rbkernel.sandbox.faults.scenarios import SCENARIOS
from rbkernel.sandbox.faults.stage import Stage
from rbkernel.sandbox.home import Home
from rbkernel.sources.postgres import diagnostics, overview
from rbkernel.sources.postgres.connection.session import Session
from tests.conftest import working_sandbox

STANDBY = "sandbox-standby"  # its connection's name, and its application_name
OPENS = {
    "pool-idle-in-transaction": "RUN-001",
    "pool-active-queries": "RUN-001",
    "pool-behind-a-row": "RUN-007",
    "lock-queue": "RUN-007",
    "replay-paused": "RUN-005",
    "receiver-down": "RUN-005",
    "standby-delayed": "RUN-005",
    # the standby is not late; RUN-005 counts cancelled queries
    "readers-cancelled": None,
    "readers-locked-out": None,
    "orders-drift": "RUN-006",
    "orders-in-flight": None,
    "slot-unread": "RUN-018",
    "slot-lost": "RUN-018",
    "archive-failing": "RUN-018",
    "vacuum-held-back": None,  # a snapshot of less than a minute is ordinary
    "vacuum-switched-off": "RUN-019",
    "page-damaged": "RUN-021",
    # RUN-027 asks for these; the overview does not
    "audit-probing": None,
    "audit-withdrawn": None,
    "login-too-powerful": "RUN-027",
    "server-stopped": "RUN-010",
    "catalogue-locked": "RUN-010",
    "primary-lost": "RUN-010",
    "primary-lost-ahead": "RUN-010",
    "failed-over": "RUN-010",
    "two-primaries": "RUN-005",  # each server is looked at alone here; a pair opens RUN-030
    "server-recovering": "RUN-010",
    "password-changed": "RUN-010",  # which tells it from a server that is down
    # the outbox of the shop has a name of its own, which RUN-011 is given
    "outbox-relay-dead": None,
    "outbox-message-rejected": None,
    "outbox-receiver-down": None,
    "outbox-relay-blocked": "RUN-007",
    "outbox-burst": None,
    "index-dropped": "RUN-009",
    "statistics-stale": "RUN-009",
    "requests-larger": "RUN-009",
    "migration-half-way": "RUN-004",
    "index-building": None,
    "sequence-ending": "RUN-004",
}
# what PostgreSQL tells every role
PUBLIC = {
    *(
        "Prepared transactions",
        "Oldest transaction ID",
        "Oldest multixact ID",
        "Age of unfrozen rows",
    ),
    *("Future partitions", "Tables without a current partition"),
    *(
        "Damaged pages",
        "Pages that were damaged earlier",
        "Half-way migrations",
        "Logins that reach the server's host",
    ),
    *("Tables read in full, with stale statistics", "Tables read in full, with a half-built index"),
    "Collation versions that changed",
}
_WAITED = b"""
SELECT coalesce(max(clock_timestamp() - waitstart) > interval '5.2 s', false)
FROM pg_locks WHERE NOT granted
"""
_NOBODY_WAITS = b"SELECT count(*) = 0 FROM pg_locks WHERE NOT granted"


def look(
    settings: Settings, db: str = "sandbox-primary", standby: str = STANDBY
) -> tuple[list[Finding], list[Finding]]:
    """What `rb.overview` finds on primary and standby."""
    with ExitStack() as stack:
        sessions = [
            Session(settings.connection(name), application_name="rbkernel/test")
            for name in (db, standby)
        ]
        for session in sessions:
            stack.callback(session.close)
        primary = list(overview.survey(sessions[0], standby_name=STANDBY))
        return primary, list(overview.survey(sessions[1]))


def wait_until_the_queue_is_old() -> None:
    """A wait is only wrong when it has lasted for more than 5 s."""
    with control.connect_as("postgres") as raw:
        waiting.until(raw, _WAITED, what="the queue has waited for 5 s")


_OF_DATABASES = [name for name, fault in FAULTS.items() if not fault.with_service]


class TestLook:
    def test_every_fault_is_tested(self) -> None:
        assert set(OPENS) == {*_OF_DATABASES}

    @pytest.mark.parametrize("fault", _OF_DATABASES)
    def test_a_fault_opens_the_runbook_that_is_about_it(
        self, shop: Settings, fault: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if fault not in slow.KINDS:  # two samples take two seconds
            once = [name for name in overview.TOPICS if not diagnostics.get(name).twice]
            monkeypatch.setattr(overview, "TOPICS", once)
        control.inject(fault)
        if fault == "lock-queue":
            wait_until_the_queue_is_old()
        primary, standby = look(shop)
        found = overview.next_runbooks([*primary, *standby])
        assert (found[0] if found else None) == OPENS[fault], found

    def test_what_has_been_so_for_long_comes_last(self, shop: Settings) -> None:
        for fault in ("migration-half-way", "login-too-powerful", "index-dropped"):
            control.inject(fault)
        primary, standby = look(shop)
        found = overview.next_runbooks([*primary, *standby])
        assert found[0] == "RUN-009"
        assert set(found[1:]) == {"RUN-004", "RUN-027"}

    def test_what_was_cut_is_not_ok(self, shop: Settings) -> None:
        few = shop.connection("sandbox-primary").model_copy(update={"row_cap": 1})
        with closing(Session(few, application_name="t")) as session:
            found = list(overview.look(session, topics=["storage/scans"]))
        assert {one.verdict for one in found} == {Verdict.UNKNOWN}

    def test_a_standby_is_not_asked_for_half_built_indexes(self, shop: Settings) -> None:
        """The lock of who builds one is held on the primary only."""
        primary, standby = look(shop)
        title = "Tables read in full, with a half-built index"
        assert title in {found.title for found in primary}
        assert title not in {found.title for found in standby}
        with closing(Session(shop.connection(STANDBY), application_name="t")) as session:
            frame = diagnostics.run(session, "storage/scans", every_s=1)
        assert frame["half_built"].isna().all()

    def test_healthy_is_ok(self, shop: Settings) -> None:
        primary, standby = look(shop)
        every = [*primary, *standby]
        assert [found for found in every if found.verdict is not Verdict.OK] == []
        assert overview.next_runbooks(every) == []
        # a finding replaces another one of the same title
        assert len({found.title for found in primary}) == len(primary)
        assert {"Connection slots in use", "Longest wait for a lock"} <= {f.title for f in standby}
        assert {"Standby connection", "WAL waiting to be archived"} <= {f.title for f in primary}
        assert {"Replay", "WAL receiver"} <= {f.title for f in standby}

    def test_what_can_wait_is_asked_when_it_is_wanted(self, shop: Settings) -> None:
        with closing(Session(shop.connection("sandbox-primary"), application_name="t")) as session:
            few, all_of_it = (
                {found.title for found in overview.survey(session, housekeeping=wanted)}
                for wanted in (False, True)
            )
        assert few < all_of_it
        assert {"Redundant indexes", "Foreign keys without an index"} <= all_of_it - few

    def test_what_makes_no_sense_is_left_out(self, shop: Settings) -> None:
        primary, standby = look(shop)
        titles = {found.title for found in primary}
        assert "Replay" not in titles
        assert "Undelivered messages" not in titles  # the shop has no table of that name
        assert "Standby connection" not in {found.title for found in standby}

    def test_a_primary_needs_no_standby_when_none_is_named(self, shop: Settings) -> None:
        session = Session(shop.connection("sandbox-primary"), application_name="rbkernel/test")
        control.inject("receiver-down")
        alone = list(overview.look(session, topics=["replication/lag"]))
        named = list(overview.look(session, topics=["replication/lag"], standby_name=STANDBY))
        session.close()
        assert alone == []
        assert named[0].verdict is Verdict.CRITICAL

    def test_a_server_that_is_down_is_critical(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        gone = Connection(name="gone", host="127.0.0.1", port=port, user="nobody", dbname="shop")
        [found] = overview.survey(Session(gone, application_name="rbkernel/test"))
        assert found.verdict is Verdict.CRITICAL
        assert found.headline.startswith("gone does not answer: nothing listens on that port")
        assert "refused" in found.actual
        assert "check that the server runs" in found.next_step
        assert overview.next_runbooks([found]) == ["RUN-010"]

    def test_a_role_without_privileges_never_reads_ok(self, shop: Settings) -> None:
        control.inject("pool-idle-in-transaction")
        primary, standby = look(shop, "sandbox-unprivileged", "sandbox-unprivileged-standby")
        for found in [*primary, *standby]:
            wanted = Verdict.OK if found.title in PUBLIC else Verdict.UNKNOWN
            assert found.verdict is wanted, found
        unknown = [found for found in [*primary, *standby] if found.title not in PUBLIC]
        reasons = ("lacks pg_monitor", "permission denied", "has no value")
        assert all(any(reason in found.actual for reason in reasons) for found in unknown)
        assert all(found.next_step for found in unknown)
        # it is told of as much as the role that may see it
        names = {f.title.replace("sandbox-unprivileged", "sandbox-primary") for f in primary}
        assert {f.title for f in look(shop)[0]} == names

    def test_a_locked_catalogue_ends_no_look(self, shop: Settings) -> None:
        """What comes after the topic that could not be asked is asked all the same."""
        session = Session(shop.connection("sandbox-primary"), application_name="rbkernel/test")
        assert session.server.monitor
        with control.connect_as("postgres", autocommit=False) as raw:
            raw.execute(b"LOCK TABLE pg_attribute IN ACCESS EXCLUSIVE MODE")
            found = list(overview.look(session, topics=["queue/depth", "reconciliation/open"]))
        session.close()
        titles = [r.title for n in ("queue/depth", "reconciliation/open") for r in rules_of(n)]
        assert [one.title for one in found] == titles
        assert {one.verdict for one in found} == {Verdict.UNKNOWN}
        assert all("lock timeout" in one.actual for one in found)


def rules_of(name: str) -> tuple[Any, ...]:
    return diagnostics.get(name).rules


@dataclass(frozen=True)
class Round:
    """RUN-000 and RUN-007, run once on one state of the sandbox."""

    truth: Mapping[str, Any]
    outcomes: Mapping[str, Outcome]

    def findings(self, runbook: str) -> dict[str, Finding]:
        return {found.title: found for found in self.outcomes[runbook].record.findings}

    def decision(self, runbook: str) -> Decision:
        [decision] = self.outcomes[runbook].record.decisions
        return decision

    def plan(self, title: str) -> Mapping[str, Any]:
        events = self.outcomes["RUN-007"].record.of_kind("plan")
        return next(event.data for event in events if event.data["title"].startswith(title))

    def shown(self, runbook: str) -> str:
        """All that a cell showed, as plain text."""
        outputs = [out for cell in self.outcomes[runbook].record.cells for out in cell.outputs]
        return "\n".join(
            out.get("text") or out.get("data", {}).get("text/plain", "") for out in outputs
        )


def play(root: Path, settings: Settings, fault: str = "") -> Round:
    truth: Mapping[str, Any] = {}
    if fault:
        truth = control.inject(fault).truth
        wait_until_the_queue_is_old()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RBKERNEL_EVIDENCE", str(root))
        outcomes = {name: runner.run(name, {}, settings) for name in ("RUN-000", "RUN-007")}
    return Round(truth, outcomes)


def expect_whole(outcome: Outcome) -> None:
    assert outcome.failure == ""
    assert {cell.status for cell in outcome.record.cells} == {"done"}
    assert outcome.record.complete
    assert outcome.sealed
    assert outcome.sealed.verification.ok


@pytest.fixture(scope="module")
def queue(sandbox_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Round]:
    with working_sandbox(sandbox_home) as settings:
        yield play(tmp_path_factory.mktemp("queue"), settings, "lock-queue")


class TestRunbooksOnAQueue:
    def test_runs_are_whole(self, queue: Round) -> None:
        for outcome in queue.outcomes.values():
            expect_whole(outcome)
            assert outcome.exit_code != 0

    def test_overview_recommends_the_runbook_on_locks(self, queue: Round) -> None:
        findings = queue.findings("RUN-000")
        assert findings["Longest wait for a lock"].wrong
        cause = findings["Cause on sandbox-primary"]
        assert cause.opens == "RUN-007"
        assert queue.truth["root"]["application_name"] in cause.headline
        assert findings["Longest wait for a lock"].explained_by == cause.headline
        decision = queue.decision("RUN-000")
        assert (decision.state, decision.recommended) == ("parked", "RUN-007")
        assert decision.options[0] == "RUN-007"
        # the same question to the standby is another finding
        assert findings[f"Longest wait for a lock, on {STANDBY}"].verdict is Verdict.OK

    def test_locks_finds_the_queue_and_its_root(self, queue: Round) -> None:
        findings = queue.findings("RUN-007")
        longest, cause = findings["Longest wait for a lock"], findings["Cause on sandbox-primary"]
        assert longest.wrong
        assert longest.value is not None
        assert longest.value > 5
        assert queue.outcomes["RUN-007"].verdict in {Verdict.WARNING, Verdict.CRITICAL}
        root = queue.truth["root"]
        assert cause.value == queue.truth["waiting"]
        assert str(root["pid"]) in cause.which
        assert root["application_name"] in cause.headline
        assert {found.opens for found in findings.values()} == {""}  # it is open
        shown = queue.shown("RUN-007")
        assert f"{queue.truth['waiting'] + 1} sessions, at the root {root['pid']}" in shown

    def test_locks_proposes_to_cancel_exactly_the_ddl(self, queue: Round) -> None:
        decision = queue.decision("RUN-007")
        assert (decision.state, decision.recommended) == ("parked", "cancel the blocking query")
        cancel = queue.plan("Cancel")
        assert [target["pid"] for target in cancel["targets"]] == [queue.truth["ddl"]["pid"]]
        assert f"({queue.truth['ddl']['pid']}::int, " in cancel["sql"]
        assert cancel["sql"].count("::int, ") == 1
        assert "pg_cancel_backend" in cancel["sql"]

    def test_locks_can_also_end_exactly_the_root(self, queue: Round) -> None:
        terminate = queue.plan("Terminate")
        assert [target["pid"] for target in terminate["targets"]] == [queue.truth["root"]["pid"]]
        assert "pg_terminate_backend" in terminate["sql"]

    def test_what_is_proposed_frees_the_queue(self, queue: Round) -> None:
        """As the role that may act; it hits nobody else."""
        with control.connect_as("rb_action") as raw:
            rows = raw.execute(queue.plan("Cancel")["sql"].rstrip(";").encode()).fetchall()
        assert [row[0] for row in rows] == [queue.truth["ddl"]["pid"]]
        with control.connect_as("postgres") as raw:
            waiting.until(raw, _NOBODY_WAITS, what="nobody waits")


def test_runbooks_on_a_healthy_sandbox_are_ok(shop: Settings, tmp_path: Path) -> None:
    healthy = play(tmp_path, shop)
    for runbook, outcome in healthy.outcomes.items():
        expect_whole(outcome)
        found = healthy.findings(runbook)
        assert {title: one.verdict for title, one in found.items()} == dict.fromkeys(
            found, Verdict.OK
        )
        assert outcome.exit_code == 0
        assert healthy.decision(runbook).state == "not needed"
    assert healthy.plan("Cancel")["targets"] == []
    assert healthy.plan("Terminate")["targets"] == []


def test_the_next_runbook_examines_the_server_with_the_problem(
    shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the default connection, the primary, it would find nothing and recommend to wait."""
    monkeypatch.setenv("RBKERNEL_EVIDENCE", str(tmp_path))
    status = control.status()
    assert status.primary_port
    assert status.standby_port
    access = Access(
        home=Home.configured(), primary_port=status.primary_port, standby_port=status.standby_port
    )
    with Stage(access) as stage:
        SCENARIOS["standby-advisory"].inject(stage)
        [asked] = runner.run("RUN-000", {}, shop).record.decisions
        assert asked.recommended == "RUN-007"
        assert asked.reason == f"rbkernel run RUN-007 -p db={STANDBY}"
        [step] = runner.run("RUN-007", {"db": STANDBY}, shop).record.decisions
    assert step.recommended == "terminate the blocking session"


def test_a_server_that_does_not_answer_is_no_reason_to_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "rbkernel.toml"
    file.write_text('[connections.nowhere]\nhost = "127.0.0.1"\nport = 1\n', encoding="utf-8")
    monkeypatch.setenv("RBKERNEL_CONFIG", str(file))
    monkeypatch.setenv("RBKERNEL_EVIDENCE", str(tmp_path / "evidence"))
    values = {"db": "nowhere", "standby": "", "standby_name": ""}
    outcome = runner.run("RUN-000", values, config.load())
    expect_whole(outcome)
    assert outcome.verdict is Verdict.CRITICAL
    [decision] = outcome.record.decisions
    assert (decision.state, decision.recommended) == ("parked", "RUN-010")
