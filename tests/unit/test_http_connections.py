"""How many connections are open, which one is closed to make room, and what the log says."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

import pytest
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from rbkernel.gateway.http_connections import BoundedServer, Connections, Patience
from rbkernel.gateway.logs import OncePerInterval

Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]
PATIENT = Patience(first_s=600, next_s=600)
OK = b"HTTP/1.1 200 OK"
HOLD = b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"
SENDER, STRANGER = (
    b"GET /sender HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /stranger HTTP/1.1\r\nHost: x\r\n\r\n",
)


class TestWhichOneIsClosed:
    def test_the_stranger_that_was_idle_for_longest(self) -> None:
        known = Connections[str](3)
        for name in "abc":
            known.opened(name)
        known.begins("a")
        known.rests("a")
        assert [known.opened(name) for name in "de"] == ["b", "c"]
        assert len(known) == 3

    def test_no_sender_while_there_is_a_stranger(self) -> None:
        known = Connections[str](3)
        for name in "ab":
            known.opened(name)
            known.trust(name)
            known.rests(name)
        assert [known.opened(name) for name in "cdef"] == [None, "c", "d", "e"]

    def test_no_sender_with_a_request_under_way(self) -> None:
        known = Connections[str](2)
        for name in "ab":
            known.opened(name)
            known.trust(name)
        assert known.opened("c") == "c"
        known.rests("b")
        assert known.opened("d") == "b"

    def test_one_that_has_ended_leaves_its_place(self) -> None:
        known = Connections[str](1)
        known.opened("a")
        known.closed("a")
        assert known.opened("b") is None


@dataclass
class Scene:
    """A server, the connections to it, and the requests that it holds until `go_on`."""

    most: int
    patience: Patience = PATIENT
    lines: list[Line] = field(default_factory=list)
    held: int = 0
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def connect(self) -> Line:
        self.lines.append(await asyncio.open_connection("127.0.0.1", self.port))
        return self.lines[-1]

    async def __aenter__(self) -> Self:
        application = Application([("/(.*)", Answer, {"scene": self})])
        self.server = BoundedServer(application, connections=self.most, patience=self.patience)
        sockets = bind_sockets(0, "127.0.0.1")
        self.port = sockets[0].getsockname()[1]
        self.server.add_sockets(sockets)
        return self

    async def __aexit__(self, *_: object) -> None:
        for _reader, writer in self.lines:
            writer.close()
        self.server.stop()
        await self.server.close_all_connections()


class Answer(RequestHandler):
    """`/sender` proves who it is, `/hold` does too and answers when the test says so."""

    def initialize(self, scene: Scene) -> None:
        self._scene = scene

    async def get(self, what: str) -> None:
        if what != "stranger":
            self._scene.server.trust(self.request.server_connection)
        if what == "hold":
            self._scene.held += 1
            await self._scene.go_on.wait()
        self.finish(what)


async def ask(line: Line, request: bytes = STRANGER) -> bytes:
    """Send a request, and return the status line; nothing when the connection is closed."""
    reader, writer = line
    with suppress(ConnectionError):
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0]))
        return head.partition(b"\r\n")[0]
    return b""


async def is_closed(line: Line) -> bool:
    """Wait until the server has closed a connection that asked for nothing."""
    with suppress(ConnectionError):
        return await line[0].read() == b""
    return True


class TestServer:
    def test_a_sender_gets_through_and_keeps_its_connection(self) -> None:
        async def test() -> None:
            async with Scene(most=8) as scene:
                sender = await scene.connect()
                assert await ask(sender, SENDER) == OK
                idle = [await scene.connect() for _ in range(40)]
                assert await ask(await scene.connect(), SENDER) == OK
                assert await ask(sender, SENDER) == OK
                assert all([await is_closed(line) for line in idle[:33]])

        asyncio.run(test())

    def test_a_request_of_a_sender_is_not_cut_off(self) -> None:
        async def test() -> None:
            async with Scene(most=3) as scene:
                held = [ask(await scene.connect(), HOLD) for _ in range(3)]
                answers = [asyncio.ensure_future(one) for one in held]
                while scene.held < 3:
                    await asyncio.sleep(0.01)
                assert await is_closed(await scene.connect())
                scene.go_on.set()
                assert [await answer for answer in answers] == [OK] * 3

        asyncio.run(test())

    def test_who_sends_no_headers_is_not_waited_for(self) -> None:
        async def test() -> None:
            patience = Patience(first_s=0.2, next_s=600)
            async with Scene(most=8, patience=patience) as scene:
                silent, slow = await scene.connect(), await scene.connect()
                slow[1].write(b"GET /stranger HTTP/1.1\r\nX-Slow: ")
                assert await is_closed(silent)
                assert await is_closed(slow)

        asyncio.run(test())


FEW_FILES = """
import asyncio, resource, sys
from tornado.netutil import bind_sockets
from tornado.web import Application
from rbkernel.gateway import logs
from rbkernel.gateway.http_connections import BoundedServer, Patience

