"""Write the texts of a report from the journal and the front matter of a run. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice
from typing import Any

import yaml
from nbformat import NotebookNode

from rbkernel.displaytext import visible
from rbkernel.evidence import notebook as documents
from rbkernel.evidence.incident import DoneByHand, instant
from rbkernel.evidence.normal import text
from rbkernel.evidence.reading import DONE, CellRun, Record
from rbkernel.model import PlanState
from rbkernel.render.documents.blocks import Reader
from rbkernel.render.documents.sanitize import plain
from rbkernel.render.documents.tables import Table

# limit of lines: a runbook has about 40, but aliases in YAML can produce endless values
_MOST_LINES = 200


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A proposed action in its last state, for a report; ``done`` says who carried it out."""

    id: str
    title: str
    state: str
    connection: str
    sql: str
    command: str
    effect: str
    risk: str
    undo: str
    targets: Table
    done: DoneByHand | None = None

    @property
    def text(self) -> str:
        """The SQL or command of the plan to copy; empty if there is nothing to do."""
        return self.command or self.sql

    @property
    def place(self) -> str:
        """The place where the plan's SQL or command must be run."""
        return "in a shell" if self.command else f"on {self.connection}"


def clock(at: object) -> str:
    """Convert a time that rbkernel recorded (ISO 8601, UTC) to text for people.

    Any other text is returned unchanged, with invisible characters as escapes.

    >>> clock("2026-11-20T23:45:35.968906+00:00"), clock("")
    ('2026-11-20 23:45:35 UTC', '')
    """
    said = visible(str(at))
    return f"{said[:10]} {said[11:19]} UTC" if re.match(r"\d{4}-\d\d-\d\dT", said) else said


