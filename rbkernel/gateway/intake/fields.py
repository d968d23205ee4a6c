"""Tolerant types for fields of senders' bodies, and the result of reading a body. Pure.

Unknown fields are ignored. A scalar in place of a text becomes text. One unreadable alert does not
affect the other alerts in the body.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from rbkernel.config.words import advice
from rbkernel.errors import Unreadable
from rbkernel.gateway.jobs.alert import Alert, Delivery

_PROBLEMS_SHOWN = 5
_Envelope = TypeVar("_Envelope", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The result of reading a body: alerts, errors of unreadable parts, names of ignored fields."""

    delivery: Delivery
    problems: tuple[str, ...] = ()
    ignored: str = ""


def text(value: Any) -> str:
    r"""Return a scalar as a text that every database can store; null becomes an empty text.

    >>> text("a\0b"), text(None), text(True), text(3), text([1])
    ('a�b', '', 'true', '3', '[1]')
    """
    if value is None:
        return ""
    written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return written.replace("\0", "\N{REPLACEMENT CHARACTER}")


def labels(value: Any) -> dict[str, str]:
    """Return a JSON object's fields with their values as texts; null gives no fields."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError("must be an object")  # noqa: TRY004  # pydantic wants a ValueError
    return {text(name): text(field) for name, field in value.items()}


def utc(at: datetime) -> datetime:
    """Convert a time to UTC; a time without offset counts as UTC, and a huge time is clamped.

    >>> utc(datetime.fromisoformat("0001-01-01T00:00:00+02:00")).isoformat()
    '0001-01-01T00:00:00+00:00'
    """
    if at.tzinfo is None:
        return at.replace(tzinfo=UTC)
    try:
        return at.astimezone(UTC)
    except OverflowError:
        return at.replace(tzinfo=UTC)


def unless_zero(at: datetime | None) -> datetime | None:
    """Return a sender's time; None for the year 1, which is Go's zero time and means unset."""
    return at if at and at.year > 1 else None


Text = Annotated[str, BeforeValidator(text)]
Labels = Annotated[dict[str, str], BeforeValidator(labels)]
Time = Annotated[datetime, AfterValidator(utc)]


class Body(BaseModel):
    """Base class for models of the bodies that senders post: unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def fingerprint(*parts: Any) -> str:
    """Return a hash of an alert's values, for senders that give no fingerprint.

    The hash does not depend on the order of the keys in a mapping.

    >>> fingerprint({"a": "1", "b": "2"}) == fingerprint({"b": "2", "a": "1"})
    True
    """
    written = json.dumps(parts, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(written.encode()).hexdigest()[:16]


def read_each(entries: Iterable[Any], one: Callable[[Any], Alert]) -> tuple[list[Alert], list[str]]:
    """Read alerts one by one; return the readable alerts, and the errors of the unreadable ones."""
    alerts: list[Alert] = []
    problems: list[str] = []
    for number, entry in enumerate(entries):
        try:
            alerts.append(one(entry))
        except ValidationError as error:
            problems.append(f"alerts[{number}]: {problem(error)}")
    return alerts, problems


def delivered(
    source: str, alerts: Iterable[Alert], problems: list[str], at: datetime, truncated: int = 0
) -> Reading:
    """Return the result of reading a body; raise an error if it has errors but no alert."""
    found = tuple(alerts)
    shown = problems[:_PROBLEMS_SHOWN]
    if len(problems) > len(shown):
        shown.append(f"and {len(problems) - len(shown)} more")
    if problems and not found:
        raise Unreadable("; ".join(shown), where=source, next_step="see the sender's template")
    delivery = Delivery(source=source, alerts=found, truncated=truncated, received_at=at)
    return Reading(delivery=delivery, problems=tuple(shown))


def problem(error: ValidationError) -> str:
    """Describe the first error of a validation, without quoting the wrong value."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    what = advice(first)
    return f"{place}: {what}" if place else what


def envelope(kind: type[_Envelope], value: Any, source: str) -> _Envelope:
    """Validate a body against ``kind``, the model of the object that contains the alerts.

    Raises
    ------
    Unreadable
        The body does not fit the model.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise Unreadable(
            problem(error), where=source, next_step="compare it with the sender's documentation"
        ) from error


Count = Annotated[int, Field(ge=0)]
