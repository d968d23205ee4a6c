"""Start, find and stop the detached processes of the sandbox.

A process of the sandbox is recognized by its command line: it runs a PostgreSQL server on one of
the sandbox's data folders, a monitoring system on one of them, or a module of this package with the
sandbox's folder as an argument.
Server processes that outlived their postmaster are found by their working folder. psutil checks pid
and start time before each signal, so a process that reuses a pid never gets the signal.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

import rbkernel
from rbkernel.sandbox.home import Home

SERVERS = ("primary", "standby", "spare")
_MONITORING = ("prometheus", "alertmanager")
_SERVER_PROGRAMS = {"postgres", "initdb", "pg_basebackup"}
_STOP_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Found:
    """A running process of the sandbox; ``name`` is such as ``primary`` or ``traffic``."""

    name: str
    process: psutil.Process


def launch(command: Sequence[str], *, log: Path) -> None:
    """Start a process detached from this one, in a new session, so that it outlives this process.

    The shell that starts the process ends at once, so that init adopts the process and no zombie
    remains.
    """
    log.parent.mkdir(mode=0o700, exist_ok=True)
    with log.open("ab") as sink:
        subprocess.run(
            ["/bin/sh", "-c", '"$@" &', "sh", *command],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            cwd="/",
            env=environment(),
            start_new_session=True,
            check=True,
        )


def launch_module(module: str, home: Home, *arguments: str, log: Path) -> None:
    """Start ``python -m rbkernel.sandbox.<module> <home> …`` as a detached process."""
    command = [sys.executable, "-P", "-m", f"rbkernel.sandbox.{module}", str(home.path)]
    launch([*command, *arguments], log=log)


def data_option(home: Home, part: str) -> str:
    """Return the option that names the data folder of Prometheus or Alertmanager."""
    option = "--storage.tsdb.path" if part == "prometheus" else "--storage.path"
    return f"{option}={home.data(part)}"


def environment() -> dict[str, str]:
    """Return an environment for a process, without libpq's variables.

    The process can import this package.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    package = Path(next(iter(rbkernel.__path__))).resolve().parent
    inherited = kept.get("PYTHONPATH")
    kept["PYTHONPATH"] = os.pathsep.join([str(package), *([inherited] if inherited else [])])
    return kept


def find(home: Home) -> list[Found]:
    """Return the running processes of a sandbox, servers first, without zombies."""
    found = list(_scan(home))
    return sorted(found, key=lambda item: (item.name not in SERVERS, item.name, item.process.pid))


def alive(home: Home, name: str) -> bool:
    """Return whether a process of the sandbox with this name runs."""
    return any(item.name == name for item in find(home))


def stop(home: Home, name: str) -> None:
    """End the processes of the sandbox that have this name."""
    _end([item.process for item in find(home) if item.name == name], signal.SIGTERM)


def stop_server(home: Home, name: str) -> None:
    """Kill a server with all its processes, as if its host failed."""
    _end([item.process for item in find(home) if item.name == name], signal.SIGQUIT)
    _end(list(_orphans(home, [name])), signal.SIGKILL)


def stop_all(home: Home) -> bool:
    """End every process of the sandbox, and return whether there was any.

    Servers get SIGQUIT (immediate shutdown), because their data is thrown away.
    """
    found = find(home)
    clients = [item.process for item in found if item.name not in SERVERS]
    servers = [item.process for item in found if item.name in SERVERS]
    _end(clients, signal.SIGTERM)
    _end(servers, signal.SIGQUIT)
    orphans = list(_orphans(home, SERVERS))
    _end(orphans, signal.SIGKILL)
    return bool(found or orphans)


def _end(processes: Sequence[psutil.Process], sign: signal.Signals) -> None:
    for process in processes:
        _signal(process, sign)
    for process in _survivors(processes):
        _signal(process, signal.SIGKILL)
    _survivors(processes)


def _survivors(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Wait for processes to end; return those that still run after `_STOP_TIMEOUT_S` seconds.

    A zombie counts as ended. `psutil.wait_procs` would wait until init has reaped it.
    """
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    while left := [process for process in processes if _lives(process)]:
        if time.monotonic() > deadline:
            return left
        time.sleep(0.01)
    return []


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _signal(process: psutil.Process, sign: signal.Signals) -> None:
    try:
        process.send_signal(sign)
    except psutil.NoSuchProcess:
        return  # the process has already ended


def _scan(home: Home) -> Iterator[Found]:
    for process in psutil.process_iter():
        try:
            name = name_of(process.cmdline(), home)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if name:
            yield Found(name, process)


def name_of(command: Sequence[str], home: Home) -> str | None:
    """Return the name of the sandbox's process with this command line; None for other processes.

    >>> home = Home(Path("/h"))
    >>> name_of(["/opt/bin/postgres", "-D", "/h/primary"], home)
    'primary'
    >>> name_of(["python", "-P", "-m", "rbkernel.sandbox.sessions", "/h", "pool-x", "7"], home)
    'pool-x'
    >>> name_of(["python", "-P", "-m", "rbkernel.sandbox.traffic", "/h"], home)
    'traffic'
    >>> name_of(["/usr/bin/prometheus", "--storage.tsdb.path=/h/prometheus"], home)
    'prometheus'
    >>> name_of(["tail", "-f", "/h/log/primary.log"], home) is None
    True
    """
    for part in _MONITORING:
        if data_option(home, part) in command:
            return part
    for first, second, third in zip(command, command[1:], [*command[2:], ""], strict=False):
        if first == "-D" and {Path(word).name for word in command} & _SERVER_PROGRAMS:
            for server in SERVERS:
                if second == str(home.data(server)):
                    return server
        if first == "-m" and third == str(home.path) and second.startswith("rbkernel.sandbox."):
            module = second.rpartition(".")[2]
            after = list(command[command.index(third) + 1 :])
            return after[0] if after else module
    return None


def _orphans(home: Home, servers: Iterable[str]) -> Iterator[psutil.Process]:
    folders = {str(home.data(server)) for server in servers}
    for process in psutil.process_iter():
        try:
            if process.name() == "postgres" and process.cwd() in folders:
                yield process
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
