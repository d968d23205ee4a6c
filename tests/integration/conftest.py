"""One set of servers for all tests of diagnostics."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from rbkernel.forkserver import client as forkserver
from rbkernel.forkserver import place as forkserver_place
from rbkernel.forkserver.place import SWITCH
from rbkernel.sandbox.access import passfile
from rbkernel.sandbox.home import Home
from rbkernel.sources.postgres import diagnostics
from rbkernel.sources.postgres.connection.session import Session
from tests.conftest import working_sandbox
from tests.support.places import Place, elsewhere, other_server, place
from tests.support.servers import Servers, servers
from tests.support.waiting import until


@pytest.fixture(params=["forked", "plain"])
def each_start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with kernels from the fork server, and again with kernels as new processes."""
    start: str = request.param
    monkeypatch.setenv(SWITCH, "on" if start == "forked" else "off")
    if start == "forked":
        socket = forkserver_place.place_for(os.environ).socket
        forkserver.prepare(os.environ)
        until(socket.exists, "the fork server")
    return start


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


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Say what happens between two looks of a diagnostic, in the place of waiting."""

    def given(effect: Callable[[], object]) -> None:
        waits = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: effect())
        monkeypatch.setattr(diagnostics, "time", waits)

    return given


@pytest.fixture
def no_pause(meanwhile: Callable[[Callable[[], object]], None]) -> None:
    """Diagnostics that look twice do so at once."""
    meanwhile(lambda: None)


@pytest.fixture(scope="session")
def older(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers | None]:
    """A server of the oldest version that is supported; None where it is not installed."""
    with other_server(tmp_path_factory.mktemp("other") / "home") as other:
        yield other


@pytest.fixture(scope="session")
def _places(server: Servers, older: Servers | None) -> Iterator[tuple[Place, Place]]:
    one, far = place(server, "one", "shop"), older or server
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
