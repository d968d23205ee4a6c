"""A real HTTP server on loopback that keeps what is posted to it, and may refuse."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """What came; ``refusals`` posts are answered with 500 first."""

    port: int = 0
    refusals: int = 0
    tried: int = 0
    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The address as apprise has it, with a password that must be seen nowhere."""
        return f"json://bot:S3cretOfTheChat@127.0.0.1:{self.port}/hook"


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Listen on a free port while the block runs."""
    got = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            got.tried += 1
            refuse = got.tried <= got.refusals
            if not refuse:
                got.messages.append(body)
            self.send_response(500 if refuse else 200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        got.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield got
        server.shutdown()
        thread.join()
