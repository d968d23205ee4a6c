"""Read `[actions.requests.NAME]`: the HTTP requests that rbkernel sends after an approval.

Values are inserted percent-encoded into the path and the query, and as texts into the JSON body;
never into the host, the port or a header. Secrets come from a variable or a command.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, unquote, urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    field_validator,
    model_validator,
)

from rbkernel.config.action_values import Template, inserted, only_word
from rbkernel.config.commands import PLACEHOLDER
from rbkernel.config.connections import tell
from rbkernel.config.printed import secret_of
from rbkernel.config.quantities import Whole
from rbkernel.errors import ConfigError
from rbkernel.redact.names import is_secret

# for `verify`: nothing is looked at but the status of the answer
STATUS = "status"
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_LOGINS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})
# these decide where the request goes, or where its body ends
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "content-type"})


class Header(BaseModel):
    """The value of a header: a text, or a secret from ``env`` or ``command`` after ``prefix``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str = ""
    env: str | None = None
    command: tuple[str, ...] | None = None
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9 ._=:-]*$")] = ""

    @model_validator(mode="after")
    def _one_origin(self) -> Header:
        if sum(map(bool, (self.text, self.env, self.command))) != 1:
            raise ValueError("should be a text, {env = …} or {command = […]}")
        if self.text and self.prefix:
            raise ValueError("has a prefix, but no secret: write it into the text")
        if not self.text.isascii() or not self.text.isprintable():
            raise ValueError("contains a character that no header can contain")
        return self

    @property
    def is_secret(self) -> bool:
        """Whether the value must not be shown."""
        return not self.text

    def value(self, where: str) -> str:
        """Return the value to send; raise `ConfigError` if it cannot be read."""
        if not self.is_secret:
            return self.text
        return f"{self.prefix}{secret_of(self.env, self.command, 'command', where)}"


def _text(value: Any) -> Any:
    return {"text": value} if isinstance(value, str) else value


