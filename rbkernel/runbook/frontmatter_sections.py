"""The sections of the front matter: what a computer uses is structured, the rest stays words.

Every section that has a short form accepts a plain text in its place: ``prerequisites: [VPN]``
means ``prerequisites: [{text: VPN}]``. A list of one may be written without the list. A placeholder
where no text fits counts as not said, so that a template is readable as it is.
"""

from __future__ import annotations

import datetime
import types
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from rbkernel.model import Severity
from rbkernel.runbook.placeholders import unfilled
from rbkernel.runbook.quantities import Threshold, beyond_slo, duration_s, threshold


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str | Mapping) else value


def _as_text(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Text = Annotated[str, BeforeValidator(_as_text)]


class Section(BaseModel):
    """What all sections share; ``plain`` is the field that a plain text stands for."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)
    plain: ClassVar[str] = ""

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, data: Any) -> Any:
        if isinstance(data, str) and cls.plain:
            return {cls.plain: data}
        if not isinstance(data, Mapping):
            return data
        return {name: value for name, value in data.items() if not cls._unsaid(name, value)}

    @classmethod
    def _unsaid(cls, name: Any, value: Any) -> bool:
        field = cls.model_fields.get(name)
        if field is None:
            return False  # an unknown field, also an empty one, is told
        return value is None or (unfilled(value) and not takes_text(field.annotation))


def takes_text(annotation: Any) -> bool:
    """Tell whether a field of this type has a place for words.

    >>> takes_text(str), takes_text(float | str | None), takes_text(datetime.date | None)
    (True, True, False)
    """
    if get_origin(annotation) in (Union, types.UnionType):
        return any(takes_text(member) for member in get_args(annotation))
    if get_origin(annotation) is tuple:
        return takes_text(get_args(annotation)[0])
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return bool(annotation.plain)
    return annotation is str


class Scope(Section):
    """What a runbook covers, and what it leaves to others."""

    handles: Texts = ()
    does_not_handle: Texts = ()


class Contact(Section):
    """Whom to reach, and how: a role, a name, an address."""

    plain = "contact"
    role: str = ""
    name: str = ""
    contact: str = Field("", description="telephone, Slack, PagerDuty")
    after: str = Field("", description="when to escalate to them, such as 15 min")


class Impact(Section):
    """What users, systems and the business feel."""

    plain = "summary"
    summary: str = ""
    users: Texts = ()
    systems: Texts = ()
    business: Texts = ()


class Prerequisite(Section):
    """What must be there before the first step; all but ``text`` is looked at by a computer."""

    plain = "text"
    text: str = Field("", description="in words; nobody but a human can look")
    tool: str = Field("", pattern=r"^[\w.+-]*$|^‹", description="a program, such as psql")
    version: str = Field("", description="its lowest version, such as >= 14.0")
    connection: str = Field("", description="the parameter that carries a connection's name")
    role: str = Field("", description="a role that the connection must have, such as pg_monitor")

    @model_validator(mode="after")
    def _belongs_to_something(self) -> Prerequisite:
        if self.version and not self.tool:
            raise ValueError("a version belongs to a tool: add `tool:`")
        if self.role and not self.connection:
            raise ValueError("a role belongs to a connection: add `connection:`")
        return self


class Dependency(Section):
    """What this uses, or what uses this (``direction: used by``)."""

    plain = "name"
    name: str = Field(min_length=1)
    type: str = Field("", description="such as database, cache, queue, http, model")
    direction: Literal["uses", "used by"] = "uses"
    purpose: str = ""
    via: str = Field("", description="how it is connected, such as pool")
    criticality: str = Field("", description="how bad it is without it; a severity")
    impact: str = Field("", description="what happens when it is down")
    failure_mode: str = ""
    fallback: str = ""
    connection: str = Field("", description="the parameter that carries a connection's name")
    url: str = Field("", description="an address that answers while it is up")


class Health(Section):
    """An endpoint that `rb.health` calls."""

    plain = "url"
    url: str = Field(min_length=1)
    name: str = ""
    status: int = Field(200, ge=100, le=599, description="the status code that is right")
    contains: str = Field("", description="text that the body must hold")
    within_s: float = Field(2.0, gt=0, description="seconds; slower is a warning")
    meaning: str = Field("", description="what is right when it answers")


class Trigger(Section):
    """What starts this runbook: an alert, with its labels, or words."""

    plain = "when"
    alert: str = Field("", description="the alert's name, or a glob")
    match: dict[str, str] = Field(default_factory=dict, description="label → value, or a glob")
    parameters: dict[str, str] = Field(
        default_factory=dict, description="parameter → label, such as labels.cluster"
    )
    key: Texts = Field((), description="one live run for each value of these labels")
    when: str = Field("", description="in words, such as: scheduled release")
    cause: str = Field("", description="the likely cause")
    first_action: str = ""

    @model_validator(mode="after")
    def _says_something(self) -> Trigger:
        if not (self.alert or self.match or self.when):
            raise ValueError("a trigger needs `alert:` or `match:`, or words under `when:`")
        return self


class Metric(Section):
    """A figure with its limits. `rb.metrics` evaluates it where a diagnostic or a query says how.

    ``warning`` and ``critical`` are numbers, or words such as ``> 5%``; ``< 2`` turns it around,
    and ``> SLO`` is the figure under ``slo``.
    """

    plain = "name"
    name: str = Field(min_length=1)
    unit: str = ""
    slo: str = ""
    normal: str = ""
    warning: float | str | None = None
    critical: float | str | None = None
    baseline: float | None = Field(None, description="what `> 2x` is a multiple of")
    diagnostic: str = Field("", description="a named diagnostic, such as connections/saturation")
    query: str = Field("", description="SQL that reads, if no diagnostic fits")
    column: str = Field("", description="the column of the answer that is judged")
    agg: Literal["max", "min", "sum", "mean", "last", "rows"] = "max"
    connection: str = Field("db", description="the parameter that carries a connection's name")
    values: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="values for the diagnostic or the query"
    )
    panel: str = Field("", description="where it is shown: dashboard, panel")
    next_step: str = ""

    def limit(self, which: Literal["warning", "critical"]) -> Threshold | None:
        """Return a limit in the metric's own unit; None where it is words, or not said.

        >>> Metric(name="cost", warning="> 2x", baseline=20).limit("warning").value
        40.0
        >>> Metric(name="diff rate", slo="< 0.1%", warning="> SLO").limit("warning")
        Threshold(value=0.1, below=False, unit='%', for_s=None)
        """
        words = getattr(self, which)
        found = threshold(words) or beyond_slo(words, self.slo)
        if found is None or found.unit != "x":
            return found
        if self.baseline is None:
            return None
        return Threshold(value=found.value * self.baseline, below=found.below, for_s=found.for_s)


class EscalationLevel(Section):
    """One step up: whom, and after what."""

    plain = "contact"
    level: str = Field("", description="such as L2 or P1")
    contact: str = ""
    when: str = Field("", description="a condition, in words")
    after: str = Field("", description="how long it has lasted, such as 1 h")
    after_attempts: int | None = Field(None, ge=1, description="how often the steps have failed")
    severity: str = Field("", description="only at this severity")
    response_time: str = ""
    provide: str = ""

    @field_validator("after")
    @classmethod
    def _is_a_duration(cls, words: str) -> str:
        if words and not unfilled(words) and duration_s(words) is None:
            raise ValueError("should be a duration such as 15 min or 4 h; put words under `when:`")
        return words

    @property
    def after_s(self) -> float | None:
        """Seconds after which this level is due."""
        return duration_s(self.after)


class Escalation(Section):
    """When to ask for help, whom, and what to tell them."""

    plain = "contact"
    when: Texts = ()
    contact: str = ""
    provide: str = ""
    levels: Annotated[tuple[EscalationLevel, ...], BeforeValidator(_listed)] = ()


class SeverityLevel(Section):
    """One line of the severity assessment.

    ``any_of`` are conditions over the facts given to `rb.severity`: a name that is true
    (``data_at_risk``), or a comparison (``users_affected_pct >= 50``).
    """

    level: str = Field(description="the team's word for it, such as SEV1")
    when: str = Field("", description="in words")
    any_of: Texts = ()
    action: str = ""
    response_time: str = ""
    examples: Texts = ()

    @field_validator("level")
    @classmethod
    def _on_a_scale(cls, words: str) -> str:
        return known_severity(words)


class Communication(Section):
    """Who hears what, and when."""

    plain = "channel"
    channel: str = ""
    status_page: str = ""
    stakeholders: Texts = ()
    immediately: Texts = ()
    every: str = Field("", description="how often, such as 30 minutes")
    updates: Texts = Field((), description="what an update says")
    resolved: Texts = ()
    message: str = Field("", description="the words of an update, to fill in")


class Operation(Section):
    """Something a human does, as a command to copy; nothing here runs it."""

    plain = "name"
    name: str = Field(min_length=1)
    command: str = Field("", description="the exact command, or the path in a user interface")
    effect: str = ""
    undo: str = ""
    risk: str = ""
    verify: str = Field("", description="how to see that it worked")
    group: str = Field("", description="operations of one kind, such as database, security")


class Setting(Section):
    """An environment variable, a feature flag, or another setting."""

    plain = "name"
    name: str = Field(min_length=1)
    kind: Literal["variable", "flag", "setting"] = "setting"
    purpose: str = ""
    default: Text = ""


Operations = Annotated[tuple[Operation, ...], BeforeValidator(_listed)]


class Recovery(Section):
    """How long it may take, how much may be lost, and how it is brought back."""

    plain = "rto"
    rto: str = Field("", description="recovery time objective, such as 1 h")
    rpo: str = Field("", description="recovery point objective, such as 5 min")
    downtime: str = ""
    steps: Operations = ()


class Assumption(Section):
    """What is taken as true, and what to do where it is not."""

    plain = "text"
    text: str = Field(min_length=1)
    if_false: str = ""


class FailureMode(Section):
    """How the resolution itself may fail."""

    plain = "name"
    name: str = Field(min_length=1)
    symptom: str = ""
    impact: str = ""
    detection: str = ""
    mitigation: str = ""


class Link(Section):
    """A page to look at: dashboard, logs, documentation."""

    plain = "url"
    title: str = ""
    url: str = ""


class Automation(Section):
    """A manual step that a computer could do."""

    plain = "step"
    step: str = Field(min_length=1)
    approach: str = ""
    effort: str = ""
    priority: str = ""
    ticket: str = ""


class Change(Section):
    """One line of the change log."""

    plain = "change"
    date: datetime.date | None = None
    author: str = ""
    change: str = ""


def known_severity(words: str) -> str:
    """Accept a word of one of the four scales, or a placeholder.

    Raises
    ------
    ValueError
        It is none.
    """
    if not unfilled(words):
        Severity.parse(words)
    return words


def many(value: Any) -> Any:
    """Accept one thing where a list of things is meant."""
    return _listed(value)
