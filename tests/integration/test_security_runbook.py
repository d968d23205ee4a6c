"""RUN-025 on real logins and sessions: what it finds, whom it names, and what its step changes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rbkernel.config import Settings
from rbkernel.model import Verdict
from rbkernel.sandbox import control
from rbkernel.sandbox.home import Home
from tests.support.monitoring import gauges, prometheus
from tests.support.runbooks import Found, administer, look
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("evidence")

LOGIN, SECRET = "night_job", "staple battery horse correct"
ELSEWHERE = "127.0.0.9"
LISTS = {"expected": ["postgres", "replicator"], "addresses": ["127.0.0.1/32"]}
POWERS = "Superusers that nobody expects"
ADDRESSES = "Addresses that nobody expects"
SESSIONS = "Sessions of the suspect"
BULK = "Rows read at once by the suspected login"


@contextmanager
def session(port: int | None = None, login: str = LOGIN) -> Iterator[psycopg.Connection]:
    with psycopg.connect(
        host="127.0.0.1",
        port=port or control.status().primary_port,
        dbname="shop",
        user=login,
        password=SECRET,
        application_name="psql",
    ) as made:
        yield made


@pytest.fixture
def job(shop: Settings) -> Iterator[Settings]:
    """The settings of a sandbox with one more login, which may read the shop's tables."""
    administer(f"CREATE ROLE {LOGIN} LOGIN PASSWORD '{SECRET}'")
    administer(f"GRANT SELECT ON orders TO {LOGIN}")
    yield shop
    administer(f"DROP OWNED BY {LOGIN}")
    administer(f"DROP ROLE {LOGIN}")


@pytest.fixture
def elsewhere(job: Settings) -> Iterator[int]:
    """A port behind which sessions come from another address, that of an intruder."""
    rules = Home.configured().data("primary") / "pg_hba.conf"
    before = rules.read_bytes()
    rules.write_bytes(f"host all {LOGIN} {ELSEWHERE}/32 scram-sha-256\n".encode() + before)
    administer("SELECT pg_reload_conf()")
    with relay(control.status().primary_port or 0) as port:
        try:
            until(lambda: _lets_in(port), "the server's new rules")
            yield port
        finally:
            rules.write_bytes(before)
            administer("SELECT pg_reload_conf()")


def _lets_in(port: int) -> bool:
    with suppress(psycopg.OperationalError), session(port):
        return True
    return False


