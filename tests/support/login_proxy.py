"""A reverse proxy that authenticates people and sends their names, as oauth2-proxy does."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

PEER, SECRET = "127.0.0.2", "proxy-Tr0ub4dor-proxy-Tr0ub4dor-1"
HEADER, SECRET_HEADER = "X-Forwarded-User", "X-Rbkernel-Proxy-Secret"
PASSWORDS = {"ann": "a1", "bob": "b2", "eve": "e3", "dan": "d4"}
_START_S = 20.0
_OWN = frozenset({"host", "connection", "content-length", "transfer-encoding", "content-encoding"})


class _Forward(RequestHandler):
    """Forwards a request of a person who has logged in, with the person's name."""

    def initialize(self, target: str, names: Mapping[str, str]) -> None:
        self._target, self._names = target, names

    async def _forward(self) -> None:
        scheme, _, said = self.request.headers.get("Authorization", "").partition(" ")
        user, _, password = base64.b64decode(said or "").decode().partition(":")
        headers = {
            name: value
            for name, value in self.request.headers.get_all()
            if name.lower() not in {*_OWN, HEADER.lower(), SECRET_HEADER.lower(), "authorization"}
        }
        headers |= {SECRET_HEADER: SECRET, "X-Forwarded-For": "203.0.113.9"}
        if scheme == "Basic":
            if PASSWORDS.get(user) != password:
                self.send_error(401)
                return
            headers[HEADER] = self._names.get(user, user)
        way = httpx.AsyncHTTPTransport(local_address=PEER)
        async with httpx.AsyncClient(transport=way, timeout=_START_S) as client:
            answer = await client.request(
                self.request.method or "GET",
                f"{self._target}{self.request.uri}",
                headers=headers,
                content=self.request.body,
            )
        self.set_status(answer.status_code)
        for name, value in answer.headers.multi_items():
            if name.lower() not in _OWN:
                self.add_header(name, value)
        self.finish(answer.content)

    get = post = head = _forward


@contextmanager
def login_proxy(target: str, names: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run the proxy in front of an address; give its own address.

    ``names`` changes the name that is sent for a user who logged in.
    """
    started, ended = threading.Event(), asyncio.Event()
    told: list[asyncio.AbstractEventLoop | int] = []

    async def serve() -> None:
        fields = {"target": target, "names": names or {}}
        server = HTTPServer(Application([(".*", _Forward, fields)]))
        server.listen(0, "127.0.0.1")
        [socket] = server._sockets.values()
        told.extend([asyncio.get_running_loop(), socket.getsockname()[1]])
        started.set()
        await ended.wait()
        server.stop()
        await server.close_all_connections()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert started.wait(_START_S)
    loop, port = told
    assert isinstance(loop, asyncio.AbstractEventLoop)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(_START_S)


def person(address: str, user: str = "") -> httpx.Client:
    """Return the browser of a person who has logged in at the proxy; of nobody without a user."""
    login = (user, PASSWORDS[user]) if user else None
    return httpx.Client(base_url=address, auth=login, timeout=_START_S)
