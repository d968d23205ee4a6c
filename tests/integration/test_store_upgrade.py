"""A store that version 0.1.0 wrote, upgraded by a real `rbkernel serve`, which goes on from it."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

import rbkernel
from rbkernel.gateway.jobs.states import JobState
from rbkernel.gateway.jobs.storage import tables
from rbkernel.gateway.jobs.storage.store import Store
from tests.support.gateways import Place

FROZEN = Path(__file__).parents[1] / "corpora" / "written_by_0_1_0"


@pytest.fixture
def gateway(tmp_path: Path) -> Place:
    """What a gateway of version 0.1.0 left behind."""
    folder = tmp_path / "gateway"
    shutil.copytree(FROZEN, folder)
    file = folder / "gateway.sqlite"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript((FROZEN / "store.sqlite.sql").read_text())
    return Place(folder, f"sqlite:///{file}", {"FROZEN_TARGET": "json://127.0.0.1:9/"})


def test_serve_upgrades_it_and_does_what_was_queued(gateway: Place) -> None:
    with gateway.process("serve", "--port", "0") as serving:
        serving.await_text("upgraded from version 1 to 2")
        gateway.until(lambda store: store.counts().jobs == {JobState.DONE: 2})
        assert serving.end() == 0


@pytest.mark.parametrize(
    "command", [("worker",), ("notify",), ("serve", "--check")], ids=lambda command: command[0]
)
def test_others_leave_it_to_serve(gateway: Place, command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rbkernel", *command],
        env={**os.environ, **gateway.variables},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode != 0
    assert "start `rbkernel serve` of this version" in done.stdout + done.stderr
    assert not [*gateway.folder.glob("*.backup-*")]


def test_in_postgresql_the_backup_is_the_users(
    database: tuple[str, dict[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    url, _variables = database
    engine = tables.engine(tables.address(url))
    with engine.begin() as connection:
        connection.exec_driver_sql((FROZEN / "store.postgresql.sql").read_text())
    with caplog.at_level(logging.INFO):
        store = Store.open(url, upgrade=True)
    assert "makes no backup" in caplog.text
    assert "upgraded from version 1 to 2" in caplog.text
    assert store.counts().jobs == {"done": 1, "queued": 1}
    assert store.quarantine("generic", b"after", "test") == 2
    with engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, tables.metadata) == []
        row = connection.execute(sa.select(tables.version)).one()
        assert tuple(row) == (tables.VERSION, rbkernel.__version__)
    store.close()
    engine.dispose()
