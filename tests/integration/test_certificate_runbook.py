"""RUN-028 on real TLS servers: what it recommends, and what that step changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from rbkernel import config
from rbkernel.model import Verdict
from tests.conftest import missing_part
from tests.support.certificates import Made, Server, issued
from tests.support.monitoring import gauges, prometheus, unused_port
from tests.support.runbooks import Found, look
from tests.support.servers import Servers
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("evidence")

ROOT = issued("Root", 900)
ISSUER = issued("Issuer", 500, ROOT)
HERE = ("127.0.0.1", "shop.example")
DAYS = "Days until the certificate expires"


def of_shop(days: float, by: Made = ISSUER, *, names: tuple[str, ...] = HERE) -> Made:
    return issued(names[-1], days, by, names=names)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start a server that sends a certificate; all of them end with the test."""
    with ExitStack() as stack:

        def started(made: Made, **options: Any) -> Server:
            folder = tmp_path / f"server{len(list(tmp_path.iterdir()))}"
            return stack.enter_context(Server(made, folder, **options).running())

        yield started


@pytest.fixture
def found(tmp_path: Path) -> Callable[..., Found]:
    """Run the runbook on servers, as a host that knows the authority."""
    authorities = tmp_path / "root.crt"
    authorities.write_bytes(ROOT.certificate.public_bytes(Encoding.PEM))

    def run(*servers: Server | str, **values: Any) -> Found:
        addresses = [one if isinstance(one, str) else one.address for one in servers]
        given = {"addresses": addresses, "authorities": str(authorities), **values}
        return look("RUN-028", config.load(), **given)

    return run


