"""One set of servers for all tests of diagnostics."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rbkernel.postgres.session import Session
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
