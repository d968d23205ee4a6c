"""Serve the shop: ``python -m rbkernel.sandbox.shop.server HOME shop PORT BEGUN``.

============================  ==================================================================
``GET /metrics``              for Prometheus
``GET /health/live``          200 while the process runs
``GET /health/ready``         200, or 503 with the part that is not usable
``GET /api/admin/features``   the feature flags, in the shape of Unleash's API
``POST …/features/NAME/on``   switch a flag on; ``off`` switches it off
the shop's routes             one more request of the simulation, with the code that it draws
``GET /stand-in-for-…``       the query APIs of Loki and Jaeger, see `stand_ins`
============================  ==================================================================

The process ends when the sandbox is removed.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from rbkernel.sandbox.access import HOST, STAND_INS
from rbkernel.sandbox.home import Home
from rbkernel.sandbox.shop import conditions, history, metrics, stand_ins
from rbkernel.sandbox.shop.metrics import Counters
from rbkernel.sandbox.shop.requests import Kept
from rbkernel.sandbox.shop.simulation import FLAGS, ROUTES, SEED, Simulation

_TICK_S = 0.2
_FEATURES = "/api/admin/features"
_SWITCH = re.compile(rf"{_FEATURES}/([\w-]+)/(on|off)")
#: The name under which switched flags are kept among the changes of the conditions.
OPERATOR = "operator"


class Shop:
    """The simulation with its clock; all methods may be called by several threads."""

    def __init__(self, home: Home, begun: float) -> None:
        self.home = home
        now = time.time()
        self._lock = threading.Lock()
        self._counters = Counters(history.counted(begun, now))
        self._kept = Kept(SEED)
        self._simulation = Simulation(self._counters, now=begun, kept=self._kept)
        self._at = now

    def run(self) -> None:
        """Let time pass in the simulation until the sandbox is removed."""
        while self.home.state_file.exists():
            time.sleep(_TICK_S)
            with self._lock:
                now = time.time()
                self._simulation.tick(now - self._at, now, conditions.read(self.home))
                self._at = now

    def metrics(self) -> str:
        """Return the values in the text format of Prometheus."""
        with self._lock:
            gauges = self._simulation.gauges(time.time(), conditions.read(self.home))
            return metrics.text(self._counters.values, gauges)

    def request(self, route: str) -> int:
        """Simulate a request, and return its code."""
        with self._lock:
            return self._simulation.request(route, conditions.read(self.home))

    def unready(self) -> str:
        """Return the part because of which the shop cannot handle requests; empty if it can."""
        now = conditions.read(self.home)
        if now.pool_timeouts:
            return "database pool: no connection within 5 s"
        return ""

    def stand_in(self, path: str, given: dict[str, str]) -> tuple[int, str] | None:
        """Answer a query of log lines or traces; None if the path is of no stand-in."""
        with self._lock:
            kept = [*self._kept.requests]
        for kind, answer in (("loki", stand_ins.loki), ("jaeger", stand_ins.jaeger)):
            if path.startswith(f"{STAND_INS[kind]}/"):
                return answer(path.removeprefix(STAND_INS[kind]), given, kept)
        return None

    def features(self) -> list[dict[str, Any]]:
        """Return the feature flags, in the shape of Unleash."""
        set_now = {**FLAGS, **conditions.read(self.home).flags}
        return [
            {
                "name": name,
                "type": "release",
                "enabled": on,
                "environments": [{"name": "production", "enabled": on}],
            }
            for name, on in set_now.items()
        ]

    def switch(self, flag: str, *, on: bool) -> bool:
        """Switch a feature flag; return whether there is one of this name."""
        if flag not in FLAGS:
            return False
        with self._lock:
            flags = {**conditions.read(self.home).flags, flag: on}
            conditions.change(self.home, OPERATOR, {"flags": flags})
        return True


def _handler(shop: Shop) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, query = urlsplit(self.path).path, urlsplit(self.path).query
            if found := shop.stand_in(path, dict(parse_qsl(query))):
                self._answer(*found, "application/json")
            elif path == "/metrics":
                self._answer(200, shop.metrics(), "text/plain; version=0.0.4")
            elif path == "/health/live":
                self._json(200, {"status": "ok"})
            elif path == "/health/ready":
                reason = shop.unready()
                self._json(503 if reason else 200, {"status": reason or "ok"})
            elif path == _FEATURES:
                self._json(200, {"version": 2, "features": shop.features()})
            elif path in ROUTES:
                self._routed(path)
            else:
                self._json(404, {"error": "there is no such address"})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = urlsplit(self.path).path
            if switched := _SWITCH.fullmatch(path):
                known = shop.switch(switched[1], on=switched[2] == "on")
                self._json(200 if known else 404, {"features": shop.features()})
            elif path in ROUTES:
                self._routed(path)
            else:
                self._json(404, {"error": "there is no such address"})

        def _routed(self, route: str) -> None:
            code = shop.request(route)
            self._json(code, {"status": HTTPStatus(code).phrase})

        def _json(self, code: int, value: Any) -> None:
            self._answer(code, json.dumps(value), "application/json")

        def _answer(self, code: int, body: str, kind: str) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            raw = body.encode()
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            """Write no line for each request."""

    return Handler


def main(folder: str, port: str, begun: str) -> None:
    """Serve the shop of the sandbox in this folder until the sandbox is removed."""
    shop = Shop(Home(Path(folder)), float(begun))
    server = ThreadingHTTPServer((HOST, int(port)), _handler(shop))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    shop.run()
    server.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], *sys.argv[3:])
