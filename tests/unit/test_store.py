"""The gateway's store on SQLite: what is committed is there, once, and can be shown."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rbkernel.errors import StoreError
from rbkernel.evidence.incident import AlertStatus
from rbkernel.gateway.jobs.alert import Alert, Delivery
from rbkernel.gateway.jobs.states import AlertState
from rbkernel.gateway.jobs.storage import storefile
from rbkernel.gateway.jobs.storage.store import Received, Store

pytestmark = pytest.mark.slow

AT = datetime(2026, 11, 20, 3, tzinfo=UTC)
ALERT = Alert(
    source="generic",
    group_key="g",
    fingerprint="f",
    status=AlertStatus.FIRING,
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
    assert oldest.state == AlertState.RECEIVED
    assert oldest.seen == 4
    assert store.counts().alerts == {"received": 2}


def test_a_resolved_alert_is_another_one(store: Store) -> None:
    store.receive(told(ALERT))
    assert store.receive(told(replace(ALERT, status=AlertStatus.RESOLVED))).new == 1


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


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def overwritten(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(b"\xa5" * 20_000)


def text(file: Path) -> None:
    file.write_text("no database at all\n" * 400)


def of_another_program(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")


def folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def behind_a_file(file: Path) -> None:
    file.unlink()
    file.parent.rmdir()
    file.parent.write_text("no folder")


def full_of_nothing(file: Path) -> None:
    file.write_bytes(bytes(8192))


DAMAGES = [emptied, cut, overwritten, text, full_of_nothing]
Damage = Callable[[Path], None]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A store that was closed, alone in its folder."""
    file = tmp_path / "state" / "store.sqlite"
    made = Store.open(f"sqlite:///{file}")
    made.receive(told(ALERT))
    made.close()
    return file


def refused(file: Path) -> StoreError:
    with pytest.raises(StoreError) as caught:
        Store.open(f"sqlite:///{file}")
    assert caught.value.where == str(file)
    return caught.value


@pytest.mark.parametrize("damage", [*DAMAGES, of_another_program])
def test_a_damaged_store_is_refused_and_left_as_it_is(file: Path, damage: Damage) -> None:
    damage(file)
    before = file.read_bytes()
    error = refused(file)
    assert "restore the file from a backup" in error.next_step
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("damage", [folder, behind_a_file])
def test_what_stands_in_the_stores_place_is_to_be_moved(file: Path, damage: Damage) -> None:
    damage(file)
    assert "move away the object at that path" in refused(file).next_step


def test_a_store_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """Whoever dies while it is made leaves no empty store behind, and others make it."""

    def die(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE t (a)")
        raise KeyboardInterrupt

    file = tmp_path / "store.sqlite"
    with pytest.raises(KeyboardInterrupt):
        storefile.prepare(file, die, owner="t")
    assert not file.exists()
    Store.open(f"sqlite:///{file}").close()
    assert storefile.damage(file, "rbkernel_version") == ""


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_queue_is_set_aside_and_made_again(
    file: Path, damage: Damage, caplog: pytest.LogCaptureFixture
) -> None:
    damage(file)
    before = file.read_bytes()
    storefile.prepare_again(file)
    [kept] = file.parent.glob("*.damaged-*")
    assert kept.read_bytes() == before
    assert storefile.damage(file) == ""
    assert "the queue was rebuilt" in caplog.text
    storefile.prepare_again(file)
    assert len([*file.parent.glob("*.damaged-*")]) == 1


def test_a_locked_queue_is_not_taken_for_a_damaged_one(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        storefile.prepare_again(file)
    assert not [*file.parent.glob("*.damaged-*")]


NOBODY = ("unshare", "--user", "--map-user=65534")
OPEN = "import sys; from rbkernel.gateway.jobs.storage.store import Store; Store.open(sys.argv[1])"


@pytest.mark.parametrize(
    ("what", "mode"), [("store.sqlite", 0o000), ("store.sqlite", 0o444), (".", 0o555)]
)
def test_what_this_user_may_not_write_is_to_be_allowed(file: Path, what: str, mode: int) -> None:
    """As another user, since nothing is forbidden to root."""
    within = NOBODY if os.getuid() == 0 else ()
    command = [*within, sys.executable, "-c", OPEN, f"sqlite:///{file}"]
    (file.parent / what).chmod(mode)
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    finally:
        file.parent.chmod(0o700)
    last = done.stderr.splitlines()[-1]
    assert "StoreError" in last
    assert "let this user read and write the file and its folder" in last


@pytest.mark.parametrize("url", ["nonsense", "mysql://db/x", "postgresql://127.0.0.1:1/x"])
def test_a_store_that_cannot_be_used_says_how_to_give_one(url: str) -> None:
    with pytest.raises(StoreError, match=r"Next: "):
        Store.open(url)


def test_other_databases_are_not_known() -> None:
    with pytest.raises(StoreError, match="only SQLite and PostgreSQL are supported"):
        Store.open("mysql://db/x")


def test_a_host_that_nobody_knows_is_what_is_to_be_mended() -> None:
    with pytest.raises(StoreError) as caught:
        Store.open("postgresql://no-such-host.invalid/x")
    assert "correct the host in RBKERNEL_STORE_URL" in caught.value.next_step


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
