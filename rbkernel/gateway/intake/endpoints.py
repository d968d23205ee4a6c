"""The HTTP endpoints of `rbkernel serve` for machines: senders, health probes, Prometheus.

Every error answer is JSON with ``what``, ``where`` and ``next_step``. Its status is chosen for the
reaction of senders: Alertmanager and PagerDuty drop a message after a 4xx, and retry after a 503.
So every temporary problem (a full disk, a slow line, a restart) gives 503.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar, cast

from tornado.http1connection import HTTP1Connection
from tornado.web import HTTPError, RequestHandler, stream_request_body

from rbkernel.config.addresses import is_loopback
from rbkernel.config.gateway import Gateway
from rbkernel.errors import (
    EvidenceError,
    Overloaded,
    RbkernelError,
    StoreError,
    TooLarge,
    Unauthenticated,
)
from rbkernel.evidence.store import prepare
from rbkernel.gateway.intake import SENDERS
from rbkernel.gateway.intake.authentication import Proof
from rbkernel.gateway.intake.inbox import Inbox, RawDelivery, Receipt
from rbkernel.gateway.intake.metrics import Metrics
from rbkernel.gateway.jobs.storage.store import Store

_STATUS: Mapping[type[RbkernelError], HTTPStatus] = {
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    StoreError: HTTPStatus.SERVICE_UNAVAILABLE,
    Overloaded: HTTPStatus.SERVICE_UNAVAILABLE,
}
_RETRY_AFTER_S = 5
LINGER_S = 30.0  # how long the rest of a refused body is read and dropped
_DROPPED_BYTES = 256 * 1024**2  # how many bytes of the rest are read
_PROBED_FOR_S = 2.0
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP")


@dataclass(kw_only=True)
class IntakeState:
    """The state that all endpoints for machines share."""

    settings: Gateway
    evidence_root: Path
    store: Store
    inbox: Inbox
    metrics: Metrics
    proofs: Mapping[str, Proof]
    came_in: Callable[[], None]
    trust: Callable[[object], None] = lambda _connection: None
    ending: bool = False
    under_way: int = 0
    held_bytes: int = 0
    _probed_at: float = field(default=-_PROBED_FOR_S, repr=False)
    _problems: tuple[str, ...] = ()

    async def problems(self) -> tuple[str, ...]:
        """Return why alerts cannot be stored or run now; empty if they can.

        The disk is tested at most every two seconds.
        """
        if self.ending:
            return ("the gateway is stopping",)
        if time.monotonic() - self._probed_at > _PROBED_FOR_S:
            self._probed_at = time.monotonic()
            self._problems = await asyncio.to_thread(self._probe)
        return self._problems

    def _probe(self) -> tuple[str, ...]:
        problems = []
        for probe in (self.store.probe, partial(prepare, self.evidence_root)):
            try:
                probe()
            except (StoreError, EvidenceError) as error:
                problems.append(str(error))
        return tuple(problems)


@stream_request_body
class Endpoint(RequestHandler):
    """Base class of the endpoints: JSON answers, no cookies, no caching; a body is dropped."""

    state: IntakeState

    def initialize(self, state: IntakeState) -> None:
        """Store the state that all endpoints share."""
        self.state = state

    def set_default_headers(self) -> None:
        """Set headers that hide the server's version and forbid caching."""
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")

    def check_xsrf_cookie(self) -> None:
        """Skip tornado's XSRF check: there are no cookies."""

    def prepare(self) -> None:
        """Accept a body of any length: closing the connection midway would lose the answer."""
        cast("HTTP1Connection", self.request.connection).set_max_body_size(sys.maxsize)

    def data_received(self, chunk: bytes) -> None:
        """Drop a received chunk of the request's body."""

    def tell(self, error: RbkernelError) -> None:
        """Set an error's HTTP status and write its three parts, without sending the answer yet."""
        status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), None)
        self.set_status(status or HTTPStatus.SERVICE_UNAVAILABLE)
        if self.get_status() == HTTPStatus.SERVICE_UNAVAILABLE:
            self.set_header("Retry-After", str(_RETRY_AFTER_S))
        if self.get_status() == HTTPStatus.UNAUTHORIZED:
            self.set_header("WWW-Authenticate", 'Bearer realm="rbkernel"')
        parts = {"what": error.what, "where": error.where, "next_step": error.next_step}
        body = json.dumps(parts).encode()
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.set_header("Content-Length", str(len(body)))
        self.write(body)

    def write_error(self, status_code: int, **_: Any) -> None:
        """Answer an error of tornado itself in the JSON form of all other errors."""
        if status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            self.set_header("Allow", self.allowed)
        what = HTTPStatus(status_code).phrase.lower()
        self.finish({"what": what, "where": self.request.path, "next_step": "see /openapi.json"})

    allowed: ClassVar[str] = "GET"