Serve: TypeAlias = Callable[..., Server]
Run: TypeAlias = Callable[..., Found]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of a Prometheus that probes two servers."""
    days = {"old.example:443": 3, "shop.example:443": 80}
    known = {
        f'probe_ssl_earliest_cert_expiry{{instance="{name}"}}': time.time() + left * 86_400
        for name, left in days.items()
    }
    folder = tmp_path_factory.mktemp("prometheus")
    with prometheus(folder, known=gauges(known)) as found:
        yield found


class TestDecision:
    def test_weeks_are_left(self, serve: Serve, found: Run) -> None:
        healthy = found(serve(of_shop(60)))
        assert (healthy.outcome.verdict, healthy.recommended) == (Verdict.OK, "wait")

    def test_a_renewed_file_is_loaded_by_a_reload(self, serve: Serve, found: Run) -> None:
        server = serve(of_shop(5))
        unread = found(server)
        assert unread.recommended == "compare with the file on its host"
        assert unread.finding(DAYS).verdict is Verdict.CRITICAL
        assert found(server, file="/none").recommended == "compare with the file on its host"
        server.renew(of_shop(89))
        renewed = found(server, file=str(server.file), service="nginx")
        assert renewed.recommended == "reload the service"
        assert renewed.command("Reload the service") == "systemctl reload nginx"
        server.reload()
        after = found(server, file=str(server.file))
        assert (after.outcome.verdict, after.recommended) == (Verdict.OK, "wait")

    def test_a_file_that_ends_as_soon_is_renewed(self, serve: Serve, found: Run) -> None:
        server = serve(of_shop(-1))
        ended = found(server, file=str(server.file))
        assert ended.recommended == "renew the certificate"
        assert ended.finding(DAYS).verdict is Verdict.CRITICAL
        assert ended.command("Renew").endswith("--cert-name 127.0.0.1")

    def test_the_certificate_of_an_issuer_ends_first(self, serve: Serve, found: Run) -> None:
        ending = issued("Old issuer", 6, ROOT)
        early = found(serve(of_shop(60, ending)))
        assert early.recommended == "install the issuer's new certificate"
        assert early.finding(DAYS).ok
        assert "CN=Old issuer" in early.headline

    def test_the_one_server_that_was_forgotten_is_named(self, serve: Serve, found: Run) -> None:
        servers = [serve(of_shop(80)), serve(of_shop(4)), serve(of_shop(80))]
        one = found(*servers)
        assert one.recommended == "compare with the file on its host"
        assert servers[1].address in one.finding(DAYS).cause
        assert servers[0].address not in one.finding(DAYS).cause


class TestProbes:
    """What a Prometheus knows of other servers; real, with values of now."""

    @pytest.fixture
    def configured(self, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / "rbkernel.toml"
        file.write_text(f'[sources.prom]\nkind = "prometheus"\nurl = "http://{address}"\n')
        monkeypatch.setenv("RBKERNEL_CONFIG", str(file))

    def test_another_server_than_this_one_is_near_its_end(
        self, serve: Serve, found: Run, configured: None
    ) -> None:
        fine = found(serve(of_shop(60)))
        assert fine.recommended == "look at the certificate that the probe names"
        seen = fine.finding("Time until a certificate that a probe sees expires")
        assert seen.verdict is Verdict.CRITICAL
        assert "old.example:443" in seen.cause
        assert "shop.example" not in seen.cause

    def test_one_s_own_certificate_comes_before_it(
        self, serve: Serve, found: Run, configured: None
    ) -> None:
        server = serve(of_shop(5))
        assert found(server, file=str(server.file)).recommended == "renew the certificate"


class TestTrust:
    def test_the_certificate_of_another_host(self, serve: Serve, found: Run) -> None:
        other = found(serve(of_shop(60, names=("cart.example",))))
        assert other.recommended == "install the certificate of this host"
        assert found(serve(of_shop(60)), host_name="shop.example").recommended == "wait"

    def test_an_issuer_that_is_not_sent(self, serve: Serve, found: Run) -> None:
        alone = found(serve(of_shop(60), chain=False))
        assert alone.recommended == "escalate"
        assert alone.finding("Trust in the certificate").verdict is Verdict.CRITICAL

    def test_an_authority_that_is_not_known_here_is_no_finding_of_the_server(
        self, serve: Serve, found: Run
    ) -> None:
        private = found(serve(of_shop(60)), authorities="")
        assert (private.outcome.verdict, private.recommended) == (Verdict.UNKNOWN, "escalate")

    def test_no_server(self, found: Run) -> None:
        with unused_port() as port:
            silent = found(f"127.0.0.1:{port}")
        assert (silent.outcome.verdict, silent.recommended) == (Verdict.UNKNOWN, "escalate")


def test_postgresql_loads_a_renewed_certificate_with_a_reload(
    older: Servers | None, tmp_path: Path, found: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Debian's PostgreSQL: that of the wheel is built without TLS."""
    if older is None:
        missing_part("PostgreSQL 15 is not installed: `make debian`")
    connection = older.access.connection("rb_diag", "primary")
    folder = older.access.home.path / "tls"
    file, key = of_shop(3).write(folder)
    monkeypatch.setenv("RBKERNEL_CONFIG", str(tmp_path / "rbkernel.toml"))
    (tmp_path / "rbkernel.toml").write_text(
        f"[connections.shop]\nhost = '{connection.host}'\nport = {connection.port}\n"
        f"dbname = '{connection.dbname}'\nuser = 'rb_diag'\npassfile = '{connection.passfile}'\n"
        f"sslrootcert = '{tmp_path / 'root.crt'}'\n"
    )
    with older.access.connect("postgres") as raw:
        for setting in (f"ssl_cert_file = '{file}'", f"ssl_key_file = '{key}'", "ssl = on"):
            raw.execute(f"ALTER SYSTEM SET {setting}".encode())
        loaded = "SELECT pg_conf_load_time() > %s::timestamptz AND current_setting('ssl') = 'on'"

        def load() -> None:
            began = raw.execute(b"SELECT clock_timestamp()::text").fetchone()
            assert began
            raw.execute(b"SELECT pg_reload_conf()")
            until(
                lambda: raw.execute(loaded.encode(), began).fetchall() == [(True,)],
                "the server has loaded its settings",
            )

        def is_encrypted() -> bool:
            target = (
                f"host={connection.host} port={connection.port} dbname={connection.dbname}"
                f" user=rb_diag passfile={connection.passfile} sslmode=require"
            )
            with suppress(psycopg.OperationalError), psycopg.connect(target):
                return True
            return False

        load()
        # a server loads its certificate after its settings: else it may load the renewed one
        until(is_encrypted, "the server has loaded its certificate")
        of_shop(90).write(folder)
        before = found(server="shop", file=str(file))
        assert before.recommended == "reload the service"
        assert before.finding(DAYS).verdict is Verdict.CRITICAL
        load()
        after = found(server="shop", file=str(file))
        assert (after.outcome.verdict, after.recommended) == (Verdict.OK, "wait")


def test_postgresql_without_tls(shop: config.Settings, found: Run) -> None:
    plain = found(server="sandbox-primary")
    assert (plain.outcome.verdict, plain.recommended) == (Verdict.UNKNOWN, "escalate")
    assert "TLS switched off" in plain.finding(DAYS).actual
