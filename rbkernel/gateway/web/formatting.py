"""Format counts, durations and lines of a record as text. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from rbkernel.displaytext import visible
from rbkernel.evidence.incident import ASKED_AGAIN, CONTINUED, DECIDED, Line
from rbkernel.evidence.timeline import action_step, alert_name, when_alerted, words


def counted(numbers: Mapping[str, int]) -> str:
    """Return counts by name as text.

    >>> counted({"done": 3, "failed": 1}), counted({})
    ('3 done, 1 failed', 'none')
    """
    return ", ".join(f"{number} {name}" for name, number in numbers.items()) or "none"


def lasted(seconds: float) -> str:
    """Return a duration in seconds as text, rounded for readers.

    >>> lasted(4.2), lasted(185), lasted(7500), lasted(200_000)
    ('4 s', '3 min', '2 h 5 min', '2 d 7 h')
    """
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if minutes < 1:
        return f"{seconds:.0f} s"
    if hours < 1:
        return f"{minutes} min"
    if hours < 48:
        return f"{hours} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"


def said(line: Line) -> str:
    """Return a line of an incident's record as text for people.

    >>> def line(kind, **data):
    ...     return Line(number=1, kind=kind, at="", by="ann", data=data)
    >>> said(line("alert", status="firing", labels={"alertname": "Lag"}))
    'alert Lag is firing'
    >>> said(line("run", state="ended", runbook="RUN-005", verdict="critical"))
    'RUN-005 ended: critical'
    >>> said(line("status", status="Identified", impact="orders are late", eta="soon"))
    'Identified; impact: orders are late; eta: soon'
    >>> said(line("notified", whom="phone", title="RUN-005 CRITICAL: Lag", text="Next: …"))
    'notified phone: RUN-005 CRITICAL: Lag'
    >>> said(line("merged", **{"from": "INC-1"})), said(line("merged", into="INC-2"))
    ('INC-1 was merged into this incident', 'merged into INC-2')
    >>> said(line("situation", connection="orders", causes=["it blocks 9"], situation={"at": ""}))
    'orders when the alert arrived: it blocks 9'
    """
    return visible(_said(line))


def _said(line: Line) -> str:
    if line.kind == "alert":
        return f"alert {alert_name(line)} is {line.text('status')}"
    if line.kind == "run":
        details = ", ".join(filter(None, [line.text(name) for name in ("verdict", "why")]))
        return f"{line.text('runbook')} {line.text('state')}{': ' if details else ''}{details}"
    if line.kind == "sealed":
        what = f"{line.text('runbook')} {line.text('title')}".strip() or "the record"
        return f"sealed: {what}{': ' if line.text('verdict') else ''}{line.text('verdict')}"
    if line.kind == "situation":
        return when_alerted(line)
    if line.kind == "action":
        return action_step(line)
    if line.kind == "note":
        return line.text("text")
    if line.kind in {DECIDED, ASKED_AGAIN, CONTINUED, "acknowledged"}:
        return words(line)
    if line.kind == "status":
        names = ("impact", "action", "eta")
        rest = (f"; {name}: {line.text(name)}" for name in names if line.text(name))
        return f"{line.text('status')}{''.join(rest)}"
    if line.kind == "notified":
        result = "could not notify" if line.text("problem") else "notified"
        return f"{result} {line.text('whom')}: {line.text('title')}"
    if line.kind == "merged":
        into = line.text("into")
        return (
            f"merged into {into}" if into else f"{line.text('from')} was merged into this incident"
        )
    # a sender's internal name, and versions: of no use to readers
    hidden = {"group_key", "format", "rbkernel"}
    values = (str(value) for name, value in line.data.items() if value and name not in hidden)
    return f"{line.kind}: {'; '.join(values)}".removesuffix(": ")