class Alerts(Endpoint):
    """``POST /alerts/<sender>``: authenticate, read the body, write to disk, then answer 202.

    A refused request is answered at once. The rest of its body is read and dropped for a while,
    because many senders read the answer only after they have sent everything.
    """

    allowed = "POST"

    def initialize(self, state: IntakeState) -> None:
        """Prepare the state of this request: nothing received yet."""
        super().initialize(state)
        self._source = ""
        self._chunks: list[bytes] = []
        self._size = 0
        self._refused = self._counted = False
        self._began = time.perf_counter()
        self._deadline: Any = None

    def prepare(self) -> None:
        """Check the request's headers before its body arrives; refuse it if they are wrong."""
        super().prepare()
        self.state.under_way += 1
        self._counted = True
        self._source = str(self.path_args[0])
        if self._source not in SENDERS or self.request.method != "POST":
            return  # the answer is 404 or 405, after the body
        self._wait(self.state.settings.limits.body_timeout_s, self._too_slow)
        try:
            self._admit()
            if self._announced() > self.state.settings.limits.body_bytes:
                raise self._too_large()
        except (Unauthenticated, Overloaded, TooLarge) as error:
            self._refuse_early(error)

    def data_received(self, chunk: bytes) -> None:
        """Keep a received chunk of the body, unless the request is already refused."""
        self._size += len(chunk)
        if self._refused or self._deadline is None:
            if self._refused and self._size > _DROPPED_BYTES:
                self.finish()
            return
        most = self.state.settings.limits
        if self._size > most.body_bytes:
            self._refuse_early(self._too_large())
        elif self.state.held_bytes + len(chunk) > most.waiting_bytes:
            self._refuse_early(self._full())
        else:
            self.state.held_bytes += len(chunk)
            self._chunks.append(chunk)

    async def post(self, source: str) -> None:
        """Commit the alerts in the body to disk, then acknowledge them with 202."""
        if source not in SENDERS:
            raise HTTPError(HTTPStatus.NOT_FOUND)
        self._deadline.cancel()
        if self._refused:
            self.finish()
            return
        try:
            raw = b"".join(self._chunks)
            proof = self.state.proofs.get(source)
            if proof and proof.needs_body:
                proof.check(self.request.headers.get, raw, time.time())
                self._trust()
            receipt = await self.state.inbox.take(self._raw_delivery(raw))
        except RbkernelError as error:
            self._count(error)
            self.tell(error)
            self.finish()
        else:
            self.state.metrics.accepted(source, receipt, time.perf_counter() - self._began)
            self.set_status(HTTPStatus.ACCEPTED)
            self.finish(_as_json(receipt))
            if receipt.new:
                self.state.came_in()

    def on_finish(self) -> None:
        """Release the memory reserved for the request."""
        self._end()

    def on_connection_close(self) -> None:
        """Release the memory reserved for a sender that disconnected."""
        super().on_connection_close()
        self._end()

    def _refuse_early(self, error: RbkernelError) -> None:
        """Answer a refused request before its body has ended.

        A sender that awaits ``100 Continue`` then sends no body.
        """
        self._refused = True
        self._let_go()
        self._count(error)
        self.tell(error)
        waits = self.request.headers.get("Expect", "").lower() == "100-continue"
        if waits and not self._size:
            self._deadline.cancel()
            self.finish()
        else:
            self.flush()
            self._wait(LINGER_S, self.finish)

    def _wait(self, limit_s: float, then: Callable[[], object]) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = asyncio.get_running_loop().call_later(limit_s, then)

    def _count(self, error: RbkernelError) -> None:
        took_s = time.perf_counter() - self._began
        self.state.metrics.refused(self._source, error, took_s)

    def _trust(self) -> None:
        self.state.trust(self.request.server_connection)

    def _admit(self) -> None:
        """Refuse unauthenticated requests, and all requests on overload."""
        if self.state.ending:
            raise Overloaded("the gateway is stopping", next_step="send it again in a few seconds")
        proof = self.state.proofs.get(self._source)
        if proof is None:
            self._admit_unproven()
            self._trust()
        elif not proof.needs_body:
            proof.check(self.request.headers.get, b"", time.time())
            self._trust()
        if self.state.held_bytes >= self.state.settings.limits.waiting_bytes:
            raise self._full()

    def _admit_unproven(self) -> None:
        """Admit a request without a secret, if it is from this machine and no sender has a secret.

        A web page in a browser of this machine cannot send JSON here without a preflight request. A
        proxy, or a foreign host name that resolves to this machine, is detected by its headers.
        """
        headers = self.request.headers
        local = is_loopback(self.request.host_name.strip("[]"))
        plain = headers.get("Content-Type", "").partition(";")[0].strip() == "application/json"
        if self.state.proofs or not self.state.settings.on_loopback:
            what = "no secret is configured for this sender, so its requests are refused"
        elif not local or any(name in headers for name in _FORWARDED):
            what = "without a secret, only this machine may send alerts"
        elif not plain:
            what = "without a secret, only Content-Type: application/json is accepted"
        else:
            return
        advice = f"configure [gateway.senders.{self._source}] with secret_env"
        raise Unauthenticated(what, where=self._source, next_step=advice)

    def _announced(self) -> int:
        length = self.request.headers.get("Content-Length", "0")
        return int(length) if length.isascii() and length.isdigit() and len(length) < 16 else 0

    def _too_slow(self) -> None:
        """Answer 503 because the body did not arrive in time: the sender should retry."""
        error = Overloaded(
            f"the body did not arrive within {self.state.settings.limits.body_timeout_s:g} s",
            where=self._source,
            next_step="send it again; check the network between sender and gateway",
        )
        self._count(error)
        self.tell(error)
        self.finish()

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"the body is longer than {self.state.settings.limits.body_bytes} bytes",
            where=self._source,
            next_step="let the sender send fewer alerts at once, or raise [gateway.limits] body_mb",
        )

    def _full(self) -> Overloaded:
        return Overloaded(
            "too many requests are waiting for the disk",
            where="the gateway's inbox",
            next_step="send it again; check the disk, or raise [gateway.limits] waiting_mb",
        )

    def _raw_delivery(self, raw: bytes) -> RawDelivery:
        return RawDelivery(
            source=self._source,
            raw=raw,
            encoding=self.request.headers.get("Content-Encoding", ""),
            received_at=datetime.now(UTC),
        )

    def _let_go(self) -> None:
        self.state.held_bytes -= sum(map(len, self._chunks))
        self._chunks = []

    def _end(self) -> None:
        """Release what `prepare` reserved for the request; later calls do nothing."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._let_go()
        if self._counted:
            self.state.under_way -= 1
            self._counted = False


class Live(Endpoint):
    """``GET /health/live``: answers 200 as long as the process works."""

    def get(self) -> None:
        """Answer 200: the process is alive."""
        self.finish({"live": True})


class Ready(Endpoint):
    """``GET /health/ready``: checks that alerts can be stored and runs recorded; tests the disk."""

    async def get(self) -> None:
        """Answer 200 if alerts can be stored and runs recorded, else 503 with the reasons."""
        problems = await self.state.problems()
        if problems:
            self.set_status(HTTPStatus.SERVICE_UNAVAILABLE)
        self.finish({"ready": not problems, "problems": list(problems)})


class MetricsPage(Endpoint):
    """``GET /metrics``: metrics in Prometheus' text format."""

    async def get(self) -> None:
        """Answer with this process's counters and the shared store's counts."""
        self.set_header("Content-Type", self.state.metrics.CONTENT_TYPE)
        self.finish(await asyncio.to_thread(self.state.metrics.page, self.state.store))


class OpenApi(Endpoint):
    """``GET /openapi.json``: the OpenAPI description of the interface for senders."""

    def get(self) -> None:
        """Answer with the OpenAPI description."""
        from rbkernel.gateway.intake import openapi

        self.finish(openapi.document(self.state.settings))


class Nothing(Endpoint):
    """The handler of every address without an endpoint."""

    def get(self) -> None:
        """Answer 404: there is no endpoint at this address."""
        raise HTTPError(HTTPStatus.NOT_FOUND)

    head = post = put = patch = delete = options = get


def handlers(state: IntakeState) -> list[tuple[str, type[Endpoint], dict[str, Any]]]:
    """Return the endpoints for machines as handlers of a tornado application."""
    shared = {"state": state}
    return [
        (r"/alerts/([^/]*)", Alerts, shared),
        (r"/health/live", Live, shared),
        (r"/health/ready", Ready, shared),
        (r"/metrics", MetricsPage, shared),
        (r"/openapi\.json", OpenApi, shared),
    ]


def _as_json(receipt: Receipt) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(receipt).items() if value is not None}
