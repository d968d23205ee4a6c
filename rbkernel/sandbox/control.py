"""The operations on the sandbox: build, show status, inject a fault, heal, remove.

Every operation that changes something holds the lock of the sandbox's folder until it ends. `up`
starts from nothing: it first removes the remains of killed commands and processes. `up` sets
``complete`` in the state and writes the connections file last, so a half-built sandbox is never
mistaken for a complete one.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

from rbkernel import model
from rbkernel.config.gateway import Gateway
from rbkernel.errors import ExtensionError, SandboxError
from rbkernel.sandbox import access as accounts
from rbkernel.sandbox import binaries, cluster, processes, service, state
from rbkernel.sandbox.access import HOST, STANDBY_NAME, Access, Role, Server
from rbkernel.sandbox.cluster import Cluster
from rbkernel.sandbox.faults import catalogue
from rbkernel.sandbox.home import Home
from rbkernel.sandbox.shop import monitoring
from rbkernel.sandbox.state import Injected, State
from rbkernel.sources.postgres.connection import driver

_PARTS = ("primary", "standby", "traffic")
#: Where Alertmanager of the service side sends its alerts, unless another address is given.
GATEWAY = f"http://{HOST}:{Gateway().port}"
# below the ports that systems use for outgoing connections
_PORTS = range(20_000, 32_000, 2)


@dataclass(frozen=True, kw_only=True)
class Status:
    """The state of the sandbox; ``broken`` means that it was built, but a part of it does
    not run, although no active fault has stopped it.
    """

    state: Literal["up", "down", "broken"]
    home: str
    server_version: str | None = None
    primary_port: int | None = None
    standby_port: int | None = None
    pids: Mapping[str, int] = field(default_factory=dict)
    traffic: bool = False
    faults: tuple[Injected, ...] = ()
    problems: tuple[str, ...] = ()
    connections: tuple[str, ...] = ()
    service_ports: Mapping[str, int] = field(default_factory=dict)


def silent(_: str) -> None:
    """Ignore a progress text; the default of the parameter ``report``."""


def up(
    *,
    port: int | None = None,
    with_service: bool = False,
    gateway: str = GATEWAY,
    report: Callable[[str], None] = silent,
) -> Status:
    """Build the sandbox: servers, roles, data and traffic; on request, the service side.

    Parameters
    ----------
    port
        Port of the primary; the standby gets the next port. None: a free pair.
    with_service
        Whether to start the simulated shop, its Prometheus and its Alertmanager, too.
    gateway
        The address to which this Alertmanager sends alerts.
    report
        Called with a text at the beginning of each step.

    Raises
    ------
    SandboxError
        The sandbox is already up, a port is in use, there is no usable PostgreSQL or not enough
        disk space, or a server does not start.
    """
    programs = binaries.find()
    if with_service:
        monitoring.refuse_without_programs()
    home = Home.configured()
    home.prepare()
    with home.lock(), _told_as_ours(home):
        if status().state == "up":
            raise SandboxError(
                "the sandbox is already up",
                where=str(home.path),
                next_step="use the running sandbox, or run `rbkernel sandbox down` first",
            )
        _clear(home)
        candidates = random.sample(_PORTS, k=len(_PORTS))
        primary_port, standby_port = cluster.free_ports(port, candidates)
        access = Access(
            home=home,
            primary_port=primary_port,
            standby_port=standby_port,
            service_ports=monitoring.free_ports() if with_service else {},
        )
        with ExitStack() as undo:
            undo.callback(_clear, home)
            _build(Cluster(access, programs), gateway, report)
            undo.pop_all()
        return status()


def _build(servers: Cluster, gateway: str, report: Callable[[str], None]) -> None:
    access, programs = servers.access, servers.binaries
    built = State(
        primary_port=access.primary_port,
        standby_port=access.standby_port,
        server_version=programs.version,
        service_ports=access.service_ports,
    )
    built.save(access.home)
    begun = float(int(time.time()))
    with ThreadPoolExecutor(1) as beside:
        past = access.service_ports and beside.submit(
            monitoring.write_past, access.home, access.service_ports, begun
        )
        _build_servers(servers, report)
        if past:
            report(f"service side: Prometheus on port {access.service_ports['prometheus']}")
            past.result()
            monitoring.start(access.home, access.service_ports, gateway=gateway, begun=begun)
    replace(built, complete=True).save(access.home)
    access.publish()


def _build_servers(servers: Cluster, report: Callable[[str], None]) -> None:
    access, programs = servers.access, servers.binaries
    report(f"PostgreSQL {programs.version}: primary on port {access.primary_port}")
    passwords = accounts.create_passwords(access.home)
    servers.create_primary()
    servers.start("primary")
    servers.wait("primary")
    report("service shop: roles, orders, traffic")
    service.create(access, passwords, major=programs.major)
    processes.launch_module("traffic", access.home, log=access.home.log("traffic"))
    report(f"standby on port {access.standby_port}")
    servers.clone_standby()
    servers.start("standby")
    servers.wait("standby")
    _wait_for_replication(access)


def _wait_for_replication(access: Access) -> None:
    """Wait until a commit of the shop's traffic has arrived on the standby."""
    deadline = time.monotonic() + cluster.START_TIMEOUT_S
    with access.connect("postgres") as primary, access.connect("postgres", "standby") as standby:
        while time.monotonic() < deadline:
            streaming = primary.execute(
                b"SELECT 1 FROM pg_stat_replication WHERE application_name = %s"
                b" AND state = 'streaming'",
                [STANDBY_NAME],
            ).fetchone()
            arrived = standby.execute(
                b"SELECT 1 FROM orders WHERE id > %s LIMIT 1", [service.LAST_ID]
            ).fetchone()
            if streaming and arrived:
                return
            time.sleep(0.05)
    log = access.home.log("standby")
    raise SandboxError(
        f"the traffic does not arrive on the standby: {cluster.last_lines(log)}",
        where=str(log),
        next_step=f"read this log and {access.home.log('traffic')}, then try again",
    )


