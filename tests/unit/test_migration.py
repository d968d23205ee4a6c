"""What statements of a migration lock, and what `rb.migration` concludes from it."""

from __future__ import annotations

import pytest

from rbkernel.model import Verdict
from rbkernel.sql.ddl import effects
from rbkernel.triage.migration import heavy, losing, unjudged


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("CREATE INDEX a ON t (b)", ("t", "writes", "builds an index")),
        ("create unique index concurrently on t (b)", ("t", "nobody", "builds an index")),
        ('CREATE INDEX ON ONLY "S"."T" (b)', ('"S"."T"', "writes", "builds an index")),
        ("DROP INDEX a", ("", "reads and writes", "little")),
        ("ALTER TABLE t ADD COLUMN b text", ("t", "reads and writes", "little")),
        ("ALTER TABLE t ADD b int DEFAULT 0 NOT NULL", ("t", "reads and writes", "little")),
        (
            "ALTER TABLE t ADD b timestamptz DEFAULT clock_timestamp()",
            ("t", "reads and writes", "rewrites the whole table"),
        ),
        ("ALTER TABLE t ADD b bigserial", ("t", "reads and writes", "rewrites the whole table")),
        (
            "ALTER TABLE t ADD b int CHECK (b > 0)",
            ("t", "reads and writes", "reads the whole table"),
        ),
        ("SELECT setval('t_id_seq', 7)", ("", "nobody", "little")),
        ("ALTER TABLE t ADD b int UNIQUE", ("t", "reads and writes", "builds an index")),
        (
            "ALTER TABLE IF EXISTS ONLY t ALTER COLUMN b SET DATA TYPE bigint",
            ("t", "reads and writes", "rewrites the whole table"),
        ),
        (
            "ALTER TABLE t ALTER b SET NOT NULL",
            ("t", "reads and writes", "reads the whole table"),
        ),
        ("ALTER TABLE t ALTER b SET DEFAULT random()", ("t", "reads and writes", "little")),
        (
            "ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (b) REFERENCES u",
            ("t", "writes", "reads the whole table"),
        ),
        (
            "ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (b) REFERENCES u NOT VALID",
            ("t", "reads and writes", "little"),
        ),
        ("ALTER TABLE t VALIDATE CONSTRAINT c", ("t", "nobody", "reads the whole table")),
        (
            "ALTER TABLE t ADD CONSTRAINT c CHECK (b <> ', ALTER d TYPE x')",
            ("t", "reads and writes", "reads the whole table"),
        ),
        ("ALTER TABLE t ADD PRIMARY KEY (a)", ("t", "reads and writes", "builds an index")),
        (
            "ALTER TABLE t ADD CONSTRAINT p PRIMARY KEY USING INDEX i",
            ("t", "reads and writes", "little"),
        ),
        ("VACUUM (ANALYZE, FULL) t", ("t", "reads and writes", "rewrites the whole table")),
        ("VACUUM FULL t", ("t", "reads and writes", "rewrites the whole table")),
        ("UPDATE t SET a = 1", ("t", "writes", "rewrites the whole table")),
        ("DELETE FROM t", ("t", "writes", "rewrites the whole table")),
        ("UPDATE t SET a = 1 WHERE id = 7", ("", "nobody", "little")),
        ("CREATE TABLE t (a int)", ("", "nobody", "little")),
        ("/* DROP TABLE t */ SELECT ';' -- ; x", ("", "nobody", "little")),
    ],
)
def test_what_a_statement_locks_and_does(sql: str, said: tuple[str, str, str]) -> None:
    [found] = effects(sql)
    assert (found.relation, str(found.blocks), str(found.work)) == said


def test_each_statement_and_each_change_of_a_table_counts() -> None:
    found = effects("BEGIN; ALTER TABLE t ADD a int, ALTER b TYPE numeric(3, 2); COMMIT;")
    assert [one.heavy for one in found] == [False, False, True, False]


@pytest.mark.parametrize(
    "sql",
    [
        "FROBNICATE t",
        "ALTER TABLE t FROBNICATE",
        "DO $$BEGIN END$$",
        "SELECT f(1)",
        "WITH a AS (DELETE FROM t) SELECT",
    ],
)
def test_what_nobody_knows_is_not_harmless(sql: str) -> None:
    [found] = effects(sql)
    assert found.heavy is None
    assert unjudged([found]).verdict is Verdict.UNKNOWN


def test_a_statement_is_as_bad_as_its_table_is_large() -> None:
    index = effects("CREATE INDEX ON t (b)")
    said = heavy(index, {"t": 500.0}, 100)
    assert (said.verdict, said.which) == (Verdict.WARNING, "t")
    assert "CREATE INDEX CONCURRENTLY" in said.next_step
    assert heavy(index, {"t": 99.0}, 100).verdict is Verdict.OK
    assert heavy(index, {}, 100).verdict is Verdict.UNKNOWN
    rewrite = effects("ALTER TABLE t ALTER b TYPE bigint")
    assert heavy([*index, *rewrite], {"t": 500.0}, 100).verdict is Verdict.CRITICAL
    # nobody waits for it
    quiet = effects("CREATE INDEX CONCURRENTLY ON t (b); ALTER TABLE t ADD c int")
    assert heavy(quiet, {"t": 1e6}, 100).verdict is Verdict.OK


@pytest.mark.parametrize(
    ("sql", "loses"),
    [
        ("DROP TABLE IF EXISTS t", True),
        ("TRUNCATE t", True),
        ("DELETE FROM t WHERE old", True),
        ("ALTER TABLE t DROP COLUMN a", True),
        ("ALTER TABLE t DROP CONSTRAINT a", False),
        ("ALTER TABLE t ALTER a DROP NOT NULL", False),
        ("DROP INDEX CONCURRENTLY a", False),
    ],
)
def test_a_statement_after_which_data_is_gone(sql: str, loses: bool) -> None:
    assert losing(effects(sql)).verdict is (Verdict.WARNING if loses else Verdict.OK)


def test_without_a_statement_nothing_is_known() -> None:
    assert heavy(effects("  -- nothing"), {}, 100).verdict is Verdict.UNKNOWN
