"""RUN-012 to 015 on a real Prometheus: which cause, which step, and for whom."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rbkernel import config
from rbkernel.model import Finding, Verdict
from tests.support import monitoring
from tests.support.ai_scenarios import (
    DAYS,
    Calls,
    Scenario,
    approvals,
    exposed,
    guardrails,
    provider,
    replaced,
    spending,
)
from tests.support.monitoring import UNTIL, stand_in
from tests.support.runbooks import Found, look

pytestmark = pytest.mark.usefixtures("evidence")

_CHAT = Calls("chat", "a", "small", 2, 0.001)
_CHAT_B = Calls("chat", "b", "small", 2, 0.001)
_SEARCH = Calls("search", "a", "small", 1, 0.001)
_USUAL = (_CHAT, _CHAT_B, _SEARCH)
_BIG = (Calls("chat", "mega", "small", 8, 0.001), Calls("chat", "b", "small", 2, 0.001))


def _more(calls: tuple[Calls, ...], times: float) -> list[Calls]:
    return [
        Calls(one.feature, one.tenant, one.model, one.per_s * times, one.dollars) for one in calls
    ]


_AGENTS = {"triage": (0.02, 0.02), "mailer": (0.02, 0.02)}
_APPROVERS = {"ann": (0.02, 0.02), "bob": (0.02, 0.02)}
SCENARIOS: dict[str, Scenario] = {
    # RUN-012
    "calm": approvals(_AGENTS, _APPROVERS, 12, 600),
    "loop": approvals({**_AGENTS, "triage": (0.02, 0.5)}, _APPROVERS, 260, 3000),
    "absent": approvals(_AGENTS, {**_APPROVERS, "ann": (0.02, 0)}, 80, 5000),
    "wave": approvals({"triage": (0.02, 0.06), "mailer": (0.02, 0.06)}, _APPROVERS, 90, 3000),
    "shrinks": approvals(_AGENTS, {"ann": (0.02, 0.06), "bob": (0.02, 0.06)}, 120, 3000),
    "shift": approvals(_AGENTS, {**_APPROVERS, "ann": (0.02, 0), "eve": (0, 0.019)}, 60, 3000),
    "single": approvals({"triage": (0.04, 0.2)}, _APPROVERS, 90, 3000),
    "new": approvals({**_AGENTS, "triage": (0.5, 0.5)}, _APPROVERS, 90, 3000, history=False),
    # RUN-013
    "thrifty": spending(_USUAL, _USUAL),
    "steps": spending(_USUAL, (_CHAT, _CHAT_B, Calls("search", "a", "small", 30, 0.001, steps=60))),
    "retries": spending(
        _USUAL, (_CHAT, _CHAT_B, Calls("search", "a", "small", 15, 0.001, retries=9))
    ),
    "tenant": spending(_USUAL, (_CHAT, Calls("chat", "b", "small", 16, 0.001), _SEARCH)),
    "switch": spending(
        _USUAL,
        (
            Calls("chat", "a", "large", 2, 0.01),
            Calls("chat", "b", "large", 2, 0.01),
            Calls("search", "a", "large", 1, 0.01),
        ),
    ),
    "larger": spending(
        _USUAL,
        (
            Calls("chat", "a", "small", 2, 0.006, tokens=6000),
            Calls("chat", "b", "small", 2, 0.006, tokens=6000),
            _SEARCH,
        ),
    ),
    "traffic": spending(_USUAL, _more(_USUAL, 3)),
    "mega": spending(_BIG, _more(_BIG, 3)),
    "young": spending(_USUAL, _more(_USUAL, 3), history=False),
    # RUN-014
    "safe": guardrails({"u1": (0.1, 0.1), "u2": (0.1, 0.1)}, 0.1),
    "attacker": guardrails({"u1": (0.1, 0.1), "u2": (0.1, 0.1), "u9": (0, 2)}, 0.1),
    "mistuned": guardrails({f"u{n}": (0.05, 0.4) for n in range(6)}, 0.9),
    "deployed": guardrails({f"u{n}": (0.05, 0.4) for n in range(6)}, 0.9, deployed=True),
    "real": guardrails({f"u{n}": (0.05, 0.4) for n in range(6)}, 0.1, deployed=True),
    "tester": guardrails({"u1": (0.1, 0.1), "u2": (0.1, 0.1), "u9": (0, 2)}, 0.95),
    "unread": guardrails({"u1": (0.1, 0.1), "u2": (0.1, 0.1), "u9": (0, 2)}, None),
    # RUN-015
    "up": provider(north__small=0.01, north__large=0.0, south__other=0.0),
    "down": provider(north__small=0.97, north__large=0.95, south__other=0.01),
    "model": provider(north__small=0.0, north__large=0.9, south__other=0.0),
    "partial": provider(north__small=0.2, north__large=0.0, south__other=0.0),
    "everything": provider(north__small=0.9, south__other=0.95),
    "quota": provider(north__small=(0.6, "rate_limited"), south__other=0.0),
    "only": provider(north__small=0.99),
    "replaced": replaced(),
}
_VALUES: dict[str, dict[str, Any]] = {
    "RUN-012": {"silent_s": 225.0, "baseline_days": DAYS},
    "RUN-013": {"baseline_days": DAYS},
    "RUN-014": {"range_s": 3600.0, "baseline_days": DAYS},
    "RUN-015": {},
}
Look = Callable[..., Found]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One Prometheus for all scenarios: each is a service."""
    with monitoring.prometheus(tmp_path_factory.mktemp("ai"), known=exposed(SCENARIOS)) as found:
        yield found


