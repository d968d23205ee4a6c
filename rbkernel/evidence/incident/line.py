"""One line of an incident's record, the description of a damaged line, and times in lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

# a `sealed` line without its seal: the seal was interrupted, or is still in progress
SEALING = "sealing"
# a run is continued with the answers and actions since, or is not, and why
CONTINUED = "continued"
TICKET = "ticket"
# the state and the owner of the postmortem
POSTMORTEM = "postmortem"
# the fields of the first line of a record
OPENED = ("title", "severity", "service", "group_key")
_NEVER = datetime.min.replace(tzinfo=UTC)
# tolerance for the clocks of several hosts
AHEAD = timedelta(minutes=5)
_OLDEST = timedelta(days=3653)
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the record; ``number`` counts from 1, ``data`` holds all other fields.

    ``is_new`` is false if the record already had the line when it was to be appended.
    """

    number: int
    kind: str
    at: str
    by: str
    data: Mapping[str, Any]
    is_new: bool = field(default=True, compare=False)

    def text(self, name: str) -> str:
        """Return a field of the line as text; empty if the field is missing.

        >>> Line(number=1, kind="note", at="", by="", data={"text": "x", "eta": None}).text("eta")
        ''
        """
        value = self.data.get(name)
        return "" if value is None else str(value)


@dataclass(frozen=True, kw_only=True)
class Damage:
    """A line that cannot be parsed; number 0 means the whole record."""

    number: int
    what: str

    def __str__(self) -> str:
        return f"line {self.number} {self.what}" if self.number else f"the record {self.what}"


def instant(at: str) -> datetime:
    """Return a time of the record as a `datetime`; an invalid time sorts before all others.

    >>> instant("2026-11-20T04:02:00+01:00") == instant("2026-11-20T03:02:00Z")
    True
    >>> instant("soon") < instant("1970-01-01T00:00:00")
    True
    """
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return _NEVER
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def sent_time(line: Line, name: str) -> str:
    """Return the sender's time in a field; if that time is impossible, the line's own time.

    Senders write the year 1 or 1970 for an unknown time, and a wrong clock gives any time. A time
    is impossible if it is more than ten years before the line was written, or after it. A small
    tolerance allows for the clocks of several hosts.

    >>> def sent(starts_at):
    ...     data = {"starts_at": starts_at}
    ...     at = "2026-11-20T03:02:00+00:00"
    ...     return sent_time(Line(number=1, kind="alert", at=at, by="", data=data), "starts_at")
    >>> sent("2026-11-20T02:00:00Z")
    '2026-11-20T02:00:00Z'
    >>> {sent(at) for at in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "", "soon")}
    {'2026-11-20T03:02:00+00:00'}
    """
    sent = instant(line.text(name))
    return line.text(name) if is_possible(sent, instant(line.at)) else line.at


def is_possible(sent: datetime, received: datetime) -> bool:
    """Tell whether the time that a sender gave is possible, see `sent_time`."""
    early = received - _OLDEST if received > _FIRST else _FIRST
    return early <= sent <= max(received, _FIRST) + AHEAD


def shown(at: str) -> datetime:
    """Return a time without fractions of a second, so that shown times and durations agree.

    >>> shown("2026-11-20T03:02:11.9+00:00") == instant("2026-11-20T03:02:11Z")
    True
    """
    return instant(at).replace(microsecond=0)
