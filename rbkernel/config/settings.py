"""The whole configuration, as one frozen value."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from rbkernel.config.actions import Actions
from rbkernel.config.addresses import must_protect_token
from rbkernel.config.commands import Command, must_compile
from rbkernel.config.connections import Connection
from rbkernel.config.gateway import Gateway
from rbkernel.config.kernel import Kernel
from rbkernel.config.maintenance import Window
from rbkernel.config.named import Named
from rbkernel.config.notify import Notify
from rbkernel.config.pages import Pages
from rbkernel.config.queue import Grouping, Queue, RouteRule, Schedule
from rbkernel.config.sources import Source
from rbkernel.config.tickets import Tickets
from rbkernel.config.words import AtField
from rbkernel.errors import ConfigError, UnknownConnection
from rbkernel.queries import catalogue
from rbkernel.redact.columns import Redaction
from rbkernel.spelling import did_you_mean, nearest

FILE_NAME = "rbkernel.toml"
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")  # a key of TOML that needs no quotes


class Evidence(BaseModel):
    """Where evidence is stored, and the keys that seal it.

    ``group_access`` lets the group of the evidence folder read it, not only its owner.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    root: Path | None = None
    group_access: bool = False
    signing_key: Path | None = None
    allowed_signers: Path | None = None


class Catalogue(BaseModel):
    """The folders of a team's runbooks and diagnostics."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    paths: tuple[Path, ...] = ()
    diagnostics: tuple[Path, ...] = ()


class Lint(BaseModel):
    """The configuration of lint.

    ``severity`` maps the code of a rule to its level. ``deprecated`` maps a regular expression for
    outdated text to the replacement.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    severity: Mapping[str, Literal["error", "warning", "off"]] = Field(default_factory=dict)
    deprecated: Mapping[str, str] = Field(default_factory=dict)

    @field_validator("deprecated")
    @classmethod
    def _patterns_compile(cls, patterns: Mapping[str, str]) -> Mapping[str, str]:
        for pattern in patterns:
            must_compile(pattern)
        return patterns


