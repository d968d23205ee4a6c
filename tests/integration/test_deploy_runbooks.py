"""RUN-002, 003, 022, 023 and 024 on services of which a real Prometheus has known values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rbkernel import config
from rbkernel.config import Settings
from rbkernel.model import Verdict
from tests.support import monitoring, services
from tests.support.runbooks import Found, administer, look
from tests.support.services import Release, Service, always, since

HISTORY = "deploy_history"
OLD, NEW = Release(version="1.4", ago_min=140), Release(version="1.5", ago_min=20)
GONE = Release(version="1.4", ago_min=140, until_min=20)
BAD = Release(version="1.5", ago_min=20, errors=since(19, 0.2))


def _grows(begin: float, end: float) -> services.Course:
    """Return a course that grows from a value an hour before now to another now."""
    return lambda at: begin + (end - begin) * min(1.0, max(0.0, 1 + at / 3600))


def _busy(requests: services.Course) -> tuple[Release, ...]:
    return (Release(version="1.4", ago_min=140, requests=requests),)


KNOWN = [
    Service(name="calm", releases=(GONE, NEW)),
    Service(name="bad", releases=(GONE, BAD), flags={"new_checkout": (always(1), always(1))}),
    Service(
        name="canary",
        releases=(OLD, Release(version="1.5", ago_min=20, errors=always(0.5), requests=always(2))),
    ),
    Service(
        name="both-fail",
        releases=(
            Release(version="1.4", ago_min=140, errors=since(10, 0.3)),
            Release(version="1.5", ago_min=20, errors=since(10, 0.3)),
        ),
    ),
    Service(
        name="failed-before",
        releases=(
            Release(version="1.4", ago_min=140, until_min=20, errors=since(60, 0.2)),
            Release(version="1.5", ago_min=20, errors=always(0.2)),
        ),
    ),
    Service(
        name="failed-late",
        releases=(
            Release(version="1.4", ago_min=140, until_min=100),
            Release(version="1.5", ago_min=100, errors=since(15, 0.2)),
        ),
    ),
    Service(
        name="twice-bad",
        releases=(
            Release(version="1.3", ago_min=140, until_min=60),
            Release(version="1.4", ago_min=60, until_min=20, errors=since(59, 0.2)),
            Release(version="1.5", ago_min=20, errors=always(0.3)),
        ),
    ),
    Service(name="alone", releases=(BAD,)),
    # watched for 10 min after the deployment, 20 min ago
    Service(name="slower", releases=(GONE, Release(version="1.5", ago_min=20, slow=always(3)))),
    Service(
        name="unused",
        releases=(
            Release(version="1.4", ago_min=140, until_min=20),
            Release(version="1.5", ago_min=20, requests=since(20, 8, 40)),
        ),
    ),
    Service(
        name="repaired",
        releases=(
            Release(version="1.4", ago_min=140, until_min=20, errors=since(70, 0.2)),
            Release(version="1.5", ago_min=20, errors=always(0.001)),
        ),
    ),
    Service(
        name="leaks",
        releases=_busy(always(40)),
        pool=_grows(0.2, 0.95),
        database_s=0.05,
        upstream=0.0,
    ),
    Service(
        name="loaded",
        releases=_busy(_grows(20, 90)),
        pool=_grows(0.2, 0.95),
        database_s=0.05,
        upstream=0.0,
    ),
    Service(
        name="waits",
        releases=_busy(always(40)),
        pool=_grows(0.2, 0.95),
        database_s=2.0,
        upstream=0.0,
    ),
    Service(
        name="cut-off", releases=_busy(always(40)), pool=always(0.4), database_s=0.05, upstream=0.6
    ),
    # its pool grows since calls last longer, which no restart ends
    Service(
        name="held",
        releases=_busy(always(40)),
        pool=_grows(0.2, 0.95),
        database_s=0.05,
        upstream=0.0,
        upstream_s=_grows(0.1, 2.0),
    ),
    Service(
        name="well", releases=_busy(always(40)), pool=always(0.4), database_s=0.05, upstream=0.0
    ),
    Service(
        name="flagged",
        releases=(OLD,),
        flags={
            "double_write": (always(1), always(1)),
            "read_new": (always(0), always(0)),
            "drop_old": (always(0), always(0)),
            "half": (always(1), always(0)),
        },
    ),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("deploy")
    with monitoring.prometheus(folder, known=services.history(KNOWN)) as found:
        yield found


POLICY = """
[actions]
approvers = "{approvers}"

