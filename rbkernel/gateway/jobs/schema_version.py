"""The version of the store's tables: an older store is upgraded, a newer one is refused.

`tables` describes the newest version, and new stores are made from it. `migrations` holds a script
of alembic for each version: the step from the one before. The version is a number in the store's
own table, which every rbkernel reads, so that an older rbkernel refuses a newer store. Beside it
stands which rbkernel wrote it, so that the refusal can say what is needed.

Everything here runs in one transaction of whoever holds the store alone: a step that fails changes
nothing.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from rbkernel.errors import OlderStore, StoreError
from rbkernel.gateway.jobs import tables

_RBKERNEL = version("rbkernel")
_MIGRATIONS = Path(__file__).with_name("migrations")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SchemaVersion:
    """The version of a store, and the rbkernel that wrote it; version 1 does not name it."""

    number: int
    rbkernel: str

    @property
    def is_older(self) -> bool:
        """Whether the tables have to be changed before this rbkernel can use them."""
        return self.number < tables.VERSION


def read(connection: Connection) -> SchemaVersion | None:
    """Return the version of a store; None where its tables were not made yet."""
    if not sa.inspect(connection).has_table(tables.version.name):
        return None
    # all columns that there are: an older version has fewer of them, a newer one may have more
    row = connection.exec_driver_sql(f"SELECT * FROM {tables.version.name}").mappings().first()
    if row is None:
        return None
    return SchemaVersion(number=row["version"], rbkernel=row.get("rbkernel") or "")


def create(connection: Connection) -> None:
    """Make the tables of a new store."""
    tables.metadata.create_all(connection)
    connection.execute(sa.insert(tables.version).values(_current()))


def upgrade(connection: Connection, found: SchemaVersion) -> None:
    """Change the tables of an older store, step by step."""
    # takes a second to import, and is needed once for each version
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
    """Check that this rbkernel can use a store as it is.

    Raises
    ------
    OlderStore
        It has to be upgraded.
    StoreError
        It is newer.
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
    """Return the name that alembic's scripts have for a version.

    >>> _revision(2)
    '0002'
    """
    return f"{number:04}"
