"""RUN-020 on real logins: each step of a rotation, and what is no rotation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rbkernel.config import Settings
from rbkernel.model import Verdict
from rbkernel.sandbox import control
from tests.support.monitoring import gauges, prometheus
from tests.support.runbooks import Found, administer, look

pytestmark = pytest.mark.usefixtures("evidence")

OLD, NEW = "shop_job", "shop_job_2"
# the words of a password that nobody must find in the evidence
SECRET = "correct horse battery staple"
HOUR = 54 / 60


@contextmanager
def session(login: str, name: str = "nightly") -> Iterator[None]:
    port = control.status().primary_port
    with psycopg.connect(
        host="127.0.0.1",
        port=port,
        dbname="shop",
        user=login,
        password=SECRET,
        application_name=name,
    ):
        yield


@pytest.fixture
def job(shop: Settings) -> Iterator[Settings]:
    """The settings of a sandbox with one more login, which owns a table."""
    administer(f"CREATE ROLE {OLD} LOGIN PASSWORD '{SECRET}'")
    administer(f"CREATE TABLE jobs (n int); ALTER TABLE jobs OWNER TO {OLD}")
    yield shop
    administer(f"DROP TABLE jobs; DROP ROLE IF EXISTS {NEW}; DROP ROLE {OLD}")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of a Prometheus that counts logins: of the job's, only those to the mail."""
    per_s = {
        'login_success_total{service="shop",login="shop_app",system="db"}': 5,
        'login_failures_total{service="shop",login="shop_app",system="db"}': 0,
        'login_success_total{service="shop",login="shop_app",system="mail"}': 1,
        'login_failures_total{service="shop",login="shop_app",system="mail"}': 3,
        'login_success_total{service="quiet",login="shop_app",system="db"}': 5,
        'login_success_total{service="quiet",login="shop_job",system="db"}': 0,
        'login_success_total{service="other",login="shop_app",system="db"}': 5,
        'login_success_total{service="busy",login="shop_job",system="db"}': 1,
    }
    known = {name: lambda at, rate=rate: rate * (at + 3600) for name, rate in per_s.items()}
    with prometheus(tmp_path_factory.mktemp("prometheus"), known=gauges(known)) as found:
        yield found


@pytest.fixture
def counted(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Prometheus is configured."""
    file = tmp_path / "rbkernel.toml"
    file.write_text(f'[sources.prom]\nkind = "prometheus"\nurl = "http://{address}"\n')
    monkeypatch.setenv("RBKERNEL_CONFIG", str(file))


def rotation(settings: Settings, **values: Any) -> Found:
    return look("RUN-020", settings, **{"unused_h": HOUR, **values})


def test_nothing_to_do(shop: Settings) -> None:
    found = rotation(shop)
    assert (found.outcome.verdict, found.recommended) == (Verdict.OK, "wait")


class TestSteps:
    """A rotation from its first step to its last, each by what the runbook recommends."""

    def test_until_the_clients_are_moved(self, job: Settings) -> None:
        with session(OLD):
            first = rotation(job, old=OLD)
            assert first.recommended == "create the new login"
            administer(first.sql("CREATE ROLE"))
            administer(f"ALTER ROLE {NEW} PASSWORD '{SECRET}'")
            second = rotation(job, old=OLD)
            assert second.recommended == "move the clients"
            assert "nightly" in second.finding("Sessions of the old login").cause
            assert second.plan("Nothing to do")
        with session(NEW, "moved"):
            third = rotation(job, old=OLD)
        assert third.recommended == "measure for a day that nobody uses it"
        assert SECRET not in (third.outcome.folder / "journal.jsonl").read_text()

    def test_a_new_login_without_the_rights(self, job: Settings) -> None:
        administer(f"CREATE ROLE {NEW} LOGIN")
        administer(f"ALTER ROLE {OLD} SET search_path = jobs")
        bare = rotation(job, old=OLD)
        assert bare.recommended == "give the new login the same rights"
        cause = bare.finding("Rights that the new login lacks").cause
        assert "objects that it owns" in cause
        assert "setting search_path" in cause
        administer(bare.sql("GRANT"))
        administer(f"ALTER ROLE {NEW} SET search_path = jobs")
        assert rotation(job, old=OLD).finding("Rights that the new login lacks").ok

    def test_the_old_one_ends_only_when_nobody_uses_it(self, job: Settings, counted: None) -> None:
        administer(f"CREATE ROLE {NEW} LOGIN IN ROLE {OLD}")
        busy = rotation(job, old=OLD, service="busy")
        assert busy.recommended == "move the clients"
        short = rotation(job, old=OLD, service="quiet", unused_h=2.0)
        assert short.recommended == "measure for a day that nobody uses it"
        uncounted = rotation(job, old=OLD, service="other")
        assert uncounted.recommended == "measure for a day that nobody uses it"
        quiet = rotation(job, old=OLD, service="quiet")
        assert quiet.recommended == "revoke the old login"
        with session(OLD):
            administer(quiet.sql(f"ALTER ROLE {OLD} NOLOGIN"))
            left = rotation(job, old=OLD, service="quiet")
            assert left.recommended == "end the sessions of the revoked login"
        with pytest.raises(psycopg.OperationalError, match="not permitted to log in"), session(OLD):
            pass
        after = rotation(job, old=OLD, service="quiet")
        assert after.recommended == "wait"


class TestRefused:
    def test_one_system_has_the_old_credential(self, shop: Settings, counted: None) -> None:
        found = rotation(shop, service="shop")
        assert found.recommended == "give the refused systems the new credential"
        refused = found.finding("Share of refused logins")
        assert refused.verdict is Verdict.CRITICAL
        assert refused.value == pytest.approx(0.75)
        assert "mail" in refused.cause
        assert "db" not in refused.cause

    def test_a_password_that_has_ended(self, job: Settings, counted: None) -> None:
        ended = datetime.now(UTC) - timedelta(hours=1)
        with session(OLD):
            administer(f"ALTER ROLE {OLD} VALID UNTIL '{ended:%Y-%m-%d %H:%M:%S%z}'")
            with pytest.raises(psycopg.OperationalError, match="password"), session(OLD):
                pass
            found = rotation(job, service="shop")
            assert found.recommended == "extend the password"
            assert OLD in found.finding("Days until the password of a login ends").cause
            administer(found.sql("ALTER ROLE shop_job VALID UNTIL"))
            with session(OLD):
                after = rotation(job)
        assert (after.outcome.verdict, after.recommended) == (Verdict.OK, "wait")

    def test_a_login_that_ended_long_ago_is_meant_to(self, job: Settings) -> None:
        with session(OLD):  # with another way to log in than the password
            administer(f"ALTER ROLE {OLD} VALID UNTIL '2026-01-01'")
            assert rotation(job).recommended == "wait"


def test_a_name_that_is_no_login(shop: Settings) -> None:
    assert rotation(shop, old="shop").recommended == "escalate"
