"""A real Prometheus with known values, and stand-ins for Loki, Jaeger and Tempo.

The stand-ins are small servers in this process that answer as the query APIs of those systems do;
none of them parses a query.
"""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from rbkernel.config import Settings
from rbkernel.config.sources import Source
from rbkernel.evidence import Recorder, install
from rbkernel.model import Run
from rbkernel.triage import context
from rbkernel.triage.context import Triage
from tests.conftest import missing_part
from tests.support.waiting import until

PROGRAM = "prometheus"
PATIENCE_S = 60.0
#: The moment of the known values, and the same as text; Prometheus scrapes only what is newer.
AT = datetime(2024, 11, 20, 3, tzinfo=UTC).timestamp()
UNTIL = "2024-11-20T03:00:00+00:00"
_DAY_S = 86_400
_TRIES = 5
_STEP_S = 15


class Asked(NamedTuple):
    """A request to a stand-in."""

    method: str
    path: str
    given: dict[str, str]
    headers: dict[str, str]


Respond = Callable[[Asked], tuple[int, str | bytes]]


class StandIn:
    """A server of loopback that answers as a function says, and keeps what it was asked."""

    def __init__(self, respond: Respond) -> None:
        self.respond = respond
        self.asked: list[Asked] = []
        self.headers: dict[str, str] = {}
        standin = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                given = {k: v[0] for k, v in parse_qs(f"{parts.query}&{body}").items()}
                one = Asked(self.command, parts.path, given, dict(self.headers))
                standin.asked.append(one)
                code, answer = standin.respond(one)
                raw = answer if isinstance(answer, bytes) else answer.encode()
                begin = self.send_response_only if "Date" in standin.headers else self.send_response
                begin(code)
                for name, value in standin.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_POST = do_GET  # noqa: N815  # as http.server calls it

            def log_message(self, *_: Any) -> None:
                """Say nothing on standard error."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator[StandIn]:
        thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()


@contextmanager
def stand_in(respond: Respond) -> Iterator[StandIn]:
    """Run a stand-in while the block runs."""
    with StandIn(respond).running() as one:
        yield one


def begin_run(folder: Path, patch: pytest.MonkeyPatch, **sources: dict[str, Any]) -> Triage:
    """Begin a run in this process, with these sources, each given by its fields."""
    install(Recorder(folder / "evidence"))
    run = Run(id="r", runbook="RUN-008", title="t", incident="i", headless=True, started_at="")
    named = {name: Source(name=name, **fields) for name, fields in sources.items()}
    one = Triage(run, Settings(sources=named), ())
    patch.setattr(context, "_current", one)
    return one


def of_query_api(kind: str, result: Any, **more: Any) -> str:
    """Return an answer as Prometheus and Loki give it."""
    data = {"resultType": kind, "result": result}
    return json.dumps({"status": "success", "data": data, **more})


def _samples(series: str, value: float, begin: float, end: float) -> list[str]:
    moments = range(round(begin), round(end) + 1, _STEP_S)
    return [f"{series} {value:g} {moment}" for moment in moments]


def history() -> str:
    """Return the known values, in the format of OpenMetrics.

    Error rates of the last 15 min: of `shop` high for all of it, of `cart` for 2 min, of `mail`
    never; that of `gone` misses 10 min. Costs of 7 days and today: of `a` usually 10 and now 40, of
    `b` known for 2 days only. 30 queues.
    """
    rates = [
        *_samples('error_pct{service="shop"}', 4, AT - 900, AT),
        *_samples('error_pct{service="cart"}', 0.5, AT - 900, AT - 135),
        *_samples('error_pct{service="cart"}', 7, AT - 120, AT),
        *_samples('error_pct{service="mail"}', 0.25, AT - 900, AT),
        *_samples('error_pct{service="gone"}', 0.25, AT - 900, AT - 720),
        *_samples('error_pct{service="gone"}', 0.25, AT - 120, AT),
    ]
    usual = [10, 12, 9, 10, 11, 10, 8]
    costs = [
        *(f'cost{{tenant="a"}} {v} {AT - d * _DAY_S:.0f}' for d, v in enumerate(usual, 1)),
        f'cost{{tenant="a"}} 40 {AT:.0f}',
        *(f'cost{{tenant="b"}} 5 {AT - d * _DAY_S:.0f}' for d in (0, 1, 2)),
    ]
    depths = [f'depth{{queue="q{n:02}"}} {n} {AT:.0f}' for n in range(30)]
    costs.sort(key=lambda line: line.partition(" ")[0])
    gauges = (("error_pct", rates), ("cost", costs), ("depth", depths))
    lines = [line for name, found in gauges for line in (f"# TYPE {name} gauge", *found)]
    return "\n".join([*lines, "# EOF", ""])


def gauges(series: Mapping[str, float | Callable[[float], float]]) -> str:
    """Return values of the last hour and the next 10 min, in the format of OpenMetrics.

    Each is a value, or a function of the time in s since now.
    """
    now = time.time()
    lines: list[str] = []
    typed = ""
    for name, value in sorted(series.items()):
        metric = name.partition("{")[0]
        if metric != typed:
            lines, typed = [*lines, f"# TYPE {metric} gauge"], metric
        for at in range(-3600, 601, _STEP_S):
            figure = value(at) if callable(value) else value
            lines.append(f"{name} {figure!r} {now + at:.0f}")
    return "\n".join([*lines, "# EOF", ""])


@contextmanager
def prometheus(
    folder: Path,
    *,
    target: str = "",
    web_config: str = "",
    options: Sequence[str] = (),
    known: str = "",
) -> Iterator[str]:
    """Run Debian's Prometheus with the known values on loopback, and yield its host and port.

    ``known`` are other values than those of `history`, in the format of OpenMetrics. ``target`` is
    the host and port of an exposition endpoint, which it scrapes each second.
    """
    program, tool = shutil.which(PROGRAM), shutil.which("promtool")
    if program is None or tool is None:
        missing_part(f"{PROGRAM} is not installed: `make debian`")
    (folder / "history").write_text(known or history())
    data = folder / "data"
    make = [tool, "tsdb", "create-blocks-from", "openmetrics", str(folder / "history"), str(data)]
    subprocess.run(make, check=True, capture_output=True, timeout=PATIENCE_S)
    jobs = [{"job_name": "shop", "static_configs": [{"targets": [target]}]}] if target else []
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}
    (folder / "prometheus.yml").write_text(json.dumps(config))
    command = [program, f"--config.file={folder / 'prometheus.yml'}", "--log.level=warn"]
    command += [f"--storage.tsdb.path={data}", "--storage.tsdb.retention.time=100y", *options]
    if web_config:
        (folder / "web.yml").write_text(web_config)
        command.append(f"--web.config.file={folder / 'web.yml'}")
    process, address = _started(command, folder / "log")
    try:
        yield address
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _started(command: Sequence[str], log: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start Prometheus on a free port; on another one if a program has taken it meanwhile."""
    for _ in range(_TRIES):
        with unused_port() as port:
            address = f"127.0.0.1:{port}"
        with log.open("wb") as said:
            process = subprocess.Popen(
                [*command, f"--web.listen-address={address}"], stdout=said, stderr=said
            )
        until(lambda: process.poll() is not None or _ready(address), "Prometheus is ready")  # noqa: B023
        if process.poll() is None:
            return process, address
    raise AssertionError(log.read_text())


