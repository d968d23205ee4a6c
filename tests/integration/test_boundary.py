"""The guard and the role behind it, on a real server.

With the guard switched off, the role that `rbkernel grant` makes must still have no side effect:
the whole cluster looks the same before and after each hostile statement. What PostgreSQL leaves to
every role is listed: advisory locks, which end with the session, and prepared transactions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rbkernel.checks.answer import provenance
from rbkernel.config import Connection
from rbkernel.errors import DatabaseError, QueryError, RbkernelError
from rbkernel.sandbox import processes
from rbkernel.sandbox.access import Access, Role
from rbkernel.sources.postgres import diagnostics, doctor, setup
from rbkernel.sources.postgres.connection.session import Session
from rbkernel.sql import guard
from tests.support.patients import Unguarded, administrate, ask, connection, sandbox
from tests.support.sql_corpora import ANALYST, OURS, SHARED

# the memory of a machine, not the state of a server: one value of 1 GB is sent as a whole
TOO_LARGE = "repeat('x', 1000000000)"
# PostgreSQL lets every role take advisory locks, and a rollback does not release them
ADVISORY_LOCKS = {
    "SELECT pg_advisory_lock(1)",
    "SELECT count(*) FILTER (WHERE pg_try_advisory_lock(7)) FROM orders",
}
# nor can a role be kept from preparing its transaction, where max_prepared_transactions allows it
PREPARES = {"PREPARE TRANSACTION 'evil'"}


@pytest.fixture(scope="module")
def access(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Access]:
    with sandbox(tmp_path_factory.mktemp("guard")) as ways:
        processes.stop(ways.home, "traffic")  # the fingerprint is of a server at rest
        yield ways


@pytest.fixture(scope="module")
def granted(access: Access) -> Iterator[Connection]:
    """The connection of the role that `rbkernel grant` makes, with its password in a variable."""
    sql = setup.grant_sql("granted", action="granted_action", dbname="shop", read=["public"])
    with access.connect("postgres") as raw:
        administrate(raw, sql)
        administrate(raw, sql)  # again changes nothing
        administrate(raw, "ALTER ROLE granted PASSWORD 'granted-by-the-test'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRANTED_PASSWORD", "granted-by-the-test")
        fields: dict[str, Any] = {
            "user": "granted",
            "passfile": None,
            "password_env": "GRANTED_PASSWORD",
        }
        yield connection(access, **fields)


FINGERPRINT = """
SELECT (SELECT ARRAY[count(*), sum(amount_cents), max(id)] FROM orders),
       (SELECT ARRAY[count(*), sum(amount_cents), max(id)] FROM orders_legacy),
       (SELECT array_agg((schemaname, sequencename, last_value)::text) FROM pg_sequences),
       (SELECT ARRAY[count(*), sum(relnatts)] FROM pg_class), (SELECT count(*) FROM pg_proc),
       (SELECT count(*) FROM pg_largeobject_metadata), (SELECT count(*) FROM pg_extension),
       (SELECT count(*) FROM pg_namespace), (SELECT count(*) FROM pg_description),
       (SELECT array_agg(r::text ORDER BY rolname) FROM pg_authid r),
       (SELECT array_agg(m::text ORDER BY roleid, member) FROM pg_auth_members m),
       (SELECT array_agg(s::text ORDER BY setdatabase, setrole) FROM pg_db_role_setting s),
       (SELECT array_agg(relacl::text ORDER BY oid) FROM pg_class WHERE relkind IN ('r', 'S')),
       (SELECT array_agg((slot_name, active)::text ORDER BY 1) FROM pg_replication_slots),
       (SELECT count(*) FROM pg_replication_origin), (SELECT count(*) FROM pg_prepared_xacts),
       (SELECT count(*) FROM pg_subscription), (SELECT count(*) FROM pg_publication),
       (SELECT array_agg(f::text ORDER BY seqno) FROM pg_file_settings f),
       (SELECT array_agg((name, setting)::text ORDER BY name) FROM pg_settings
        WHERE context IN ('postmaster', 'sighup')), pg_conf_load_time(),
       (SELECT array_agg((datname, stats_reset)::text ORDER BY datname) FROM pg_stat_database),
       (SELECT stats_reset FROM pg_stat_bgwriter),
       (SELECT array_agg((name, stats_reset)::text ORDER BY name) FROM pg_stat_slru),
       (SELECT stats_reset FROM pg_stat_statements_info),
       (SELECT array_agg(f ORDER BY f) FROM pg_ls_dir('.') f),
       (SELECT array_agg((pid, backend_start)::text ORDER BY pid) FROM pg_stat_activity
        WHERE application_name IN ('witness', 'sandbox-standby'))
