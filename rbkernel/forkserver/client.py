"""Start a program through the fork server, and control it like a `subprocess.Popen` process."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rbkernel import filelocks
from rbkernel.forkserver import memory, variables, wire
from rbkernel.forkserver import place as places
from rbkernel.forkserver.place import Place

_log = logging.getLogger(__name__)
# a child is already waiting, but may be slow on a busy machine
_ANSWER_S = 5.0
_LOST = -signal.SIGKILL  # the exit status if the server was killed, and the program with it
# the first program is started as a new process, and should not compete with the server's imports
_AFTER_S = 10.0
# a server that cannot start is tried again after this time
_RETRY_AFTER_S = 3_600.0
# a program ends when its connection closes: the object must not be garbage-collected before
_running: set[ForkedProcess] = set()


class ForkedProcess:
    """A program that a fork server started for this process; used like `subprocess.Popen`.

    The program ends when this process ends, like a daemon thread. Only one thread may call methods
    at a time.
    """

    stdin = stdout = stderr = None

    def __init__(self, connection: socket.socket, pid: int, received: bytes) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._connection = connection
        self._received = received
        connection.settimeout(None)
        _running.add(self)

    def fileno(self) -> int:
        """Return a file descriptor that is readable when the program has ended; -1 after that."""
        return self._connection.fileno()

    def poll(self) -> int | None:
        """Return the program's exit status; None if it is still running."""
        return self._receive(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the program has ended, and return its exit status.

        Raises
        ------
        subprocess.TimeoutExpired
            The program still runs after ``timeout`` seconds.
        """
        status = self._receive(timeout)
        if status is None:
            raise subprocess.TimeoutExpired("a forked program", timeout or 0.0)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal to the program, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM to the program, unless it has ended."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the program, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def _receive(self, timeout: float | None) -> int | None:
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            self._connection.settimeout(
                None if deadline is None else max(0.0, deadline - time.monotonic())
            )
            try:
                received = self._connection.recv(4096)
            except (TimeoutError, BlockingIOError):
                return None
            except OSError:
                received = b""
            self._received += received
            if not received or b"\n" in self._received:
                self._end()
        return self.returncode

    def _end(self) -> None:
        line = self._received.partition(b"\n")[0]
        status = json.loads(line).get("exit", _LOST) if line else _LOST
        self.returncode = int(status)
        self._connection.close()  # the server reaps the process now: no further signal may be sent
        _running.discard(self)


def start(
    program: str,
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: str,
    streams: tuple[int, int, int],
) -> ForkedProcess | None:
    """Start a program through a fork server; if none runs, launch a server for the next call.

    Parameters
    ----------
    program
        A name in `rbkernel.forkserver.programs.PROGRAMS`.
    arguments
        The program's arguments, without its name.
    environment, folder
        The program's environment and working folder.
    streams
        File descriptors of the program's standard input, output and error.

    Returns
    -------
    ForkedProcess, or None
        None if no fork server started the program; the caller must start it as a new process.
    """
    place = _place(environment)
    if place is None:
        return None
    request = wire.Request(
        program=program,
        arguments=list(arguments),
        environment=dict(environment),
        folder=folder,
        umask=_umask(),
        ignored=_ignored(),
    )
    started = _ask(place, request, streams)
    if started is None:
        launch(place, environment, after_s=_AFTER_S)
    return started


def prepare(environment: Mapping[str, str]) -> None:
    """Launch a fork server for programs with this environment, or keep a running server alive.

    An unused server ends after some time, counted from the last call.
    """
    place = _place(environment)
    if place is None:
        return
    launch(place, environment)
    with contextlib.suppress(OSError):  # the server may be about to start, or to end
        os.utime(place.lock)


def _place(environment: Mapping[str, str]) -> Place | None:
    """Return the paths of the fork server's files; None if no fork server can be used.

    An error in finding a folder for the files is logged once as a warning.
    """
    if not places.is_supported():
        return None
    try:
        return places.place_for(environment)
    except OSError as error:
        _warn_once(str(error))
    return None


@functools.cache
def _warn_once(reason: str) -> None:
    _log.warning("kernels start slowly, without a fork server: %s", reason)


def _ask(
    place: Place, request: wire.Request, streams: tuple[int, int, int]
) -> ForkedProcess | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(_ANSWER_S)
    try:
        connection.connect(str(place.socket))
        wire.send_request(connection, request, list(streams))
        line, rest = _line(connection)
        return ForkedProcess(connection, int(json.loads(line)["pid"]), rest)
    except (FileNotFoundError, ConnectionRefusedError):
        pass  # no server is running
    except TimeoutError:
        _warn_once(f"the fork server did not answer within {_ANSWER_S:.0f} s")
    except (OSError, ValueError, KeyError) as error:
        _log.info("the fork server did not start a program: %s", error)
    connection.close()  # a child that exceeds the time limit ends with the connection
    return None


def _line(connection: socket.socket) -> tuple[bytes, bytes]:
    received = b""
    while b"\n" not in received:
        more = connection.recv(4096)
        if not more:
            raise ConnectionResetError("the fork server closed the connection")
        received += more
    line, _, rest = received.partition(b"\n")
    return line, rest


def launch(place: Place, environment: Mapping[str, str], *, after_s: float = 0.0) -> None:
    """Start a fork server in the background, unless one is running or starting.

    Parameters
    ----------
    place
        The paths of the files of the server.
    environment
        The environment of the programs; the server gets the part that matters while modules are
        imported.
    after_s
        How long the server waits before it loads its libraries, in seconds.
    """
    if filelocks.is_held(place.lock):
        return
    if reason := _obstacle(place):
        _warn_once(reason)
        return
    # the shell exits at once, so that the server is not a child of this process
    command = ["/bin/sh", "-c", '"$@" &', "sh"]
    command += [sys.executable, "-m", "rbkernel.forkserver.server", str(place.socket)]
    command += ["--after-s", str(after_s)]
    try:
        with place.log.open("wb") as log:
            subprocess.run(
                command,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=variables.of_server(environment),
                cwd="/",
                start_new_session=True,
            )
    except OSError as error:
        _warn_once(f"the fork server could not be started: {error}")


def problem(environment: Mapping[str, str]) -> str:
    """Return why no fork server can be started for this environment; empty if one can."""
    try:
        return _obstacle(places.place_for(environment))
    except OSError as error:
        return str(error)


def _obstacle(place: Place) -> str:
    try:
        if time.time() - place.failure.stat().st_mtime < _RETRY_AFTER_S:
            return f"the last fork server ended with {place.failure.read_text()} (see {place.log})"
    except OSError:
        pass  # none failed
    return memory.shortage()


@dataclass(frozen=True, kw_only=True)
class Status:
    """The state of a running fork server."""

    place: Place
    pid: int
    since: float
    programs: int
    ready: bool


def living() -> list[Status]:
    """Return the running fork servers of this user."""
    found = []
    for place in places.servers():
        if filelocks.is_held(place.lock):
            with contextlib.suppress(OSError, ValueError, KeyError):
                said = json.loads(place.lock.read_bytes())
                ready = place.socket.exists()
                children = Path(f"/proc/{said['pid']}/task/{said['pid']}/children").read_text()
                programs = max(0, len(children.split()) - ready)  # one child waits for a request
                found.append(Status(place=place, ready=ready, programs=programs, **said))
    return found


def stop(status: Status, *, now: bool = False) -> None:
    """Tell a fork server to end when its programs have ended; with ``now``, it ends them."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(status.pid, signal.SIGQUIT if now else signal.SIGTERM)


def _ignored() -> list[int]:
    """Return the signals that this process ignores, such as SIGHUP under `nohup`.

    The signals that Python itself ignores are left out: `subprocess.Popen` restores their default
    action in a new process.
    """
    restored = {signal.SIGPIPE, signal.SIGXFSZ}
    numbers = signal.valid_signals() - restored
    return sorted(int(one) for one in numbers if signal.getsignal(one) is signal.SIG_IGN)


def _umask() -> int:
    # the umask cannot be read in another way without changing it for other threads
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o022