@contextmanager
def unused_port() -> Iterator[int]:
    """Hold a port of loopback on which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        yield int(one.getsockname()[1])


def _ready(address: str) -> bool:
    try:
        status = httpx.get(f"http://{address}/-/ready").status_code
    except httpx.TransportError:
        return False
    return status in (httpx.codes.OK, httpx.codes.BAD_REQUEST)  # it wants TLS


#: The lines that the stand-in for Loki has: nanoseconds before `AT`, labels, text.
LINES = tuple(
    (
        (60 * number + 30) * 10**9,
        {"app": "api", "pod": f"api-{number % 2}"},
        f"error {number}: timeout",
    )
    for number in range(30)
)


def like_loki(asked: Asked) -> tuple[int, str]:
    """Answer as Loki does: the newest lines of the range; a query with `count` counts them."""
    if asked.path != "/loki/api/v1/query_range":
        return 404, "404 page not found"
    if not asked.given["query"].startswith(("{app=", "sum(count")):
        return 400, "parse error at line 1, col 1: syntax error: unexpected IDENTIFIER"
    begin, end = (float(asked.given[name]) for name in ("start", "end"))
    lines = [
        (round(AT * 10**9) - before, labels, text)
        for before, labels, text in LINES
        if begin * 10**9 <= round(AT * 10**9) - before < end * 10**9
    ]
    if asked.given["query"].startswith("sum"):
        step = float(asked.given["step"])
        moments = [begin + n * step for n in range(round((end - begin) / step) + 1)]
        values = [[moment, str(len(lines))] for moment in moments]
        return 200, of_query_api("matrix", [{"metric": {}, "values": values}])
    streams: dict[str, list[list[str]]] = {}
    for at, labels, text in lines[: int(asked.given["limit"])]:
        streams.setdefault(labels["pod"], []).append([str(at), text])
    result = [{"stream": {"app": "api", "pod": pod}, "values": v} for pod, v in streams.items()]
    return 200, of_query_api("streams", result)


TRACE = "5b8efff798038103d269b633813fc60c"
#: The request for this trace.
ASKED = Asked("GET", f"/api/traces/{TRACE}", {}, {})
# span, parent, service, operation, start and end in µs after `AT`, HTTP status
_SPANS = (
    ("000000000000000a", "", "gateway", "POST /orders", 0, 900_000, 504),
    ("000000000000000b", "000000000000000a", "orders", "create", 50_000, 880_000, 500),
    ("000000000000000c", "000000000000000b", "orders", "INSERT", 100_000, 850_000, 0),
)


def like_jaeger(asked: Asked) -> tuple[int, str]:
    """Answer as Jaeger's query service does."""
    if asked.path != f"/api/traces/{TRACE}":
        return 404, json.dumps({"data": None, "errors": [{"code": 404, "msg": "trace not found"}]})
    spans = [
        {
            "traceID": TRACE,
            "spanID": span,
            "operationName": operation,
            "references": [{"refType": "CHILD_OF", "spanID": parent}] if parent else [],
            "startTime": round(AT * 1e6) + begin,
            "duration": end - begin,
            "processID": service,
            "tags": [
                {"key": "http.status_code", "type": "int64", "value": status},
                {"key": "error", "type": "bool", "value": status >= 500},
            ],
        }
        for span, parent, service, operation, begin, end, status in _SPANS
    ]
    processes = {one["processID"]: {"serviceName": one["processID"]} for one in spans}
    return 200, json.dumps({"data": [{"traceID": TRACE, "spans": spans, "processes": processes}]})


def like_tempo(asked: Asked) -> tuple[int, str]:
    """Answer as Tempo does: spans of OpenTelemetry, with ids in base64."""
    if asked.path != f"/api/traces/{TRACE}":
        return 404, "trace not found"

    def coded(digits: str) -> str:
        return base64.b64encode(bytes.fromhex(digits)).decode()

    def batch(service: str) -> dict[str, Any]:
        spans = [
            {
                "traceId": coded(TRACE),
                "spanId": coded(span),
                **({"parentSpanId": coded(parent)} if parent else {}),
                "name": operation,
                "startTimeUnixNano": str(round(AT * 1e9) + begin * 1000),
                "endTimeUnixNano": str(round(AT * 1e9) + end * 1000),
                "attributes": [{"key": "http.status_code", "value": {"intValue": str(status)}}],
                "status": {"code": "STATUS_CODE_ERROR"} if status >= 500 else {},
            }
            for span, parent, of, operation, begin, end, status in _SPANS
            if of == service
        ]
        name = {"key": "service.name", "value": {"stringValue": service}}
        return {"resource": {"attributes": [name]}, "scopeSpans": [{"spans": spans}]}

    return 200, json.dumps({"batches": [batch("orders"), batch("gateway")]})