def status() -> Status:
    """Return the state of the sandbox, without changing anything."""
    home = Home.configured()
    known = state.load(home)
    if known is None:
        return Status(state="down", home=str(home.path))
    found = processes.find(home)
    running = {item.name for item in found}
    stopped = {part for one in known.faults for part in _stopped_by(one)}
    parts = (*_PARTS, *known.service_ports)
    problems = [
        f"{part} is not running" for part in parts if part not in running and part not in stopped
    ]
    if not known.complete:
        problems.insert(0, "`rbkernel sandbox up` is still running, or did not finish")
    return Status(
        state="broken" if problems else "up",
        home=str(home.path),
        server_version=known.server_version,
        primary_port=known.primary_port,
        standby_port=known.standby_port,
        pids={item.name: item.process.pid for item in found},
        traffic="traffic" in running,
        faults=known.faults,
        problems=tuple(problems),
        connections=tuple(accounts.PUBLISHED) if home.connections_file.is_file() else (),
        service_ports=known.service_ports,
    )


def _stopped_by(injected: Injected) -> tuple[str, ...]:
    """Return the parts that a fault stops; none if its package is gone or broken."""
    try:
        return catalogue.FAULTS[injected.fault].stops
    except (KeyError, ExtensionError):
        return ()


def inject(fault: str, seed: int = 1) -> Injected:
    """Inject a fault into the sandbox, and return when the fault is active.

    Parameters
    ----------
    fault
        Name of a fault, see `catalogue.FAULTS`.
    seed
        Seed of the random numbers of the fault.

    Raises
    ------
    SandboxError
        The fault is unknown or already active, or the sandbox is not up.
    """
    wanted = catalogue.find(fault)
    with _whole_sandbox() as (known, access):
        if any(active.fault == fault for active in known.faults):
            raise SandboxError(
                f"the fault {fault} is already active",
                where=str(access.home.path),
                next_step=f"run `rbkernel sandbox heal {fault}` first",
            )
        injected = Injected(fault=fault, seed=seed, injected_at=model.now())
        # saved before the fault starts, so that heal can undo it if this process is killed now
        known.with_fault(injected).save(access.home)
        with ExitStack() as undo:
            undo.callback(_heal, known.with_fault(injected), injected, access)
            injected = replace(injected, truth=wanted.start(access, seed))
            undo.pop_all()
        known.with_fault(injected).save(access.home)
        return injected


def heal(fault: str | None = None) -> list[str]:
    """Undo one fault or all faults of the sandbox, and return the names of those that were active.

    Raises
    ------
    SandboxError
        The fault is unknown, or the sandbox is not up.
    """
    if fault is not None:
        catalogue.find(fault)
    healed = []
    with _whole_sandbox() as (known, access):
        # the latest first: an earlier one may need a server that a later one has stopped
        for injected in reversed(known.faults):
            if fault in {None, injected.fault}:
                known = _heal(known, injected, access)
                healed.append(injected.fault)
    return healed


def _heal(known: State, injected: Injected, access: Access) -> State:
    catalogue.find(injected.fault).stop(access, injected.seed)
    remaining = known.without_fault(injected.fault)
    remaining.save(access.home)
    return remaining


def down() -> bool:
    """Remove the sandbox; return whether there was a sandbox, complete or not."""
    home = Home.configured()
    if not home.exists():
        return False
    with home.lock(), _told_as_ours(home):
        return _clear(home)


def _clear(home: Home) -> bool:
    home.connections_file.unlink(missing_ok=True)
    existed = home.state_file.exists()
    stopped = processes.stop_all(home)
    home.wipe()
    return existed or stopped


@contextmanager
def _whole_sandbox() -> Iterator[tuple[State, Access]]:
    home = Home.configured()
    if not home.state_file.exists():
        raise SandboxError(
            "the sandbox is not up", where=str(home.path), next_step="run `rbkernel sandbox up`"
        )
    with home.lock(), _told_as_ours(home):
        seen, known = status(), state.load(home)
        if known is None or seen.state != "up":
            raise SandboxError(
                "; ".join(seen.problems) or "the sandbox is not up",
                where=str(home.path),
                next_step="run `rbkernel sandbox up`, which creates the sandbox again",
            )
        yield known, _access(home, known)


@contextmanager
def _told_as_ours(home: Home) -> Iterator[None]:
    """Convert errors of the disk or of the servers into a SandboxError with a next step."""
    try:
        yield
    except (OSError, driver.RawConnection.Error) as error:
        raise SandboxError(
            f"the sandbox could not continue: {str(error).splitlines()[0]}",
            where=str(home.path),
            next_step="fix the cause of this error, then run `rbkernel sandbox up`, which creates"
            " the"
            " sandbox again",
        ) from error


def _access(home: Home, known: State) -> Access:
    return Access(
        home=home,
        primary_port=known.primary_port,
        standby_port=known.standby_port,
        service_ports=known.service_ports,
    )


def connect_as(
    role: Role, server: Server = "primary", *, autocommit: bool = True
) -> driver.RawConnection:
    """Open a session on the sandbox as one of its roles.

    Raises
    ------
    SandboxError
        There is no sandbox.
    DatabaseError
        The server refuses the login.
    """
    home = Home.configured()
    known = state.load(home)
    if known is None:
        raise SandboxError(
            "the sandbox is not up", where=str(home.path), next_step="run `rbkernel sandbox up`"
        )
    return _access(home, known).connect(role, server, autocommit=autocommit)
