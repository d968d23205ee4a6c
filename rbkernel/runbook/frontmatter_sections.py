"""The sections of the front matter: data for programs is structured, the rest is text.

A section with a short form accepts a plain text instead of a mapping: ``prerequisites: [VPN]``
means ``prerequisites: [{text: VPN}]``. A list with one item may be written as the item alone. A
placeholder in a field that cannot hold text counts as an empty field, so that templates are valid.
"""

from __future__ import annotations

import datetime
import types
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from rbkernel.config.commands import PLACEHOLDER
from rbkernel.errors import RunbookError
from rbkernel.model import Severity
from rbkernel.runbook.placeholders import unfilled
from rbkernel.runbook.quantities import (
    Threshold,
    beyond_slo,
    duration_s,
    threshold,
    threshold_of_range,
)


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str | Mapping) else value


def _as_text(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Text = Annotated[str, BeforeValidator(_as_text)]


class Section(BaseModel):
    """The base class of all sections; ``plain`` is the field that a plain text fills."""

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
            return False  # an unknown field is reported, even if it is empty
        return value is None or (unfilled(value) and not takes_text(field.annotation))


def takes_text(annotation: Any) -> bool:
    """Tell whether a field of this type can hold text.

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
    """What a runbook covers, and what it does not cover."""

    handles: Texts = ()
    does_not_handle: Texts = ()


class Contact(Section):
    """A person or team to contact: role, name and address."""

    plain = "contact"
    role: str = ""
    name: str = ""
    contact: str = Field("", description="how to reach them: telephone, Slack, PagerDuty")
    after: str = Field("", description="time until escalation to this contact, such as 15 min")


class Impact(Section):
    """The effects of the problem on users, systems and the business."""

    plain = "summary"
    summary: str = ""
    users: Texts = ()
    systems: Texts = ()
    business: Texts = ()


class Prerequisite(Section):
    """A condition to meet before the first step; a program checks all fields except ``text``."""

    plain = "text"
    text: str = Field("", description="the condition in words, if only a human can check it")
    tool: str = Field("", pattern=r"^[\w.+-]*$|^‹", description="a needed program, such as psql")
    version: str = Field("", description="the oldest version of the tool, such as >= 14.0")
    connection: str = Field("", description="the parameter whose value is a connection's name")
    role: str = Field("", description="a role that the connection must have, such as pg_monitor")

    @model_validator(mode="after")
    def _belongs_to_something(self) -> Prerequisite:
        if self.version and not self.tool:
            raise ValueError("a version belongs to a tool: add `tool:`")
        if self.role and not self.connection:
            raise ValueError("a role belongs to a connection: add `connection:`")
        return self


class Dependency(Section):
    """A system that the runbook's system uses, or that uses it (``direction: used by``)."""

    plain = "name"
    name: str = Field(min_length=1)
    type: str = Field("", description="the kind of system: database, cache, queue, http, model")
    direction: Literal["uses", "used by"] = "uses"
    purpose: str = ""
    via: str = Field("", description="how the systems are connected, such as pool")
    criticality: str = Field(
        "", description="severity of the incident when the used system is down"
    )
    impact: str = Field("", description="what happens when the used system is down")
    failure_mode: str = ""
    fallback: str = ""
    connection: str = Field("", description="the parameter whose value is a connection's name")
    url: str = Field("", description="an address that answers while the system is up")


class Health(Section):
    """An endpoint that `rb.health` calls."""

    plain = "url"
    url: str = Field(min_length=1)
    name: str = ""
    status: int = Field(200, ge=100, le=599, description="the expected status code")
    contains: str = Field("", description="text that the body must contain")
    within_s: float = Field(
        2.0, gt=0, description="time limit in seconds; a slower answer is a warning"
    )
    meaning: str = Field("", description="the expected answer, in words")


class Trigger(Section):
    """A trigger of this runbook: an alert with labels, or a description in words."""

    plain = "when"
    alert: str = Field("", description="the alert's name, or a glob")
    match: dict[str, str] = Field(
        default_factory=dict, description="for each label, a value or glob"
    )
    parameters: dict[str, str] = Field(
        default_factory=dict,
        description="for each parameter, a label such as labels.cluster",
    )
    key: Texts = Field((), description="one live run for each value of these labels")
    when: str = Field("", description="a situation in words, such as: scheduled release")
    cause: str = Field("", description="the likely cause")
    first_action: str = ""

    @model_validator(mode="after")
    def _says_something(self) -> Trigger:
        if not (self.alert or self.match or self.when):
            raise ValueError("a trigger needs `alert:` or `match:`, or words under `when:`")
        return self


class Metric(Section):
    """A metric with its limits; `rb.metrics` evaluates it by its diagnostic, query or PromQL.

    ``{name}`` in ``promql`` stands for one of ``values``, or for a parameter of the runbook.
    ``warning`` and ``critical`` are numbers or texts such as ``> 5%``. With ``< 2``, smaller
    values are worse. ``> SLO`` means the limit in ``slo``.
    """

    plain = "name"
    name: str = Field(min_length=1)
    unit: str = ""
    slo: str = ""
    normal: str = ""
    warning: float | str | None = None
    critical: float | str | None = None
    baseline: float | None = Field(None, description="the value that `2x` in a limit refers to")
    diagnostic: str = Field("", description="a named diagnostic, such as connections/saturation")
    query: str = Field("", description="a SELECT statement, if no diagnostic fits")
    promql: str = Field("", description="a query of Prometheus, in place of both")
    source: str = Field("", description="the source to ask in PromQL, if there are several")
    baseline_days: int = Field(
        0,
        ge=0,
        le=60,
        description="with promql: `2x` in a limit refers to the median of so many days",
    )
    column: str = Field("", description="the column of the result that is compared with the limits")
    agg: Literal["max", "min", "sum", "mean", "last", "rows"] = "max"
    connection: str = Field("db", description="the parameter whose value is a connection's name")
    values: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="values for the diagnostic or the query"
    )
    panel: str = Field("", description="where the metric is shown: dashboard, panel")
    next_step: str = ""

    @model_validator(mode="after")
    def _one_question(self) -> Metric:
        if self.promql and (self.diagnostic or self.query):
            raise ValueError("has promql and a diagnostic or a query: keep one of them")
        if not self.promql and (self.source or self.baseline_days):
            raise ValueError("needs promql, because it has source or baseline_days")
        return self

    @property
    def figure(self) -> str:
        """The column that is compared with the limits."""
        usual = "ratio" if self.baseline_days else "value"
        return self.column or (usual if self.promql else "")

    def limit(self, which: Literal["warning", "critical"]) -> Threshold | None:
        """Return a limit in the metric's unit; None if the limit is missing or free text.

        With ``baseline_days``, a limit such as ``> 2x`` is a multiple of the baseline.

        >>> Metric(name="cost", warning="> 2x", baseline=20).limit("warning").value
        40.0
        >>> Metric(name="diff rate", slo="< 0.1%", warning="> SLO").limit("warning")
        Threshold(value=0.1, below=False, unit='%', for_s=None)
        """
        words = getattr(self, which)
        found = threshold(words) or beyond_slo(words, self.slo) or self._of_range(which)
        if found is None or found.unit != "x" or self.baseline_days:
            return found
        if self.baseline is None:
            return None
        return replace(found, value=found.value * self.baseline, unit="")

    def _of_range(self, which: Literal["warning", "critical"]) -> Threshold | None:
        """Return the limit that a range such as ``70–85 %`` states; None if it is unclear.

        The metric's other limit shows whether larger or smaller values are worse, and thus which
        end of the range is the limit.
        """
        other = threshold(self.critical if which == "warning" else self.warning)
        if other is None:
            return None
        return threshold_of_range(getattr(self, which), below=other.below)


