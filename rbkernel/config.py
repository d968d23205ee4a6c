"""`rbkernel.toml` + the environment → one frozen `Settings`.

The file is ``$RBKERNEL_CONFIG``, else found upwards from the working folder, else in the user's
configuration folder. The sandbox publishes a connections file of its own, which is read last and
never hides a name of the team's. Secrets are never in the file: a password comes from the
environment, a passfile, a service file or a command.
"""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from rbkernel.errors import ConfigError, UnknownConnection
from rbkernel.redact.columns import Redaction

FILE_NAME = "rbkernel.toml"
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class Connection(BaseModel):
    """How to reach one database with its diagnostic role. Holds no secret."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    host: str | None = None
    port: int = Field(5432, ge=1, le=65535)
    dbname: str | None = None
    user: str | None = None
    service: str | None = None
    passfile: Path | None = None
    password_env: str | None = None
    password_command: tuple[str, ...] | None = None
    sslmode: str | None = None
    sslrootcert: Path | None = None
    connect_timeout_s: int = Field(5, ge=2)
    statement_timeout_s: float = Field(10.0, gt=0)
    lock_timeout_s: float = Field(0.5, gt=0)
    row_cap: int = Field(10_000, ge=1)
    size_cap_mb: int = Field(64, ge=1)
    allow_functions: tuple[str, ...] = ()
    redaction: Redaction = Redaction()

    @model_validator(mode="before")
    @classmethod
    def _no_secrets(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for key in ("password", "dsn", "url", "conninfo"):
                if key in data:
                    raise ValueError(
                        f"{key!r} would put a secret into the file: use host, port, dbname, user"
                        " and password_env, passfile, service or password_command"
                    )
            for key in ("host", "user", "dbname", "service"):
                value = str(data.get(key) or "")
                if "://" in value or (key == "host" and "@" in value):
                    # not told: it may hold a password
                    raise ValueError(f"{key!r} holds a URL: split it into host, port, dbname, user")
        return data

    def libpq_parameters(self) -> dict[str, str | int]:
        """Return libpq's connection parameters, without the password."""
        wanted = {
            **{key: getattr(self, key) for key in ("host", "dbname", "user", "service", "sslmode")},
            # a service file carries its own port
            "port": None if self.service else self.port,
            "passfile": self.passfile and str(self.passfile),
            "sslrootcert": self.sslrootcert and str(self.sslrootcert),
            "connect_timeout": self.connect_timeout_s,
        }
        return {key: value for key, value in wanted.items() if value is not None}

    def password(self) -> str | None:
        """Fetch the password, or None where libpq finds it by itself.

        Raises
        ------
        ConfigError
            The variable is not set, or the command failed.
        """
        password = self._fetch_password()
        if password:
            for listener in _listeners:
                listener(self, password)
        return password

    def _fetch_password(self) -> str | None:
        if self.password_env:
            if self.password_env not in os.environ:
                raise ConfigError(
                    f"the environment variable {self.password_env} is not set",
                    where=f"connection {self.name}",
                    next_step=f"export {self.password_env}, then try again",
                )
            return os.environ[self.password_env]
        if self.password_command:
            return self._password_from_command(self.password_command)
        return None

    def _password_from_command(self, command: tuple[str, ...]) -> str:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            # the command's output may hold the secret: only its kind of failure is told
            raise ConfigError(
                f"password_command failed ({type(error).__name__})",
                where=f"connection {self.name}",
                next_step=f"run `{command[0]}` by hand and see why",
            ) from None
        return done.stdout.rstrip("\n")


_listeners: list[Callable[[Connection, str], None]] = []


def tell_passwords_to(listener: Callable[[Connection, str], None]) -> None:
    """Have somebody told of every password that is fetched from now on: it must not be shown."""
    _listeners.append(listener)


