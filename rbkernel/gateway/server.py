"""`rbkernel serve`: listens, passes requests to the endpoints, and stops without losing alerts.

Ordering rules. Start: `bind` takes the port, then the configuration is checked completely, and only
then are requests answered. Stop: refuse new connections, answer the current requests, commit the
last alerts, release the unfinished jobs, and close the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import os
import signal
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from rbkernel.config import Settings
from rbkernel.config.gateway import Gateway
from rbkernel.errors import ConfigError, GatewayError
from rbkernel.gateway import http_connections
from rbkernel.gateway.http_connections import BoundedServer, Patience
from rbkernel.gateway.intake import endpoints
from rbkernel.gateway.intake.authentication import Proof
from rbkernel.gateway.intake.endpoints import IntakeState
from rbkernel.gateway.intake.inbox import Inbox
from rbkernel.gateway.intake.metrics import Metrics
from rbkernel.gateway.jobs.storage.store import Store
from rbkernel.kernel import secrets

_log = logging.getLogger(__name__)
_HEADERS_BYTES = 64 * 1024
_OTHER_BODY_BYTES = 64 * 1024  # the limit for requests to pages, which have no body
_BACKLOG = 1024
_POLL_S = 0.02
_SLACK_S = 5.0


class Work(Protocol):
    """The interface of the object that processes stored alerts, such as a supervisor."""

    def wake(self) -> None:
        """Wake up the processing, because new alerts were stored."""

    def drain(self) -> None:
        """Start no more jobs, put unfinished jobs back into the queue, and return."""


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A port that is bound but not served yet; ``settings`` contain its number."""

    settings: Settings
    sockets: Sequence[socket.socket]


def bind(settings: Settings) -> Bound:
    """Bind the configured address and port, without answering requests yet.

    Raises
    ------
    GatewayError
        The address is open to other machines without authentication, or the port cannot be used.
    """
    gateway = settings.gateway
    must_know_senders(gateway)
    try:
        sockets = bind_sockets(gateway.port, gateway.host, backlog=_BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        elsewhere = isinstance(error, socket.gaierror | UnicodeError)
        elsewhere = elsewhere or getattr(error, "errno", 0) == errno.EADDRNOTAVAIL
        raise GatewayError(
            f"cannot listen: {getattr(error, 'strerror', None) or error}",
            where=f"{gateway.host}:{gateway.port}",
            next_step="give a name or an address of this machine as [gateway] host, or --host"
            if elsewhere
            else "stop that program (`rbkernel serve --check` says whether it is a"
            " gateway), or give another --port",
        ) from error
    known = gateway.model_copy(update={"port": int(sockets[0].getsockname()[1])})
    return Bound(settings=settings.model_copy(update={"gateway": known}), sockets=sockets)


@dataclass(kw_only=True)
class Server:
    """The gateway's HTTP server, with its store, inbox and pages."""

    state: IntakeState
    http: BoundedServer
    work: Work | None = None

    @classmethod
    def start(
        cls, bound: Bound, store: Store, *, work: Work | None = None, pages: Sequence[Any] = ()
    ) -> Self:
        """Start to answer HTTP requests, in the running event loop.

        Raises
        ------
        ConfigError
            A secret or certificate cannot be read.
        """
        gateway = bound.settings.gateway
        limits = gateway.limits
        context = tls(gateway)
        state = IntakeState(
            settings=gateway,
            evidence_root=bound.settings.evidence_root,
            store=store,
            inbox=Inbox(
                store,
                secrets.redactor(bound.settings, os.environ),
                most_bytes=limits.body_bytes,
                most_alerts=limits.alerts,
                commit_timeout_s=limits.commit_timeout_s,
            ),
            metrics=Metrics(),
            proofs={name: Proof.of(sender) for name, sender in gateway.senders.items()},
            came_in=work.wake if work else _nothing,
        )
        http = BoundedServer(
            application(state, pages),
            connections=http_connections.room(limits.connections, http_connections.file_limit()),
            patience=Patience(first_s=limits.header_timeout_s, next_s=limits.idle_timeout_s),
            ssl_options=context,
            max_header_size=_HEADERS_BYTES,
            max_body_size=_OTHER_BODY_BYTES,
            body_timeout=limits.body_timeout_s + endpoints.LINGER_S + _SLACK_S,
        )
        state.trust = http.trust
        # objects loaded so far stay: a garbage collection of all of them delays senders by 0.2 s
        gc.collect()
        gc.freeze()
        state.inbox.start()
        http.add_sockets(bound.sockets)
        return cls(state=state, http=http, work=work)

    @property
    def address(self) -> str:
        """The local address of the server; its public address may differ."""
        return self.state.settings.model_copy(update={"url": ""}).address

    async def end(self) -> None:
        """Stop within a time limit: finish requests, commit alerts, release unfinished jobs."""
        self.state.ending = True
        self.http.stop()
        limit_s = self.state.settings.limits.drain_s
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle(), limit_s)
        await asyncio.to_thread(self.state.inbox.close, limit_s)
        await self.http.close_all_connections()
        if self.work:
            await asyncio.to_thread(self.work.drain)

    async def _idle(self) -> None:
        while self.state.under_way:
            await asyncio.sleep(_POLL_S)


