"""Send queries to a monitoring system: only to the addresses of its API that read.

Credentials come from the configuration at each request. They are sent only to the configured
address, because redirects are not followed.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import httpx

from rbkernel.config.sources import Endpoint, Source
from rbkernel.errors import ConfigError, SourceError
from rbkernel.sources import httpclient
from rbkernel.sources.httpclient import HttpAnswer, HttpRequest

#: The paths that can be requested, by kind of the source; each of them only reads.
READING: Mapping[str, re.Pattern[str]] = {
    "prometheus": re.compile(r"/api/v1/(?:query|query_range)"),
    "loki": re.compile(r"/loki/api/v1/(?:query|query_range)"),
    "jaeger": re.compile(r"/api/(?:traces/[0-9a-f]{16,32}|services)"),
    "tempo": re.compile(r"/api/(?:traces/[0-9a-f]{16,32}|echo)"),
}
# an address longer than this is refused by some servers and proxies
_LONGEST_QUERY = 4000
_SHOWN = 300


class Reply(NamedTuple):
    """A successful answer: the JSON value, or the text if it is no JSON; and the server's time."""

    value: Any
    date: str

    @property
    def at(self) -> float | None:
        """The server's time in seconds since 1970, in whole seconds; None if it says none."""
        try:
            return parsedate_to_datetime(self.date).timestamp()
        except ValueError:
            return None


class Client:
    """Requests of one source over HTTP."""

    def __init__(self, source: Source) -> None:
        assert source.endpoint is not None  # only these kinds are opened with a client
        self.source = source
        self.endpoint: Endpoint = source.endpoint
        self._reading = READING[source.kind]
        self._secret = ""

    @property
    def address(self) -> str:
        """The kind and the address of the system, for people."""
        return f"{self.source.kind} {self.endpoint.url}"

    def login(self) -> str:
        """Return how the client logs in, in words; empty if it does not.

        Raises
        ------
        ConfigError
            The token, the password or a certificate cannot be read.
        """
        said = ["bearer token"] * ("Authorization" in self._headers())
        said += [f"user {self.endpoint.user}"] * (self._user() is not None)
        said += ["client certificate"] * (self._tls() is not True and bool(self.endpoint.key))
        return ", ".join(said)

    def get(self, path: str, given: Mapping[str, str] | None = None) -> Reply:
        """Request a path of the API. Long queries are sent as a form, by POST.

        Raises
        ------
        SourceError
            No answer came, it is an error, or it is too large.
        ConfigError
            The token, the password or a certificate cannot be read.
        ValueError
            The path is not one of those that only read: a programming error.
        """
        if not self._reading.fullmatch(path):
            raise ValueError(f"{path} is not in the list of paths that only read")
        url, query = f"{self.endpoint.url}{path}", urlencode(given or {})
        long = len(query) > _LONGEST_QUERY
        request = HttpRequest(
            method="POST" if long else "GET",
            url=url if long or not query else f"{url}?{query}",
            timeout_s=self.endpoint.timeout_s,
            cap_bytes=self.endpoint.size_cap_mb * 1_000_000,
            headers=self._headers(),
            auth=self._user(),
            verify=self._tls(),
            form=given if long else None,
        )
        try:
            answer = httpclient.fetch(request)
        except (httpx.HTTPError, OSError) as error:
            raise self._silent(error) from error
        return self._read(answer)

    def _headers(self) -> dict[str, str]:
        # compressed answers could be many times larger than the cap
        headers = {"Accept-Encoding": "identity", "Accept": "application/json"}
        if self.endpoint.tenant:
            headers["X-Scope-OrgID"] = self.endpoint.tenant
        if not self.endpoint.user and (token := self.source.secret()):
            headers["Authorization"] = f"Bearer {self._sendable(token)}"
        return headers

    def _user(self) -> tuple[str, str] | None:
        if not self.endpoint.user:
            return None
        return self.endpoint.user, self._sendable(self.source.secret() or "")

    def _sendable(self, secret: str) -> str:
        if not secret or not secret.isascii() or not secret.isprintable():
            raise ConfigError(
                "the token or password is empty, or contains characters that no header can contain",
                where=f"[sources.{self.source.name}]",
                next_step="check the variable or the command; a line break at the end is common",
            )
        self._secret = secret
        return secret

    def _sent(self) -> list[str]:
        """Return the secret as it was sent, in each form in which an answer may repeat it."""
        if not self._secret:
            return []
        login = base64.b64encode(f"{self.endpoint.user}:{self._secret}".encode()).decode()
        return [login, self._secret, quote(self._secret, safe="")]

    def _tls(self) -> ssl.SSLContext | bool:
        one = self.endpoint
        if not (one.ca or one.certificate or one.url.startswith("https:")):
            return True
        try:
            # without a file, the authorities of the system; httpx takes its own
            context = ssl.create_default_context(cafile=one.ca)
            if one.certificate:
                context.load_cert_chain(one.certificate, one.key)
        except OSError as error:
            raise ConfigError(
                f"a certificate or key cannot be read: {error.strerror or error}",
                where=f"[sources.{self.source.name}]",
                next_step="check ca, certificate and key",
            ) from error
        return context

    def _silent(self, error: Exception) -> SourceError:
        reason = httpclient.reason(error, self.endpoint.timeout_s)
        if httpclient.timed_out(error):
            step = "make the query smaller (a shorter range, fewer series), or raise timeout_s"
        elif isinstance(httpclient.root(error), ssl.SSLError):
            step = "check ca, certificate and key of the source"
        else:
            step = "check the url of the source, and whether the system runs"
        return self.error(reason, step)

    def error(self, what: str, step: str) -> SourceError:
        """Return the error that the system gave no answer that can be used, and the next step."""
        section = f"[sources.{self.source.name}]"
        return SourceError(what, where=f"{self.address}, {section}", next_step=step)

    def _read(self, answer: HttpAnswer) -> Reply:
        if answer.cut:
            raise self.error(
                f"the answer is larger than the size cap of {self.endpoint.size_cap_mb} MB",
                "ask for less: aggregate with sum or topk, a shorter range, a longer step",
            )
        try:
            value = json.loads(answer.body)
        except (ValueError, RecursionError):
            value = answer.body
        if 200 <= answer.code < 300:
            return Reply(value, answer.date)
        text = " ".join((_error_in(value) or answer.body).split())
        for secret in self._sent():  # a proxy may repeat what it refuses
            text = text.replace(secret, "[redacted]")
        text = text[:_SHOWN]
        raise self.error(
            f"the server answered {answer.code}" + (f": {text}" if text else ""),
            self._advice(answer),
        )

    def _advice(self, answer: HttpAnswer) -> str:
        if answer.code in {401, 403}:
            return "check the token or the user of the source, and what they may read"
        if answer.location:
            return "write the address to which the server redirects as url of the source"
        if answer.code == 404:
            return "check the url of the source, and what was asked for"
        if answer.code in {400, 422}:
            return "correct the query"
        return "look at the system; try again later"


def _error_in(value: Any) -> str:
    """Return the text of an error, as Prometheus or Jaeger writes it; empty if there is none.

    >>> _error_in({"error": "timeout"}), _error_in({"errors": [{"msg": "not found"}]})
    ('timeout', 'not found')
    """
    if not isinstance(value, dict):
        return ""
    errors = value.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        return str(errors[0].get("msg", ""))
    return str(value.get("error", ""))
