"""The version of the store's tables: upgrade an older store, refuse a newer store.

`tables` describes the newest version, and new stores are made from it. `migrations` holds an
alembic script for each version, which upgrades from the previous version. The store's own table
holds the version number. Every rbkernel reads this number, so that an older rbkernel refuses a
newer store. The table also names the rbkernel that wrote the store, so that the refusal can name
the needed version.

All functions run in one transaction of a process that holds the store exclusively: a failed step
changes nothing.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from rbkernel.errors import OlderStore, StoreError
from rbkernel.gateway.jobs.storage import tables

_RBKERNEL = version("rbkernel")
_MIGRATIONS = Path(__file__).with_name("migrations")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SchemaVersion:
    """The version of a store, and of the rbkernel that wrote it (unknown in store version 1)."""

    number: int
    rbkernel: str

    @property
    def is_older(self) -> bool:
        """Whether the tables must be upgraded before this rbkernel can use them."""
        return self.number < tables.VERSION


def read(connection: Connection) -> SchemaVersion | None:
    """Return the version of a store; None if the store has no tables yet."""
    if not sa.inspect(connection).has_table(tables.version.name):
        return None
    # all columns of this table: an older version has fewer, a newer one may have more
    row = connection.exec_driver_sql(f"SELECT * FROM {tables.version.name}").mappings().first()
    if row is None:
        return None
    return SchemaVersion(number=row["version"], rbkernel=row.get("rbkernel") or "")


def create(connection: Connection) -> None:
    """Create the tables of a new store, and store their version."""
    tables.metadata.create_all(connection)
    connection.execute(sa.insert(tables.version).values(_current()))


def upgrade(connection: Connection, found: SchemaVersion) -> None:
    """Upgrade the tables of an older store, version by version."""
    # the import takes a second, and is needed only for an upgrade
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(_MIGRATIONS, version_locations=[_MIGRATIONS])
    steps = [*scripts.iterate_revisions(_revision(tables.VERSION), _revision(found.number))]
    with Operations.context(MigrationContext.configure(connection)):
        for step in reversed(steps):
            step.module.upgrade()
    connection.execute(sa.update(tables.version).values(_current()))
    _log.info("the store was upgraded from version %d to %d", found.number, tables.VERSION)


def require_current(found: SchemaVersion, where: str) -> None:
    """Check that this rbkernel can use the store without an upgrade.

    Raises
    ------
    OlderStore
        The store must be upgraded.
    StoreError
        The store is newer than this rbkernel.
    """
    if found.is_older:
        raise OlderStore(
            f"the store has version {found.number}, and this rbkernel {_RBKERNEL} needs"
            f" version {tables.VERSION}",
            where=where,
            next_step="start `rbkernel serve` of this version, which upgrades the store, then"
            " repeat this",
        )
    if found.number > tables.VERSION:
        needed = f"rbkernel {found.rbkernel} or later" if found.rbkernel else "a later rbkernel"
        raise StoreError(
            f"the store has version {found.number} and needs {needed}; this is rbkernel"
            f" {_RBKERNEL}, which knows version {tables.VERSION}",
            where=where,
            next_step=f"install {needed}, restore a backup from before the upgrade (SQLite: the"
            " file with .backup- in its name, beside the store), or set RBKERNEL_STORE_URL to"
            " another store",
        )


def _current() -> dict[str, object]:
    return {"version": tables.VERSION, "rbkernel": _RBKERNEL}


def _revision(number: int) -> str:
    """Return alembic's revision name for a version.

    >>> _revision(2)
    '0002'
    """
    return f"{number:04}"
