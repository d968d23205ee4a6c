"""A store of another version: an older one is upgraded by `serve` alone, a newer one is refused."""

from __future__ import annotations

import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

import rbkernel
from rbkernel.errors import StoreError
from rbkernel.gateway.jobs.storage import schema_version, storefile, tables
from rbkernel.gateway.jobs.storage.store import Store
from rbkernel.gateway.notify.outbox import NotificationState

FROZEN = Path(__file__).parents[1] / "corpora" / "written_by_0_1_0"
MIGRATIONS = Path(schema_version.__file__).with_name("migrations")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A store that version 0.1.0 wrote, before there were migrations."""
    file = tmp_path / "state" / "gateway.sqlite"
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript((FROZEN / "store.sqlite.sql").read_text())
        connection.execute("PRAGMA journal_mode = WAL")
    return file


def url(file: Path) -> str:
    return f"sqlite:///{file}"


def dump(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return [*connection.iterdump()]


def version_of(file: Path) -> tuple[object, ...]:
    with closing(sqlite3.connect(file)) as connection:
        return tuple(connection.execute("SELECT * FROM rbkernel_version").fetchone())


def test_an_upgraded_store_has_the_tables_of_a_new_one(file: Path) -> None:
    Store.open(url(file), upgrade=True).close()
    engine = sa.create_engine(url(file))
    with engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, tables.metadata) == []
    engine.dispose()
    assert version_of(file) == (tables.VERSION, rbkernel.__version__)


def test_there_is_a_script_for_each_version() -> None:
    scripts = ScriptDirectory(MIGRATIONS, version_locations=[MIGRATIONS])
    revisions = [int(step.revision) for step in scripts.walk_revisions()]
    assert revisions == [*range(tables.VERSION, 0, -1)]


def test_what_was_in_it_is_in_it(file: Path) -> None:
    store = Store.open(url(file), upgrade=True)
    counts = store.counts()
    assert counts.jobs == {"done": 1, "queued": 1}
    assert counts.outcomes == {"started": 2, "no run": 1}
    assert counts.quarantined == 1
    assert store.quarantined_bytes(1) == b'{"name": '
    of_notifications = tables.notifications.c
    pending = sa.select(of_notifications.event).where(
        of_notifications.state == NotificationState.PENDING
    )
    assert any("The shop answers slowly" in row.event for row in store.read(pending))
    store.probe()
    store.close()


def test_it_is_backed_up_first_beside_it(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = dump(file)
    with caplog.at_level("INFO"):
        Store.open(url(file), upgrade=True).close()
    [backup] = file.parent.glob("*.backup-*")
    assert backup.name.startswith("gateway.sqlite.backup-version-1-20")
    assert dump(backup) == before != dump(file)
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert str(backup) in caplog.text
    assert "upgraded from version 1 to 2" in caplog.text


def test_without_room_for_a_backup_nothing_is_changed(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_file: Path, _label: str) -> Path:
        raise storefile.unusable(file, OSError(28, "No space left on device"))

    before = dump(file)
    monkeypatch.setattr(storefile, "back_up", full)
    with pytest.raises(StoreError, match="No space left"):
        Store.open(url(file), upgrade=True)
    assert dump(file) == before


def test_a_step_that_fails_changes_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = file.parent / "migrations"
    folder.mkdir()
    for script in MIGRATIONS.glob("v*.py"):
        (folder / script.name).write_text(
            script.read_text() + '    op.execute("SELECT 1 FROM no_such_table")\n'
        )
    first = folder / "v0001_first.py"
    first.write_text((MIGRATIONS / first.name).read_text())
    before = dump(file)
    monkeypatch.setattr(schema_version, "_MIGRATIONS", folder)
    with pytest.raises(StoreError, match="no_such_table"):
        Store.open(url(file), upgrade=True)
    assert dump(file) == before


def test_of_several_that_start_together_one_upgrades(file: Path) -> None:
    def start(_number: int) -> None:
        Store.open(url(file), upgrade=True).close()

    with ThreadPoolExecutor(6) as several:
        assert [*several.map(start, range(6))] == [None] * 6
    assert len([*file.parent.glob("*.backup-*")]) == 1


def test_a_gateway_of_version_1_that_still_runs_can_do_no_harm(file: Path) -> None:
    """Asked whether it is ready, it writes its own version into the store."""
    Store.open(url(file), upgrade=True).close()
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE rbkernel_version SET version = 1")
    Store.open(url(file), upgrade=True).close()
    assert version_of(file) == (tables.VERSION, rbkernel.__version__)


def test_only_serve_upgrades(file: Path) -> None:
    before = dump(file)
    with pytest.raises(StoreError, match=r"has version 1, and .* needs version 2") as caught:
        Store.open(url(file))
    assert "start `rbkernel serve`" in caught.value.next_step
    assert dump(file) == before


@pytest.mark.parametrize("upgrade", [True, False])
def test_a_newer_store_names_the_rbkernel_that_it_needs(file: Path, upgrade: bool) -> None:
    Store.open(url(file), upgrade=True).close()
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE rbkernel_version SET version = 99, rbkernel = '3.7.1'")
        connection.execute("ALTER TABLE rbkernel_version ADD COLUMN later TEXT")
    before = dump(file)
    with pytest.raises(StoreError, match=r"version 99 and needs rbkernel 3\.7\.1 or later") as told:
        Store.open(url(file), upgrade=upgrade)
    assert "install rbkernel 3.7.1 or later" in told.value.next_step
    assert "backup" in told.value.next_step
    assert dump(file) == before


def test_an_asked_gateway_leaves_the_version_as_it_is(file: Path) -> None:
    store = Store.open(url(file), upgrade=True)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE rbkernel_version SET version = 99")
    store.probe()
    store.close()
    assert version_of(file)[0] == 99