def lasted(duration: timedelta) -> str:
    """Return a duration as text for people.

    >>> lasted(timedelta(seconds=42)), lasted(timedelta(hours=26, minutes=5, seconds=9))
    ('42 s', '1 d 2 h 5 min')
    >>> lasted(timedelta(minutes=39)), lasted(timedelta(minutes=3, seconds=5))
    ('39 min', '3 min 5 s')
    """
    whole_s = int(duration.total_seconds())
    if whole_s < 60:
        return f"{whole_s} s"
    days, hours, minutes = whole_s // 86400, whole_s // 3600 % 24, whole_s // 60 % 60
    parts = [(days, "d"), (hours, "h"), (minutes, "min")]
    if whole_s < 600:
        parts.append((whole_s % 60, "s"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def flat(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield a name and a text for each value of nested values.

    >>> list(flat({"scope": {"not_handled": ["a", "b"]}, "slo": None}))
    [('scope, not handled', 'a'), ('scope, not handled', 'b'), ('slo', '')]
    """
    if isinstance(value, Mapping):
        for key, part in value.items():
            word = visible(str(key)).replace("_", " ")
            yield from flat(part, f"{name}, {word}" if name else word)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from flat(part, name)
    else:
        yield name, "" if value is None else visible(str(value)).strip()


def front_matter(notebook: NotebookNode) -> tuple[tuple[str, str], ...]:
    """Return the front matter as names and texts; if it is not valid YAML, the text unchanged."""
    first = notebook.cells[0] if notebook.cells else None
    if first is None or first.cell_type != "raw":
        return ()
    source = str(first.source).strip().removeprefix("---").removesuffix("---")
    try:
        fields = yaml.safe_load(source)
    except (yaml.YAMLError, ValueError, RecursionError):
        return (("not valid YAML", visible(source)),)
    return _gathered(islice(flat(fields, "" if isinstance(fields, dict) else "text"), _MOST_LINES))


def _gathered(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Join the lines of text that have the same name.

    >>> _gathered([("a", "1"), ("a", "2"), ("b", "3")])
    (('a', '1\\n2'), ('b', '3'))
    """
    lines: dict[str, list[str]] = {}
    for name, value in pairs:
        lines.setdefault(name, []).append(value)
    return tuple((name, "\n".join(values)) for name, values in lines.items())


def about(record: Record) -> tuple[tuple[str, str], ...]:
    """Return facts about the run (id, time, kind of execution, parameters) as names and texts."""
    run = record.run
    ended = max((cell.ended_at for cell in record.cells), default="")
    executed = "headless" if run and run.headless else "by hand, in a notebook"
    values = run.parameters if run else {}
    given = ", ".join(
        visible(f"{name} = {value}")
        for name, value in values.items()
        if value not in ("", None, [])
    )
    pairs = (
        ("Run", record.run_id),
        ("Started", clock(started_at(record))),
        ("Ended", clock(ended)),
        ("Executed", executed if run else ""),
        ("Continues", run.continues if run else ""),
        ("Parameters", given),
    )
    return tuple((name, value) for name, value in pairs if value)


def started_at(record: Record) -> str:
    """Return the time at which the run started, in UTC and ISO 8601."""
    return str(record.run.started_at if record.run else record.kernel.get("at", ""))


def facts(record: Record) -> tuple[tuple[str, str], ...]:
    """Return the connections that the run queried, and the number of redactions."""
    runs = record.of_kind("run")
    facts = flat(runs[-1].data.get("facts", {})) if runs else ()
    return (*facts, *([("Redacted", said)] if (said := _redacted(record)) else ()))


def _redacted(record: Record) -> str:
    """Return the number of redactions of each rule, as text.

    An earlier version wrote a mask instead of some counts; these are shown as unknown.
    """
    counts: Counter[str] = Counter()
    unknown: set[str] = set()
    for event in record.of_kind("redaction"):
        rules = event.data.get("rules")
        for rule, number in rules.items() if isinstance(rules, Mapping) else ():
            if isinstance(number, int):
                counts[rule] += number
            else:
                unknown.add(rule)
    names = sorted({*counts, *unknown})
    return ", ".join(
        f"{plain(rule)} at least {counts[rule]}, not all counts can be read"
        if rule in unknown
        else f"{plain(rule)} {counts[rule]}"
        for rule in names
    )


def plans(
    record: Record, reader: Reader, done: Mapping[str, DoneByHand] | None = None
) -> tuple[Plan, ...]:
    """Return each proposed action of the run in its last state.

    ``done`` are the actions that the incident's record holds as done, by the id of the plan.
    """
    last = {str(event.data.get("id")): event for event in record.of_kind("plan")}
    found = [(_plan(event.data, reader), event.at) for event in last.values()]
    return tuple(after(plan, at, (done or {}).get(plan.id)) for plan, at in found)


def after(plan: Plan, proposed_at: str, done: DoneByHand | None) -> Plan:
    """Return a plan as done if a person recorded so after the run proposed it.

    An earlier record does not count: the run has proposed the same change again since.
    """
    if done is None or plan.state != PlanState.PROPOSED:
        return plan
    later = instant(done.at) > instant(proposed_at)
    return replace(plan, state=PlanState.DONE, done=done) if later else plan


def _plan(data: Mapping[str, Any], reader: Reader) -> Plan:
    names = ("id", "title", "state", "connection", "sql", "command", "effect", "risk", "undo")
    targets = data.get("targets")
    rows = [row for row in targets if isinstance(row, Mapping)] if isinstance(targets, list) else []
    header = tuple(dict.fromkeys(str(name) for row in rows for name in row))
    cells = (("" if (v := row.get(n)) is None else visible(str(v)) for n in header) for row in rows)
    table = reader.table(header, tuple(map(tuple, cells)))
    texts: dict[str, Any] = {name: visible(str(data.get(name) or "")) for name in names}
    return Plan(**texts, targets=table)


def remarks(record: Record) -> tuple[tuple[str, str, str], ...]:
    """Return time, kind and text of each remark that a human made during the run."""
    found = []
    for event in record.events:
        if event.kind == "note":
            found.append((event.at, "note", visible(str(event.data.get("text", "")))))
        elif event.kind == "done":
            said = f"{event.data.get('title', '')}. {event.data.get('note', '')}"
            found.append((event.at, PlanState.DONE, visible(said)))
    return tuple(found)


def warnings(record: Record, problems: list[str], partial: str) -> tuple[str, ...]:
    """Return warnings about the evidence, which a reader must see first."""
    notes = [f"Unreadable: {plain(str(one))}" for one in record.unreadable]
    notes += [f"Differs from the journal: {problem}" for problem in problems]
    if partial:
        notes.append(f"Verified in part: {partial}")
    if not record.complete and not record.lost:
        notes.append("The run did not finish: the missing steps did not run.")
    left = [cell for cell in record.cells if cell.status != DONE]
    notes += [f"{cell.status}: {_where(cell)}" for cell in left if cell.code.strip()]
    return tuple(notes)


# how IPython marks a line in a traceback; the first mark is in the cell itself
_POINTER = re.compile(r"^-+> \d+ (.*\S)", re.MULTILINE)


def _where(cell: CellRun) -> str:
    """Return the failed line of a cell and its error; the cell's first line if that line is
    unknown.
    """
    error = next((one for one in cell.outputs if one.get("output_type") == "error"), None)
    if error is None:
        return documents.first_line(cell.code)
    line = _POINTER.search(plain("\n".join(map(text, error.get("traceback") or ()))))
    where = documents.first_line(line[1] if line else cell.code)
    return f"{where}: {plain(text(error.get('ename')))}: {plain(text(error.get('evalue')))}"