[actions.requests.flag]
method = "POST"
url = "http://127.0.0.1:1/flags/{{flag}}/{{state}}"
verify = "status"
expect = [200]
values = {{flag = {{pattern = "[a-z_]+"}}, state = ["on", "off"]}}

[[actions.rules]]
action = "request:flag"
approvers = 1
proposer_may_approve = {alone}
"""


@pytest.fixture
def settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, evidence: Path
) -> Settings:
    return _configured(tmp_path, monkeypatch, address)


def _configured(folder: Path, patch: pytest.MonkeyPatch, address: str, more: str = "") -> Settings:
    file = folder / "rbkernel.toml"
    file.write_text(f'[sources.prom]\nkind = "prometheus"\nurl = "http://{address}"\n{more}')
    patch.setenv("RBKERNEL_CONFIG", str(file))
    return config.load()


def _stays(found: Found) -> str | None:
    """The recommendation of the decision that comes after the watch."""
    return found.outcome.record.decisions[-1].recommended


class TestRollback:
    @pytest.mark.parametrize(
        ("service", "expected", "said"),
        [
            ("calm", "wait", "none: 0.1 % of 1.5"),
            ("both-fail", "find the cause (RUN-008)", "1.4, which runs too, fails 30 %"),
            ("failed-before", "find the cause (RUN-008)", "after 1.4 was deployed"),
            ("failed-late", "find the cause (RUN-008)", "they began 1 h 2"),
            ("alone", "find the cause (RUN-008)", "not measured"),
            ("nobody", "escalate", "no result"),
        ],
    )
    def test_what_a_rollback_does_not_end_is_not_rolled_back(
        self, settings: Settings, service: str, expected: str, said: str
    ) -> None:
        found = look("RUN-022", settings, service=service, look_back_s=8400.0)
        began = found.finding(f"{service}: errors since the deployment")
        assert not began.wrong
        assert said in began.actual
        assert found.recommended == expected
        assert found.plan("Deploy the last good version")["state"] != "proposed"

    def test_without_the_table_of_migrations_it_is_not_known_to_be_safe(
        self, settings: Settings
    ) -> None:
        found = look("RUN-022", settings, service="bad", look_back_s=8400.0)
        assert found.recommended == "escalate"
        assert found.finding("Schema since the last good version").verdict is Verdict.UNKNOWN
        given = look("RUN-022", settings, service="bad", look_back_s=8400.0, flag="new_checkout")
        assert given.recommended == "turn off the flag (RUN-023)"
        assert not [one for one in given.plans if "flag" in one["title"]], "RUN-023 has it signed"

    @pytest.mark.parametrize(
        ("service", "minutes_ago", "expected"),
        [
            ("bad", 300, "roll back"),
            ("canary", 300, "roll back"),
            ("twice-bad", 300, "roll back"),
            ("bad", 21, "escalate"),
            ("twice-bad", 30, "escalate"),
        ],
    )
    def test_a_migration_since_makes_it_unsafe(
        self,
        shop: Settings,
        settings: Settings,
        service: str,
        minutes_ago: int,
        expected: str,
    ) -> None:
        administer(
            f"CREATE TABLE {HISTORY} (version text, installed_on timestamptz, success bool);"
            f" GRANT SELECT ON {HISTORY} TO PUBLIC; INSERT INTO {HISTORY} VALUES"
            f" ('V7', now() - interval '{minutes_ago} min', true)"
        )
        try:
            found = look(
                "RUN-022",
                config.load(),
                service=service,
                db="sandbox-primary",
                history_table=HISTORY,
                look_back_s=8400.0,
            )
        finally:
            administer(f"DROP TABLE {HISTORY}")
        assert found.recommended == expected
        assert found.finding(f"{service}: errors since the deployment").critical
        good = "1.3" if service == "twice-bad" else "1.4"
        assert found.finding(f"{service}: last good version").which == good
        command = found.command("Deploy the last good version")
        assert (
            command == f"./scripts/deploy.sh --env production --service {service} --version {good}"
        )
        if expected == "escalate":
            assert found.finding("Schema since the last good version").which == "V7"
            assert "V7" in found.reason
            assert "since then requests fail" in found.reason


class TestDeployment:
    def test_before_it_the_criteria_are_asked_for(self, settings: Settings) -> None:
        found = look("RUN-002", settings, service="calm", version="1.6")
        assert found.recommended == "tick the criteria first"
        assert found.command("Run deploy") == (
            "./scripts/deploy.sh --env production --service calm --version 1.6"
        )

    def test_on_top_of_errors_it_is_postponed(self, settings: Settings) -> None:
        found = look("RUN-002", settings, service="failed-late", version="1.6")
        assert found.recommended == "postpone"

    def test_a_version_that_was_too_short_on_staging_is_postponed(self, settings: Settings) -> None:
        found = look("RUN-002", settings, service="calm", version="1.6", staging="bad")
        assert found.finding("bad: time since the deployment").verdict is Verdict.UNKNOWN
        found = look("RUN-002", settings, service="failed-before", version="1.6", staging="calm")
        assert found.recommended == "postpone"

    @pytest.mark.parametrize(
        ("service", "expected", "said"),
        [
            ("calm", "keep it", "nothing wrong"),
            ("bad", "roll back (RUN-022)", "Error rate at"),
            ("slower", "roll back (RUN-022)", "Latency p95 at"),
            ("unused", "roll back (RUN-022)", "Business metric at"),
            ("both-fail", "find the cause first (RUN-008)", "Error rate at"),
            ("alone", "roll back (RUN-022)", "Error rate at"),
        ],
    )
    def test_after_it_the_watch_says_whether_it_stays(
        self, settings: Settings, service: str, expected: str, said: str
    ) -> None:
        found = look("RUN-002", settings, service=service, version="1.5", watch_s=900.0)
        assert found.recommended == "watch it: it is deployed"
        watched = found.finding("Watch after the change")
        assert said in watched.actual
        assert _stays(found) == expected

    def test_what_is_not_measured_is_not_kept(self, settings: Settings) -> None:
        found = look(
            "RUN-002",
            settings,
            service="calm",
            version="1.5",
            business="sum(rate(orders_total{service={service}}[5m]))",
        )
        assert found.finding("Watch after the change").verdict is Verdict.UNKNOWN
        assert _stays(found) == "escalate"


class TestHotfix:
    def test_a_rollback_is_faster_if_it_is_safe(self, shop: Settings, settings: Settings) -> None:
        found = look("RUN-003", settings, service="bad", version="1.6")
        assert found.recommended == "tick the criteria first"  # not known to be safe
        administer(
            f"CREATE TABLE {HISTORY} (version text, installed_on timestamptz, success bool);"
            f" GRANT SELECT ON {HISTORY} TO PUBLIC;"
            f" INSERT INTO {HISTORY} VALUES ('V1', now() - interval '1 day', true)"
        )
        try:
            found = look(
                "RUN-003",
                config.load(),
                service="bad",
                version="1.6",
                db="sandbox-primary",
                history_table=HISTORY,
            )
        finally:
            administer(f"DROP TABLE {HISTORY}")
        assert found.recommended == "roll back instead (RUN-022)"

    @pytest.mark.parametrize(
        ("service", "expected"),
        [
            ("repaired", "keep it"),
            ("failed-before", "escalate: it did not help"),
            ("bad", "roll back (RUN-022)"),
        ],
    )
    def test_it_helped_or_not(self, settings: Settings, service: str, expected: str) -> None:
        found = look("RUN-003", settings, service=service, version="1.5", watch_s=900.0)
        assert found.recommended == "watch it: it is deployed"
        assert _stays(found) == expected


class TestRestart:
    @pytest.mark.parametrize(
        ("service", "expected"),
        [
            ("leaks", "restart"),
            ("loaded", "scale up"),
            ("waits", "resolve the cause in the database first"),
            ("cut-off", "use the kill switch (RUN-023)"),
            ("held", "use the kill switch (RUN-023)"),
            ("well", "wait"),
        ],
    )
    def test_which_step_helps(
        self, shop: Settings, settings: Settings, service: str, expected: str
    ) -> None:
        found = look(
            *("RUN-024", config.load()), service=service, db="sandbox-primary", models=False
        )
        assert found.recommended == expected

    def test_neither_helps_while_sessions_hold_the_connections_of_the_database(
        self, shop: Settings, settings: Settings
    ) -> None:
        found = look(
            "RUN-024",
            config.load(),
            "pool-idle-in-transaction",
            service="leaks",
            db="sandbox-primary",
        )
        assert found.recommended == "resolve the cause in the database first"

    def test_nor_after_a_bad_deployment(self, shop: Settings, settings: Settings) -> None:
        found = look("RUN-024", config.load(), service="bad", db="sandbox-primary", upstreams=False)
        assert found.recommended == "roll back (RUN-022)"

    def test_what_is_not_measured_is_escalated(self, shop: Settings, settings: Settings) -> None:
        found = look(
            "RUN-024", config.load(), service="calm", db="sandbox-primary", upstreams=False
        )
        assert found.recommended == "escalate"


class TestFlag:
    @pytest.fixture
    def policy(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, evidence: Path
    ) -> Settings:
        return self._policy(tmp_path, monkeypatch, address, alone="false")

    def _policy(
        self, folder: Path, patch: pytest.MonkeyPatch, address: str, alone: str
    ) -> Settings:
        (folder / "approvers").write_text("")
        text = POLICY.format(approvers=folder / "approvers", alone=alone)
        return _configured(folder, patch, address, text)

    def test_without_a_rule_for_two_people_nothing_is_proposed(
        self, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
    ) -> None:
        alone = self._policy(tmp_path, monkeypatch, address, alone="true")
        for one in (settings, alone):
            found = look("RUN-023", one, service="flagged", flag="read_new", state="on")
            assert found.recommended == "add the rule for two people"
            assert found.finding("People who sign off").critical
            assert found.plan("Set the flag")["state"] == "not chosen"

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({"flag": "read_new", "state": "on"}, "set the flag"),
            ({"flag": "double_write", "state": "on"}, "nothing: it is in this state"),
            ({"flag": "drop_old", "state": "on"}, "set the stage before it first"),
            ({"flag": "double_write", "state": "off"}, "set the flag"),
            ({"expected": "double_write=off"}, "find out who changed it"),
            ({"expected": "double_write=on, read_new=off"}, "nothing: it is in this state"),
            ({}, "escalate"),
            ({"expected": "half=on"}, "find out who changed it"),
            ({"flag": "unknown_flag", "state": "on"}, "escalate"),
        ],
    )
    def test_the_state_of_the_instances_decides(
        self, policy: Settings, given: dict[str, str], expected: str
    ) -> None:
        stages = "double_write,read_new,drop_old"
        found = look("RUN-023", policy, service="flagged", stages=stages, **given)
        assert found.recommended == expected

    def test_nothing_is_turned_on_while_the_service_fails(self, policy: Settings) -> None:
        found = look("RUN-023", policy, service="bad", flag="new_checkout", state="on")
        assert found.recommended == "resolve the errors first"
        off = look("RUN-023", policy, service="bad", flag="new_checkout", state="off")
        assert off.recommended == "set the flag"