class Looked(BaseModel):
    """A GET, and the part of its JSON answer at ``pointer`` (RFC 6901); empty for all of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    pointer: Annotated[str, Field(pattern=r"^(?:/[^/]*)*$")] = ""


class Expected(Looked):
    """The value that is seen after the action."""

    equals: JsonValue


def _looked(value: Any) -> Any:
    return {"url": value} if isinstance(value, str) else value


class ActionRequest(Template):
    """An HTTP request that changes something: sent once, after an approval.

    ``expect`` are the status codes of success; redirects are not followed. ``preview`` is a
    GET whose answer is the state before: it is part of the preview, and must not change until the
    execution. ``verify`` says how the effect is seen; "status" if the status code
    is enough.
    """

    method: Literal["POST", "PUT", "PATCH", "DELETE"]
    url: str
    verify: Annotated[
        Expected | Literal["status"], only_word(STATUS, "a table with url, pointer and equals")
    ]
    headers: Mapping[
        str, Annotated[Header, BeforeValidator(_text, json_schema_input_type=str | Header)]
    ] = Field(default_factory=dict)
    json_: JsonValue = Field(default=None, alias="json")
    expect: Annotated[tuple[Annotated[Whole, Field(ge=200, le=299)], ...], Field(min_length=1)] = (
        *(200, 201, 202, 204),
    )
    preview: Annotated[
        Looked | None, BeforeValidator(_looked, json_schema_input_type=str | Looked)
    ] = None
    ca: Path | None = None

    @field_validator("headers")
    @classmethod
    def _no_secrets(cls, headers: Mapping[str, Header]) -> Mapping[str, Header]:
        for name, header in headers.items():
            if not _HEADER.fullmatch(name) or name.lower() in _OURS:
                raise ValueError(f"{name!r} is not the name of a header that may be set")
            if not header.is_secret and (name.lower() in _LOGINS or is_secret(name)):
                raise ValueError(
                    f"{name} would put a secret into the file: use {{env = …}} or {{command = …}}"
                )
        return headers

    @model_validator(mode="after")
    def _can_be_sent(self) -> ActionRequest:
        for url in self._urls:
            must_be_address(url)
            if any(one.is_secret for one in self.headers.values()):
                _must_hide_secrets(url)
        equals = self.expected.equals if self.expected else None
        self.must_use([*self._urls, *_texts(self.json_), *_texts(equals)])
        return self

    @property
    def _urls(self) -> list[str]:
        seen = self.expected.url if self.expected else None
        before = self.preview.url if self.preview else None
        return [one for one in (self.url, before, seen) if one is not None]

    @property
    def expected(self) -> Expected | None:
        """What is seen after the action; None if the status code is enough."""
        return self.verify if isinstance(self.verify, Expected) else None

    @property
    def public(self) -> frozenset[str]:
        """The words of the request that are no secrets, even if one is the secret, too."""
        return frozenset({self.name})

    def sent_headers(self) -> dict[str, str]:
        """Return the headers to send, with their secrets.

        Raises
        ------
        ConfigError
            A variable is not set, a command failed, or a secret cannot be sent.
        """
        where = f"[actions.requests.{self.name}]"
        found = {}
        for name, header in self.headers.items():
            secret = header.value(where)
            if not secret.isascii() or not secret.isprintable() or secret == header.prefix:
                raise ConfigError(
                    f"the secret for {name} is empty, or contains characters that no header can",
                    where=where,
                    next_step="check the variable or the command, and its line breaks",
                )
            if header.is_secret:
                tell(self, secret.removeprefix(header.prefix))
            found[name] = secret
        return found

    def address(self, url: str, given: Mapping[str, str]) -> str:
        """Return an address with these values, percent-encoded.

        Raises
        ------
        ValueError
            A part of the path would be "." or "..", which servers resolve, also after they
            decoded a slash.
        """
        found = inserted(url, given, lambda value: quote(value, safe=""))
        parts = re.split(r"[/\\]", unquote(urlsplit(found).path))
        if {".", ".."} & {*parts}:
            raise ValueError('a part of the path would be "." or ".."')
        return found

    def body(self, template: JsonValue, given: Mapping[str, str]) -> JsonValue:
        """Return a JSON value with these values in its texts.

        A text that is one placeholder for whole numbers becomes a number.
        """

        def filled(text: str) -> JsonValue:
            found = inserted(text, given)
            alone = PLACEHOLDER.fullmatch(text)
            return int(found) if alone and self.values[alone[1]].max is not None else found

        return _mapped(template, filled)


def must_be_address(url: str) -> None:
    """Raise a ValueError if a text is not an address with a fixed host."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    # the text is not shown, because it may contain a password
    plain = url.isascii() and url.isprintable() and " " not in url
    if not usable or not plain or "@" in parts.netloc or parts.fragment:
        raise ValueError("url should be http(s)://host:port/path?query, without user and #")
    if PLACEHOLDER.search(parts.netloc):
        raise ValueError("url must not have a placeholder in the host or the port")


def _must_hide_secrets(url: str) -> None:
    """Raise a ValueError if everybody on the way to an address can read what is sent."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        is_here = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        is_here = False
    if parts.scheme != "https" and not is_here:
        raise ValueError(f"would send a secret to {host} without TLS: write https://")


def _texts(value: JsonValue) -> Iterator[str]:
    """Yield the texts in a JSON value; a placeholder in a name is refused.

    >>> list(_texts({"a": ["b", 1, {"c": "d"}]}))
    ['b', 'd']
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        if any(PLACEHOLDER.search(name) for name in value):
            raise ValueError("json must not have a placeholder in a name")
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


def _mapped(value: JsonValue, change: Callable[[str], JsonValue]) -> JsonValue:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {name: _mapped(one, change) for name, one in value.items()}
    return [_mapped(one, change) for one in value] if isinstance(value, list) else value
