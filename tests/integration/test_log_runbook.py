"""RUN-029 on real servers and a real Prometheus: what fills the disk, and what helps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rbkernel.config import Settings
from rbkernel.model import Verdict
from rbkernel.sandbox import control, processes
from rbkernel.sandbox.home import Home
from rbkernel.sources.postgres import diagnostics
from rbkernel.sources.postgres.connection.session import Session
from tests.support.monitoring import gauges, prometheus
from tests.support.runbooks import Found, administer, look
from tests.support.servers import Servers
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("evidence")

_SIZE = 100 * 2**30
SOON, DISK = "Time until a disk is full", "Disk used"


def disk(used: Callable[[float], float], mountpoint: str, host: str = "h") -> dict[str, Any]:
    where = f'{{instance="{host}",mountpoint="{mountpoint}"}}'
    return {
        f"node_filesystem_avail_bytes{where}": lambda at: _SIZE * (1 - used(at / 3600)),
        f"node_filesystem_size_bytes{where}": float(_SIZE),
    }


def of_logs(path: str, mb_per_h: float) -> dict[str, Any]:
    name = f'log_bytes_total{{service="shop",path="{path}"}}'
    return {name: lambda at: (at + 3600) * mb_per_h * 2**20 / 3600}


# of each address: what its Prometheus knows; hours are counted from now
KNOWN = {
    "fills": {
        **disk(lambda h: 0.7 + 0.06 * h, "/var/log"),
        **disk(lambda h: 0.8, "/"),
        **of_logs("/var/log/shop.log", 6000),
        **of_logs("/var/log/access.log", 20),
    },
    "unexplained": {
        **disk(lambda h: 0.7 + 0.06 * h, "/var/log"),
        **of_logs("/var/log/shop.log", 20),
    },
    "full": {**disk(lambda h: 0.97, "/var/log"), **of_logs("/var/log/shop.log", 20)},
    "hosts": {
        **disk(lambda h: 0.7, "/"),
        **disk(lambda h: 0.97, "/boot", "build1"),
        **of_logs("/var/log/shop.log", 20),
    },
    "fine": {**disk(lambda h: 0.7 - 0.01 * h, "/"), **of_logs("/var/log/shop.log", 20)},
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of a Prometheus; the label `state` says of which state a series is."""
    series: dict[str, Any] = {}
    for state, known in KNOWN.items():
        series |= {f'{name[:-1]},state="{state}"}}': value for name, value in known.items()}
    with prometheus(tmp_path_factory.mktemp("prometheus"), known=gauges(series)) as found:
        yield found


@pytest.fixture
def found(
    shop: Settings, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Found]:
    """Run the runbook on one of the states, with more parameters."""

    def run(state: str, **more: Any) -> Found:
        file = tmp_path / "rbkernel.toml"
        of_it = f'state="{state}"'
        file.write_text(
            f'[sources.prom]\nkind = "prometheus"\nurl = "http://{address}"\n'
            "[queries]\n"
            "'disk/used_ratio' = '''max by (instance, mountpoint) (1 - node_filesystem_avail_bytes"
            f"{{{of_it}}} / node_filesystem_size_bytes{{{of_it}}})'''\n"
            "'logs/growth' = '''sum by (path) (rate(log_bytes_total"
            f"{{service={{service}},{of_it}}}[5m]))'''\n"
        )
        monkeypatch.setenv("RBKERNEL_CONFIG", str(file))
        return look("RUN-029", shop, service="shop", **more)

    return run


