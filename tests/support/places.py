"""Two places that hold tables to compare: one database, two of one server, two servers.

The other server is of another major version (Debian's 15) where there is one, and its database
sorts text by another collation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rbkernel.config import Connection
from rbkernel.reconciliation import Outcome, Question, compare
from rbkernel.sources.postgres.connection.driver import RawConnection
from rbkernel.sources.postgres.connection.session import Session
from tests.support.servers import Servers, servers

_OTHER = Path("/usr/lib/postgresql/15/bin")
# made anew for each test; the diagnostic role may read what is in it
_SCHEMA = """
CREATE SCHEMA pairs;
GRANT USAGE ON SCHEMA pairs TO rb_diag;
ALTER DEFAULT PRIVILEGES IN SCHEMA pairs GRANT SELECT ON TABLES TO rb_diag;
"""


@dataclass(frozen=True)
class Place:
    """A database, its administrator, and how the diagnostic role gets there."""

    name: str
    raw: RawConnection
    connection: Connection

    def run(self, script: str) -> None:
        """Run a script in the schema of the test."""
        self.raw.execute(f"SET search_path = pairs; {script}".encode())

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        self.raw.execute(b"SET search_path = pairs")
        return self.raw.execute(statement.encode()).fetchall()

    def clear(self) -> None:
        self.drop()
        self.raw.execute(_SCHEMA.encode())

    def drop(self) -> None:
        # a script may have left its transaction open
        self.raw.execute(b"ROLLBACK")
        self.raw.execute(b"DROP SCHEMA IF EXISTS pairs CASCADE")

    def session(self, **fields: Any) -> Session:
        changed = self.connection.model_copy(update={"name": self.name, **fields})
        return Session(changed, application_name="reconcile-test")


def place(of: Servers, name: str, dbname: str) -> Place:
    raw = of.access.connect("postgres", dbname=dbname)
    return Place(name, raw, of.access.connection("rb_diag", "primary", dbname=dbname))


def elsewhere(of: Servers) -> str:
    """Create a database that sorts by other rules than the sandbox's."""
    with of.access.connect("postgres") as raw:
        raw.execute(
            b"CREATE DATABASE elsewhere TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de'"
        )
    return "elsewhere"


@contextmanager
def other_server(folder: Path) -> Iterator[Servers | None]:
    """Start a server of another major version; None where its programs are not installed."""
    if not (_OTHER / "initdb").exists():
        yield None
        return
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:  # other tests go on with their own programs
            patch.setenv("RBKERNEL_PG_BIN", str(_OTHER))
            made = stack.enter_context(servers(folder))
        yield made


def answer(one: Place, other: Place, question: Question, **options: Any) -> Outcome:
    """Compare, looking once unless told otherwise."""
    options = {"recheck_after_s": 0, **options}
    with closing(one.session()) as source:
        if one is other:
            return compare(source, source, question, **options)
        with closing(other.session()) as target:
            return compare(source, target, question, **options)


def found(outcome: Outcome) -> dict[tuple[str, ...], tuple[str, set[str]]]:
    """Key → kind and columns."""
    return {one.key: (one.kind, set(one.columns)) for one in outcome.differences}
