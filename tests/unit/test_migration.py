"""What statements of a migration lock, and what `rb.migration` concludes from it."""

from __future__ import annotations

import pytest

from rbkernel.model import Verdict
from rbkernel.sql.ddl import effects
from rbkernel.triage.changes.migration import heavy, losing, unjudged


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("CREATE INDEX a ON t (b)", ("t", "writes", "builds an index")),
        ("create unique index concurrently on t (b)", ("t", "nobody", "builds an index")),
        ('CREATE INDEX ON ONLY "S"."T" (b)', ('"S"."T"', "writes", "builds an index")),
        ("DROP INDEX a", ("a", "reads and writes", "little")),
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
            ("t", "reads and writes", "reads the whole table"),
        ),
        (
            "ALTER TABLE t ADD CONSTRAINT p UNIQUE USING INDEX i",
            ("t", "reads and writes", "little"),
        ),
        ("VACUUM (ANALYZE, FULL) t", ("t", "reads and writes", "rewrites the whole table")),
        ("VACUUM FULL t", ("t", "reads and writes", "rewrites the whole table")),
        ("UPDATE t SET a = 1", ("t", "writes", "rewrites the whole table")),
        ("DELETE FROM t", ("t", "writes", "rewrites the whole table")),
        ("UPDATE t SET a = 1 WHERE id = 7", ("t", "writes", "not known")),
        ("DELETE FROM s.t", ("s.t", "writes", "rewrites the whole table")),
        (
            "ALTER TABLE t ADD CONSTRAINT c NOT NULL b",
            ("t", "reads and writes", "reads the whole table"),
        ),
        (
            "ALTER TABLE t ALTER b SET EXPRESSION AS (a + 1)",
            ("t", "reads and writes", "rewrites the whole table"),
        ),
        (
            "ALTER TABLE t ADD b int DEFAULT 1 REFERENCES u",
            ("t", "reads and writes", "reads the whole table"),
        ),
        (
            "ALTER TABLE t ADD b timestamp(3) with time zone DEFAULT now() NOT NULL",
            ("t", "reads and writes", "little"),
        ),
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
        "CALL purge()",
        "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DO NOTHING",
        "SELECT 'DROP TABLE ' || tablename FROM pg_tables \\gexec",
        "SELECT setval('s', 1), purge_all()",
        "SELECT 1 \\gexec",
        "SELECT :x",
        "SELECT a FROM t FOR UPDATE",
        "SET lock_timeout = 0",
        "RESET statement_timeout",
        "INSERT INTO t SELECT a FROM u",
        "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2",
        "ALTER DOMAIN d ADD CHECK (VALUE > 0)",
        "ALTER TYPE y ALTER ATTRIBUTE a TYPE bigint",
        "CREATE OR REPLACE VIEW v AS SELECT 1",
        "CREATE TABLE t_2027 PARTITION OF t FOR VALUES IN (1)",
        "CREATE TABLE t2 (LIKE t)",
        "CREATE TABLE t2 AS SELECT a FROM t",
        "ALTER TABLE t ATTACH PARTITION u FOR VALUES IN (1)",
        "ALTER TABLE t DETACH PARTITION u",
        "ALTER TABLE t ADD b some_domain",
        "ALTER TABLE t ALTER CONSTRAINT c ENFORCED",
        "ALTER TABLE t DROP CONSTRAINT c",
        "DROP VIEW v",
        "REINDEX DATABASE d",
    ],
)
def test_what_nobody_knows_is_not_harmless(sql: str) -> None:
    [found] = effects(sql)
    assert found.heavy is None
    assert unjudged([found]).verdict is Verdict.UNKNOWN
    assert heavy([found], {"t": 1.0}, 100).verdict is Verdict.UNKNOWN
    assert losing([found]).verdict is Verdict.UNKNOWN
    assert "not judged" in losing([found]).actual


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE t, u",
        "DROP TABLE t CASCADE",
        "DROP VIEW v CASCADE",
        "TRUNCATE t, u",
        "UPDATE t SET a = (SELECT max(b) FROM u WHERE u.a = t.a)",
        "UPDATE t SET a = slow(a) WHERE id = 7",
        "DELETE FROM t USING u WHERE t.a = u.a",
        "ALTER TYPE y DROP ATTRIBUTE a",
    ],
)
def test_what_loses_data_and_locks_what_is_not_known(sql: str) -> None:
    found = effects(sql)
    assert heavy(found, {"t": 1.0}, 100).verdict is Verdict.UNKNOWN
    assert losing(found).verdict is Verdict.WARNING