class Command(BaseModel):
    """A command that `rb.shell` may run: arguments as a list, and a pattern for each placeholder.

    ``argv`` may hold placeholders such as ``{namespace}``; ``arguments`` maps each to the regular
    expression that its whole value must match.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    argv: tuple[str, ...] = Field(min_length=1)
    arguments: Mapping[str, str] = Field(default_factory=dict)
    timeout_s: float = Field(10.0, gt=0)

    @model_validator(mode="after")
    def _placeholders_have_patterns(self) -> Command:
        used = {name for word in self.argv for name in _PLACEHOLDER.findall(word)}
        if _PLACEHOLDER.search(self.argv[0]):
            raise ValueError("argv[0], the program, must not be a placeholder")
        if used != set(self.arguments):
            raise ValueError(
                f"argv uses the placeholders {sorted(used)}, [arguments] has patterns for"
                f" {sorted(self.arguments)}: they must be the same"
            )
        return self

    @model_validator(mode="after")
    def _patterns_compile(self) -> Command:
        for name, pattern in self.arguments.items():
            _compiles(pattern, name)
        return self

    def arguments_of(self, argv: Sequence[str]) -> dict[str, str] | None:
        """Return the arguments with which this command is exactly these words; None if it is not.

        >>> pods = Command(name="pods", argv=("kubectl", "-n", "{ns}"), arguments={"ns": "[a-z]+"})
        >>> pods.arguments_of(["kubectl", "-n", "shop"]), pods.arguments_of(["kubectl", "-n", "-A"])
        ({'ns': 'shop'}, None)
        """
        if len(argv) != len(self.argv):
            return None
        found: dict[str, str] = {}
        for word, given in zip(self.argv, argv, strict=True):
            parts = _PLACEHOLDER.split(word)  # text, name, text, name, …, text
            pattern = "(.*)".join(re.escape(text) for text in parts[::2])
            match = re.fullmatch(pattern, given, re.DOTALL)
            if match is None:
                return None
            for name, value in zip(parts[1::2], match.groups(), strict=True):
                if found.setdefault(name, value) != value or not _fits(value, self.arguments[name]):
                    return None
        return found

    def with_arguments(self, values: Mapping[str, str]) -> list[str]:
        """Fill the placeholders in.

        Raises
        ------
        ConfigError
            A value is missing, unknown, or does not match its pattern.
        """
        where = f"command {self.name}"
        if set(values) != set(self.arguments):
            raise ConfigError(
                f"it takes {', '.join(self.arguments) or 'no arguments'}",
                where=where,
                next_step="pass exactly these as keywords",
            )
        for name, value in values.items():
            if not _fits(value, self.arguments[name]):
                raise ConfigError(
                    f"{name}={value!r} is no text that matches {self.arguments[name]}, or is an"
                    " option",
                    where=where,
                    next_step="pass another value, or change the pattern in rbkernel.toml",
                )
        return [_PLACEHOLDER.sub(lambda m: values[m[1]], word) for word in self.argv]


def _compiles(pattern: str, name: str = "") -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{name or pattern}: no regular expression: {error}") from error


def _fits(value: object, pattern: str) -> bool:
    """Tell whether a value may stand in an argument, whatever a notebook passed.

    >>> _fits("web", "[a-z]+"), _fits("-web", ".+"), _fits("a\\0", ".+"), _fits(3, "3")
    (True, False, False, False)
    """
    if not isinstance(value, str) or value.startswith("-") or "\0" in value:
        return False
    return re.fullmatch(pattern, value) is not None


class _Evidence(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    root: Path | None = None
    signing_key: Path | None = None
    allowed_signers: Path | None = None


class _Catalogue(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    paths: tuple[Path, ...] = ()


class _Lint(BaseModel):
    """Levels of lint's rules by code, and what a team calls outdated: pattern → what instead."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    severity: Mapping[str, Literal["error", "warning", "off"]] = Field(default_factory=dict)
    deprecated: Mapping[str, str] = Field(default_factory=dict)

    @field_validator("deprecated")
    @classmethod
    def _patterns_compile(cls, patterns: Mapping[str, str]) -> Mapping[str, str]:
        for pattern in patterns:
            _compiles(pattern)
        return patterns


class _Coverage(BaseModel):
    """Must-have runbooks that a team does without, each with the reason."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    not_needed: Mapping[str, str] = Field(default_factory=dict)


class Settings(BaseModel):
    """Everything that is configured, with where it came from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Path | None = None
    evidence: _Evidence = _Evidence()
    catalogue: _Catalogue = _Catalogue()
    lint: _Lint = _Lint()
    coverage: _Coverage = _Coverage()
    redaction: Redaction = Redaction()
    connections: Mapping[str, Connection] = Field(default_factory=dict)
    commands: Mapping[str, Command] = Field(default_factory=dict)

    @property
    def evidence_root(self) -> Path:
        """The folder that holds all evidence: environment, else file, else the user's data."""
        if root := os.environ.get("RBKERNEL_EVIDENCE"):
            return Path(root).expanduser().absolute()
        root_in_file = self.evidence.root
        return root_in_file or platformdirs.user_data_path("rbkernel") / "evidence"

    @property
    def signing_key(self) -> Path:
        """The private key that seals are signed with: never in the evidence folder."""
        return self.evidence.signing_key or platformdirs.user_config_path("rbkernel") / "seal_key"

    @property
    def allowed_signers(self) -> Path:
        """The file of OpenSSH's that says whose seals are trusted."""
        return self.evidence.allowed_signers or self.evidence_root / "allowed_signers"

    def connection(self, name: str, *, parameter: str = "") -> Connection:
        """Return the connection of that name, which a runbook's parameter may have given.

        Raises
        ------
        UnknownConnection
            No file declares it; the message lists the names there are.
        """
        try:
            return self.connections[name]
        except KeyError:
            if "://" in name or "=" in name or "@" in name:
                # not repeated: it may hold a password
                raise UnknownConnection(
                    "this looks like an address, and the name of a connection is wanted",
                    where=parameter or "the name of a connection",
                    next_step="add it with `rbkernel init`, which gives it a name",
                ) from None
            known = ", ".join(sorted(self.connections)) or "none"
            given = f", which the parameter {parameter} names" if parameter else ""
            other = f"give another as {parameter}=…, or " if parameter else ""
            raise UnknownConnection(
                f"no connection is called {name!r}{given}; known: {known}",
                where=str(self.file or f"no {FILE_NAME} found"),
                next_step=f"{other}add it with `rbkernel init`; sandbox-primary and"
                " sandbox-standby come with `rbkernel sandbox up`",
            ) from None

    def command(self, name: str) -> Command:
        """Return the command that `rb.shell` may run under that name.

        Raises
        ------
        ConfigError
            No file allows it; the message lists those there are.
        """
        if name not in self.commands:
            known = ", ".join(sorted(self.commands)) or "none"
            raise ConfigError(
                f"no command is called {name!r}; allowed: {known}",
                where=str(self.file or f"no {FILE_NAME} found"),
                next_step=f"add [commands.{name}] with argv to {FILE_NAME}",
            )
        return self.commands[name]

    def allowing(self, argv: Sequence[str]) -> tuple[Command, dict[str, str]] | None:
        """Return the command that allows exactly these words, with its arguments, if one does."""
        for command in self.commands.values():
            arguments = command.arguments_of(argv)
            if arguments is not None:
                return command, arguments
        return None


