"""`rbkernel serve --check`: send a test request as each sender, and check the answer.

The requests go to the gateway that listens at the configured address. If there is none, a temporary
gateway is started on a free port of this machine, with the same secrets and the same store. The
requests contain no alert, so nothing is run and nothing is stored.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import json
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import httpx

from rbkernel.config import Settings
from rbkernel.config.gateway import Gateway
from rbkernel.errors import (
    ConfigError,
    ExtensionError,
    GatewayError,
    OlderStore,
    RbkernelError,
)
from rbkernel.gateway import server
from rbkernel.gateway.assembly import assemble
from rbkernel.gateway.intake import SENDERS
from rbkernel.gateway.intake.authentication import Proof
from rbkernel.gateway.jobs import route_checks
from rbkernel.gateway.jobs.storage.store import Store
from rbkernel.model import Finding, Verdict

_TIMEOUT_S = 10.0
_WRONG = b"not the secret, sent by rbkernel serve --check"
_ANYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # noqa: S104  # an address to connect to, not to bind


def check(settings: Settings) -> list[Finding]:
    """Check whether the gateway can start, is reachable, is ready, and accepts each sender."""
    return asyncio.run(_check(settings))


async def _check(settings: Settings) -> list[Finding]:
    gateway = settings.gateway
    plan = route_checks.examine(settings)
    planned = [
        *(_wrong("plans", problem) for problem in plan.problems),
        *(_wrong("plans", one, Verdict.WARNING) for one in plan.cautions),
    ]
    try:
        with contextlib.closing(Store.open(settings.store_url)) as store:
            assemble(settings, store)
    except OlderStore as error:
        return [_wrong("start", error, Verdict.WARNING), *planned]
    except RbkernelError as error:
        return [_wrong("start", error), *planned]
    context = _trusting(gateway)
    async with httpx.AsyncClient(verify=context, timeout=_TIMEOUT_S, trust_env=False) as client:
        try:
            async with _reached(settings, client) as (address, listening):
                senders = [await _sender(source, gateway, address, client) for source in SENDERS]
                return [listening, await _ready(address, client), *planned, *senders]
        except RbkernelError as error:
            return [_wrong("listening", error), *planned]


def _trusting(gateway: Gateway) -> ssl.SSLContext:
    """Return a TLS context that trusts the system's authorities and the gateway's certificate."""
    context = ssl.create_default_context()
    if gateway.tls_certificate and gateway.tls_certificate.is_file():
        with contextlib.suppress(ssl.SSLError):  # the server reports the error
            context.load_verify_locations(gateway.tls_certificate)
    return context


@contextlib.asynccontextmanager
async def _reached(
    settings: Settings, client: httpx.AsyncClient
) -> AsyncIterator[tuple[str, Finding]]:
    """Yield the running gateway's address; if none runs, run a gateway within the block."""
    gateway = settings.gateway
    if gateway.tls_client_ca:
        which = f"senders need a certificate from {gateway.tls_client_ca.name}; for this check, a"
        async with _started(settings) as started:
            yield started, _listening(f"{which} gateway that needs none was started")
        return
    where = _ANYWHERE.get(gateway.host, gateway.host)
    address = gateway.model_copy(update={"host": where, "url": ""}).address
    try:
        answer = await client.get(f"{address}/health/live")
        is_ours = answer.status_code == HTTPStatus.OK and answer.json() == {"live": True}
    except httpx.ConnectError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise ConfigError(
                f"a sender would not trust the certificate: {_tls_reason(error)}",
                where=str(gateway.tls_certificate),
                next_step=f"give a certificate for {where} that is valid now",
            ) from error
        which = f"no gateway is running at {address}; one was started for this check"
        async with _started(settings) as started:
            yield started, _listening(which)
        return
    except (httpx.HTTPError, ValueError) as error:
        raise _stranger(address, type(error).__name__) from error
    if not is_ours:
        raise _stranger(address, f"HTTP {answer.status_code}")
    yield address, _listening(f"a gateway is running at {address}")


def _listening(which: str) -> Finding:
    return Finding(
        title="listening",
        verdict=Verdict.OK,
        expected="a gateway, or a free port",
        actual=which,
    )


@contextlib.asynccontextmanager
async def _started(settings: Settings) -> AsyncIterator[str]:
    here = settings.gateway.model_copy(
        update={"host": "127.0.0.1", "port": 0, "tls_client_ca": None}
    )
    store = Store.open(settings.store_url)
    try:
        bound = server.bind(settings.model_copy(update={"gateway": here}))
        started = server.Server.start(bound, store)
        try:
            yield started.address
        finally:
            await started.end()
    finally:
        store.close()


