"""Send one HTTP request, with one time-out for all of it and a cap on the answer."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import NamedTuple

import httpx

# s to wait beyond the time-out, while the connection is closed
_GRACE_S = 1.0


class HttpAnswer(NamedTuple):
    """An HTTP answer: status code and text of the body; ``cut`` is true if the body was longer.

    ``location`` is where a redirect leads; ``date`` is the time of the server, as it says it.
    """

    code: int
    body: str
    cut: bool = False
    location: str = ""
    date: str = ""


class HttpRequest(NamedTuple):
    """A request; ``form`` or ``content`` is sent as its body, and ``auth`` is user and password.

    ``verify`` is the TLS context, or True for the certificate authorities of httpx. With
    ``trust_env``, a proxy that the environment names gets the request.
    """

    method: str
    url: str
    timeout_s: float
    cap_bytes: int
    headers: Mapping[str, str] = {}
    auth: tuple[str, str] | None = None
    verify: ssl.SSLContext | bool = True
    form: Mapping[str, str] | None = None
    content: bytes | None = None
    trust_env: bool = True


def fetch(request: HttpRequest) -> HttpAnswer:
    """Send an HTTP request in a thread, with one time-out for the whole request.

    The time-outs of httpx start again with each piece of the answer. Redirects are not followed.

    A name look-up cannot be interrupted: if the name server does not answer, the thread continues
    in the background.

    Raises
    ------
    httpx.HTTPError, OSError
        No answer came. A server that refuses the client's certificate causes an `ssl.SSLError`,
        which httpx does not wrap.
    """
    answer: Future[HttpAnswer] = Future()

    def ask() -> None:
        try:
            answer.set_result(asyncio.run(_ask(request)))
        except BaseException as error:  # noqa: BLE001  # raised again where the answer is awaited
            answer.set_exception(error)

    threading.Thread(target=ask, name="rbkernel-http", daemon=True).start()
    return answer.result(request.timeout_s + _GRACE_S)


async def _ask(request: HttpRequest) -> HttpAnswer:
    body, cap = bytearray(), request.cap_bytes
    async with (
        asyncio.timeout(request.timeout_s),
        httpx.AsyncClient(
            timeout=request.timeout_s,
            follow_redirects=False,
            auth=request.auth,
            verify=request.verify,
            trust_env=request.trust_env,
        ) as client,
        client.stream(
            request.method,
            request.url,
            headers=request.headers,
            data=request.form,
            content=request.content,
        ) as response,
    ):
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) >= cap:
                break
        return HttpAnswer(
            response.status_code,
            body.decode(response.encoding or "utf-8", errors="replace"),
            cut=len(body) >= cap,
            location=response.headers.get("location", ""),
            date=response.headers.get("date", ""),
        )


def timed_out(error: Exception) -> bool:
    """Return whether no answer came in time."""
    return isinstance(error, httpx.TimeoutException | TimeoutError)


def reason(error: Exception, timeout_s: float) -> str:
    """Return in words why no answer came."""
    if timed_out(error):
        return f"no answer within {timeout_s:g} s"
    inner = root(error)
    if isinstance(inner, ssl.SSLError):  # its number is not one of the operating system
        return f"TLS: {str(inner.reason or inner).replace('_', ' ').lower()}"
    if type(inner) is ValueError:  # our own, in words
        return str(inner)
    code = getattr(inner, "errno", None)
    return f"{type(error).__name__}: {os.strerror(code) if code and code > 0 else inner}"


def root(error: BaseException) -> BaseException:
    """Return the error at the end of a chain of causes, which says what went wrong."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error
