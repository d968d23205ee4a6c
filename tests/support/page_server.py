"""The pages in a web server of their own, in a thread: for tests that need no process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from tornado.httpserver import HTTPServer
from tornado.web import Application

from rbkernel.config import Settings
from rbkernel.config.pages import Pages
from rbkernel.gateway import web as pages
from rbkernel.gateway.jobs.storage.store import Store

_START_S = 20.0


@contextmanager
def serving(
    settings: Settings, store: Store | None = None, *, port: int = 0
) -> Iterator[httpx.Client]:
    """Serve the pages on this port or a free one; give a client that follows no redirect."""
    started, ended = threading.Event(), asyncio.Event()
    told: list[asyncio.AbstractEventLoop | int] = []

    async def serve() -> None:
        server = HTTPServer(Application(pages.handlers(settings, store)))
        server.listen(port, "127.0.0.1")
        [socket] = server._sockets.values()
        told.extend([asyncio.get_running_loop(), socket.getsockname()[1]])
        started.set()
        await ended.wait()
        server.stop()
        await server.close_all_connections()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert started.wait(_START_S)
    loop, bound = told
    assert isinstance(loop, asyncio.AbstractEventLoop)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{bound}", timeout=_START_S) as client:
            yield client
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(_START_S)


def opened(**fields: object) -> Settings:
    """Return settings in which anybody on this machine may read."""
    return Settings(pages=Pages(open_on_loopback=True), **fields)