async def main():
    logs.begin()
    patience = Patience(first_s=600, next_s=600)
    server = BoundedServer(Application(), connections=1000, patience=patience)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    limit = sockets[0].fileno() + 12
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    print(sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


@pytest.mark.slow
def test_without_a_free_file_it_waits_and_makes_room() -> None:
    """The limit of the process is met below the limit of connections: no loop, no traceback."""

    async def flood(port: int) -> bytes:
        lines = [await asyncio.open_connection("127.0.0.1", port) for _ in range(60)]
        try:
            return await asyncio.wait_for(ask(lines[-1]), 60)
        finally:
            for _reader, writer in lines:
                writer.close()

    with subprocess.Popen(
        [sys.executable, "-c", FEW_FILES],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            answer = asyncio.run(flood(int(process.stdout.readline())))
            _rest, log = process.communicate("")
        finally:
            process.kill()
    assert answer == b"HTTP/1.1 404 Not Found"
    assert "no connection can be accepted (Too many open files)" in log
    assert "Traceback" not in log
    assert len(log.splitlines()) < 10


def test_the_limit_of_open_files_is_raised_as_far_as_it_may_be() -> None:
    code = "from rbkernel.gateway.http_connections import *; print(raise_file_limit())"
    limits = "--nofile=256:512"
    done = subprocess.run(
        ["prlimit", limits, sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "512\n"


class Written(logging.Handler):
    """Keeps the lines that pass the filter; a test sets the time, and lets it go by."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.lines: list[str] = []
        self.waiting: list[Callable[[], object]] = []
        self.addFilter(
            OncePerInterval(
                ("tests.noisy",),
                clock=lambda: self.now,
                later=lambda _delay_s, do: self.waiting.append(do),
            )
        )

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def go_on(self, seconds: float) -> None:
        self.now += seconds
        for do in self.waiting:
            do()


@pytest.fixture
def written() -> Iterator[Written]:
    handler, logger = Written(), logging.getLogger("tests")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


class TestLog:
    def test_one_of_a_kind_and_how_many_were_left_out(self, written: Written) -> None:
        log = logging.getLogger("tests.noisy.one").warning
        for number in range(1_000):
            log("refused %d", number, extra={"kind": 401})
        log("refused %d", 0, extra={"kind": 503})
        written.now = 11.0
        log("refused %d", 7, extra={"kind": 401})
        written.go_on(0.0)
        assert written.lines == ["refused 0", "refused 0", "refused 7 (and 999 more)"]

    def test_the_last_one_is_written_when_nothing_follows(self, written: Written) -> None:
        for number in range(5):
            logging.getLogger("tests.noisy.one").warning("refused %d", number)
        written.go_on(11.0)
        assert written.lines == ["refused 0", "refused 4 (and 3 more)"]

    def test_what_strangers_cannot_cause_is_written_whole(self, written: Written) -> None:
        for _ in range(5):
            logging.getLogger("tests.other").warning("a run has failed")
        assert written.lines == ["a run has failed"] * 5
