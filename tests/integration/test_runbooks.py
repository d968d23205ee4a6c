"""The runbooks on real faults: the right cause with the right figures, and never a false `ok`.

The three faults hurt three different parts, so they are injected together and each runbook runs
once for all of them. The look-alikes, the healthy sandbox, the role without privileges and the
stopped database get one round each.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from rbkernel import config
from rbkernel.config import Settings
from rbkernel.model import Finding, Verdict
from rbkernel.render import cards
from rbkernel.run import runner
from rbkernel.run.runner import Outcome
from rbkernel.sandbox import control
from rbkernel.sandbox.faults import waiting
from tests.conftest import working_sandbox
from tests.support.tiers import first

RUNBOOKS = ("RUN-001", "RUN-005", "RUN-006")
FAULTS = ("pool-idle-in-transaction", "replay-paused", "orders-drift")
LOOK_ALIKES = ("pool-active-queries", "receiver-down", "orders-in-flight")
SEEDS = first([1, 2, 3])


@dataclass(frozen=True)
class Round:
    """The three runbooks, run once on one state of the sandbox."""

    truth: Mapping[str, Mapping[str, Any]]
    outcomes: Mapping[str, Outcome]

    def findings(self, runbook: str) -> dict[str, Finding]:
        return {found.title: found for found in self.outcomes[runbook].record.findings}

    def plan(self, runbook: str, title: str) -> Mapping[str, Any]:
        events = self.outcomes[runbook].record.of_kind("plan")
        return next(event.data for event in events if event.data["title"].startswith(title))


def play(
    root: Path, settings: Settings, faults: tuple[str, ...] = (), seed: int = 1, **values: Any
) -> Round:
    """Inject the faults, run the runbooks, and keep their evidence below `root`."""
    truth = {fault: control.inject(fault, seed).truth for fault in faults}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RBKERNEL_EVIDENCE", str(root))
        outcomes = {
            runbook: runner.run(runbook, values.get(runbook.replace("-", "_"), {}), settings)
            for runbook in RUNBOOKS
        }
    return Round(truth, outcomes)


@pytest.fixture(scope="module", params=SEEDS)
def broken(
    request: pytest.FixtureRequest, sandbox_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Round]:
    with working_sandbox(sandbox_home) as settings:
        yield play(tmp_path_factory.mktemp("broken"), settings, FAULTS, request.param)


@pytest.fixture(scope="module", params=SEEDS)
def alike(
    request: pytest.FixtureRequest, sandbox_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Round]:
    with working_sandbox(sandbox_home) as settings:
        yield play(tmp_path_factory.mktemp("alike"), settings, LOOK_ALIKES, request.param)


def expect_whole(outcome: Outcome) -> None:
    """Every cell ran, none failed, and what was sealed is what was recorded."""
    assert outcome.failure == ""
    assert {cell.status for cell in outcome.record.cells} == {"done"}
    assert outcome.record.complete
    assert outcome.sealed
    assert outcome.sealed.verification.ok


class TestFaults:
    def test_runs_are_whole_and_alarm(self, broken: Round) -> None:
        for outcome in broken.outcomes.values():
            expect_whole(outcome)
            assert outcome.verdict in {Verdict.WARNING, Verdict.CRITICAL}
            assert outcome.exit_code in {1, 2}

    def test_pool_names_the_sessions_that_hold_the_slots(self, broken: Round) -> None:
        truth, findings = broken.truth["pool-idle-in-transaction"], broken.findings("RUN-001")
        assert findings["Connection slots in use"].wrong
        idle = findings["Slots held idle in a transaction"]
        assert idle.verdict is Verdict.CRITICAL
        assert truth["application_name"] in idle.cause
        assert idle.value == pytest.approx(100 * truth["sessions"] / truth["usable_slots"], abs=0.5)
        assert findings["Slots held by long queries"].verdict is Verdict.OK
        stuck = findings["Stuck sessions"]
        assert stuck.value == truth["sessions"]
        assert truth["application_name"] in stuck.cause
        plan = broken.plan("RUN-001", "Terminate")
        assert sorted(target["pid"] for target in plan["targets"]) == truth["pids"]
        assert [pid for pid in truth["pids"] if f"({pid}::int, " not in plan["sql"]] == []

    def test_replication_tells_how_long_replay_has_stalled(self, broken: Round) -> None:
        truth, outcome = broken.truth["replay-paused"], broken.outcomes["RUN-005"]
        findings = broken.findings("RUN-005")
        assert findings["Replay"].verdict is Verdict.CRITICAL
        assert "paused" in findings["Replay"].cause
        assert findings["WAL receiver"].verdict is Verdict.OK
        stalled = findings["Replay progress"]
        looked_at = max(
            event.data["at"]
            for event in outcome.record.of_kind("query")
            if event.data["name"] == "replication/standby" and event.data["at"] <= stalled.at
        )
        really = seconds_between(truth["paused_at"], looked_at)
        assert stalled.value == pytest.approx(really, abs=0.5)
        assert really > 2  # a runbook that answers 0 must not pass

    def test_reconciliation_names_exactly_the_rows_that_differ(self, broken: Round) -> None:
        truth, findings = broken.truth["orders-drift"], broken.findings("RUN-006")
        kinds = {
            "missing": truth["missing"],
            "extra": truth["extra"],
            "changed": sorted(map(int, truth["changed"])),
        }
        drift = findings["Persistent differences"]
        assert drift.value == sum(map(len, kinds.values()))
        assert all(f"{kind} {len(keys)}" in drift.cause for kind, keys in kinds.items())
        targets = broken.plan("RUN-006", "Copy")["targets"]
        found = {
            kind: sorted(target["key"] for target in targets if target["kind"] == kind)
            for kind in kinds
        }
        assert found == kinds
        columns = {str(t["key"]): set(t["columns"].split(", ")) for t in targets if t["columns"]}
        assert columns == {key: set(names) for key, names in truth["changed"].items()}
        assert findings["Unsettled rows"].value == 0

    def test_decisions_are_parked_with_what_mends_the_fault(self, broken: Round) -> None:
        parked = {
            runbook: [(d.state, d.recommended, d.choice) for d in outcome.record.decisions]
            for runbook, outcome in broken.outcomes.items()
        }
        assert parked == {
            "RUN-001": [("parked", "terminate the sessions at the cause", None)],
            "RUN-005": [("parked", "resume replay", None)],
            "RUN-006": [("parked", "escalate to P1", None)],
        }


def seconds_between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


class TestLookAlikes:
    def test_runs_are_whole(self, alike: Round) -> None:
        for outcome in alike.outcomes.values():
            expect_whole(outcome)

    def test_pool_blames_the_queries(self, alike: Round) -> None:
        truth, findings = alike.truth["pool-active-queries"], alike.findings("RUN-001")
        active = findings["Slots held by long queries"]
        assert active.verdict is Verdict.CRITICAL
        assert truth["application_name"] in active.cause
        assert findings["Slots held idle in a transaction"].verdict is Verdict.OK
        assert findings["Stuck sessions"].value == truth["sessions"]
        plan = alike.plan("RUN-001", "Cancel")
        assert sorted(target["pid"] for target in plan["targets"]) == truth["pids"]
        assert alike.plan("RUN-001", "Terminate")["targets"] == []
        [decision] = alike.outcomes["RUN-001"].record.decisions
        assert decision.recommended == "cancel the queries at the cause"

    def test_replication_blames_the_receiver_and_not_a_pause(self, alike: Round) -> None:
        findings = alike.findings("RUN-005")
        assert findings["WAL receiver"].verdict is Verdict.CRITICAL
        assert findings["Replay"].verdict is Verdict.OK
        assert findings["Standby connection"].verdict is Verdict.CRITICAL
        assert findings["Replay progress"].wrong
        [decision] = alike.outcomes["RUN-005"].record.decisions
        assert decision.recommended == "bring the standby back"

    def test_reconciliation_takes_rows_in_flight_for_no_drift(self, alike: Round) -> None:
        outcome, findings = alike.outcomes["RUN-006"], alike.findings("RUN-006")
        # the full pool and the standby are told, and are no reason to do anything about rows
        assert all(finding.is_cause for finding in findings.values() if finding.wrong)
        [decision] = outcome.record.decisions
        assert (decision.state, decision.recommended) == ("not needed", "wait and look again")
        assert findings["Persistent differences"].value == 0
        arrived = findings["Rows in flight"].value
        assert arrived is not None
        assert arrived > 0


_NO_WAITER = b"""
SELECT count(*) = 0 FROM pg_stat_activity
WHERE application_name = 'shop-checkout' AND wait_event_type = 'Lock'
"""


def test_pool_behind_a_row_is_the_holder_of_the_row(
    shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = control.inject("pool-behind-a-row").truth
    monkeypatch.setenv("RBKERNEL_EVIDENCE", str(tmp_path))
    played = Round({}, {"RUN-001": runner.run("RUN-001", {}, shop)})
    findings, root = played.findings("RUN-001"), truth["root"]
    cause = findings["Cause on sandbox-primary"]
    assert cause.verdict is Verdict.CRITICAL
    assert cause.headline.startswith(f"{root['application_name']} (pid {root['pid']}, idle in tra")
    assert f"blocks {truth['waiting']} sessions holding " in cause.headline
    assert findings["Connection slots in use"].explained_by == cause.headline
    assert not findings["Slots held by long queries"].wrong
    [decision] = played.outcomes["RUN-001"].record.decisions
    assert decision.recommended == "terminate the sessions at the cause"
    assert f"frees 1 session at once, {truth['waiting'] - 1} more" in decision.reason
    terminate = played.plan("RUN-001", "Terminate")
    assert [target["pid"] for target in terminate["targets"]] == [root["pid"]]
    assert played.plan("RUN-001", "Cancel")["targets"] == []
    with control.connect_as("rb_action") as raw:
        raw.execute(terminate["sql"].rstrip(";").encode())
    with control.connect_as("postgres") as raw:
        waiting.until(raw, _NO_WAITER, what="the waiters go on")


def test_healthy_sandbox_is_ok(shop: Settings, tmp_path: Path) -> None:
    healthy = play(tmp_path, shop)
    for outcome in healthy.outcomes.values():
        expect_whole(outcome)
        assert {found.title: found.verdict for found in outcome.record.findings} == {
            found.title: Verdict.OK for found in outcome.record.findings
        }
        assert outcome.exit_code == 0
        assert [decision.state for decision in outcome.record.decisions] == ["not needed"]


def expect_down(played: Round, name: str) -> None:
    """The runs came to their end, and say once that the server does not answer."""
    for runbook, outcome in played.outcomes.items():
        expect_whole(outcome)
        assert outcome.verdict is Verdict.CRITICAL, runbook
        assert outcome.exit_code == 2
        told = [found for found in outcome.record.findings if not found.explained_by]
        for found in told:
            assert found.verdict in {Verdict.CRITICAL, Verdict.UNKNOWN}, (runbook, found.title)
            assert "refused" in found.actual, (runbook, found.actual)
        first = next(found for found in told if found.is_cause)
        assert first.headline.startswith(f"{name} does not answer: nothing listens on that port")


# what PostgreSQL tells every role
PUBLIC = {
    "Queries cancelled since vacuum removed rows, now",
    "Queries cancelled by recovery, now",
}


def expect_unknown(played: Round, *reasons: str) -> None:
    """The runs came to their end, and say that they do not know, and why."""
    for runbook, outcome in played.outcomes.items():
        expect_whole(outcome)
        assert outcome.verdict is Verdict.UNKNOWN, runbook
        assert outcome.exit_code == 3
        for found in outcome.record.findings:
            if found.title in PUBLIC:
                continue
            assert found.verdict is Verdict.UNKNOWN, (runbook, found.title)
            assert any(reason in found.actual for reason in reasons), (runbook, found.actual)


def test_role_without_privileges_is_unknown(shop: Settings, tmp_path: Path) -> None:
    unprivileged = {"db": "sandbox-unprivileged"}
    standby = {"standby": "sandbox-unprivileged-standby"}
    played = play(
        tmp_path,
        shop,
        RUN_001=unprivileged,
        RUN_005={**unprivileged, **standby},
        RUN_006=unprivileged,
    )
    expect_unknown(played, "lacks pg_monitor", "permission denied")
    why = "the role rb_nobody lacks pg_monitor, so it would see only a part"
    [line] = cards.findings_text(played.outcomes["RUN-001"].record.findings)
    assert f": {why} (connection sandbox-unprivileged) Next:" in line
    assert line.endswith(
        'Next: ask an administrator to run GRANT pg_monitor TO "rb_nobody", or connect as a role'
        " that has it"
    )


def test_closed_port_is_critical(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    file = tmp_path / "rbkernel.toml"
    file.write_text(f'[connections.gone]\nhost = "127.0.0.1"\nport = {port}\nuser = "nobody"\n')
    monkeypatch.setenv("RBKERNEL_CONFIG", str(file))
    gone = {"db": "gone"}
    played = play(
        tmp_path / "evidence",
        config.load(),
        RUN_001=gone,
        RUN_005={**gone, "standby": "gone"},
        RUN_006=gone,
    )
    expect_down(played, "gone")


@pytest.mark.soak
def test_stopped_database_is_critical(shop: Settings, tmp_path: Path) -> None:
    pids = control.status().pids
    for server in ("primary", "standby"):
        os.kill(pids[server], signal.SIGQUIT)
    while control.status().state == "up":
        time.sleep(0.1)
    expect_down(play(tmp_path, shop), "sandbox-primary")
