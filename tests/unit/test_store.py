"""The gateway's store on SQLite: what is committed is there, once, and can be shown."""

from __future__ import annotations

import sqlite3
import stat
import threading
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rbkernel.errors import StoreError
from rbkernel.gateway.alert import Alert, Delivery, Status
from rbkernel.gateway.records import StoredAlert
from rbkernel.gateway.store import Received, Store

AT = datetime(2026, 11, 20, 3, tzinfo=UTC)
ALERT = Alert(
    source="generic",
    group_key="g",
    fingerprint="f",
    status=Status.FIRING,
    starts_at=AT,
    labels={"alertname": "Lag", "odd": "\0 \ud800 'x'"},
)


def told(*alerts: Alert) -> Delivery:
    return Delivery(source="generic", alerts=alerts)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(f"sqlite:///{tmp_path}/store.sqlite")


def test_an_alert_is_there_once_however_often_it_is_told(store: Store) -> None:
    other = replace(ALERT, fingerprint="other")
    assert store.receive(told(ALERT, ALERT)) == Received(new=1, repeated=1)
    assert store.receive_all([told(ALERT), told(other, ALERT), told(other)]) == [
        Received(new=0, repeated=1),
        Received(new=1, repeated=1),
        Received(new=0, repeated=1),
    ]
    newest, oldest = store.alerts()
    assert (newest.alert, oldest.alert) == (other, ALERT)
    assert oldest.state == StoredAlert.RECEIVED
    assert oldest.seen == 4
    assert store.counts().alerts == {"received": 2}


def test_a_resolved_alert_is_another_one(store: Store) -> None:
    store.receive(told(ALERT))
    assert store.receive(told(replace(ALERT, status=Status.RESOLVED))).new == 1


def test_many_threads_add_each_alert_once(store: Store) -> None:
    alerts = [replace(ALERT, fingerprint=str(number)) for number in range(40)]
    new: list[int] = []

    def send() -> None:
        new.extend(
            store.receive(told(*alerts[start : start + 10])).new for start in (0, 10, 20, 30)
        )

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(new) == 40
    assert store.counts().alerts == {"received": 40}


def test_unreadable_bytes_are_kept_whole(store: Store) -> None:
    raw = b"\0\xff{" * 2_000
    number = store.quarantine("grafana", raw, "no JSON")
    (kept,) = store.quarantined()
    assert (kept.number, kept.reason, kept.size_bytes) == (number, "no JSON", 6_000)
    assert raw.startswith(kept.beginning)
    assert store.quarantined_bytes(number) == raw
    assert store.quarantined_bytes(number + 1) is None


def test_a_locked_store_says_so_and_loses_nothing(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "store.sqlite"
    with closing(sqlite3.connect(file, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            store.receive(told(ALERT))
        holder.execute("ROLLBACK")
    store.probe()
    assert store.receive(told(ALERT)).new == 1


def test_a_store_of_another_version_is_refused(store: Store, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as connection, connection:
        connection.execute("UPDATE rbkernel_version SET version = 99")
    with pytest.raises(StoreError, match="version 99"):
        Store.open(f"sqlite:///{tmp_path}/store.sqlite")


@pytest.mark.parametrize("url", ["nonsense", "mysql://db/x", "postgresql://127.0.0.1:1/x"])
def test_a_store_that_cannot_be_used_says_how_to_give_one(url: str) -> None:
    with pytest.raises(StoreError, match=r"Next: "):
        Store.open(url)


def test_other_databases_are_not_known() -> None:
    with pytest.raises(StoreError, match="only SQLite and PostgreSQL are known"):
        Store.open("mysql://db/x")


def test_a_host_that_nobody_knows_is_what_is_to_be_mended() -> None:
    with pytest.raises(StoreError) as caught:
        Store.open("postgresql://no-such-host.invalid/x")
    assert "mend the host in RBKERNEL_STORE_URL" in caught.value.next_step


def test_its_files_are_for_their_owner_alone(store: Store, tmp_path: Path) -> None:
    store.probe()
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(found) > 1  # the log that is written ahead, too
    assert set(found.values()) == {0o600}


def test_an_empty_store_shows_nothing(store: Store) -> None:
    assert not store.alerts()
    assert not store.jobs()
    assert not store.workers()
    assert store.job_of_run("20261120T030211Z-3fa9c1") is None
    assert store.counts().waiting == 0
    assert store.counts().oldest_alert_s is None