async def _ready(address: str, client: httpx.AsyncClient) -> Finding:
    answer = await client.get(f"{address}/health/ready")
    problems = "; ".join(answer.json().get("problems", []))
    return Finding(
        title="ready",
        verdict=Verdict.CRITICAL if problems else Verdict.OK,
        expected="store and evidence folder are writable",
        actual=problems or "store and evidence folder are writable",
        next_step="fix this problem: until then alerts wait, here or at their senders"
        if problems
        else "",
    )


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """The gateway's answers to a sender's two test requests: with the right and a wrong secret."""

    right: int
    wrong: int | None
    what: str


async def _sender(
    source: str, gateway: Gateway, address: str, client: httpx.AsyncClient
) -> Finding:
    url = f"{address}/alerts/{source}"
    sender = gateway.senders.get(source)
    try:
        proof = Proof.of(sender) if sender else None
        seen = await _asked(source, url, proof, client)
    except (ConfigError, ExtensionError) as error:
        return _wrong(source, error)
    except httpx.HTTPError as error:
        reason = type(error).__name__
        return _wrong(source, GatewayError(f"no answer: {reason}", next_step="see its log"))
    return _judged(source, f"{gateway.address}/alerts/{source}", proof, gateway, seen)


async def _asked(source: str, url: str, proof: Proof | None, client: httpx.AsyncClient) -> _Seen:
    body = json.dumps(SENDERS[source].nothing()).encode()
    right = await _post(client, url, body, _headers(proof, proof.secrets[0], body) if proof else {})
    if proof is None:
        return _Seen(right=right.status_code, wrong=None, what=_what(right))
    wrong = await _post(client, url, body, _headers(proof, _WRONG, body))
    return _Seen(right=right.status_code, wrong=wrong.status_code, what=_what(right))


async def _post(
    client: httpx.AsyncClient, url: str, body: bytes, headers: Mapping[str, bytes]
) -> httpx.Response:
    sent = {"Content-Type": b"application/json", **headers}
    # as bytes: a secret may contain other characters than ASCII
    return await client.post(
        url, content=body, headers={name.encode(): value for name, value in sent.items()}
    )


def _judged(source: str, url: str, proof: Proof | None, gateway: Gateway, seen: _Seen) -> Finding:
    accepted = seen.right == HTTPStatus.ACCEPTED
    if proof is None:
        closed = bool(gateway.senders) or not gateway.on_loopback
        how = (
            "closed: no secret is configured"
            if closed
            else "open to this machine, without a secret"
        )
        fine = accepted != closed
    else:
        secrets = f", {len(proof.secrets)} secrets" if len(proof.secrets) > 1 else ""
        how = f"{proof.method}{secrets}; with a wrong secret {seen.wrong}"
        fine = accepted and seen.wrong == HTTPStatus.UNAUTHORIZED
    return Finding(
        title=source,
        verdict=Verdict.OK if fine else Verdict.CRITICAL,
        expected="202 with its secret, 401 without",
        actual=f"{seen.right} from POST {url} ({how})",
        cause="" if fine else seen.what,
        next_step=""
        if fine
        else f"compare [gateway.senders.{source}] with the configuration of the running gateway",
    )


def _headers(proof: Proof, secret: bytes, body: bytes) -> dict[str, bytes]:
    """Return the headers that authenticate a test request as this sender's."""
    match proof.method:
        case "bearer":
            return {"Authorization": b"Bearer " + secret}
        case "basic":
            pair = base64.b64encode(proof.user.encode() + b":" + secret)
            return {"Authorization": b"Basic " + pair}
        case "hmac":
            now = str(int(time.time())).encode()
            at = {proof.timestamp_header: now} if proof.timestamp_header else {}
            signed = (now + b":" if at else b"") + body
            code = hmac.digest(secret, signed, "sha256").hex().encode()
            version = b"v1=" if proof.source == "pagerduty" else b""
            return {**at, proof.signature_header: version + code}


def _what(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("what", ""))
    except ValueError:
        return "the answer does not come from a gateway"


def _stranger(address: str, reason: str) -> GatewayError:
    return GatewayError(
        f"another program listens there ({reason})",
        where=address,
        next_step="stop that program, or give the gateway another port",
    )


def _tls_reason(error: Exception) -> str:
    return str(error).partition("CERTIFICATE_VERIFY_FAILED] ")[2].partition(" (_ssl")[0]


def _wrong(title: str, error: RbkernelError, verdict: Verdict = Verdict.CRITICAL) -> Finding:
    return Finding(
        title=title,
        verdict=verdict,
        expected="works as configured",
        actual=f"{error.what} ({error.where})" if error.where else error.what,
        next_step=error.next_step,
    )
