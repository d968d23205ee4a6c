"""One set of servers for all tests of diagnostics."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rbkernel.postgres.session import Session
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