@pytest.fixture
def at(prometheus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Look:
    """Run a runbook on a scenario."""
    file = tmp_path / "rbkernel.toml"
    source = f'[sources.prom]\nkind = "prometheus"\nurl = "http://{prometheus}"\n'
    file.write_text(source)
    monkeypatch.setenv("RBKERNEL_CONFIG", str(file))

    def run(runbook: str, service: str, **values: Any) -> Found:
        given = {"service": service, "at": UNTIL, **_VALUES[runbook], **values}
        return look(runbook, config.load(), **given)

    return run


def causes(found: Found) -> list[Finding]:
    """The findings that are causes: at most one may be told."""
    return [one for one in found.outcome.record.findings if one.is_cause]


def quiet(found: Found) -> None:
    """Nothing is wrong, and nothing needs to be decided."""
    assert [one.title for one in found.outcome.record.findings if not one.ok] == []
    assert (found.outcome.verdict, causes(found)) == (Verdict.OK, [])
    assert str(found.recommended).startswith("wait")


class TestApprovals:
    def test_the_flag_of_an_agent_that_loops_is_disabled(self, at: Look) -> None:
        found = at("RUN-012", "loop")
        assert found.recommended == "disable the feature flag of the agent"
        [cause] = causes(found)
        assert (cause.which, cause.verdict) == ("triage", Verdict.CRITICAL)
        assert "do not ask approvers to work faster" in cause.next_step
        assert found.finding("Severity").actual.startswith("P2")  # more than 200 tasks
        assert "/triage/environments/production/off" in found.command("Disable the feature")

    def test_the_backup_of_an_absent_approver_is_called(self, at: Look) -> None:
        found = at("RUN-012", "absent")
        assert found.recommended == "call the backup approver"
        [cause] = causes(found)
        assert cause.which == "ann"
        assert "the others decide 72 tasks per h" in cause.actual
        assert found.finding("Severity").ok  # a P3
        assert "absent=ann" in found.command("Page the backup of ann")

    def test_a_wave_of_ordinary_work_needs_approvers(self, at: Look) -> None:
        found = at("RUN-012", "wave")
        assert found.recommended == "add approvers"
        [cause] = causes(found)
        assert "refunds gets 432 tasks per h (3 times the usual) from 2 agents" in cause.actual

    def test_a_queue_that_shrinks_needs_time(self, at: Look) -> None:
        found = at("RUN-012", "shrinks")
        assert (found.recommended, causes(found)) == ("wait", [])
        assert found.finding("Tasks that wait for a human").verdict is Verdict.WARNING

    def test_an_approver_whose_shift_is_over_is_not_absent(self, at: Look) -> None:
        found = at("RUN-012", "shift")
        assert found.finding("An approver who decides nothing").ok
        assert found.recommended == "add approvers"

    def test_a_calm_queue_is_quiet(self, at: Look) -> None:
        quiet(at("RUN-012", "calm"))

    @pytest.mark.parametrize(
        ("service", "why"),
        [
            ("single", "may be work or a loop"),
            ("new", "what is usual at this hour is not known"),
            ("nobody", "the query has no result"),
        ],
    )
    def test_what_is_not_known_is_escalated(self, at: Look, service: str, why: str) -> None:
        found = at("RUN-012", service)
        assert (found.recommended, causes(found)) == ("escalate", [])
        loop = found.finding("An agent that creates most tasks")
        assert loop.verdict is Verdict.UNKNOWN
        assert why in loop.actual
        assert loop.next_step


class TestCost:
    @pytest.mark.parametrize(("service", "sign"), [("steps", "steps for"), ("retries", "retries")])
    def test_a_loop_is_stopped_by_its_flag(self, at: Look, service: str, sign: str) -> None:
        found = at("RUN-013", service)
        assert found.recommended == "disable the feature flag"
        [cause] = causes(found)
        assert cause.which == "search"
        assert sign in cause.actual
        assert "/search/environments" in found.command("Disable the feature flag of search")

    def test_one_tenant_is_limited_and_the_feature_stays_on(self, at: Look) -> None:
        found = at("RUN-013", "tenant")
        assert found.recommended == "limit the rate of the tenant"
        assert [one.which for one in causes(found)] == ["b"]
        assert "/consumers/b/plugins" in found.command("Limit the rate of b")

    def test_a_dearer_model_is_switched_back(self, at: Look) -> None:
        found = at("RUN-013", "switch")
        assert found.recommended == "switch back to the model of before"
        [cause] = causes(found)
        assert (cause.which, cause.verdict) == ("large", Verdict.CRITICAL)  # ten times the usual
        assert found.command("Switch back from large").endswith("deployment/switch MODEL=small")

    def test_larger_requests_are_a_question_to_their_owner(self, at: Look) -> None:
        found = at("RUN-013", "larger")
        assert found.recommended == "ask the owner of the feature"
        [cause] = causes(found)
        assert (cause.which, "6,000 tokens" in cause.actual) == ("chat", True)

    @pytest.mark.parametrize("service", ["traffic", "mega"])
    def test_traffic_stops_nothing(self, at: Look, service: str) -> None:
        """Also if one tenant has most of it at all times."""
        found = at("RUN-013", service)
        assert found.recommended == "wait, and tell the owner of the costs"
        [cause] = causes(found)
        assert "the number of requests is 3 times the usual" in cause.actual
        assert found.finding("One tenant").ok

    def test_the_usual_cost_is_quiet(self, at: Look) -> None:
        quiet(at("RUN-013", "thrifty"))

    def test_without_a_baseline_it_is_unknown(self, at: Look) -> None:
        found = at("RUN-013", "young")
        assert found.finding("Cost per hour").verdict is Verdict.UNKNOWN
        assert (found.recommended, causes(found)) == ("escalate", [])


class TestSafety:
    def test_one_source_is_blocked(self, at: Look) -> None:
        found = at("RUN-014", "attacker")
        assert found.recommended == "block the source"
        assert [one.which for one in causes(found)] == ["u9"]
        assert "/consumers/u9/plugins" in found.command("Block u9")

    def test_a_guardrail_that_is_wrong_is_tuned(self, at: Look) -> None:
        found = at("RUN-014", "mistuned")
        assert found.recommended == "tune the guardrail"
        [cause] = causes(found)
        assert (cause.which, "never switch it off" in cause.next_step) == ("jailbreak", True)

    def test_one_that_is_wrong_since_a_deployment_is_rolled_back(self, at: Look) -> None:
        found = at("RUN-014", "deployed")
        assert found.recommended == "roll back the deployment"
        [cause] = causes(found)
        assert "version 42 was deployed 25 min ago" in cause.actual
        assert found.finding("A guardrail that is wrong").ok

    def test_a_real_wave_is_escalated_also_after_a_deployment(self, at: Look) -> None:
        found = at("RUN-014", "real")
        assert found.recommended == "escalate to security (RUN-025)"
        assert "6 sources" in causes(found)[0].actual

    def test_a_source_of_false_positives_is_not_blocked(self, at: Look) -> None:
        found = at("RUN-014", "tester")
        assert found.finding("One source").ok
        assert found.recommended == "tune the guardrail"

    def test_usual_events_are_quiet(self, at: Look) -> None:
        quiet(at("RUN-014", "safe"))

    def test_events_that_nobody_reviewed_are_unknown(self, at: Look) -> None:
        found = at("RUN-014", "unread")
        assert (found.recommended, causes(found)) == ("escalate to security (RUN-025)", [])
        source = found.finding("One source")
        assert (source.verdict, source.next_step) == (
            Verdict.UNKNOWN,
            "review ten events of u9; block it if they are confirmed",
        )


class TestProvider:
    def test_another_provider_takes_over(self, at: Look) -> None:
        found = at("RUN-015", "down")
        assert found.recommended == "use another model"
        [cause] = causes(found)
        assert (cause.which, cause.verdict) == ("north", Verdict.CRITICAL)
        assert "Use other of south, which answers" in cause.next_step
        assert "fallback_enabled" in found.command("Switch on fallback_enabled")

    def test_another_model_of_the_same_provider_takes_over(self, at: Look) -> None:
        found = at("RUN-015", "model")
        assert found.recommended == "use another model"
        [cause] = causes(found)
        assert cause.which == "large"
        assert found.plan("Switch on fallback_enabled")
        assert "a call costs $0.01 there, $0.03 here" in cause.next_step

    def test_a_part_of_the_calls_is_retried(self, at: Look) -> None:
        found = at("RUN-015", "partial")
        assert found.recommended == "retry with pauses, and wait longer"
        old, new = found.command("Wait longer, and retry").splitlines()
        assert "--list" in old
        assert "TIMEOUT_SECONDS=60" in new

    @pytest.mark.parametrize(
        ("service", "recommended", "told"),
        [
            ("everything", "repair our side first", 1),
            ("only", "escalate, and pause the feature", 0),
            ("down", "use another model", 1),
        ],
    )
    def test_a_status_page_that_reports_no_problem_blames_nobody(
        self, at: Look, service: str, recommended: str, told: int
    ) -> None:
        """Only providers that are all down at once show that it is our own side."""
        answer = json.dumps({"status": {"indicator": "none"}}, separators=(",", ":"))
        with stand_in(lambda _: (200, answer)) as page:
            found = at("RUN-015", service, status_url=page.url)
        assert (found.recommended, len(causes(found))) == (recommended, told)

    def test_a_model_without_calls_has_not_recovered(self, at: Look) -> None:
        """The fallback takes all calls now: that they succeed says nothing of the first model."""
        found = at("RUN-015", "replaced")
        assert found.finding("Calls of models that fail").ok
        silent = found.finding("Models that failed in the last hour, and are not called now")
        assert (silent.verdict, "small" in silent.actual) == (Verdict.UNKNOWN, True)
        assert found.recommended == "escalate, and pause the feature"

    def test_a_provider_that_reports_an_outage_is_not_us(self, at: Look) -> None:
        answer = json.dumps({"status": {"indicator": "major"}}, separators=(",", ":"))
        with stand_in(lambda _: (200, answer)) as page:
            found = at("RUN-015", "only", status_url=page.url)
        assert [one.which for one in causes(found)] == ["north"]
        assert found.recommended == "escalate, and pause the feature"  # nothing else answers

    def test_our_quota_is_no_outage(self, at: Look) -> None:
        found = at("RUN-015", "quota")
        assert found.recommended == "lower the rate of calls, or raise the limit"
        assert [one.title for one in causes(found)] == ["Our own quota"]

    def test_calls_that_succeed_are_quiet(self, at: Look) -> None:
        quiet(at("RUN-015", "up"))

    def test_without_calls_nothing_is_known(self, at: Look) -> None:
        found = at("RUN-015", "nobody")
        assert (found.outcome.verdict, causes(found)) == (Verdict.UNKNOWN, [])
        assert found.recommended == "escalate, and pause the feature"
