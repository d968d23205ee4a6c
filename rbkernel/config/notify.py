"""Read `[notify]`: the targets of notifications, their events, rate limits and templates.

A target's address is a secret, because anybody who knows it can send messages there. The address
comes from a variable or a command and is never in the file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from rbkernel.config.named import Named
from rbkernel.config.printed import printed_by
from rbkernel.config.quantities import Hours, Seconds, Whole
from rbkernel.config.words import AtField
from rbkernel.errors import ConfigError
from rbkernel.model import Severity

EventKind = Literal[
    "started",
    "finding",
    "decision",
    "escalation",
    "raised",
    "unhandled",
    "break-glass",
    "update",
    "sealed",
]
EVENT_KINDS: tuple[EventKind, ...] = get_args(EventKind)


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _severities(value: object) -> object:
    listed = _listed(value)
    if not isinstance(listed, list | tuple):
        return listed
    return [Severity.parse(one) if isinstance(one, str) else one for one in listed]


class Target(BaseModel):
    """A target of notifications, with its events and severities.

    The variable ``url_env``, or the output of ``url_command``, contains one or more addresses,
    separated by blanks. ``channel`` names the way to send: ``apprise``, or a channel of another
    package. The channel defines the format of the addresses.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    channel: str = "apprise"
    url_env: str = ""
    url_command: tuple[str, ...] = ()
    events: Annotated[
        tuple[EventKind, ...],
        BeforeValidator(_listed, json_schema_input_type=EventKind | tuple[EventKind, ...]),
    ] = EVENT_KINDS
    severities: Annotated[
        tuple[Severity, ...],
        BeforeValidator(_severities, json_schema_input_type=str | tuple[str, ...]),
    ] = tuple(Severity)

    @model_validator(mode="before")
    @classmethod
    def _no_secret(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "url" in data:
            raise AtField(
                "'url' would put a secret into the file: use url_env or url_command", "url"
            )
        return data

    @model_validator(mode="after")
    def _one_source(self) -> Target:
        if bool(self.url_env) == bool(self.url_command):
            raise ValueError("give either url_env or url_command")
        return self

    def wants(self, kind: str, severity: Severity) -> bool:
        """Tell whether this target gets an event of this kind and severity.

        An unhandled alert goes to every target that wants its severity, even if the target does
        not list ``unhandled``: no run belongs to such an alert, so a target that lists only events
        of runs would never learn about it. Only a target that lists nothing but ``sealed`` does
        not get the event. The same holds for ``break-glass``, which nobody may miss, whatever
        severities the target lists.

        >>> night = Target(name="night", url_env="X", events=["decision"], severities=["SEV1"])
        >>> night.wants("decision", Severity.CRITICAL), night.wants("decision", Severity.LOW)
        (True, False)
        >>> night.wants("unhandled", Severity.CRITICAL)
        True
        """
        always = kind in {"unhandled", "break-glass"} and {*self.events} != {"sealed"}
        wanted = kind in self.events or always
        return wanted and (severity in self.severities or kind == "break-glass")

    @property
    def hears_all(self) -> bool:
        """Whether the target gets every kind of event, of every severity."""
        return {*self.events} == {*EVENT_KINDS} and {*self.severities} == {*Severity}

    def urls(self) -> tuple[str, ...]:
        """Fetch the addresses of the target from its variable or command.

        Raises
        ------
        ConfigError
            The variable is not set, or the command failed or printed nothing.
        """
        found = self._printed() if self.url_command else os.environ.get(self.url_env, "")
        if not found.strip():
            missing = (
                "url_command printed nothing"
                if self.url_command
                else f"the environment variable {self.url_env} is not set"
            )
            raise self._problem(missing)
        return tuple(found.split())

    def _printed(self) -> str:
        return printed_by(self.url_command, "url_command", f"[notify.targets.{self.name}]")

    def _problem(self, what: str) -> ConfigError:
        mend = "run the url_command by hand" if self.url_command else f"export {self.url_env}"
        return ConfigError(
            f"the address of this target is not known: {what}",
            where=f"[notify.targets.{self.name}]",
            next_step=mend,
        )


class Notify(BaseModel):
    """The targets of notifications, and the rate limit.

    A target gets ``burst`` messages at once, then one every ``every_s`` seconds; held-back messages
    are combined into one digest. ``templates`` is a folder with the team's own templates.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    targets: Annotated[Mapping[str, Target], Named] = Field(default_factory=dict)
    templates: Path | None = None
    burst: Annotated[Whole, Field(ge=1, le=1000)] = 5
    every_s: Seconds = 60.0
    give_up_h: Hours = 24.0
