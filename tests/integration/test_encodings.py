"""Databases of several encodings on one server, and text among them that is valid in none.

Every diagnostic is asked from each of them while sessions of the others show their own bytes in
pg_stat_activity, one database bears a name that is no UTF-8, and so does a role.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from rbkernel.checks import rules
from rbkernel.checks.answer import provenance
from rbkernel.errors import DatabaseError, QueryError
from rbkernel.model import Verdict
from rbkernel.reconciliation import Question, compare
from rbkernel.sources.postgres import diagnostics, overview
from rbkernel.sources.postgres.connection.session import Session
from tests.support.servers import Servers

ENCODINGS = {
    "enc_utf8": "UTF8",
    "enc_ascii": "SQL_ASCII",
    "enc_latin1": "LATIN1",
    "enc_win": "WIN1252",
    "enc_koi": "KOI8R",
    "enc_euc": "EUC_JP",
    "enc_tw": "EUC_TW",
    "enc_mule": "MULE_INTERNAL",
}
# the last byte begins a character that does not end: functions that count characters fail on it
BYTES = {
    "enc_latin1": b"SELECT 'Zo\xeb \xf0'",
    "enc_ascii": b"SELECT '\xff\xfe\x80'",
    "enc_euc": b"SELECT '\xa4\xa2'",
}
_TABLE = b"""
CREATE TABLE "t\xe9" (id int PRIMARY KEY, "c\xff" text);
INSERT INTO "t\xe9" VALUES (1, 'Zo\xeb');
GRANT SELECT ON "t\xe9" TO rb_diag;
CREATE VIEW named AS SELECT id, "c\xff" FROM "t\xe9";
CREATE VIEW one AS SELECT id, "c\xff" AS c FROM "t\xe9";
CREATE VIEW other AS SELECT id, '\xec' || "c\xff" AS c FROM "t\xe9";
GRANT SELECT ON named, one, other TO rb_diag;
"""


@pytest.fixture(scope="module", autouse=True)
def _databases(server: Servers) -> Iterator[None]:
    with server.access.connect("postgres", dbname="postgres") as raw:
        for name, encoding in ENCODINGS.items():
            raw.execute(
                f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}'"
                " LOCALE_PROVIDER libc LOCALE 'C'".encode()
            )
    with server.access.connect("postgres", dbname="enc_ascii") as raw:
        raw.execute(b"SET client_encoding = SQL_ASCII")
        raw.execute(b'CREATE DATABASE "enc_\xe9" TEMPLATE enc_ascii')
        raw.execute(b'CREATE ROLE "enc_\xf0"')
        raw.execute(_TABLE)
    for name, statement in BYTES.items():
        raw = server.connect(f"bytes-{name}", role="postgres", dbname=name)
        raw.execute(f"SET client_encoding = {ENCODINGS[name]}".encode())
        raw.execute(b"BEGIN")
        raw.execute(statement)
    yield
    server.end_sessions()
    with server.access.connect("postgres", dbname="enc_ascii") as raw:
        raw.execute(b"SET client_encoding = SQL_ASCII")
        raw.execute(b'DROP DATABASE "enc_\xe9"')
        raw.execute(b'DROP ROLE "enc_\xf0"')
    with server.access.connect("postgres") as raw:
        # else they hold its texts for the tests that follow
        raw.execute(
            b"SELECT pg_stat_statements_reset(0, oid, 0) FROM pg_database WHERE datname ~ '^enc_'"
        )
        for name in ENCODINGS:
            raw.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def session_in(server: Servers, name: str) -> Session:
    return Session(server.access.connection("rb_diag", "primary", name), application_name="test")


def test_every_bytes_are_shown(server: Servers) -> None:
    with closing(session_in(server, "enc_utf8")) as session:
        frame = diagnostics.run(session, "activity/transactions", older_than_s=0)
    shown = dict(zip(frame["application"], frame["query"], strict=True))
    assert shown["bytes-enc_latin1"] == r"SELECT 'Zo\xeb \xf0'"
    assert shown["bytes-enc_ascii"] == r"SELECT '\xff\xfe\x80'"
    told = provenance(frame)
    assert told
    assert told.notes == (
        "query: bytes that are not valid text in this encoding are shown as \\xNN",
    )


@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize("name", ENCODINGS)
def test_every_diagnostic_is_answered(server: Servers, name: str) -> None:
    with closing(session_in(server, name)) as session:
        assert session.server.monitor
        assert session.server.role == "rb_diag"
        for diagnostic in diagnostics.names():
            frame = diagnostics.run(session, diagnostic)
            told = provenance(frame)
            assert told
            fit = not diagnostics.inapplicable(session, diagnostic)
            fit = fit and "pg_stat_statements" not in diagnostics.get(diagnostic).needs
            assert bool(told.reason) is not fit, told.reason
            for rule in diagnostics.get(diagnostic).rules:
                rules.apply(rule, frame)


def test_the_texts_of_statements_are_left_out(server: Servers, diag: Session) -> None:
    """pg_stat_statements converts the texts of all databases, and fails for all of them."""
    frame = diagnostics.run(diag, "queries/top")
    told = provenance(frame)
    assert told
    assert told.reason == ""
    assert told.notes[-1].startswith("query: left out")
    assert frame["query"].isna().all()
    assert frame["calls"].max() > 0


def test_the_same_verdicts_from_every_database(server: Servers) -> None:
    found = {}
    for name in ENCODINGS:
        with closing(session_in(server, name)) as session:
            found[name] = {
                finding.title: finding.verdict
                for finding in overview.look(session, topics=("locks/blocking", "locks/prepared"))
            }
    assert set(found["enc_utf8"].values()) == {Verdict.OK}
    assert all(verdicts == found["enc_utf8"] for verdicts in found.values())


def test_values_come_back_where_the_encoding_has_them(server: Servers) -> None:
    for name in ("enc_utf8", "enc_ascii", "enc_latin1", "enc_win"):
        with closing(session_in(server, name)) as session:
            frame = session.query("SELECT :v AS v, 'plain' AS p", {"v": "Zo\u00eb"})
            assert frame["v"][0] == "Zo\u00eb"
    with closing(session_in(server, "enc_latin1")) as session:
        with pytest.raises(QueryError, match="LATIN1"):
            session.query("SELECT :v AS v", {"v": "\u6f22"})
        assert session.query("SELECT 1 AS one")["one"].tolist() == [1]


def test_names_of_columns_are_escaped(server: Servers) -> None:
    with closing(session_in(server, "enc_ascii")) as session:
        frame = session.query("SELECT * FROM named")
        assert list(frame.columns) == ["id", r"c\xff"]
        assert frame.iloc[0, 1] == r"Zo\xeb"
        tables = session.query(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^t'"
        )
    assert r"t\xe9" in tables["relname"].tolist()


def test_messages_of_the_server_are_read(server: Servers) -> None:
    with (
        closing(session_in(server, "enc_ascii")) as session,
        pytest.raises(QueryError, match="does not exist"),
    ):
        session.query('SELECT "c" FROM named')


def test_a_comparison_says_which_value_it_cannot_read(server: Servers) -> None:
    """A key that is not as it was read would be looked for, and reported as missing."""
    question = Question(source="one", target="other", key=("c",))
    with (
        closing(session_in(server, "enc_ascii")) as session,
        pytest.raises((QueryError, DatabaseError), match="invalid byte sequence"),
    ):
        compare(session, session, question, recheck_after_s=0)
