"""Read `[connections]`: named connections to databases, without their passwords."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rbkernel.config.printed import secret_of
from rbkernel.config.quantities import Count, Port, Seconds, Whole
from rbkernel.config.words import AtField
from rbkernel.errors import ConfigError
from rbkernel.redact.columns import Redaction


class ActionRole(BaseModel):
    """The role with which approved actions are executed, on the server of its connection.

    Its password has a source of its own. Kernels do not get it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: Annotated[str, Field(min_length=1)]
    passfile: Path | None = None
    password_env: str | None = None
    password_command: tuple[str, ...] | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_secrets(cls, data: Any) -> Any:
        return _without_secrets(data)


class Connection(BaseModel):
    """How to connect to a database with its diagnostic role; contains no secret.

    ``default``: runs use this connection if no other is given. ``standby`` is the connection to the
    server's standby, ``standby_name`` that standby's application_name, as the primary sees it.
    ``read_schemas`` names the schemas whose tables the role should be able to read: `doctor`
    reports tables that the role cannot read, and `grant` prints the SQL. The default is the schemas
    with at least one readable table. ``action`` is the role that executes approved actions;
    without it, no action can be executed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    host: str | None = None
    port: Port = 5432
    dbname: str | None = None
    user: str | None = None
    service: str | None = None
    passfile: Path | None = None
    password_env: str | None = None
    password_command: tuple[str, ...] | None = None
    sslmode: str | None = None
    sslrootcert: Path | None = None
    connect_timeout_s: Annotated[Whole, Field(ge=2, le=3600)] = 5
    statement_timeout_s: Seconds = 10.0
    lock_timeout_s: Seconds = 0.5
    row_cap: Count = 10_000
    size_cap_mb: Annotated[Whole, Field(ge=1, le=1_000_000)] = 64
    # the schema of the application's tables, if several schemas have such tables
    app_schema: str | None = None
    allow_functions: tuple[str, ...] = ()
    read_schemas: tuple[str, ...] | None = None
    redaction: Redaction = Redaction()
    default: bool = False
    standby: str = ""
    standby_name: str = ""
    action: ActionRole | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_secrets(cls, data: Any) -> Any:
        return _without_secrets(data)

    @model_validator(mode="after")
    def _another_role(self) -> Connection:
        if self.action and self.action.user == self.user:
            raise AtField(
                f"has the role {self.user!r} of the diagnostics: use another role",
                *("action", "user"),
            )
        return self

    @property
    def public(self) -> frozenset[str]:
        """The words of the connection that are no secrets, even if one is the password, too."""
        return frozenset(filter(None, (self.name, self.user, self.dbname, self.host)))

    def for_actions(self) -> Connection:
        """Return the connection with which approved actions log in.

        Raises
        ------
        ConfigError
            No role for actions is configured.
        """
        if self.action is None:
            raise ConfigError(
                f"no role for actions is configured for {self.name}",
                where=f"connection {self.name}",
                next_step=f"add [connections.{self.name}.action] with user and passfile;"
                f" `rbkernel grant {self.name}` prints the SQL that creates the role",
            )
        role = self.action.model_dump()
        return self.model_copy(update={**role, "action": None})

    def libpq_parameters(self) -> dict[str, str | int]:
        """Return libpq's connection parameters, without the password."""
        wanted = {
            **{key: getattr(self, key) for key in ("host", "dbname", "user", "service", "sslmode")},
            # a service file may set the port
            "port": None if self.service else self.port,
            "passfile": self.passfile and str(self.passfile),
            "sslrootcert": self.sslrootcert and str(self.sslrootcert),
            "connect_timeout": self.connect_timeout_s,
        }
        return {key: value for key, value in wanted.items() if value is not None}

    def password(self) -> str | None:
        """Return the password from its source; None if libpq finds the password itself.

        Raises
        ------
        ConfigError
            The variable is not set, or the command failed.
        """
        where = f"connection {self.name}"
        password = secret_of(self.password_env, self.password_command, "password_command", where)
        if password:
            tell(self, password)
        return password


def _without_secrets(data: Any) -> Any:
    """Return the fields of a connection; raise an error if one of them contains a secret."""
    if isinstance(data, Mapping):
        for key in ("password", "dsn", "url", "conninfo"):
            if key in data:
                raise AtField(
                    f"{key!r} would put a secret into the file: use host, port, dbname, user"
                    " and password_env, passfile, service or password_command",
                    key,
                )
        for key in ("host", "user", "dbname", "service"):
            value = str(data.get(key) or "")
            if "://" in value or (key == "host" and "@" in value):
                # the text is not shown, because it may contain a password
                raise AtField(f"{key!r} holds a URL: split it into host, port, dbname, user", key)
    return data


class Owner(Protocol):
    """A connection or a source, which has a secret; ``public`` are words that are always shown."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def public(self) -> frozenset[str]: ...  # noqa: D102


_listeners: list[Callable[[Owner, str], None]] = []


def tell(owner: Owner, secret: str) -> None:
    """Tell the registered functions about a secret that was read, before it is used."""
    for listener in _listeners:
        listener(owner, secret)


def tell_passwords_to(listener: Callable[[Owner, str], None]) -> None:
    """Register a function that receives every secret that is read, in order to redact it."""
    _listeners.append(listener)