class Coverage(BaseModel):
    """The exceptions to the list of must-have runbooks.

    ``not_needed`` maps each must-have runbook that the team does not need to the reason.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    not_needed: Mapping[str, str] = Field(default_factory=dict)


class Settings(BaseModel):
    """The whole configuration. ``file`` is its file, ``include`` lists further ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Path | None = None
    include: tuple[str, ...] = ()
    evidence: Evidence = Evidence()
    catalogue: Catalogue = Catalogue()
    lint: Lint = Lint()
    coverage: Coverage = Coverage()
    gateway: Gateway = Gateway()
    pages: Pages = Pages()
    queue: Queue = Queue()
    grouping: Grouping = Grouping()
    routes: tuple[RouteRule, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    maintenance: tuple[Window, ...] = ()
    notify: Notify = Notify()
    tickets: Tickets | None = None
    redaction: Redaction = Redaction()
    kernel: Kernel = Kernel()
    actions: Actions = Actions()
    connections: Annotated[Mapping[str, Connection], Named] = Field(default_factory=dict)
    commands: Annotated[Mapping[str, Command], Named] = Field(default_factory=dict)
    sources: Annotated[Mapping[str, Source], Named] = Field(default_factory=dict)
    queries: Mapping[str, str] = Field(default_factory=dict)

    @field_validator("queries")
    @classmethod
    def _replace_known_ones(cls, queries: Mapping[str, str]) -> Mapping[str, str]:
        for name, text in queries.items():
            if problem := catalogue.problem(name, text):
                raise AtField(problem, name)
        return queries

    @field_validator("schedules")
    @classmethod
    def _told_apart(cls, schedules: tuple[Schedule, ...]) -> tuple[Schedule, ...]:
        names = [one.name for one in schedules]
        for place, name in enumerate(names):
            if name in names[:place]:
                raise AtField(
                    f"two schedules have the name {name!r}: give each a different name",
                    *(place, "name"),
                )
        return schedules

    @field_validator("connections")
    @classmethod
    def _one_default(cls, connections: Mapping[str, Connection]) -> Mapping[str, Connection]:
        defaults = [name for name, one in connections.items() if one.default]
        if len(defaults) > 1:
            raise AtField(
                f"{' and '.join(defaults)} both have `default = true`: keep it in one of them",
                *(defaults[1], "default"),
            )
        for name, one in connections.items():
            if one.standby and (one.standby not in connections or one.standby == name):
                raise AtField(
                    f"the standby of {name} is {one.standby!r}, which is not the name of another"
                    f" connection{did_you_mean(one.standby, {*connections} - {name})}",
                    *(name, "standby"),
                )
        return connections

    @model_validator(mode="after")
    def _named_once(self) -> Settings:
        if both := {*self.connections} & {*self.sources}:
            raise AtField(
                f"{min(both)!r} is the name of a connection and of a source: rename one of them",
                *("sources", min(both)),
            )
        return self

    @model_validator(mode="after")
    def _identities_are_known(self) -> Settings:
        naming = self.pages.naming
        for place, rule in enumerate(self.actions.rules):
            unknown = {*rule.identities} - {"ssh", "passkey"} - {naming and naming.identity}
            if unknown:
                raise AtField(
                    f'a rule for {rule.action} has "{min(unknown)}" in identities, but there is no'
                    f" [pages.{min(unknown)}]: add it, or remove the identity",
                    *("actions", "rules", place, "identities"),
                )
        return self

    @model_validator(mode="after")
    def _signs_in_elsewhere(self) -> Settings:
        """Refuse the sign-in where others could use it: without TLS, or beside notebooks.

        Cookies are sent to every port of a host, so servers of users would get them.
        """
        if self.pages.signin:
            try:
                must_protect_token(self.gateway.address)
            except ValueError as error:
                raise AtField(str(error), "gateway", "url") from error
        hub = self.pages.jupyterhub
        host = urlsplit(self.gateway.address).hostname
        lab = self.pages.jupyter_url if self.pages.signin else ""
        for name, url in (("JupyterHub", hub.url if hub else ""), ("JupyterLab", lab)):
            if url and urlsplit(url).hostname == host:
                raise AtField(
                    f"{name} and these pages are both at {host}, so servers of its users get the"
                    " cookies of whoever signs in: give `rbkernel serve` a host name of its own",
                    *("gateway", "url"),
                )
        return self

    @property
    def default_connection(self) -> str:
        """The name of the default connection; empty if none is configured."""
        return next((name for name, one in self.connections.items() if one.default), "")

    @property
    def evidence_root(self) -> Path:
        """The evidence folder: from the environment, the file, or the user's data folder."""
        if root := os.environ.get("RBKERNEL_EVIDENCE"):
            return Path(root).expanduser().absolute()
        root_in_file = self.evidence.root
        return root_in_file or platformdirs.user_data_path("rbkernel") / "evidence"

    @property
    def watch_root(self) -> Path:
        """The folder with the samples of `rbkernel watch`, one for each user and host."""
        if root := os.environ.get("RBKERNEL_WATCH"):
            return Path(root).expanduser().absolute()
        return platformdirs.user_state_path("rbkernel") / "watch"

    @property
    def store_url(self) -> str:
        """The address of the gateway's store, from the environment, because it may be secret."""
        if url := os.environ.get("RBKERNEL_STORE_URL"):
            return url
        return f"sqlite:///{platformdirs.user_state_path('rbkernel') / 'gateway.sqlite'}"

    @property
    def signing_key(self) -> Path:
        """The private key that signs seals. It is never in the evidence folder."""
        return self.evidence.signing_key or platformdirs.user_config_path("rbkernel") / "seal_key"

    @property
    def allowed_signers(self) -> Path:
        """The OpenSSH file that lists the allowed signers, whose seals are trusted."""
        return self.evidence.allowed_signers or self.evidence_root / "allowed_signers"

    def connection(self, name: str, *, parameter: str = "") -> Connection:
        """Return the connection with a name, such as one from a runbook's parameter.

        Raises
        ------
        UnknownConnection
            No file declares this name; the message lists the known names.
        """
        try:
            return self.connections[name]
        except KeyError:
            if "://" in name or "=" in name or "@" in name:
                # the value is not repeated, because it may contain a password
                raise UnknownConnection(
                    "this looks like an address, but the name of a connection is needed",
                    where=parameter or "the name of a connection",
                    next_step="add the database with `rbkernel init`, then pass its name",
                ) from None
            known = ", ".join(sorted(self.connections)) or "none"
            if not name:
                raise UnknownConnection(
                    f"no connection is named, and none is the default; known: {known}",
                    where=parameter or str(self.file or f"no {FILE_NAME} found"),
                    next_step="pass the name of a connection, or write `default = true` for one"
                    f" in {FILE_NAME}",
                ) from None
            meant = did_you_mean(name, self.connections)
            given = f" (value of the parameter {parameter})" if parameter else ""
            near = nearest(name, self.connections)
            other = f"pass {near or 'another name'} as {parameter}=…, or " if parameter else ""
            other = other or (f"write {near}, or " if near else "")
            raise UnknownConnection(
                f"no connection is called {name!r}{given}; known: {known}{meant}",
                where=str(self.file or f"no {FILE_NAME} found"),
                next_step=f"{other}add it with `rbkernel init`; sandbox-primary and"
                " sandbox-standby come with `rbkernel sandbox up`",
            ) from None

    def source(self, name: str) -> Source:
        """Return the configured source with this name.

        Raises
        ------
        ConfigError
            No file declares this source; the message lists the declared names.
        """
        if name not in self.sources:
            known = ", ".join(sorted(self.sources)) or "none"
            raise ConfigError(
                f"no source is called {name!r}; known: {known}{did_you_mean(name, self.sources)}",
                where=str(self.file or f"no {FILE_NAME} found"),
                next_step=_declare("sources", name, self.sources, "its kind"),
            )
        return self.sources[name]

    def source_of(self, *kinds: str) -> Source | None:
        """Return the source to ask if a call names none: the only one of these kinds, or the
        default one; None if there is none.

        Raises
        ------
        ConfigError
            There are several, and none or several of them are the default.
        """
        found = [one for one in self.sources.values() if one.kind in kinds]
        default = [one for one in found if one.endpoint and one.endpoint.default]
        if len(found) < 2 or len(default) == 1:
            return next(iter(default or found), None)
        names = ", ".join(sorted(one.name for one in found))
        raise ConfigError(
            f"there are several sources of the kind {' or '.join(kinds)}: {names}",
            where=str(self.file),
            next_step="name one of them (source=…), or write `default = true` for one",
        )

    def primary_of(self, standby: str) -> str:
        """Return the connection whose standby is the given connection; empty if there is none."""
        return next((name for name, one in self.connections.items() if one.standby == standby), "")

    def command(self, name: str) -> Command:
        """Return the command with this name that `rb.shell` may run.

        Raises
        ------
        ConfigError
            No file allows this command; the message lists the allowed commands.
        """
        if name not in self.commands:
            known = ", ".join(sorted(self.commands)) or "none"
            raise ConfigError(
                f"no command is called {name!r}; allowed: {known}"
                f"{did_you_mean(name, self.commands)}",
                where=str(self.file or f"no {FILE_NAME} found"),
                next_step=_declare("commands", name, self.commands, "argv"),
            )
        return self.commands[name]

    def allowing(self, argv: Sequence[str]) -> tuple[Command, dict[str, str]] | None:
        """Return the allowed command that a command line matches, with its arguments, or None."""
        for command in self.commands.values():
            arguments = command.arguments_of(argv)
            if arguments is not None:
                return command, arguments
        return None


def _declare(section: str, name: str, known: Iterable[str], field: str) -> str:
    """Return the next step for an undeclared name: use a similar name, or add a section.

    >>> _declare("commands", "disk-fre", ["disk-free"], "argv")
    'write disk-free'
    >>> _declare("commands", "disk-free", [], "argv")
    'add [commands.disk-free] with argv to rbkernel.toml'
    >>> _declare("commands", "rm -rf /", [], "argv")
    'pass the NAME of a section [commands.NAME] of rbkernel.toml'
    """
    if near := nearest(name, known):
        return f"write {near}"
    if _BARE_KEY.fullmatch(name):
        return f"add [{section}.{name}] with {field} to {FILE_NAME}"
    return f"pass the NAME of a section [{section}.NAME] of {FILE_NAME}"