def sandbox_home() -> Path:
    """Return the folder of the sandbox: ``$RBKERNEL_SANDBOX``, else in the user's data folder."""
    home = os.environ.get("RBKERNEL_SANDBOX")
    if home:
        return Path(home).expanduser().absolute()
    return platformdirs.user_data_path("rbkernel") / "sandbox"


def sandbox_connections_file() -> Path:
    """Return where the sandbox publishes its connections while it is up."""
    return sandbox_home() / "connections.toml"


def find_file() -> Path | None:
    """Return the configuration file that applies to the working folder, if there is one.

    Raises
    ------
    ConfigError
        ``$RBKERNEL_CONFIG`` names a file that does not exist.
    """
    if named := os.environ.get("RBKERNEL_CONFIG"):
        path = Path(named).expanduser().absolute()
        if not path.is_file():
            raise ConfigError(
                "RBKERNEL_CONFIG names a file that does not exist",
                where=str(path),
                next_step="create it, or unset RBKERNEL_CONFIG",
            )
        return path
    here = Path.cwd()
    candidates = [folder / FILE_NAME for folder in (here, *here.parents)]
    candidates.append(platformdirs.user_config_path("rbkernel") / FILE_NAME)
    return next((path for path in candidates if path.is_file()), None)


def load() -> Settings:
    """Read the configuration as it is now.

    Raises
    ------
    ConfigError
        A file is unreadable, not TOML, or holds a field that is unknown or of the wrong type.
    """
    file = find_file()
    data = _read(file) if file else {}
    sandbox = sandbox_connections_file()
    published = _read(sandbox).get("connections", {}) if sandbox.is_file() else {}
    try:
        entries = {
            "connections": {**published, **data.pop("connections", {})},
            "commands": data.pop("commands", {}),
        }
        named = {
            kind: {name: _named(name, fields) for name, fields in of_kind.items()}
            for kind, of_kind in entries.items()
        }
        settings = Settings(file=file, **named, **data)
    except (ValidationError, TypeError, AttributeError) as error:
        raise ConfigError(
            _first_problem(error), where=str(file or sandbox), next_step="mend that field"
        ) from error
    return _resolved(settings, file.parent) if file else settings


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(
            f"cannot be read: {error}", where=str(path), next_step="mend the file"
        ) from error


def _named(name: str, fields: Any) -> Any:
    return {**fields, "name": name} if isinstance(fields, Mapping) else fields


def _resolved(settings: Settings, folder: Path) -> Settings:
    """Make the paths in the file relative to the file, not to wherever a kernel was started."""

    def place(path: Path | None) -> Path | None:
        return path and folder / path.expanduser()

    evidence = settings.evidence
    connections = {
        name: one.model_copy(
            update={
                "passfile": place(one.passfile),
                "sslrootcert": place(one.sslrootcert),
                "redaction": one.redaction.over(settings.redaction),
            }
        )
        for name, one in settings.connections.items()
    }
    update = {
        "connections": connections,
        "evidence": _Evidence(
            root=place(evidence.root),
            signing_key=place(evidence.signing_key),
            allowed_signers=place(evidence.allowed_signers),
        ),
        "catalogue": _Catalogue(paths=tuple(filter(None, map(place, settings.catalogue.paths)))),
    }
    return settings.model_copy(update=update)


def _first_problem(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    problem = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(str(part) for part in problem["loc"] if part != "__root__")
    return f"{place}: {problem['msg']}"
