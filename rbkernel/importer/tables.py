"""Convert tables to front matter: thresholds, contacts, escalation and others.

Pure. A table is recognised by the words of its header. The Markdown table is kept, so columns
without a field are not lost.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markdown_it import MarkdownIt

from rbkernel.importer import measured
from rbkernel.importer.reading import holes, plaintext, wikitables
from rbkernel.importer.stated import escalations
from rbkernel.model import Severity

Row = Mapping[str, str]
_NOTHING = frozenset({"", "-", "–", "—", "n/a", "none", "tbd"})


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table: its header in lower case, and its rows; cells are plain text."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def has(self, *words: str) -> bool:
        """Tell whether the header has a column for each of the words."""
        return all(self.column(word) is not None for word in words)

    def column(self, *words: str) -> int | None:
        """Return the number of the first column whose header contains one of the words.

        The words are tried in their order. None if no header contains any of them.
        """
        for word in words:
            for number, name in enumerate(self.header):
                if re.search(rf"\b(?:{word})", name):
                    return number
        return None

    def picked(self, **wanted: str) -> list[dict[str, str]]:
        """Return the cells of each row by field; a pattern of words finds the column of a field.

        A column is used for one field only; empty cells, and cells such as ``n/a``, are left out.
        """
        columns: dict[str, int] = {}
        for field, words in wanted.items():
            number = self.column(*words.split("|"))
            if number is not None and number not in columns.values():
                columns[field] = number
        rows = (
            {field: row[n] for field, n in columns.items() if row[n].lower() not in _NOTHING}
            for row in self.rows
        )
        return [row for row in rows if row]


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The front matter field that a table becomes, its value, and a call that uses it, if any.

    ``levels`` are the timed levels of escalation that the table also states.
    """

    field: str
    value: Any
    call: str = ""
    levels: list[dict[str, Any]] = dataclasses.field(default_factory=list)


def read(text: str) -> Table:
    r"""Parse a Markdown table at any indentation.

    >>> read("| A | `b\\|c` |\n|---|---|\n| **1** | [x](y) |\n").rows
    (('1', 'x (y)'),)
    """
    rows = [[plaintext.plain(cell) for cell in row] for row in cells(text)]
    if not rows:
        return Table(header=(), rows=())
    header = tuple(name.lower() for name in rows[0])
    body = (tuple(row) for row in rows[1:] if any(row))
    return Table(header=header, rows=tuple(row for row in body if len(row) == len(header)))


def cells(text: str) -> list[list[str]]:
    """Return the cells of a table as Markdown, row by row; the first row is the header.

    >>> cells("| A | `b` |\\n|---|---|\\n| **1** | 2 |\\n")
    [['A', '`b`'], ['**1**', '2']]
    """
    text = re.sub(r"(?m)^[ \t]+", "", wikitables.as_markdown(text))
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    rows: list[list[str]] = []
    for at, token in enumerate(tokens):
        if token.type == "tr_open":
            rows.append([])
        if token.type in {"th_open", "td_open"}:
            rows[-1].append(tokens[at + 1].content)
    return rows


def bind(table: Table) -> Bound | None:
    """Return the front matter field and value for a table; None if it has no field.

    >>> bind(read("| Metric | Warning | Critical |\\n|-|-|-|\\n| Errors | > 5% | > 9% |")).value
    [{'name': 'Errors', 'critical': '> 9%', 'warning': '> 5%'}]
    """
    for known in _KNOWN:
        if (bound := known(table)) is not None and (bound.value or bound.levels):
            return bound
    return None


def pairs(table: Table) -> list[tuple[str, str]]:
    """Return the rows of a table with the columns field and value; empty for other tables.

    >>> pairs(read("| Field | Value |\\n|---|---|\\n| **Owner** | DBA |"))
    [('Owner', 'DBA')]
    """
    named = re.match(
        r"(?:field|property|attribute|key|item|name|)$", table.header[0] if table.header else "x"
    )
    if (
        len(table.header) != 2
        or not named
        or not re.match(r"(?:value|details?|information|description|)$", table.header[1])
    ):
        return []
    return [(row[0], row[1]) for row in table.rows]