#: In place of a fault: the sandbox as it is.
HEALTHY = "healthy"
_TRUTH = "truth."


class Drill(Section):
    """A fault of the sandbox, and what the runbook must say of it; `rbkernel drill` tests it.

    ``fault`` may be `HEALTHY`. A drill that people do by hand is described there in a sentence; one
    word is the name of a fault.
    """

    plain = "fault"
    fault: str = Field(min_length=1, description="a fault of the sandbox, or a drill in words")
    finds: str = Field("", description="the title of the finding that must not be ok")
    names: str = Field("", description="what this finding must name, such as an application")
    recommends: str | tuple[str, ...] = Field(
        "", description="the option that must be recommended, or one of each of several questions"
    )
    harmless: bool = Field(False, description="nothing is wrong: each finding must be ok")
    after_s: float = Field(
        0.0, ge=0, le=600, description="s that the fault must last before the runbook looks"
    )
    values: dict[str, str | int | float | bool] = Field(
        default_factory=dict,
        description="parameters of the run; `truth.NAME` is what the fault says of itself",
    )

    @property
    def wanted(self) -> tuple[str, ...]:
        """The options that must be recommended, each by the question that has it."""
        several = (self.recommends,) if isinstance(self.recommends, str) else self.recommends
        return tuple(filter(None, several))

    def filled(self, truth: Mapping[str, Any]) -> Drill:
        """Return the drill with what an injected fault says of itself in place of `truth.NAME`.

        >>> Drill(fault="x", values={"end_lsn": "truth.end"}).filled({"end": "0/3"}).values
        {'end_lsn': '0/3'}

        Raises
        ------
        RunbookError
            The fault says nothing of this name.
        """
        found = dict(self.values)
        for name in self.values.keys() - self.fixed_values.keys():
            asked = str(self.values[name]).removeprefix(_TRUTH)
            if asked not in truth:
                raise RunbookError(
                    f"the fault {self.fault} says nothing of {asked!r}",
                    where=f"front matter, drill, values, {name}",
                    next_step=f"name one of {', '.join(truth)}",
                )
            found[name] = truth[asked]
        return self.model_copy(update={"values": found})

    @property
    def fixed_values(self) -> dict[str, str | int | float | bool]:
        """The parameters whose values are not said by the fault."""
        return {
            name: value
            for name, value in self.values.items()
            if not (isinstance(value, str) and value.startswith(_TRUTH))
        }

    @property
    def by_hand(self) -> bool:
        """Whether the drill is described in a sentence, so that no program can run it.

        >>> [Drill(fault=one).by_hand for one in ("replay-paused", "failover", "Stop the standby")]
        [False, False, True]
        """
        return len(self.fault.split()) > 1