async def serve(server: Server, report: Callable[[str], None]) -> None:
    """Serve HTTP requests until SIGTERM or Ctrl-C, then stop; a second signal stops at once."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    await asked.wait()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)
    report("stopping: requests in progress are finished first")
    await server.end()


def application(state: IntakeState, pages: Sequence[Any] = ()) -> Application:
    """Return the gateway's tornado application: the endpoints for machines, then the pages."""
    return Application(
        [*endpoints.handlers(state), *pages],
        default_handler_class=endpoints.Nothing,
        default_handler_args={"state": state},
        log_function=_log_request,
        serve_traceback=False,
        compress_response=False,
    )


def must_know_senders(gateway: Gateway) -> None:
    """Raise an error if other machines could send alerts without authentication.

    Raises
    ------
    GatewayError
        No sender has a secret, and other machines could send.
    """
    if not gateway.senders and not gateway.on_loopback:
        raise GatewayError(
            f"anyone could send alerts to {gateway.host or 'all addresses'}: there is no secret",
            where="[gateway]",
            next_step="configure [gateway.senders.alertmanager] with secret_env"
            " (docs/reference/gateway.md), or listen on 127.0.0.1",
        )


def tls(gateway: Gateway) -> ssl.SSLContext | None:
    """Return the server's TLS context (TLS 1.2 or newer); None if TLS is not configured.

    Raises
    ------
    ConfigError
        A file cannot be read, or key and certificate do not belong together.
    """
    if gateway.tls_certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    files = (gateway.tls_certificate, gateway.tls_key, gateway.tls_client_ca)
    for path in files:
        if path and not path.is_file():
            raise ConfigError(
                "this TLS file does not exist", where=str(path), next_step="correct [gateway] tls_…"
            )
    try:
        # a key with a passphrase would prompt on a terminal that nobody watches
        context.load_cert_chain(gateway.tls_certificate, gateway.tls_key, password=b"")
        if gateway.tls_client_ca:
            context.load_verify_locations(gateway.tls_client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError, ValueError) as error:
        raise ConfigError(
            f"TLS cannot be used: {getattr(error, 'reason', None) or error}",
            where=", ".join(str(path) for path in files if path),
            next_step="give a PEM certificate chain and its key without a passphrase",
        ) from error
    return context


def warnings(gateway: Gateway) -> list[str]:
    """Return the warnings about the configuration to log when the gateway starts."""
    found = []
    if not gateway.senders:
        found.append("no sender authentication: alerts are accepted from this machine only")
    if not gateway.on_loopback and gateway.tls_certificate is None:
        found.append(
            "without TLS, secrets and alerts can be read in transit: set tls_certificate and"
            " tls_key, or listen on 127.0.0.1 behind a proxy that has them"
        )
    return found


def _nothing() -> None:
    """Do nothing; used when this process runs no worker, so that alerts stay in the store."""


def _log_request(handler: RequestHandler) -> None:
    """Log a failed request, without its body, and without its query, which may hold a token."""
    status = handler.get_status()
    if status < 400:
        return
    request = handler.request
    took_ms = 1000 * request.request_time()
    level = logging.WARNING if status < 500 else logging.ERROR
    _log.log(
        level,
        "request: %d %s %.80r from %s in %.0f ms",
        *(status, request.method, request.path, request.remote_ip, took_ms),
        extra={"kind": status},
    )
