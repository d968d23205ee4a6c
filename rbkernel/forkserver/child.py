"""Turn a process that the fork server forked into the program that a client requested."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import random
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable

from rbkernel.forkserver import origin, programs, wire

_PARENT = "JPY_PARENT_PID"
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_SIGNALS = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
_libc = ctypes.CDLL(None, use_errno=True)


def await_request(post: socket.socket, server: int) -> None:
    """Wait in a forked child for a client's request, and run the program; does not return.

    Parameters
    ----------
    post
        The socket on which the server sends the connection.
    server
        The server's process id: this process ends with the server.
    """
    status = 1
    try:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != server:  # the server ended before that
            return
        _keep_only({0, 1, 2, post.fileno()})
        _data, connections, _flags, _address = socket.recv_fds(post, 1, 1)
        if not connections:
            return  # the server needs no further child
        with socket.socket(fileno=connections[0]) as connection:
            request, streams = wire.receive_request(connection)
            main = programs.load(programs.PROGRAMS[request.program])
            _become(request, streams)
            origin.set_client(wire.peer(connection).pid)
            wire.send(connection, {"pid": os.getpid()})
        post.close()
        status = _run(main)
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        traceback.print_exc()
    finally:
        os._exit(status)


def _become(request: wire.Request, streams: list[int]) -> None:
    """Set up this process as `subprocess.Popen` would have set up a new process."""
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    for number in _SIGNALS:
        with contextlib.suppress(OSError, ValueError):  # the C library reserves some signals
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # signals that Python ignores at its start, and those that the client ignores
    for number in (signal.SIGPIPE, signal.SIGXFSZ, *request.ignored):
        signal.signal(number, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    os.umask(request.umask)
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    if _PARENT in os.environ:  # a kernel polls whether this is still its parent
        os.environ[_PARENT] = str(os.getppid())
    time.tzset()
    sys.argv = [request.program, *request.arguments]
    if not sys.flags.safe_path:
        sys.path[0] = request.folder
    _seed()
    _libc.prctl(_PR_SET_NAME, f"rb-{request.program}".encode())


def _seed() -> None:
    """Seed the random number generators, so that forked programs do not share random numbers."""
    random.seed()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()


def _run(main: Callable[[], object]) -> int:
    """Run a program's main function, then Python's usual shutdown; return the exit status."""
    status = 0
    try:
        main()
    except SystemExit as end:
        status = _status(end.code)
    except BaseException:  # noqa: BLE001  # nothing above here would report the error
        traceback.print_exc()
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as at Python's end
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    return status


def _status(code: object) -> int:
    """Return the exit status that Python derives from the argument of `sys.exit`.

    >>> _status(None), _status(3), _status(-1)
    (0, 3, 255)
    """
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def _keep_only(numbers: set[int]) -> None:
    """Close all other file descriptors, so that no connection of another program stays open."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        if int(name) not in numbers:
            with contextlib.suppress(OSError):
                os.close(int(name))