"""
STANDBY = "SELECT pg_is_in_recovery(), pg_is_wal_replay_paused(), pg_conf_load_time()"
LEFT = """
SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE locktype = 'advisory' AND application_name = 'hostile'
"""


def cluster(access: Access) -> Any:
    evil = [path.exists() for path in (Path("/tmp/evil"), Path("/tmp/evil.csv"))]
    return ask(access, FINGERPRINT), ask(access, STANDBY, server="standby"), evil


def test_hostile_statements_have_no_effect_though_the_guard_is_off(
    access: Access, granted: Connection
) -> None:
    witness = access.connect("shop_app", application_name="witness")
    hasty = granted.model_copy(update={"statement_timeout_s": 0.5, "lock_timeout_s": 0.2})
    before = cluster(access)
    changed, locked = set(), set()
    for sql in (*SHARED, *OURS):
        if TOO_LARGE in sql:
            continue
        session = Unguarded(hasty, application_name="hostile")
        with contextlib.suppress(RbkernelError):
            session.query(sql)
        if ask(access, LEFT) != [(0,)]:
            locked.add(sql)
        session.close()
        if cluster(access) != before:
            changed.add(sql)
            for (prepared,) in ask(access, "SELECT gid FROM pg_prepared_xacts"):
                ask(access, f"ROLLBACK PREPARED '{prepared}'")
            assert cluster(access) == before
    witness.close()
    assert changed == PREPARES
    assert locked == ADVISORY_LOCKS
    assert ask(access, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]


def test_a_setting_does_not_outlive_the_query(granted: Connection) -> None:
    session = Unguarded(granted, application_name="test")
    session.query("SELECT set_config('work_mem', '7MB', false)")
    assert session.query("SHOW work_mem").iloc[0, 0] != "7MB"
    session.close()


@pytest.mark.parametrize(
    "sql",
    ["SELECT 1; DROP TABLE orders", "SHOW server_version; SELECT 1", "EXPLAIN SELECT 1; SELECT 2",
     "COMMIT; DROP TABLE orders", "VALUES (1); VALUES (2)", "TABLE orders; TABLE orders"],
)  # fmt: skip
def test_the_server_refuses_a_second_statement(access: Access, sql: str) -> None:
    # as the owner of the tables: nothing but the protocol stands in the way
    session = Unguarded(connection(access, "shop_app"), application_name="test")
    with pytest.raises(QueryError, match="multiple commands"):
        session.query(sql)
    session.close()


def test_a_backslash_is_a_character_although_the_role_says_otherwise(
    access: Access, granted: Connection
) -> None:
    ask(access, "ALTER ROLE granted SET standard_conforming_strings = off")
    session = Session(granted, application_name="test")
    assert session.query(r"SELECT 'a\' AS x")["x"].tolist() == ["a\\"]
    session.close()
    ask(access, "ALTER ROLE granted RESET standard_conforming_strings")


def test_the_granted_role_sees_the_servers_settings(granted: Connection) -> None:
    session = Session(granted, application_name="test")
    frame = diagnostics.run(session, "settings/notable").set_index("setting")
    session.close()
    row = frame.loc["idle_in_transaction_session_timeout"]
    assert (row["value"], bool(row["at_risk"])) == ("0 ms", True)
    assert frame.loc["default_transaction_read_only", "value"] == "off"
    assert frame.loc["statement_timeout", "value"] == "0 ms"


class TestOrdinaryWork:
    @pytest.mark.parametrize("sql", ANALYST)
    def test_analyst_queries_run(self, access: Access, granted: Connection, sql: str) -> None:
        session = Session(granted, application_name="test")
        assert session.query(sql) is not None
        session.close()

    def test_every_listed_function_of_this_server_only_reads(self, access: Access) -> None:
        text = (Path(guard.__file__).parent / "read_only_functions.txt").read_text()
        by_hand = set(text.partition("# Volatile, picked by hand")[2].split())
        volatile = ask(
            access,
            "SELECT DISTINCT proname FROM pg_proc WHERE provolatile = 'v'"
            " AND pronamespace = 'pg_catalog'::regnamespace",
        )
        assert {name for (name,) in volatile} & guard.known_functions() <= by_hand


class TestRoles:
    def test_the_granted_role_passes_the_doctor(self, granted: Connection) -> None:
        found = {finding.title: finding for finding in doctor.examine(granted)}
        assert {title: finding.verdict.value for title, finding in found.items()} == {
            "configuration": "ok",
            "reach": "ok",
            "login": "ok",
            "server": "ok",
            "role": "ok",
            "settings": "ok",
            "functions": "ok",
            "extensions": "ok",
            "tables": "ok",
            "time-outs": "ok",
        }

    def test_grant_refuses_a_name_that_a_superuser_has(self, access: Access) -> None:
        sql = setup.grant_sql("postgres", action="granted_action", dbname="shop")
        with (
            access.connect("postgres") as raw,
            pytest.raises(Exception, match="has more privileges"),
        ):
            administrate(raw, sql)

    @pytest.mark.parametrize("role", ["rb_diag", "rb_nobody"])
    @pytest.mark.parametrize("server", ["primary", "standby"])
    def test_roles_of_least_privilege_may_ask(
        self, access: Access, role: Role, server: Any
    ) -> None:
        session = Session(connection(access, role, server), application_name="test")
        assert session.server.role == role
        assert session.query("SELECT 1 AS a")["a"].tolist() == [1]
        session.close()

    @pytest.mark.parametrize(
        ("role", "reason"),
        [
            ("postgres", "is superuser"),
            ("replicator", "is REPLICATION"),
            ("shop_app", "may write to public.orders"),
            ("rb_action", "is a member of pg_signal_backend"),
        ],
    )
    def test_others_are_refused_by_every_diagnostic(
        self, access: Access, role: Role, reason: str
    ) -> None:
        session = Session(connection(access, role), application_name="test")
        told = provenance(diagnostics.run(session, "connections/saturation"))
        assert told
        assert reason in told.reason
        assert "rbkernel grant" in told.next_step
        with pytest.raises(DatabaseError, match="may do more than read"):
            session.query("SELECT 1")
        session.close()

    @pytest.mark.parametrize(
        ("power", "undo", "reason"),
        [
            ("GRANT INSERT ON orders TO granted", "REVOKE INSERT ON orders FROM granted", "orders"),
            (
                "GRANT UPDATE (status) ON orders TO granted",
                "REVOKE UPDATE (status) ON orders FROM granted",
                r"may write to public.orders \(status\)",
            ),
            (
                "GRANT TRUNCATE ON orders TO PUBLIC",
                "REVOKE TRUNCATE ON orders FROM PUBLIC",
                "may write to public.orders",
            ),
            (
                "GRANT CREATE ON SCHEMA public TO granted",
                "REVOKE CREATE ON SCHEMA public FROM granted",
                "may create in schema public",
            ),
            (
                "GRANT USAGE ON SEQUENCE order_ids TO granted",
                "REVOKE ALL ON SEQUENCE order_ids FROM granted",
                "may advance public.order_ids",
            ),
            (
                "GRANT EXECUTE ON FUNCTION pg_reload_conf() TO granted",
                "REVOKE EXECUTE ON FUNCTION pg_reload_conf() FROM granted",
                r"may call pg_reload_conf\(\)",
            ),
            (
                "GRANT SET ON PARAMETER session_replication_role TO granted",
                "REVOKE SET ON PARAMETER session_replication_role FROM granted",
                "may set session_replication_role",
            ),
            (
                "ALTER ROLE granted NOINHERIT; GRANT shop_app TO granted",
                "REVOKE shop_app FROM granted; ALTER ROLE granted INHERIT",
                "through shop_app may write to",
            ),
            (
                "GRANT pg_read_server_files TO granted",
                "REVOKE pg_read_server_files FROM granted",
                "pg_read_server_files",
            ),
            (
                "GRANT MAINTAIN ON orders TO granted",
                "REVOKE MAINTAIN ON orders FROM granted",
                "may maintain public.orders",
            ),
            (
                "GRANT TRIGGER ON orders TO granted",
                "REVOKE TRIGGER ON orders FROM granted",
                "may write to public.orders",
            ),
            (
                "SELECT lo_create(4242); GRANT UPDATE ON LARGE OBJECT 4242 TO granted",
                "SELECT lo_unlink(4242)",
                "may write to large object 4242",
            ),
            (
                (
                    "CREATE FOREIGN DATA WRAPPER away; GRANT USAGE ON FOREIGN DATA WRAPPER away TO"
                    " granted"
                ),
                "DROP FOREIGN DATA WRAPPER away CASCADE",
                "may reach out through away",
            ),
            (
                "CREATE ROLE harmless; GRANT harmless TO granted WITH ADMIN OPTION",
                "DROP ROLE harmless",
                "may grant membership in harmless",
            ),
            (
                "CREATE TYPE mood AS ENUM ('sad'); ALTER TYPE mood OWNER TO granted",
                "DROP TYPE mood",
                "owns type public.mood",
            ),
            (
                (
                    "CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1;"
                    " ALTER FUNCTION f() OWNER TO granted"
                ),
                "DROP FUNCTION f()",
                r"owns function public.f\(\)",
            ),
            ("ALTER ROLE granted BYPASSRLS", "ALTER ROLE granted NOBYPASSRLS", "BYPASSRLS"),
            ("ALTER ROLE granted SUPERUSER", "ALTER ROLE granted NOSUPERUSER", "superuser"),
        ],
    )
    def test_one_power_too_many_is_found(
        self, access: Access, granted: Connection, power: str, undo: str, reason: str
    ) -> None:
        with access.connect("postgres") as raw:
            administrate(raw, power)
            session = Session(granted, application_name="test")
            try:
                with pytest.raises(DatabaseError, match=reason):
                    session.query("SELECT 1")
            finally:
                session.close()
                administrate(raw, undo)
        session = Session(granted, application_name="test")
        assert session.server
        session.close()
