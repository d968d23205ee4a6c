"""Column policies on rows of a real server: what a cell gets, and what a diagnostic still says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rbkernel.checks.answer import provenance
from rbkernel.redact.columns import Redaction
from rbkernel.sources.postgres import diagnostics
from rbkernel.sources.postgres.connection.session import Session
from tests.support.servers import Servers

POLICIES = {"email": "hash", "*_iban": "mask", "note": "drop", "usename": "drop"}
PEOPLE = """
SELECT id, 'p' || id % 2 || '@example.org' AS email, NULLIF('DE' || id, 'DE1') AS from_iban,
       'n' AS note, 'md5x' AS rolpassword
FROM generate_series(1, 3) AS id
"""


@pytest.fixture
def guarded(server: Servers) -> Iterator[Session]:
    plain = server.diagnostic_session()
    rules = Redaction.model_validate({"columns": POLICIES})
    connection = plain.connection.model_copy(update={"redaction": rules})
    plain.close()
    session = Session(connection, application_name="test")
    yield session
    session.close()


def test_a_cell_never_has_the_value(guarded: Session) -> None:
    frame = guarded.query(PEOPLE)
    assert list(frame.columns) == ["id", "email", "from_iban", "rolpassword"]
    first, second, third = frame["email"]
    assert first == third != second
    assert "example.org" not in frame.to_csv()
    assert frame["from_iban"].tolist() == [None, "[masked]", "[masked]"]
    assert set(frame["rolpassword"]) == {"[masked]"}
    told = provenance(frame)
    assert told
    assert told.protected == {
        "email": "hash",
        "from_iban": "mask",
        "note": "drop",
        "rolpassword": "mask",
    }


def test_a_diagnostic_keeps_its_columns(guarded: Session) -> None:
    name = "connections/holders"
    frame = diagnostics.run(guarded, name, stuck_after_s=60)
    assert list(frame.columns) == list(diagnostics.get(name).columns)
    told = provenance(frame)
    assert told
    assert not told.reason