def _metrics(table: Table) -> Bound | None:
    limits = table.has("warn|critical|alert|threshold") or table.has("amber|yellow|red\\b")
    if not table.has("metric|indicator|signal|kpi|sli") or not limits:
        return None
    picked = table.picked(
        name="metric|indicator|signal|kpi|sli",
        critical="critical|red\\b|alert threshold|alert|threshold",
        warning="warn|amber|yellow",
        slo="slo|target",
        normal="normal|baseline|expected|green",
        query="query|sql",
        panel="dashboard|panel",
        next_step="action|response",
    )
    value = [measured.metric({k: holes.loud(v) for k, v in row.items()}) for row in picked]
    return Bound(
        field="metrics", value=[row for row in value if "name" in row], call="rb.metrics()"
    )


def _alerts(table: Table) -> Bound | None:
    if not table.has("alert(?! threshold| type)", "cause|action|response|runbook|step"):
        return None
    picked = table.picked(
        alert="alert", cause="cause|meaning|reason", first_action="action|step|response"
    )
    value = [row for row in picked if row.get("alert") and not holes.find(row["alert"])]
    return Bound(field="triggers", value=value)


def _severities(table: Table) -> Bound | None:
    level = "sev(?:erity)?\\b|level|prio(?:rity)?\\b|alert type"
    words = "definition|condition|criteria|description|meaning|impact|runbook"
    loose = "when|if|trigger|situation|symptom|what|scope|indicator"
    if not table.has(level, f"{words}|{loose}"):
        return None
    picked = table.picked(
        level=level,
        when=f"{words.removesuffix('|runbook')}|{loose}",
        response_time="response",
        action="action|runbook",
        examples="example",
    )
    for row in picked:
        if "level" in row:
            row["level"] = re.sub(r"^(\w+) (?=\d)", r"\1-", row["level"]).split()[0].strip(":")
    codes = [Severity.place(row.get("level", "")) < len(Severity) for row in picked]
    if not table.has(level, words) and (not all(codes) or table.has("contact|who|team|person")):
        return None
    return Bound(field="severity_levels", value=_louder(picked))


def _escalation(table: Table) -> Bound | None:
    levels = table.has("level|tier|severity|priority|step|time|timing|after|elapsed|wait")
    levels = levels or (table.has("when") and not table.has("role|name"))
    if not levels or not table.has("contact|who|team|person|escalate (?!after)"):
        return None
    picked = table.picked(
        level="level|tier|severity|priority|step|action",
        contact="contact|who|team|person|escalate to",
        when="trigger|when|condition|criteria|situation",
        response_time="response|sla",
        after="^tim|after|elapsed|wait",
        provide="provide|information",
    )
    timed = [row for row in map(_timed, picked) if escalations.is_time(row.get("after", ""))]
    if not timed and not table.has("level|tier|severity|priority|step"):
        return None
    found = _louder([_timed(row) for row in picked])
    if timed:
        return Bound(field="escalation.levels", value=[], levels=[dict(row) for row in found])
    return Bound(field="escalation.levels", value=found)


def _timed(row: Mapping[str, str]) -> dict[str, Any]:
    """Return the escalation level in a row of a table, with time and condition in their fields.

    If the cell for the time holds other text, that text is the condition.
    """
    after = row.get("after", "")
    if after and not escalations.is_time(after):
        rest = {name: words for name, words in row.items() if name != "after"}
        return {**rest, "when": rest.get("when", after)}
    if not after and (stated := escalations.of_condition(row.get("when", ""))):
        return {**{name: words for name, words in row.items() if name != "when"}, **stated}
    if after and row.get("when"):
        # the level is due at that time, so its words name the level and are not a condition
        rest = {name: words for name, words in row.items() if name != "when"}
        severity = escalations.severity_of(row["when"])
        return {"level": row["when"], **rest, **({"severity": severity} if severity else {})}
    return dict(row)


def _contacts(table: Table) -> Bound | None:
    if not table.has("contact|phone|slack|e-?mail|pager|channel|reach"):
        return None
    if not table.has("role|name|team|who|person|service"):
        return None
    picked = table.picked(
        role="role|team|service|area",
        name="name|who|person",
        contact="contact|phone|slack|e-?mail|pager|channel|reach",
        after="escalate after|after|when|wait",
    )
    rows = _louder(picked)
    levels = [level for row in rows if (level := escalations.of_contact(row))]
    return Bound(field="contacts", value=rows, levels=levels)


def _dependencies(table: Table) -> Bound | None:
    if not table.has("dependenc|depends on|upstream|component"):
        return None
    picked = table.picked(
        name="dependenc|depends on|upstream|component|service",
        via="connection|via|protocol",
        purpose="purpose|used for|why",
        impact="impact|effect|if down",
        failure_mode="failure",
        fallback="fallback|workaround|mitigation",
        type="type|kind",
        criticality="critical",
    )
    return Bound(field="dependencies", value=_louder(picked))