class EscalationLevel(Section):
    """One level of escalation: whom to call, and when."""

    plain = "contact"
    level: str = Field("", description="the name of this level, such as L2 or P1")
    contact: str = ""
    when: str = Field("", description="the condition of this level, in words")
    after: str = Field("", description="duration of the incident until this level, such as 1 h")
    after_attempts: int | None = Field(
        None, ge=1, description="number of failed attempts until this level"
    )
    severity: str = Field("", description="the only severity at which this level is used")
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
        """The seconds after which this level is due."""
        return duration_s(self.after)


class Escalation(Section):
    """When to ask for help, whom to ask, and what to tell them."""

    plain = "contact"
    when: Texts = ()
    contact: str = ""
    provide: str = ""
    levels: Annotated[tuple[EscalationLevel, ...], BeforeValidator(_listed)] = ()


class SeverityLevel(Section):
    """One level of the severity assessment.

    ``any_of`` are conditions over the facts given to `rb.severity`: the name of a fact that is
    true (``data_at_risk``), or a comparison (``users_affected_pct >= 50``).
    """

    level: str = Field(description="the team's word for the severity, such as SEV1")
    when: str = Field("", description="the condition of this level, in words")
    any_of: Texts = ()
    action: str = ""
    response_time: str = ""
    examples: Texts = ()

    @field_validator("level")
    @classmethod
    def _on_a_scale(cls, words: str) -> str:
        return known_severity(words)


