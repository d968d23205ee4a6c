"""PostgreSQL servers of one's own for tests that need more than the sandbox has.

The programs, accounts and tables are the sandbox's; there is no traffic, so that a test knows of
every transaction. 460 connections, logical WAL, prepared transactions, an archive that keeps
nothing, and standbys on demand.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from psycopg import sql

from rbkernel.checks import rules
from rbkernel.checks.answer import provenance
from rbkernel.config import Connection
from rbkernel.model import Verdict
from rbkernel.sandbox import access as accounts
from rbkernel.sandbox import binaries, processes, service
from rbkernel.sandbox import cluster as clusters
from rbkernel.sandbox.access import DATABASE, HOST, Access, Role, Server, passfile
from rbkernel.sandbox.cluster import Cluster, conninfo
from rbkernel.sandbox.home import Home
from rbkernel.sources.postgres import diagnostics
from rbkernel.sources.postgres.connection.driver import RawConnection
from rbkernel.sources.postgres.connection.session import Session
from tests.support.waiting import until

SETTINGS = """
max_connections = 460
wal_level = logical
max_wal_senders = 10
max_replication_slots = 10
max_worker_processes = 32
max_parallel_workers = 8
max_prepared_transactions = 5
deadlock_timeout = 60s
hot_standby_feedback = off
archive_mode = on
archive_command = 'true'
"""


# what most tests lock: one row of one table
ROW = "UPDATE orders SET updated_at = now() WHERE id = 100004"


@dataclass
class Servers:
    """A primary, the standbys that a test asked for, and the sessions that it opened."""

    cluster: Cluster
    sessions: list[RawConnection] = field(default_factory=list)

    @property
    def access(self) -> Access:
        return self.cluster.access

    def connect(
        self, name: str, *, role: Role = "shop_app", dbname: str = DATABASE
    ) -> RawConnection:
        """Open a session on the primary, in autocommit, that `end_sessions` closes."""
        raw = self.access.connect(role, application_name=name, dbname=dbname)
        self.sessions.append(raw)
        return raw

    def start(
        self, name: str, *statements: str, role: Role = "shop_app", dbname: str = DATABASE
    ) -> int:
        """Run statements in a session that stays open as they leave it; return its pid."""
        raw = self.connect(name, role=role, dbname=dbname)
        for statement in statements:
            raw.execute(statement.encode())
        return raw.info.backend_pid

    def send(self, name: str, statement: str, *before: str) -> int:
        """Send a statement that will take its time, after others that will not; return the pid."""
        raw = self.connect(name)
        for earlier in before:
            raw.execute(earlier.encode())
        raw.pgconn.send_query(statement.encode())
        return raw.info.backend_pid

    def diagnostic_session(self, server: Server = "primary") -> Session:
        """Open what notebooks ask through."""
        return Session(self.access.connection("rb_diag", server), application_name="test")

    def end_sessions(self) -> None:
        """Close every session that a test opened, waiting ones too, and what it prepared."""
        with self.access.connect("postgres") as raw:
            pids = [session.info.backend_pid for session in self.sessions]
            # with a time-out, the server would end one after the other, each in 100 ms
            raw.execute(b"SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) p (pid)", [pids])
            left = b"SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)"
            until(lambda: raw.execute(left, [pids]).fetchone() == (0,), "the sessions have ended")
            for (gid,) in raw.execute(b"SELECT gid FROM pg_prepared_xacts").fetchall():
                raw.execute(sql.SQL("ROLLBACK PREPARED {}").format(gid))
        for session in self.sessions:
            session.close()
        self.sessions.clear()

    def add_standby(self) -> None:
        """Clone the primary and stream from it."""
        self.cluster.clone_standby()
        self.cluster.start("standby")
        self.cluster.wait("standby")


@contextmanager
def servers(folder: Path) -> Iterator[Servers]:
    """Build a primary in an empty folder, and take everything away at the end."""
    home = Home(folder)
    home.prepare()
    port = _free_port(20_100)
    access = Access(home=home, primary_port=port, standby_port=port + 1)
    made = Cluster(access, binaries.find())
    try:
        passwords = accounts.create_passwords(home)
        made.create_primary()
        with (home.data("primary") / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(SETTINGS)
        made.start("primary")
        made.wait("primary")
        service.create(access, passwords, major=made.binaries.major)
        yield Servers(made)
    finally:
        processes.stop_all(home)


def _free_port(least: int) -> int:
    """Find a free port with a free neighbour; tests that run beside these look elsewhere."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return clusters.free_ports(None, range(least + 1000 * worker, 32_000, 2))[0]


@contextmanager
def cascade(of: Servers) -> Iterator[Connection]:
    """Clone the primary once more; the clone receives from the standby."""
    access, home = of.access, of.access.home
    data, port = home.path / "cascade", _free_port(20_200)
    upstream = conninfo(
        host=HOST,
        port=access.standby_port,
        user="replicator",
        passfile=passfile(home, "replicator"),
        application_name="cascade",
    )
    # a standby gives no base backup while full_page_writes is off
    source = of.cluster.replication_conninfo("pg_basebackup")
    as_nobody, programs = of.cluster._as_nobody, of.cluster.binaries
    copy = [programs.program("pg_basebackup"), "-D", str(data), "-d", source]
    _run([*as_nobody, *copy, "--wal-method=stream", "--no-sync", "--checkpoint=fast"])
    with (data / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write(f"port = {port}\nprimary_slot_name = ''\ncluster_name = 'cascade'\n")
        file.write("primary_conninfo = '{}'\n".format(upstream.replace("'", "''")))
    (data / "standby.signal").touch()
    control = [*as_nobody, programs.program("pg_ctl"), "-D", str(data), "-w"]
    _run([*control, "-l", str(home.log("cascade")), "start"])
    try:
        yield access.connection("rb_diag", "standby").model_copy(update={"port": port})
    finally:
        _run([*control, "-m", "immediate", "stop"])


def _run(command: Sequence[str]) -> None:
    devnull: Any = subprocess.DEVNULL
    subprocess.run(command, stdin=devnull, stdout=devnull, check=True)


def ask(session: Session, name: str, **values: Any) -> Any:
    """Run a diagnostic that must be answered; a frame, but nobody can type its cells."""
    frame = diagnostics.run(session, name, **values)
    told = provenance(frame)
    assert told is not None
    assert told.reason == ""
    assert list(frame.columns) == list(diagnostics.get(name).columns)
    return frame


def verdicts(name: str, frame: pd.DataFrame) -> dict[str, Verdict]:
    return {rule.title: rules.apply(rule, frame).verdict for rule in diagnostics.get(name).rules}
