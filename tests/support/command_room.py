"""An incident without a server: commands and requests that people approve, run on this machine."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.approvals import Room

APPROVED = 'action = "{action}"\napprovers = 1\nwatch_s = {watch_s}\n'


@dataclass
class CommandRoom(Room):
    """A room whose configuration has commands and requests; ``text`` are their sections."""

    text: str = ""

    def configure(self, *rules: str, **_: Any) -> None:
        self.file.write_text(
            f'[evidence]\nroot = "{self.root}"\n'
            f'[gateway]\nurl = "{self.url}"\n[pages]\nlink_secret_env = "LINKS"\n'
            f"[queue]\nkernels = {self.kernels}\n"
            f'[actions]\napprovers = "{self.approvers}"\npasskeys = "{self.folder}/passkeys"\n'
            f"one_user = {str(self.one_user).lower()}\n"
            + "".join(f"[[actions.rules]]\n{rule}\n" for rule in rules)
            + self.text
        )

    def script(self, name: str, text: str) -> Path:
        """Write a program into the folder of the room."""
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    def read(self, name: str) -> str:
        path = self.folder / name
        return path.read_text() if path.exists() else ""

    def allow(self, text: str, *actions: str, watch_s: float = 1.0) -> None:
        """Configure commands and requests, each with a rule that asks for one approval."""
        self.text = text.replace("HERE", str(self.folder))
        self.configure(*(APPROVED.format(action=one, watch_s=watch_s) for one in actions))

    @property
    def record(self) -> str:
        """All that is recorded of the incident, as text."""
        files = (one for one in self.root.rglob("*") if one.is_file())
        return "\n".join(one.read_text(errors="replace") for one in files)


def command_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **more: Any) -> CommandRoom:
    nobody: Any = None  # no server
    made = CommandRoom(tmp_path / "room", nobody, rules=(), **more)
    monkeypatch.setenv("RBKERNEL_CONFIG", str(made.file))
    monkeypatch.delenv("RBKERNEL_EVIDENCE", raising=False)
    return made


@dataclass
class Flags:
    """A server of feature flags on this machine; ``answer`` replaces the status of a change."""

    url: str = ""
    states: dict[str, str] = field(default_factory=lambda: {"new": "on"})
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    answer: int = 200
    ignores: bool = False
    silent: threading.Event = field(default_factory=threading.Event)

    def change(self, name: str, body: bytes) -> None:
        if not self.ignores:
            self.states[name] = str(json.loads(body)["state"])


@contextmanager
def flags(tls: ssl.SSLContext | None = None) -> Iterator[Flags]:
    """Serve feature flags on a free port."""
    made = Flags()
    made.silent.set()

    class Handler(BaseHTTPRequestHandler):
        def _end(self, status: int, said: object) -> None:
            text = json.dumps(said).encode()
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", f"{made.url}/elsewhere")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def _note(self) -> str:
            name = self.path.rpartition("/")[2]
            made.seen.append((self.command, self.path, self.headers.get("Authorization", "")))
            return name

        def do_GET(self) -> None:
            name = self._note()
            known = name in made.states
            said = {"name": name, "state": made.states.get(name)}
            self._end(200 if known else 404, said if known else {"error": "no such flag"})

        def do_PUT(self) -> None:
            name, length = self._note(), int(self.headers["Content-Length"])
            made.change(name, self.rfile.read(length))
            made.silent.wait(30)
            # a careless server repeats the token
            self._end(made.answer, {"token": self.headers.get("Authorization", "")})

        def log_message(self, *_: Any) -> None:
            pass

        def handle(self) -> None:
            with suppress(ssl.SSLError):  # the client does not trust the certificate
                super().handle()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
        if tls:
            server.socket = tls.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield made
        finally:
            made.silent.set()
            server.shutdown()
            thread.join()
