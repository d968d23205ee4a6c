"""A sandbox of a test module's own, the ways into it, and sessions whose guard is off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rbkernel.config import Connection
from rbkernel.sandbox import control
from rbkernel.sandbox.access import Access, Role, Server
from rbkernel.sandbox.home import Home
from rbkernel.sources.postgres.connection import driver
from rbkernel.sources.postgres.connection.session import Session


class Unguarded(Session):
    """Sends whatever it is given, as whatever role: only the server refuses."""

    def _check(self, sql: str) -> None:
        """Let everything through."""

    def excess(self) -> list[str]:
        """Take any role."""
        return []


@contextmanager
def sandbox(folder: Path) -> Iterator[Access]:
    """Build a sandbox in the folder, and take it away."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RBKERNEL_SANDBOX", str(folder / "sandbox"))
        try:
            status = control.up()
            assert status.primary_port
            assert status.standby_port
            yield Access(
                home=Home.configured(),
                primary_port=status.primary_port,
                standby_port=status.standby_port,
            )
        finally:
            control.down()


def connection(
    access: Access, role: Role = "rb_diag", server: Server = "primary", **fields: Any
) -> Connection:
    """How a role reaches the sandbox, with some fields changed."""
    return access.connection(role, server).model_copy(update={"name": "patient", **fields})


def ask(access: Access, sql: str, *, server: Server = "primary") -> list[tuple[Any, ...]]:
    """What the superuser is told."""
    with access.connect("postgres", server) as raw:
        cursor = raw.execute(sql.encode())
        return list(cursor.fetchall()) if cursor.description else []


def administrate(raw: driver.RawConnection, sql: str) -> None:
    """Run a script of several statements, as psql would."""
    raw.execute(sql.encode())