class Communication(Section):
    """Who is informed, of what, and when."""

    plain = "channel"
    channel: str = ""
    status_page: str = ""
    stakeholders: Texts = ()
    immediately: Texts = ()
    every: str = Field("", description="how often an update is sent, such as 30 minutes")
    updates: Texts = Field((), description="what an update contains")
    resolved: Texts = ()
    message: str = Field("", description="the template of the text of an update")


class Operation(Section):
    """An operation with a command to copy; ``run`` or ``request`` let rbkernel execute it.

    ``{name}`` in ``command`` stands for one of ``values``, or for a parameter of the runbook.
    These are also the values of the command or request of ``rbkernel.toml``.
    """

    plain = "name"
    name: str = Field(min_length=1)
    command: str = Field("", description="the exact command, or the path in a user interface")
    run: str = Field("", description="a name in [actions.commands] that does it after an approval")
    request: str = Field("", description="a name in [actions.requests], in place of run")
    values: dict[str, Text] = Field(
        default_factory=dict, description="values for the placeholders of the command"
    )
    effect: str = ""
    undo: str = ""
    risk: str = ""
    verify: str = Field("", description="how to see that the operation worked")
    group: str = Field("", description="a name for related operations, such as database, security")

    @model_validator(mode="after")
    def _one_way(self) -> Operation:
        if self.run and self.request:
            raise ValueError("has run and request: keep one of them")
        if (self.run or self.request) and not self.command:
            raise ValueError("has no command, to copy where rbkernel.toml does not allow it")
        return self

    @property
    def named(self) -> frozenset[str]:
        """The names of all placeholders: values, and parameters of the runbook."""
        return frozenset(PLACEHOLDER.findall(" ".join((self.command, *self.values.values()))))


class Setting(Section):
    """An environment variable, a feature flag, or another setting."""

    plain = "name"
    name: str = Field(min_length=1)
    kind: Literal["variable", "flag", "setting"] = "setting"
    purpose: str = ""
    default: Text = ""


Operations = Annotated[tuple[Operation, ...], BeforeValidator(_listed)]


class Recovery(Section):
    """Recovery objectives (maximum time, maximum data loss) and the recovery steps."""

    plain = "rto"
    rto: str = Field("", description="recovery time objective, such as 1 h")
    rpo: str = Field("", description="recovery point objective, such as 5 min")
    downtime: str = ""
    steps: Operations = ()


class Assumption(Section):
    """An assumption of the runbook, and what to do if it is false."""

    plain = "text"
    text: str = Field(min_length=1)
    if_false: str = ""


class FailureMode(Section):
    """A way in which the resolution itself may fail."""

    plain = "name"
    name: str = Field(min_length=1)
    symptom: str = ""
    impact: str = ""
    detection: str = ""
    mitigation: str = ""


class Link(Section):
    """A link to a page: dashboard, logs, documentation."""

    plain = "url"
    title: str = ""
    url: str = ""


class Automation(Section):
    """A manual step that could be automated."""

    plain = "step"
    step: str = Field(min_length=1)
    approach: str = ""
    effort: str = ""
    priority: str = ""
    ticket: str = ""


class Change(Section):
    """An entry of the runbook's change log."""

    plain = "change"
    date: datetime.date | None = None
    author: str = ""
    change: str = ""


def known_severity(words: str) -> str:
    """Check that a text is a word of one of the four severity scales, or a placeholder.

    Raises
    ------
    ValueError
        The text is neither a severity word nor a placeholder.
    """
    if not unfilled(words):
        Severity.parse(words)
    return words


def many(value: Any) -> Any:
    """Convert a single value to a list with one item; return lists unchanged."""
    return _listed(value)
