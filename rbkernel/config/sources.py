"""Read `[sources.NAME]`: systems other than databases that cells query."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from rbkernel.config.connections import tell
from rbkernel.config.printed import secret_of
from rbkernel.config.quantities import Count, Seconds, Whole
from rbkernel.config.words import AtField, advice
from rbkernel.redact.columns import Redaction
from rbkernel.spelling import nearest

#: Kinds of sources of rbkernel itself, which are queried over HTTP; see `Endpoint`.
HTTP_KINDS = ("prometheus", "loki", "jaeger", "tempo")
_SECRETS = ("token", "password", "authorization", "headers")


class Endpoint(BaseModel):
    """The options of a source that is queried over HTTP; contains no secret.

    ``url`` is the address to which the paths of the API are added. A bearer token, or ``user`` and
    a password, come from an environment variable or a command. ``certificate`` and ``key`` are for
    a server that asks for a client certificate, ``ca`` is the authority that signed the server's.
    ``tenant`` is sent as X-Scope-OrgID. ``rate_window`` is the range of the rates of named queries.
    ``default`` marks the source that is used if a call names none of several.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    token_env: str | None = None
    token_command: tuple[str, ...] | None = None
    user: str | None = None
    password_env: str | None = None
    password_command: tuple[str, ...] | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    tenant: Annotated[str, Field(pattern=r"^[\w.|-]*$")] = ""
    timeout_s: Seconds = 10.0
    size_cap_mb: Annotated[Whole, Field(ge=1, le=1000)] = 16
    series_cap: Count = 200
    default: bool = False
    rate_window: Annotated[str, Field(pattern=r"^[1-9]\d*[smh]$")] = "5m"

    @model_validator(mode="before")
    @classmethod
    def _no_secrets(cls, data: Any) -> Any:
        for key in _SECRETS:
            if isinstance(data, Mapping) and key in data:
                raise AtField(
                    f"{key!r} would put a secret into the file: use token_env, token_command, or"
                    " user with password_env or password_command",
                    key,
                )
        return data

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        # the text is not shown, because it may contain a password
        if not usable or "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("should be http(s)://host:port/path, without user, ? and #")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _one_way_to_log_in(self) -> Endpoint:
        tokens = [self.token_env, self.token_command]
        passwords = [self.password_env, self.password_command]
        if sum(map(bool, tokens + passwords)) > 1:
            raise ValueError(
                "has several of token_env, token_command, password_env, password_command: keep one"
            )
        if bool(self.user) != any(passwords):
            raise ValueError("needs both user and password_env or password_command, or neither")
        if bool(self.certificate) != bool(self.key):
            raise ValueError("needs both certificate and key, or neither")
        return self


class RedisEndpoint(Endpoint):
    """The options of a Redis server: as of `Endpoint`, with another form of ``url``.

    A password alone is that of the user ``default``.
    """

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            usable = parts.scheme in {"redis", "rediss"} and parts.hostname and parts.port != 0
            numbered = re.fullmatch(r"(?:/\d*)?", parts.path)
        except ValueError:
            usable = numbered = None
        # the text is not shown, because it may contain a password
        if not (usable and numbered) or "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("should be redis(s)://host:port/number, without user, ? and #")
        return url.rstrip("/")


class Source(BaseModel):
    """A configured source: its ``kind``, which is one of rbkernel or of an extension, and options.

    The file must not contain a secret: an option names the variable that contains it.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,39}$")
    kind: str
    row_cap: Count = 10_000
    redaction: Redaction = Redaction()

    @model_validator(mode="after")
    def _known_options(self) -> Source:
        try:
            _ = self.endpoint
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            said = problem.get("ctx", {}).get("error")
            if isinstance(said, AtField):
                raise said from None
            at = problem["loc"][:1]
            field = f"{at[0]} " if at else ""
            near = nearest(str(at[0]), Endpoint.model_fields) if at else ""
            is_unknown = problem["type"] == "extra_forbidden"
            raise AtField(
                f"{field}{advice(problem)}",
                *at,
                hint=f"write {near}" if near and is_unknown else "",
            ) from None
        return self

    @property
    def options(self) -> Mapping[str, Any]:
        """The further fields of the source, which only its kind defines and reads."""
        return self.model_extra or {}

    @property
    def endpoint(self) -> Endpoint | None:
        """The options of a source that rbkernel itself queries; None of an extension's."""
        if self.kind == "redis":
            return RedisEndpoint.model_validate(self.options)
        return Endpoint.model_validate(self.options) if self.kind in HTTP_KINDS else None

    @property
    def public(self) -> frozenset[str]:
        """The words of the source that are no secrets, even if one is the password, too."""
        user = self.endpoint.user if self.endpoint else None
        return frozenset(filter(None, (self.name, self.kind, user)))

    @property
    def secret_variable(self) -> str:
        """The environment variable with the token or the password; empty if there is none."""
        one = self.endpoint
        return (one.token_env or one.password_env or "") if one else ""

    def secret(self) -> str | None:
        """Return the token or the password of a source; None if it has none.

        Raises
        ------
        ConfigError
            The variable is not set, or the command failed.
        """
        one = self.endpoint
        if one is None:
            return None
        command = one.token_command or one.password_command
        field = "token_command" if one.token_command else "password_command"
        found = secret_of(self.secret_variable, command, field, f"[sources.{self.name}]")
        if found:
            tell(self, found)
        return found
