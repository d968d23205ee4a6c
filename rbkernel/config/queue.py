"""Read `[queue]`, `[grouping]`, `[[routes]]`, `[[schedules]]`: how alerts and times start runs."""

from __future__ import annotations

import zoneinfo
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from rbkernel.config.quantities import Count, Days, Minutes, Pause, Seconds, Whole
from rbkernel.model import Severity

Given = str | int | float | bool | list[str] | list[int] | list[float]


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


_Texts = Annotated[
    tuple[str, ...], BeforeValidator(_listed, json_schema_input_type=str | tuple[str, ...])
]


class Queue(BaseModel):
    """The number of jobs that run at once, and their time limits.

    ``kernels`` is the limit of each worker process; the other limits apply to all workers together.
    A worker that sends no heartbeat for ``lease_s`` loses its jobs. It then stops their runs itself
    if it can. ``resume`` says whether answered runs are continued without a command.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kernels: Annotated[Whole, Field(ge=0, le=256)] = 2
    per_connection: Count = 2
    starts_per_minute: Count = 60
    attempts: Annotated[Whole, Field(ge=1, le=10)] = 3
    run_timeout_s: Seconds = 1_800.0
    lease_s: Annotated[Seconds, Field(ge=5)] = 15.0
    drain_s: Pause = 20.0
    keep_days: Days = 30.0
    resume: bool = True

    @property
    def heartbeat_s(self) -> float:
        """The heartbeat interval of a worker, a fraction of the lease."""
        return self.lease_s / 6


class Grouping(BaseModel):
    """How alerts are grouped into incidents.

    An alert joins the open incident of the same group of the same sender, or of the same service
    if this incident received an alert in the last ``window_min`` minutes. The service is the value
    of the first label in ``service_labels`` that the alert has. An incident that was closed in the
    last ``reopen_min`` minutes is reopened.

    An alert without a specific runbook normally starts a run of a general runbook in an incident
    of its own. Once ``storm`` incidents have such a run, for the same runbook and key, queued or
    running, a further alert of this kind joins the newest of these incidents and starts no run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    service_labels: _Texts = ("service", "app", "application")
    window_min: Minutes = 30.0
    reopen_min: Minutes = 30.0
    storm: Count = 5
    when_resolved: Literal["annotate", "close"] = "annotate"


class RouteRule(BaseModel):
    """A rule that says which runbooks an alert starts, with which parameters.

    A matching rule replaces the triggers in front matter. ``alert`` and ``match`` are globs as in a
    trigger. An empty ``runbooks`` starts no runbook. ``names`` maps the values of labels to
    the values of parameters, such as ``{"db1:5432" = "orders"}``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    alert: str = ""
    match: Mapping[str, str] = Field(default_factory=dict)
    runbooks: _Texts
    parameters: Mapping[str, Given] = Field(default_factory=dict)
    key: _Texts = ()
    names: Mapping[str, str] = Field(default_factory=dict)
    severity: str = ""

    @model_validator(mode="after")
    def _says_which(self) -> RouteRule:
        if not (self.alert or self.match):
            raise ValueError('a route needs `alert` or `match`; alert = "*" matches every alert')
        if self.severity:
            Severity.parse(self.severity)
        return self


class Schedule(BaseModel):
    """A schedule of a runbook: five fields of cron, in a time zone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    cron: str
    timezone: str = "UTC"
    runbook: str
    parameters: Mapping[str, Given] = Field(default_factory=dict)
    catch_up_min: Minutes = 60.0

    @field_validator("cron")
    @classmethod
    def _five_fields(cls, text: str) -> str:
        from croniter import CroniterBadDateError, croniter

        if len(text.split()) != 5 or not croniter.is_valid(text):
            raise ValueError(
                f"{text!r} is not a cron expression of five fields, such as '0 6 * * 1-5'"
            )
        try:
            croniter(text).get_next()
        except CroniterBadDateError as error:
            raise ValueError(f"{text!r} never occurs: there is no such day") from error
        return text

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(
                f"unknown time zone {name!r}; use a name such as Europe/Berlin"
            ) from error
        return name
