"""Create the parts of a scenario (sessions, settings, servers), and undo them afterwards.

A stage belongs to one process, and its sessions end with the process. `Stage.heal` also ends
waiting sessions (a server does not notice that the client of a waiting session is gone), then
undoes the other changes in reverse order.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any, Self

from rbkernel.config import Connection
from rbkernel.errors import DatabaseError
from rbkernel.sandbox import binaries, processes
from rbkernel.sandbox.access import DATABASE, STANDBY_NAME, Access, Role, Server
from rbkernel.sandbox.cluster import SLOT_NAME, Cluster
from rbkernel.sandbox.faults import waiting
from rbkernel.sources.postgres.connection import driver

# waits for a lock or a synchronous standby
_WAITING = b"""
SELECT count(*) FILTER (WHERE wait_event_type = 'Lock' OR wait_event = 'SyncRep'), max(query_start)
FROM pg_stat_activity WHERE pid = ANY(%s)
"""
_SETTLED = b"""
SELECT count(*) = %(count)s
    AND max(query_start) < clock_timestamp() - make_interval(secs => %(age)s)
FROM pg_stat_activity
WHERE pid = ANY(%(pids)s) AND (wait_event_type = 'Lock' OR wait_event = 'SyncRep')
"""
_AGED = b"""
SELECT count(*) = %(count)s
    AND max(state_change) < clock_timestamp() - make_interval(secs => %(age)s)
FROM pg_stat_activity WHERE pid = ANY(%(pids)s)
"""
_UNREAD = b"""
SELECT count(*) = 0 FROM pg_replication_slots WHERE slot_name = %s AND active"""
_DROP_SLOT = """
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{}'"""
_STREAMS = b"""
SELECT EXISTS (
    SELECT FROM pg_stat_replication WHERE application_name = %s AND state = 'streaming')
"""
_TERMINATE = b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = ANY(%s)"
_GONE = b"SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = ANY(%s)"


@dataclass(frozen=True, kw_only=True)
class Actor:
    """One session that a scenario has opened."""

    name: str
    server: Server
    pid: int
    raw: driver.RawConnection