@contextmanager
def relay(port: int) -> Iterator[int]:
    """Forward connections to a port of loopback, from the other address."""
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as stack:

        def accept() -> None:
            with suppress(OSError):  # the server was closed
                while True:
                    client = stack.enter_context(server.accept()[0])
                    target = ("127.0.0.1", port)
                    far = socket.create_connection(target, source_address=(ELSEWHERE, 0))
                    stack.enter_context(far)
                    for pair in ((client, far), (far, client)):
                        threading.Thread(target=_pump, args=pair, daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with suppress(OSError):  # also after an error: the other side must see the end
        target.shutdown(socket.SHUT_WR)


def incident(settings: Settings, **values: Any) -> Found:
    return look("RUN-025", settings, **{**LISTS, **values})


def decision(found: Found, question: str) -> Any:
    return next(one for one in found.outcome.record.decisions if one.question == question)


class TestNothingIsFound:
    def test_what_was_not_looked_at_is_said(self, shop: Settings) -> None:
        found = incident(shop)
        assert (found.outcome.verdict, found.recommended) == (Verdict.OK, "wait")
        [note] = found.outcome.record.of_kind("note")
        said = "Not judged: hosts, network, refused actions, refused logins, one login"
        assert said in str(note.data)
        assert decision(found, "Is the evidence kept elsewhere?").recommended == "not yet"

    def test_without_lists_nothing_is_known(self, shop: Settings) -> None:
        found = incident(shop, expected=[], addresses=[])
        assert (found.outcome.verdict, found.recommended) == (Verdict.UNKNOWN, "escalate")
        for title in (POWERS, ADDRESSES):
            assert found.finding(title).verdict is Verdict.UNKNOWN
            assert "nobody said" in found.finding(title).cause

    def test_a_role_that_may_not_see_the_sessions_knows_nothing(self, shop: Settings) -> None:
        found = incident(shop, db="sandbox-unprivileged")
        assert (found.outcome.verdict, found.recommended) == (Verdict.UNKNOWN, "escalate")
        assert found.finding(ADDRESSES).verdict is Verdict.UNKNOWN
        assert found.finding(SESSIONS).verdict is Verdict.UNKNOWN


class TestPrivileges:
    def test_a_superuser_that_nobody_expects_is_blocked(self, job: Settings) -> None:
        administer(f"ALTER ROLE {LOGIN} SUPERUSER")
        with session() as raw:
            raw.execute("SELECT count(*) FROM orders")
            found = incident(job)
            assert found.recommended == "block the login"
            assert found.finding(POWERS).verdict is Verdict.CRITICAL
            assert found.finding(POWERS).which == LOGIN
            block = found.plan(f"ALTER ROLE {LOGIN} NOLOGIN")
            assert block["undo"].startswith(f"ALTER ROLE {LOGIN} LOGIN")
            assert found.plan(f"ALTER ROLE {LOGIN} NOSUPERUSER")
            administer(found.sql(f"ALTER ROLE {LOGIN} NOLOGIN"))
            open_yet = incident(job)
            assert open_yet.recommended == "end the sessions of the login"
            administer(open_yet.sql("Terminate 1 session"))
            with pytest.raises(psycopg.OperationalError):
                raw.execute("SELECT 1")
        administer(f"ALTER ROLE {LOGIN} NOSUPERUSER")
        assert incident(job).recommended == "wait"

    def test_a_right_that_was_gained_is_revoked_from_its_group(self, job: Settings) -> None:
        administer(
            f"CREATE ROLE helpers; GRANT pg_read_all_data TO helpers; GRANT helpers TO {LOGIN}"
        )
        try:
            found = incident(job)
            assert found.recommended == "revoke the privilege"
            power = found.finding("Far-reaching privileges that nobody expects")
            assert power.which == f"{LOGIN} (pg_read_all_data)"
            administer(found.sql("REVOKE helpers"))
            after = incident(job)
            assert after.recommended == "wait"
            assert found.plan("REVOKE helpers")["undo"].startswith(f"GRANT helpers TO {LOGIN}")
        finally:
            administer("DROP ROLE helpers")

    def test_the_only_superuser_is_not_blocked(self, shop: Settings) -> None:
        found = incident(shop, suspect="postgres")
        assert found.recommended == "escalate"
        assert found.finding("Superusers left if it is blocked").verdict is Verdict.CRITICAL
        assert [plan["sql"] for plan in found.plans if "NOLOGIN" in str(plan["sql"])] == []


class TestAddress:
    def test_an_address_that_nobody_knows_is_blocked_and_the_login_kept(
        self, job: Settings, elsewhere: int
    ) -> None:
        with session(), session(elsewhere) as raw:
            found = incident(job)
            assert found.recommended == "block the source"
            assert found.finding(ADDRESSES).which == f"{ELSEWHERE} ({LOGIN})"
            [blocked] = [p["command"] for p in found.plans if ELSEWHERE in str(p["command"])]
            assert blocked == f"iptables -I INPUT -s {ELSEWHERE} -j DROP"
            # only the intruder's session, not that of the same login from a known address
            administer(found.sql("Terminate 1 session"))
            with pytest.raises(psycopg.OperationalError):
                raw.execute("SELECT 1")
        assert incident(job).recommended == "wait"


class TestSuspect:
    def test_what_it_does_and_holds_and_read(self, job: Settings) -> None:
        with session() as raw:
            raw.execute("SELECT * FROM orders").fetchall()
            found = incident(job, suspect=LOGIN, bulk_rows=100)
            assert found.recommended == "block the login"
            assert found.finding(SESSIONS).which == "127.0.0.1 (psql)"
            assert found.finding(BULK).verdict is Verdict.WARNING
            assert "orders" in found.finding(BULK).cause
            [target] = found.plan("Terminate 1 session")["targets"]
            assert target["query"] == "SELECT * FROM orders"
        rotation = decision(found, "Is the evidence kept elsewhere?")
        assert rotation.recommended == "not yet"
        assert decision(found, "Who is told?").recommended.startswith("escalate")

    def test_a_name_that_is_no_role(self, shop: Settings) -> None:
        found = incident(shop, suspect="nobody_here")
        assert found.recommended == "escalate"
        assert found.finding("The suspected login").verdict is Verdict.CRITICAL


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of a Prometheus that counts logins, of which half of one are refused."""
    rates = {"success": 1, "failures": 1}
    known = {
        f'login_{kind}_total{{service="shop",login="root",system="db"}}': (
            lambda at, rate=rate: rate * (at + 3600)
        )
        for kind, rate in rates.items()
    }
    with prometheus(tmp_path_factory.mktemp("prometheus"), known=gauges(known)) as found:
        yield found


def test_refused_logins_are_looked_at_where_they_are_counted(
    shop: Settings, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "rbkernel.toml"
    file.write_text(f'[sources.prom]\nkind = "prometheus"\nurl = "http://{address}"\n')
    monkeypatch.setenv("RBKERNEL_CONFIG", str(file))
    found = incident(shop, service="shop")
    assert found.recommended == "look at what is refused (RUN-027, RUN-020)"
    assert "root" in found.finding("Share of refused logins").actual