class TestDisk:
    def test_room_for_more_than_a_day(self, found: Callable[..., Found]) -> None:
        fine = found("fine")
        assert (fine.outcome.verdict, fine.recommended) == (Verdict.OK, "wait")

    def test_the_log_that_fills_it_is_named(self, found: Callable[..., Found]) -> None:
        full = found("fills")
        assert full.recommended == "stop what repeats in the log"
        assert full.finding(SOON).value == pytest.approx(5, abs=0.3)
        assert full.finding(SOON).verdict is Verdict.WARNING
        assert "/var/log" in full.finding(SOON).cause
        assert "shop.log" in full.finding("Growth of a log of the service").cause
        assert "access.log" not in full.finding("Growth of a log of the service").cause

    def test_a_setting_of_postgresql_is_the_smaller_step(self, found: Callable[..., Found]) -> None:
        administer("ALTER SYSTEM SET log_statement = 'all'")
        administer("SELECT pg_reload_conf()")
        try:
            until(lambda: setting("log_statement") == "all", "the setting is loaded")
            loud = found("full")
            assert loud.recommended == "write less into PostgreSQL's log"
            administer(loud.sql("ALTER SYSTEM SET log_statement"))
            administer("SELECT pg_reload_conf()")
            until(lambda: setting("log_statement") == "ddl", "the setting is loaded")
            assert found("full").recommended == "look for deleted files that are open"
        finally:
            administer("ALTER SYSTEM RESET log_statement")
            administer("SELECT pg_reload_conf()")

    def test_the_disk_of_another_host_says_nothing_of_this_database(
        self, found: Callable[..., Found]
    ) -> None:
        assert found("hosts").recommended == "escalate"
        assert "build1" in found("hosts").finding(DISK).cause
        mine = found("hosts", instance="h")
        assert (mine.outcome.verdict, mine.recommended) == (Verdict.OK, "wait")
        unseen = found("hosts", instance="nobody")
        assert unseen.finding(DISK).verdict is Verdict.UNKNOWN
        assert unseen.recommended != "wait"

    def test_nothing_that_is_known_grows(self, found: Callable[..., Found]) -> None:
        assert found("unexplained").recommended == "look for deleted files that are open"


def setting(name: str) -> str:
    with control.connect_as("postgres") as raw:
        row = raw.execute(b"SELECT current_setting(%s)", [name]).fetchone()
    assert row
    return str(row[0])


def test_without_a_prometheus_the_disk_is_what_df_shows(shop: Settings) -> None:
    plain = look("RUN-029", shop)
    assert plain.outcome.verdict is Verdict.UNKNOWN
    assert plain.recommended != "wait"
    roomy = look("RUN-029", shop, used_pct=40.0)
    assert (roomy.outcome.verdict, roomy.recommended) == (Verdict.OK, "wait")


def test_wal_is_another_runbook(shop: Settings) -> None:
    found = look("RUN-029", shop, "archive-failing")
    assert found.finding("WAL folder").opens in {"", "RUN-018"}


@pytest.fixture
def collected(older: Servers | None, server: Servers) -> Iterator[Servers]:
    """A server that writes files of a log itself."""
    of = older or server

    def restart() -> None:
        processes.stop_server(Home(of.access.home.path), "primary")
        of.cluster.start("primary")
        of.cluster.wait("primary")

    with of.access.connect("postgres") as raw:
        for name, value in (("logging_collector", "on"), ("log_rotation_age", "0")):
            raw.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
        raw.execute(b"ALTER SYSTEM SET log_rotation_size = 0")
    restart()
    yield of
    with of.access.connect("postgres") as raw:
        for name in ("logging_collector", "log_rotation_age", "log_rotation_size"):
            raw.execute(f"ALTER SYSTEM RESET {name}".encode())
    restart()


def rotation(session: Session) -> str:
    """Return what begins a new file of the log: the statement, without its value."""
    settings = diagnostics.run(session, "logs/settings").set_index("setting")
    return str(settings["rotate_sql"]["logging_collector"]).partition(" = ")[0]


def test_files_that_postgresql_writes(collected: Servers) -> None:
    session = collected.diagnostic_session()
    try:
        settings = diagnostics.run(session, "logs/settings").set_index("setting")
        assert settings["unrotated"].to_dict()["logging_collector"]
        assert settings["rotate_sql"]["logging_collector"] == (
            "ALTER SYSTEM SET log_rotation_age = '1d'"
        )
        with collected.access.connect("postgres") as raw:
            raw.execute(b"ALTER SYSTEM SET log_rotation_age = '1d'")
            raw.execute(b"ALTER SYSTEM SET log_filename = 'postgresql.log'")
            raw.execute(b"SELECT pg_reload_conf()")
        until(lambda: rotation(session) == "ALTER SYSTEM SET log_filename", "one file for ever")
        with collected.access.connect("postgres") as raw:
            raw.execute(b"ALTER SYSTEM RESET log_filename")
            raw.execute(b"SELECT pg_reload_conf()")
        until(lambda: rotation(session) == "SELECT pg_rotate_logfile()", "a new file each day")
        frame = diagnostics.run(session, "logs/files", every_s=1)
    finally:
        session.close()
    [row] = frame.to_dict("records")
    assert row["collected"]
    assert row["files"] >= 1
    assert row["largest"].startswith("postgresql-")
    assert row["bytes"] >= row["largest_bytes"] > 0
    assert row["oldest_d"] == pytest.approx(0, abs=0.1)
