"""Read `[gateway]`: the address, the senders of alerts and their authentication, and limits.

A sender's secret is never in the file: ``secret_env`` names variables, ``secret_command`` prints
one secret per line. Two secrets are allowed, so that a secret can be changed without losing an
alert.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from rbkernel import extensions
from rbkernel.config.addresses import is_loopback
from rbkernel.config.named import Named
from rbkernel.config.printed import printed_by
from rbkernel.config.quantities import Count, Megabytes, Number, Seconds, Whole
from rbkernel.config.replies import Reply
from rbkernel.config.words import AtField
from rbkernel.errors import ConfigError
from rbkernel.spelling import did_you_mean

SENDERS = "rbkernel.senders"  # the entry point group of senders of other packages
Method = Literal["bearer", "basic", "hmac"]
_METHODS: Mapping[str, tuple[Method, ...]] = {  # the first one is the default
    "alertmanager": ("bearer", "basic"),
    "grafana": ("hmac", "bearer", "basic"),
    "pagerduty": ("hmac", "bearer"),
    "datadog": ("bearer", "basic"),
    "generic": ("bearer", "basic", "hmac"),
}
_SIGNATURE_HEADERS: Mapping[str, str] = {
    "grafana": "X-Grafana-Alerting-Signature",
    "pagerduty": "X-PagerDuty-Signature",
    "generic": "X-Rbkernel-Signature",
}
_SECRETS_AT_ONCE = 2
_SHORTEST_SECRET = 8


class Sender(BaseModel):
    """A sender of alerts, which posts to ``/alerts/<name>``, and its authentication.

    ``reply`` says where the sender learns that an incident of its alerts was acknowledged or
    closed; by default, it does not learn this.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    method: Method = "bearer"
    user: str = ""
    secret_env: tuple[str, ...] = Field((), max_length=_SECRETS_AT_ONCE)
    secret_command: tuple[str, ...] = ()
    signature_header: str = ""
    timestamp_header: str = ""
    window_s: Seconds = 300.0
    reply: Reply | None = None

    @model_validator(mode="before")
    @classmethod
    def _usual_method(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        for key in ("secret", "token", "password"):
            if key in data:
                raise AtField(
                    f"{key!r} would put a secret into the file: use secret_env or secret_command",
                    key,
                )
        name = str(data.get("name"))
        usual = _METHODS[_methods_key(name)][0]
        return {
            "method": "basic" if data.get("user") else usual,
            "signature_header": _SIGNATURE_HEADERS.get(_methods_key(name), ""),
            **data,
        }

    @field_validator("secret_env", mode="before", json_schema_input_type=str | tuple[str, ...])
    @classmethod
    def _one_or_two(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _possible(self) -> Sender:
        possible = _METHODS[_methods_key(self.name)]
        if self.method not in possible:
            raise AtField(
                f"{self.name} can do {' or '.join(possible)}, not {self.method}", "method"
            )
        if self.method == "basic" and not self.user:
            raise ValueError("method basic needs a user")
        if self.timestamp_header and self.method != "hmac":
            raise AtField(
                f"timestamp_header is signed with method hmac, not {self.method}",
                "timestamp_header",
            )
        if bool(self.secret_env) == bool(self.secret_command):
            raise ValueError("give either secret_env or secret_command")
        if self.reply:
            self.reply.must_suit(self.name)
        return self

    def must_be_installed(self) -> None:
        """Check that rbkernel or an installed package reads the alerts of this sender.

        This is not checked when the configuration is read: only the commands that receive alerts
        need the package.

        Raises
        ------
        ConfigError
            There is no such sender.
        """
        added = [one.name for one in extensions.installed() if one.group == SENDERS]
        known = dict.fromkeys([*_METHODS, *added])
        if self.name in known:
            return
        raise ConfigError(
            f"no installed package adds a sender {self.name!r}; there are {', '.join(known)}"
            f"{did_you_mean(self.name, known)}",
            where=f"[gateway.senders.{self.name}]",
            next_step="install the package that adds this sender, or remove the section;"
            " `rbkernel extensions` lists the installed packages",
        )

    def secrets(self) -> tuple[str, ...]:
        """Fetch the valid secrets of a sender: one, or two while a secret is being changed.

        Raises
        ------
        ConfigError
            There is no secret, there are more than two, or one is too short.
        """
        found = self._from_command() if self.secret_command else self._from_environment()
        if not 1 <= len(found) <= _SECRETS_AT_ONCE:
            raise self._problem(_wrong_number(len(found)))
        if any(len(secret) < _SHORTEST_SECRET for secret in found):
            raise self._problem(f"a secret is shorter than {_SHORTEST_SECRET} characters")
        return found

    def _from_environment(self) -> tuple[str, ...]:
        """Return the secrets in those environment variables that are set."""
        found = (os.environ.get(name, "").strip() for name in self.secret_env)
        return tuple(secret for secret in found if secret)

    def _from_command(self) -> tuple[str, ...]:
        printed = printed_by(
            self.secret_command, "secret_command", f"[gateway.senders.{self.name}]"
        )
        return tuple(line.strip() for line in printed.splitlines() if line.strip())

    def _problem(self, what: str) -> ConfigError:
        mend = (
            f"set {' or '.join(self.secret_env)}"
            if self.secret_env
            else "run the secret_command by hand, and see what it prints"
        )
        return ConfigError(what, where=f"[gateway.senders.{self.name}]", next_step=mend)


def _wrong_number(secrets: int) -> str:
    if not secrets:
        return "the secret of this sender is not set"
    return f"this sender has {secrets} secrets, and at most {_SECRETS_AT_ONCE} can be used at once"


def _methods_key(name: str) -> str:
    """Return the key of a sender in `_METHODS` and `_SIGNATURE_HEADERS`.

    A sender of an extension has the key ``generic``, which allows all methods of authentication.
    """
    return name if name in _METHODS else "generic"


class Limits(BaseModel):
    """Limits of the gateway: of a single request, and of all requests together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    body_mb: Annotated[Number, Field(gt=0, le=64)] = 4.0
    alerts: Count = 10_000
    body_timeout_s: Seconds = 10.0
    waiting_mb: Megabytes = 64.0
    commit_timeout_s: Seconds = 4.0
    drain_s: Seconds = 20.0
    connections: Count = 1_000
    header_timeout_s: Seconds = 10.0
    idle_timeout_s: Seconds = 75.0

    @property
    def body_bytes(self) -> int:
        """The maximum length of a body, before and after decompression."""
        return int(self.body_mb * 1024 * 1024)

    @property
    def waiting_bytes(self) -> int:
        """The maximum number of bytes that wait for the disk; more are refused with 503."""
        return int(self.waiting_mb * 1024 * 1024)


class Gateway(BaseModel):
    """The gateway's configuration: the address to listen on, TLS, limits and senders.

    ``url`` is the public address with which links to the gateway's pages begin.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: Annotated[Whole, Field(ge=0, le=65535)] = 8790
    url: str = ""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    limits: Limits = Limits()
    senders: Annotated[Mapping[str, Sender], Named] = Field(default_factory=dict)

    @field_validator("url")
    @classmethod
    def _is_address(cls, url: str) -> str:
        parts = urlsplit(url)
        # a port that is none raises an error, too
        bad = parts.scheme not in {"http", "https"} or not parts.netloc or parts.query
        if url and (bad or parts.port == 0):
            raise ValueError("give an address such as https://runbooks.example.org")
        return url

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Gateway:
        if bool(self.tls_certificate) != bool(self.tls_key):
            given = "tls_certificate" if self.tls_certificate else "tls_key"
            raise AtField("tls_certificate and tls_key belong together", given)
        if self.tls_client_ca and not self.tls_certificate:
            raise AtField("tls_client_ca needs tls_certificate and tls_key", "tls_client_ca")
        return self

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the gateway."""
        return is_loopback(self.host)

    @property
    def address(self) -> str:
        """The address with which the links to the gateway's pages begin."""
        scheme = "https" if self.tls_certificate else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.url or f"{scheme}://{host}:{self.port}").rstrip("/")
