"""Servers that stream to one another, and every way in which a test holds them up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

from rbkernel.config import Connection
from rbkernel.sandbox.access import STANDBY_NAME, passfile
from rbkernel.sources.postgres import diagnosis
from rbkernel.sources.postgres.connection import driver
from rbkernel.sources.postgres.connection.session import Session
from rbkernel.sources.postgres.diagnosis import Diagnosis
from tests.support.servers import ROW, Servers, ask
from tests.support.waiting import until

UP_TO_DATE_S = 0.5


class Chain:
    """Primary → standby → cascade, and a subscription from `shop` to `copy` on the primary."""

    def __init__(self, made: Servers, far: Connection) -> None:
        self._servers = made
        self._writer = made.access.connect("shop_app")
        self._sessions = {
            "primary": made.diagnostic_session(),
            "standby": made.diagnostic_session("standby"),
            "cascade": Session(far, application_name="test"),
        }
        self._far = far
        self._moves: list[tuple[float, Any]] = []
        self._ended = Event()
        self._watcher = Thread(target=self._watch)
        self._watcher.start()

    def close(self) -> None:
        self._ended.set()
        self._watcher.join()
        self._writer.close()
        for session in self._sessions.values():
            session.close()

    def both(self, primary: str, standby: str) -> tuple[Diagnosis, Diagnosis]:
        """What a look at two of the servers finds."""
        return diagnosis.both(self._sessions[primary], self._sessions[standby])

    def ask(self, server: str, name: str, **values: Any) -> Any:
        return ask(self._sessions[server], name, **values)

    def query(self, server: str, sql: str) -> Any:
        """Run one query of a diagnostic, which the guard does not check."""
        return self._sessions[server].look(sql)

    def seen_by_primary(self) -> float:
        frame = self.ask("primary", "replication/lag", standby=STANDBY_NAME)
        return float(frame.set_index("standby").loc[STANDBY_NAME, "replay_lag_s"])

    def published(self) -> Any:
        return self.ask("primary", "replication/publisher").iloc[0]

    def settle(self) -> None:
        """Wait until no WAL has been written for a second."""
        until(lambda: bool(self._moves) and time.monotonic() - self._moves[-1][0] > 1.1)

    def truth(self) -> float:
        """Return for how many seconds the oldest WAL that the standby has not replayed is there."""
        with self.administer("standby") as raw:
            row = raw.execute("SELECT pg_last_wal_replay_lsn() - '0/0'::pg_lsn").fetchone()
        missing = [at for at, position in self._moves if position > row[0]]
        return time.monotonic() - missing[0] if missing else 0.0

    def _watch(self) -> None:
        with self._servers.access.connect("postgres") as raw:
            while not self._ended.wait(0.02):
                row = raw.execute("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn").fetchone()
                if row and (not self._moves or self._moves[-1][1] != row[0]):
                    self._moves.append((time.monotonic(), row[0]))

    @contextmanager
    def setting(self, server: str, name: str, value: str) -> Iterator[None]:
        with self.administer(server) as raw:
            raw.execute(f"ALTER SYSTEM SET {name} = '{value}'")
            raw.execute("SELECT pg_reload_conf()")
            try:
                yield
            finally:
                raw.execute(f"ALTER SYSTEM RESET {name}")
                raw.execute("SELECT pg_reload_conf()")

    def write(self, statement: str = ROW) -> float:
        self._writer.execute(statement.encode())
        return time.monotonic()

    @contextmanager
    def traffic(self) -> Iterator[None]:
        ended = Event()

        def work() -> None:
            with self._servers.access.connect("shop_app") as raw:
                while not ended.wait(0.05):
                    raw.execute(ROW)

        thread = Thread(target=work)
        thread.start()
        time.sleep(0.3)
        try:
            yield
        finally:
            ended.set()
            thread.join()

    @contextmanager
    def long_transaction(self) -> Iterator[None]:
        """Write WAL all the time, and commit nothing."""
        ended = Event()

        def work() -> None:
            with self._servers.access.connect("postgres", autocommit=False) as raw:
                while not ended.wait(0.01):
                    raw.execute("SELECT pg_logical_emit_message(true, 'long', 'x')")
                raw.rollback()

        thread = Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    @contextmanager
    def paused(self, server: str) -> Iterator[float]:
        with self.administer(server) as raw:
            raw.execute("SELECT pg_wal_replay_pause()")
            asked = "SELECT pg_get_wal_replay_pause_state() = 'paused'"
            until(lambda: bool(raw.execute(asked.encode()).fetchall()[0][0]))
            try:
                yield time.monotonic()
            finally:
                raw.execute("SELECT pg_wal_replay_resume()")
        self._caught_up(server)

    @contextmanager
    def cut(self, server: str) -> Iterator[float]:
        nowhere = "host=127.0.0.1 port=1"
        with self.setting(server, "primary_conninfo", nowhere), self.administer(server) as raw:
            streams = "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'"
            until(lambda: raw.execute(streams.encode()).fetchall()[0][0] == 0)
            yield time.monotonic()
        self._caught_up(server)

    @contextmanager
    def subscription(self) -> Iterator[None]:
        access = self._servers.access
        with access.connect("postgres") as raw:
            raw.execute("CREATE DATABASE copy")
            raw.execute("CREATE PUBLICATION shop FOR TABLE orders")
            raw.execute("SELECT pg_create_logical_replication_slot('copy', 'pgoutput')")
        self.copy(
            "CREATE TABLE orders (id bigint PRIMARY KEY, customer_id int, status text,"
            " amount_cents bigint, currency text, created_at timestamptz, updated_at timestamptz)",
            "INSERT INTO orders VALUES (100004)",
            f"CREATE SUBSCRIPTION copy CONNECTION '{self._source()}' PUBLICATION shop"
            " WITH (create_slot = false, slot_name = 'copy', copy_data = false)",
        )
        try:
            until(lambda: bool(self.published()["active"]))
            self.write()
            until(lambda: self.published()["lag_s"] < UP_TO_DATE_S)
            yield
        finally:
            self.copy("ALTER SUBSCRIPTION copy DISABLE")
            self.copy("ALTER SUBSCRIPTION copy SET (slot_name = NONE)", "DROP SUBSCRIPTION copy")
            with access.connect("postgres") as raw:
                read = "SELECT active FROM pg_replication_slots WHERE slot_name = 'copy'"
                until(lambda: not raw.execute(read.encode()).fetchall()[0][0])
                raw.execute("SELECT pg_drop_replication_slot('copy')")
                raw.execute("DROP PUBLICATION shop")
                raw.execute("DROP DATABASE copy WITH (FORCE)")

    @contextmanager
    def table_locked(self) -> Iterator[float]:
        with self._servers.access.connect("postgres", dbname="copy") as raw:
            raw.execute("BEGIN; LOCK TABLE orders")
            yield time.monotonic()
            raw.execute("ROLLBACK")

    def copy(self, *statements: str) -> None:
        with self._servers.access.connect("postgres", dbname="copy") as raw:
            for statement in statements:
                raw.execute(statement.encode())

    def _source(self) -> str:
        made = self._servers.cluster.replication_conninfo("copy") + " dbname='shop'"
        return made.replace("'", "''")

    @contextmanager
    def administer(self, server: str) -> Iterator[Any]:
        """Connect as the superuser of that server."""
        access = self._servers.access
        if server != "cascade":
            with access.connect("postgres", "primary" if server == "primary" else "standby") as raw:
                yield raw
            return
        there = {"user": "postgres", "passfile": passfile(access.home, "postgres")}
        far = self._far.model_copy(update=there)
        with driver.connect(far, application_name="test", autocommit=True) as raw:
            yield raw

    def _caught_up(self, server: str) -> None:
        self.write()
        name = "standby" if server == "standby" else "cascade"
        until(lambda: self.ask(name, "replication/standby").iloc[0]["stalled_s"] == 0)
        until(lambda: self.seen_by_primary() < UP_TO_DATE_S)
