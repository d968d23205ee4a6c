"""``python -m rbkernel.forkserver.server SOCKET``: the process that forks programs for clients.

One child is always forked in advance and waits for the next connection. The server only passes
connections on, watches them, and reaps ended children.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from rbkernel.forkserver import programs, state, wire
from rbkernel.forkserver.child import await_request
from rbkernel.forkserver.place import Place

_BACKLOG = 64
_GONE = select.POLLHUP | select.POLLRDHUP | select.POLLERR | select.POLLNVAL
_LOOK_EVERY_MS = 1000


@dataclass(kw_only=True)
class _Child:
    """A child of the server: it runs a program for a client, or waits for a connection."""

    pid: int
    ended: int  # a pidfd: readable when the process has ended
    post: socket.socket | None  # the socket on which the process gets its connection
    connection: socket.socket | None = None
    status: int | None = None


class NotAlone(RuntimeError):
    """The server cannot fork safely, because a library started a thread.

    A fork copies the locks that the thread holds, but not the thread, so nothing in the child would
    release them.
    """


class Server:
    """The fork server: forks programs until it is told to stop, or has been idle for a while."""

    def __init__(self, place: Place, idle_s: float) -> None:
        self._place = place
        self._idle_s = idle_s
        self._children: dict[int, _Child] = {}  # the key is the pidfd
        self._by_connection: dict[int, _Child] = {}
        self._spare: _Child | None = None
        self._poll = select.poll()
        self._stopping = self._stopping_now = False

    def serve(self) -> None:
        """Load the libraries, then serve until the server is idle or stopped.

        Raises
        ------
        NotAlone
            A library started a thread.
        OSError
            The socket cannot be made.
        """
        # the version of the code before it is loaded: a change during the loading is then noticed
        version = state.version()
        programs.load(programs.PRELOAD)()
        if state.threads() > 1:
            names = ", ".join(thread.name for thread in threading.enumerate())
            raise NotAlone(f"an import started threads, and a fork copies their locks: {names}")
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGQUIT, self._stop_now)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with _listening(self._place.socket) as listener:
            self._poll.register(listener, select.POLLIN)
            self._fork_ahead()
            quiet_since = time.monotonic()
            while not self._is_over(quiet_since):
                for number, events in self._poll.poll(_LOOK_EVERY_MS):
                    if number == listener.fileno():
                        # checked at each request: no program may run older code than the code on
                        # disk
                        self._stopping |= version != state.version() or state.threads() > 1
                        self._accept(listener)
                    elif number in self._children:
                        self._ended(self._children[number])
                    elif number in self._by_connection and events & _GONE:
                        self._left(self._by_connection[number])
                if self._stopping:
                    self._withdraw(listener)
                if self._by_connection:
                    quiet_since = time.monotonic()
            self._withdraw(listener)

    def _is_over(self, quiet_since: float) -> bool:
        if self._stopping_now:
            return True  # the server's programs end with it
        if self._by_connection:
            return False
        if self._stopping:
            return True
        try:
            # a worker that may need the server touches the file
            kept = time.time() - self._place.lock.stat().st_mtime
        except FileNotFoundError:
            return True  # its folder was removed: no client can find the server
        return min(time.monotonic() - quiet_since, kept) > self._idle_s

    def _stop(self, _number: int, _frame: object) -> None:
        self._stopping = True

    def _stop_now(self, _number: int, _frame: object) -> None:
        self._stopping = self._stopping_now = True

    def _withdraw(self, listener: socket.socket) -> None:
        """Stop taking requests, so that a new server can use the socket; programs continue."""
        if listener.fileno() >= 0:
            self._poll.unregister(listener)
            self._place.socket.unlink(missing_ok=True)
            listener.close()
        if self._spare and self._spare.post:
            self._spare.post.close()  # the waiting child ends
            self._spare = None

    def _fork_ahead(self) -> None:
        ours, theirs = socket.socketpair()
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            await_request(theirs, server)
        theirs.close()
        self._spare = _Child(pid=pid, ended=os.pidfd_open(pid), post=ours)
        self._children[self._spare.ended] = self._spare
        self._poll.register(self._spare.ended, select.POLLIN)

    def _accept(self, listener: socket.socket) -> None:
        connection, _address = listener.accept()
        child, self._spare = self._spare, None
        if (
            self._stopping
            or child is None
            or child.post is None
            or wire.peer(connection).uid != os.getuid()
        ):
            connection.close()  # the client then starts its program as a new process
            self._spare = child
            return
        with contextlib.suppress(OSError):  # the pidfd reports a child that has died
            socket.send_fds(child.post, [b"+"], [connection.fileno()])
        child.post.close()
        child.post, child.connection = None, connection
        self._by_connection[connection.fileno()] = child
        # the child reads the request: the server only watches for the end of the connection
        self._poll.register(connection, select.POLLRDHUP)
        self._fork_ahead()

    def _ended(self, child: _Child) -> None:
        """Send an ended child's exit status to its client; reap the child after the client left."""
        self._poll.unregister(child.ended)
        result = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert result is not None
        killed = result.si_code != os.CLD_EXITED
        child.status = -result.si_status if killed else result.si_status
        if child.connection is None:
            self._reap(child)
            if child is self._spare:
                self._fork_ahead()
            return
        with contextlib.suppress(OSError):
            wire.send(child.connection, {"exit": child.status})

    def _left(self, child: _Child) -> None:
        """Kill a program whose client has gone, and all processes that the program started."""
        assert child.connection is not None
        if child.status is None:
            for kill in (os.killpg, os.kill):  # before `setsid` the child leads no process group
                with contextlib.suppress(OSError):
                    kill(child.pid, signal.SIGKILL)
            self._poll.unregister(child.ended)
        self._poll.unregister(child.connection)
        del self._by_connection[child.connection.fileno()]
        child.connection.close()
        self._reap(child)

    def _reap(self, child: _Child) -> None:
        os.waitpid(child.pid, 0)
        del self._children[child.ended]
        os.close(child.ended)
        if child.post:
            child.post.close()


def _listening(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path.unlink(missing_ok=True)  # left over from a killed server: this process holds the lock
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    listener.listen(_BACKLOG)
    return listener


def main(arguments: list[str] | None = None) -> int:
    """Run the fork server, unless another one already serves this socket."""
    parser = argparse.ArgumentParser(prog="rbkernel.forkserver.server")
    parser.add_argument("socket", type=Path)
    parser.add_argument("--after-s", type=float, default=0.0)
    parser.add_argument("--idle-s", type=float, default=900.0)
    given = parser.parse_args(arguments)
    place = Place(socket=given.socket)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # a shell's background job ignores SIGINT
    if not _take(place):
        return 0
    used = [place.socket, place.lock]
    place.failure.unlink(missing_ok=True)
    try:
        time.sleep(given.after_s)  # the program that was started as a new process goes first
        Server(place, given.idle_s).serve()
        used.append(place.log)
    except Exception as error:
        place.failure.write_text(f"{type(error).__name__}: {error}")
        raise
    finally:
        for file in used:
            file.unlink(missing_ok=True)
    return 0


def _take(place: Place) -> bool:
    """Lock the server's lock file until this process ends; return False if it is locked."""
    while True:
        lock = os.open(place.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            os.close(lock)
            return False
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), place.lock.stat()):
                break
        os.close(lock)  # a server that ended has just removed the file
    os.ftruncate(lock, 0)
    os.write(lock, json.dumps({"pid": os.getpid(), "since": time.time()}).encode())
    return True


if __name__ == "__main__":
    sys.exit(main())
