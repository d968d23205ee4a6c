"""One set of servers for all tests of diagnostics."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from rbkernel.postgres.session import Session
from rbkernel.sandbox.access import passfile
from rbkernel.sandbox.home import Home
from tests.conftest import working_sandbox
from tests.integration.places import Place, elsewhere, other_server, place
from tests.integration.servers import Servers, servers


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with servers(tmp_path_factory.mktemp("servers") / "home") as made:
        yield made


@pytest.fixture
def alone(server: Servers) -> Iterator[Servers]:
    yield server
    server.end_sessions()


@pytest.fixture(scope="session")
def diag(server: Servers) -> Iterator[Session]:
    session = server.diagnostic_session()
    yield session
    session.close()


@pytest.fixture(scope="session")
def _places(
    server: Servers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Place, Place]]:
    with other_server(tmp_path_factory.mktemp("other") / "home") as other:
        one, far = place(server, "one", "shop"), other or server
        two = place(far, "two", elsewhere(far))
        yield one, two
        one.raw.close()
        two.raw.close()


@pytest.fixture
def places(_places: tuple[Place, Place]) -> Iterator[tuple[Place, Place]]:
    """Two empty databases: of two major versions where there are two, and of two collations."""
    for each in _places:
        each.clear()
    yield _places
    for each in _places:
        each.drop()


@pytest.fixture
def database(sandbox_home: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A store in PostgreSQL: its URL, and what a process needs besides."""
    with working_sandbox(sandbox_home) as settings:
        port = settings.connections["sandbox-primary"].port
        variables = {"PGPASSFILE": str(passfile(Home(sandbox_home), "postgres"))}
        name = f"store_{time.monotonic_ns()}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PGPASSFILE", variables["PGPASSFILE"])
            server = sa.create_engine(
                f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres",
                isolation_level="AUTOCOMMIT",
                poolclass=sa.NullPool,
            )
            with server.connect() as connection:
                connection.execute(sa.text(f"CREATE DATABASE {name}"))
            yield f"postgresql://postgres@127.0.0.1:{port}/{name}", variables
            with server.connect() as connection:
                connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