class Stage:
    """The sessions and changes of one scenario, with functions to create and to undo them.

    Parameters
    ----------
    access
        The sandbox.
    seed
        Seed of the random numbers of a scenario.
    """

    def __init__(self, access: Access, *, seed: int = 1) -> None:
        self.access = access
        self.seed = seed
        self.actors: list[Actor] = []
        self.connections: list[Connection] = []
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.heal()

    def start(
        self,
        name: str,
        *statements: str,
        role: Role = "shop_app",
        server: Server = "primary",
        dbname: str = DATABASE,
        times: int = 1,
    ) -> None:
        """Open sessions that run these statements and then stay open."""
        for _ in range(times):
            raw = self.access.connect(role, server, application_name=name, dbname=dbname)
            self.actors.append(Actor(name=name, server=server, pid=raw.info.backend_pid, raw=raw))
            for statement in statements:
                raw.execute(statement.encode())

    def send(
        self,
        name: str,
        *statements: str,
        role: Role = "shop_app",
        server: Server = "primary",
        dbname: str = DATABASE,
        times: int = 1,
    ) -> None:
        """Open sessions that run these statements; do not wait for the end of the last
        statement.
        """
        *before, last = statements
        for _ in range(times):
            self.start(name, *before, role=role, server=server, dbname=dbname)
            self.actors[-1].raw.pgconn.send_query(last.encode())

    def pids(self, *names: str) -> list[int]:
        """Return the process ids of the scenario's sessions with these names, or of all its
        sessions.
        """
        return [actor.pid for actor in self.actors if not names or actor.name in names]

    def waits(self, count: int, *, for_s: float = 1.1, server: Server = "primary") -> None:
        """Wait until at least this number of sessions have waited for this number of seconds."""
        values = {"count": count, "age": for_s, "pids": self.pids()}
        self.until(_SETTLED, values, what=f"{count} sessions wait", server=server)

    def lasts(
        self, for_s: float, *names: str, server: Server = "primary", timeout_s: float = 30.0
    ) -> None:
        """Wait until the sessions with these names have been in their state for ``for_s``
        seconds.
        """
        pids = self.pids(*names)
        values = {"count": len(pids), "age": for_s, "pids": pids}
        self.until(
            _AGED, values, what=f"sessions stay for {for_s} s", server=server, timeout_s=timeout_s
        )

    def until(
        self,
        query: bytes,
        values: Any = (),
        *,
        what: str,
        server: Server = "primary",
        timeout_s: float = waiting.TIMEOUT_S,
    ) -> Any:
        """Repeat a query as superuser until its first column is true, and return the row."""
        with self.access.connect("postgres", server) as raw:
            return waiting.until(raw, query, values, what=what, timeout_s=timeout_s)

    def still_waiting(self, *names: str, server: Server = "primary") -> int:
        """Return how many of the sessions with these names wait for a lock or a standby."""
        with self.access.connect("postgres", server) as raw:
            row = raw.execute(_WAITING, [self.pids(*names)]).fetchone()
        return int(row[0]) if row else 0

    def administer(
        self, *statements: str, server: Server = "primary", dbname: str = DATABASE
    ) -> None:
        """Run statements on a server as superuser, each in a separate transaction."""
        with self.access.connect("postgres", server, dbname=dbname) as raw:
            for statement in statements:
                raw.execute(statement.encode())

    def setting(self, name: str, value: str, *, server: Server = "primary") -> None:
        """Change a setting of a server until the scenario is healed."""
        reload = "SELECT pg_reload_conf()"
        reset = f"ALTER SYSTEM RESET {name}"
        self.on_heal(lambda: self.administer(reset, reload, server=server))
        literal = driver.quote_literal(value)
        self.administer(f"ALTER SYSTEM SET {name} = {literal}", reload, server=server)
        self.until(
            b"SELECT current_setting(%s) = %s", [name, value], what=f"{name} is set", server=server
        )

    def busy(self, name: str, statements: Sequence[str], *, sessions: int) -> None:
        """Open sessions that repeat these statements until the scenario is healed."""
        ended = Event()

        def work() -> None:
            with self.access.connect("shop_app", application_name=name) as raw:
                while not ended.is_set():
                    for statement in statements:
                        raw.execute(statement.encode())

        threads = [Thread(target=work) for _ in range(sessions)]
        for thread in threads:
            thread.start()
            self.on_heal(thread.join)
        self.on_heal(ended.set)

    def connection(self, name: str, *, port: int) -> Connection:
        """Declare a connection of the diagnostic role that this scenario adds."""
        usual = self.access.connection("rb_diag", "primary")
        made = usual.model_copy(update={"name": name, "port": port})
        self.connections.append(made)
        return made

    def keep(self, resource: AbstractContextManager[Any]) -> Any:
        """Enter a context manager, and leave it when the scenario is healed."""
        return self._undo.enter_context(resource)

    @property
    def cluster(self) -> Cluster:
        """The primary and the standby of the sandbox."""
        return Cluster(self.access, binaries.find())

    def clone(self, server: Server, *, upstream: Server = "primary") -> None:
        """Add a standby that streams from the server ``upstream``, until the scenario is healed."""
        self.on_heal(lambda: self._remove(server))
        self.cluster.clone(server, upstream=upstream)
        self.bring_back(server)
        self.until(
            b"SELECT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')",
            what=f"{server} streams",
            server=server,
        )

    def stop_traffic(self) -> None:
        """Stop the traffic of the shop until the scenario is healed."""
        home = self.access.home
        self.on_heal(lambda: processes.launch_module("traffic", home, log=home.log("traffic")))
        processes.stop(home, "traffic")

    def stop(self, server: Server) -> None:
        """Kill all processes of a server, as if its host failed."""
        processes.stop_server(self.access.home, server)

    def bring_back(self, server: Server) -> None:
        """Start a stopped server, and wait until it answers."""
        cluster = self.cluster
        cluster.start(server)
        cluster.wait(server)

    def rebuild_standby(self) -> None:
        """Rebuild the standby as a copy of the primary, for example after it was promoted."""
        self._remove("standby")
        self.until(_UNREAD, [SLOT_NAME], what="the slot is free")
        self.administer(_DROP_SLOT.format(SLOT_NAME))
        self.cluster.clone_standby()
        self.bring_back("standby")
        self.until(_STREAMS, [STANDBY_NAME], what="the standby streams")

    def _remove(self, server: Server) -> None:
        processes.stop_server(self.access.home, server)
        shutil.rmtree(self.access.home.data(server), ignore_errors=True)

    def on_heal(self, undo: Callable[[], object]) -> None:
        """Register a function to call when the scenario is healed; the last registered is called
        first.
        """
        self._undo.callback(undo)

    def heal(self) -> None:
        """End the scenario's sessions, then undo its other changes."""
        for actor in self.actors:
            actor.raw.close()
        for server in dict.fromkeys(actor.server for actor in self.actors):
            self._end(server, [actor.pid for actor in self.actors if actor.server == server])
        self.actors.clear()
        self.connections.clear()
        self._undo.close()

    def _end(self, server: Server, pids: Iterable[int]) -> None:
        gone = suppress(DatabaseError, driver.RawConnection.Error)
        with gone, self.access.connect("postgres", server) as raw:
            raw.execute(_TERMINATE, [list(pids)])
            waiting.until(raw, _GONE, [list(pids)], what="the sessions end")