@pytest.mark.parametrize(
    ("size", "verdict"),
    [(9e3, Verdict.UNKNOWN), (3.0, Verdict.OK), (float("nan"), Verdict.UNKNOWN)],
)
def test_how_many_rows_a_condition_meets_is_known_on_a_small_table_only(
    size: float, verdict: Verdict
) -> None:
    assert heavy(effects("UPDATE t SET a = 1 WHERE b > 2"), {"t": size}, 100).verdict is verdict


NOT_VALID = "ADD CONSTRAINT c CHECK (a > 0) NOT VALID"


@pytest.mark.parametrize(
    ("sql", "verdict"),
    [
        (f"ALTER TABLE t {NOT_VALID}, VALIDATE CONSTRAINT c", Verdict.CRITICAL),
        (f"ALTER TABLE t VALIDATE CONSTRAINT d, {NOT_VALID}", Verdict.CRITICAL),
        (
            f"BEGIN; ALTER TABLE t {NOT_VALID}; ALTER TABLE t VALIDATE CONSTRAINT c; COMMIT",
            Verdict.CRITICAL,
        ),
        # the tools for migrations, too, run a file in one transaction
        (f"ALTER TABLE t {NOT_VALID}; ALTER TABLE t VALIDATE CONSTRAINT c", Verdict.CRITICAL),
        (
            f"BEGIN; ALTER TABLE t {NOT_VALID}; COMMIT; ALTER TABLE t VALIDATE CONSTRAINT c",
            Verdict.OK,
        ),
        ("BEGIN; LOCK TABLE u; CREATE INDEX ON t (a); COMMIT", Verdict.CRITICAL),
        ("BEGIN; CREATE INDEX CONCURRENTLY ON t (a); COMMIT", Verdict.UNKNOWN),
        ("BEGIN; SAVEPOINT s; COMMIT", Verdict.UNKNOWN),
    ],
)
def test_a_lock_lasts_until_the_end_of_its_transaction(sql: str, verdict: Verdict) -> None:
    assert heavy(effects(sql), {"t": 9e3, "u": 1.0}, 100).verdict is verdict


def test_a_table_that_the_migration_creates_is_new() -> None:
    found = effects("CREATE TABLE t (a int REFERENCES u (a), b t); CREATE INDEX i ON t (a)")
    assert [(one.relation, one.also, one.heavy) for one in found] == [
        ("", ("u",), False),
        ("", (), False),
    ]
    perhaps = effects("CREATE TABLE IF NOT EXISTS t (a int); CREATE INDEX i ON t (a)")
    assert [(one.relation, one.heavy) for one in perhaps] == [("", False), ("", None)]
    renamed = effects("ALTER TABLE t RENAME TO u; CREATE INDEX i ON u (a)")
    assert [(one.relation, one.heavy) for one in renamed] == [("t", False), ("", None)]


def test_the_other_table_of_a_reference_counts() -> None:
    found = effects("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES s.u")
    assert heavy(found, {"t": 1.0, "s.u": 9e3}, 100).verdict is Verdict.WARNING
    assert heavy(found, {"t": 1.0}, 100).verdict is Verdict.UNKNOWN


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
        ("UPDATE t SET a = 1", True),
        ("ALTER TABLE t ALTER a DROP NOT NULL", False),
        ("DROP INDEX CONCURRENTLY a", False),
    ],
)
def test_a_statement_after_which_data_is_gone(sql: str, loses: bool) -> None:
    assert losing(effects(sql)).verdict is (Verdict.WARNING if loses else Verdict.OK)


def test_without_a_statement_nothing_is_known() -> None:
    assert heavy(effects("  -- nothing"), {}, 100).verdict is Verdict.UNKNOWN
    assert losing(effects("  -- nothing")).verdict is Verdict.UNKNOWN