def _health(table: Table) -> Bound | None:
    if not table.has("endpoint|health check"):
        return None
    rows = table.picked(
        url="endpoint|url|health check", status="expect|status", meaning="meaning|purpose|descr"
    )
    value: list[dict[str, Any]] = []
    for row in rows:
        if "url" not in row:
            continue
        code = re.search(r"\b[1-5]\d\d\b", row.get("status", ""))
        path = re.sub(r"^(?:GET|HEAD)\s+", "", row["url"])
        url = path if path.startswith("http") else f"{_SERVICE}{path}"
        known = {"url": url, "name": path, "meaning": row.get("meaning", "")}
        value.append(
            {k: holes.loud(v) for k, v in known.items() if v}
            | {"status": int(code[0]) if code else 200}
        )
    return Bound(field="health", value=value, call="rb.health()")


# a URL without a host, which can only be requested after somebody has filled in the host
_SERVICE = "[http://host:port]"


def _switches(table: Table) -> Bound | None:
    if not table.has("switch|kill", "how|command|activate|action"):
        return None
    picked = table.picked(
        name="switch|kill|name",
        command="how|command|activate|action",
        effect="what|effect|does",
        undo="undo|revert|restore",
    )
    return Bound(field="kill_switches", value=_louder(picked), call='rb.commands("kill_switches")')


def _settings(table: Table) -> Bound | None:
    number = table.column("variable", "flag", "setting", "parameter", "config")
    if number is None or not table.has("purpose|default|description|value"):
        return None
    kinds = {"variable": "variable", "flag": "flag"}
    kind = next((k for word, k in kinds.items() if word in table.header[number]), "setting")
    picked = table.picked(
        name="variable|flag|setting|parameter|config",
        purpose="purpose|description|meaning",
        default="default|value",
    )
    return Bound(field="configuration", value=[{**row, "kind": kind} for row in _louder(picked)])


def _links(table: Table) -> Bound | None:
    if not table.has("link|url|address"):
        return None
    picked = table.picked(
        title="resource|name|title|dashboard|document|what", url="link|url|address"
    )
    return Bound(field="links", value=_louder(picked))


def _changes(table: Table) -> Bound | None:
    if not table.has("date", "change|description|what"):
        return None
    picked: list[dict[str, Any]] = [
        *table.picked(date="date", change="change|description|what", author="author|by|who")
    ]
    for row in picked:
        said = str(row.get("date", ""))
        row["date"] = date(said) or (said if re.search(r"\d", said) else None)
        row["author"] = holes.loud(str(row.get("author", "")))
    value = [{k: v for k, v in row.items() if v} for row in picked]
    return Bound(field="change_log", value=[row for row in value if "change" in row])


def date(text: str) -> datetime.date | None:
    """Parse a date in the formats that runbooks use; None if the text is not a date.

    >>> date("2025-01-15"), date("YYYY-MM-DD")
    (datetime.date(2025, 1, 15), None)
    """
    found = re.search(r"\b\d{4}-\d\d-\d\d\b", text)
    try:
        return datetime.date.fromisoformat(found[0]) if found else None
    except ValueError:
        return None


def _louder(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {field: holes.loud(said) if isinstance(said, str) else said for field, said in row.items()}
        for row in rows
    ]


def endpoints(text: str) -> list[dict[str, Any]]:
    """Return the health endpoints in a list, as ``GET /path``.

    >>> endpoints("- **Liveness**: `GET /health/live` (should return 204)")[0]["status"]
    204
    """
    found = []
    for line in text.splitlines():
        if match := re.search(r"\bGET\s+(?P<path>(?:https?://[^\s`/]+)?/[\w./?=&-]*)", line):
            path = match["path"]
            url = path if path.startswith("http") else holes.loud(f"{_SERVICE}{path}")
            code = re.search(r"\b[1-5]\d\d\b", line[match.end() :])
            found.append({"url": url, "name": path, "status": int(code[0]) if code else 200})
    return found


_KNOWN: tuple[Callable[[Table], Bound | None], ...] = (
    _metrics,
    _switches,
    _dependencies,
    _health,
    _changes,
    _alerts,
    _settings,
    _severities,
    _escalation,
    _contacts,
    _links,
)
