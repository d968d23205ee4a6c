"""Read `[[maintenance]]`: planned windows in which nobody is notified."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

# a longer window is rather a forgotten one
LONGEST = timedelta(days=31)


def _moment(value: Any) -> Any:
    """Accept a time of TOML or its text; refuse one without a time zone, and bare numbers."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("should be a time such as 2026-11-20T03:00:00+01:00") from None
    if not isinstance(value, datetime):
        raise ValueError("should be a time such as 2026-11-20T03:00:00+01:00")  # noqa: TRY004  # pydantic reads ValueError
    if value.tzinfo is None:
        raise ValueError("has no time zone: write, for example, 2026-11-20T03:00:00+01:00")
    return value


_Moment = Annotated[datetime, BeforeValidator(_moment)]


class Window(BaseModel):
    """A planned window in which incidents are recorded, but nobody is notified of them.

    ``match`` maps labels of alerts to a value or glob, as in a trigger; an alert must have all of
    them. An empty ``match`` fits every alert, and runs without an alert.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    begins: _Moment = Field(alias="from")
    ends: _Moment = Field(alias="to")
    match: Mapping[str, Annotated[str, Field(min_length=1)]]
    reason: str = Field(min_length=1)

    @model_validator(mode="after")
    def _in_order(self) -> Window:
        if self.ends <= self.begins:
            raise ValueError(f"the window ends ({self.ends}) before it begins ({self.begins})")
        if self.ends - self.begins > LONGEST:
            raise ValueError(
                f"the window is longer than {LONGEST.days} days: a longer silence is a route that"
                " starts no runbook, or an alert that should not fire"
            )
        return self

    def covers(self, at: datetime) -> bool:
        """Tell whether a time with its time zone is in the window; its end is not.

        >>> at = datetime.fromisoformat
        >>> one = Window(begins=at("2026-11-20T03:00:00Z"), ends=at("2026-11-20T04:00:00Z"),
        ...              match={}, reason="upgrade")
        >>> [one.covers(at(f"2026-11-20T0{hour}:00:00Z")) for hour in (2, 3, 4)]
        [False, True, False]
        """
        return self.begins <= at < self.ends

    def fits(self, labels: Mapping[str, Any]) -> bool:
        """Tell whether an alert has all labels of the window, with fitting values."""
        return all(
            name in labels and fnmatchcase(str(labels[name]), pattern)
            for name, pattern in self.match.items()
        )
