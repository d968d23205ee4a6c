"""`rbkernel why` gives a command that opens the right runbook on the right servers."""

from __future__ import annotations

import pytest

from rbkernel.cli.why import _parameters
from rbkernel.config import Connection, Settings
from rbkernel.model import Verdict
from rbkernel.sources.postgres.causes import Cause
from rbkernel.sources.postgres.situation import Situation

SETTINGS = Settings(
    connections={
        "orders": Connection(name="orders", host="db1", dbname="shop", standby="copy"),
        "copy": Connection(name="copy", host="db2", dbname="shop"),
        "alone": Connection(name="alone", host="db3", dbname="shop"),
    }
)


@pytest.mark.parametrize(
    ("opens", "connection", "standby", "expected"),
    [
        ("RUN-005", "orders", False, "-p db=orders"),
        ("RUN-005", "copy", True, "-p db=orders -p standby=copy"),
        ("RUN-005", "alone", True, "-p db=<primary> -p standby=alone"),
        ("RUN-007", "copy", True, "-p db=copy"),
    ],
)
def test_the_runbook_on_replication_gets_both_servers(
    opens: str, connection: str, standby: bool, expected: str
) -> None:
    cause = Cause(headline="", mechanism="", verdict=Verdict.CRITICAL, opens=opens)
    seen = Situation(connection=connection, at="", usable=97, standby=standby)
    assert _parameters(cause, seen, SETTINGS) == expected
