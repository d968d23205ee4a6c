"""The SQLite that comes with Python may be older than Python is."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from rbkernel.config import Settings
from rbkernel.errors import StoreError
from rbkernel.gateway.assembly import must_be_set
from rbkernel.gateway.jobs.storage import old_sqlite
from rbkernel.gateway.jobs.storage.store import Store
from rbkernel.sandbox import demo


def test_a_default_with_milliseconds_is_filled_in(tmp_path: Path) -> None:
    with closing(old_sqlite.Connection(tmp_path / "a.sqlite")) as connection:
        connection.execute(
            "CREATE TABLE t (n, at INTEGER NOT NULL DEFAULT (unixepoch('subsec') * 1000))"
        )
        connection.execute("INSERT INTO t (n) VALUES (1)")
        (at,) = connection.execute("SELECT at FROM t").fetchone()
    assert abs(at / 1000 - time.time()) < 60


def open_store() -> None:
    Store.open(Settings().store_url)


def start_serve() -> None:
    must_be_set(Settings())


@pytest.mark.parametrize("start", [open_store, start_serve, demo.show])
def test_a_sqlite_that_is_too_old_is_refused_by_name_and_nothing_is_made(
    start: Callable[[], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "made" / "gateway.sqlite"
    monkeypatch.setenv("RBKERNEL_STORE_URL", f"sqlite:///{file}")
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.34.1")
    with pytest.raises(StoreError, match=r"SQLite 3\.34\.1 of Python 3\..* 3\.35 or later") as told:
        start()
    assert "PostgreSQL" in told.value.next_step
    assert not file.parent.exists()


def test_a_store_in_postgresql_needs_no_sqlite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 7, 0))
    old_sqlite.refuse_too_old("postgresql://store/rbkernel")
