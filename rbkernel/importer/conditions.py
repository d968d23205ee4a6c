"""Convert statements in prose to front matter and calls: limits, escalation, severity, permissions.

Each line is searched for all of these. The text is always kept, so a statement that no program can
evaluate is not lost. A metric counts as evaluated if a query or a diagnostic measures it, which is
known at the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rbkernel.importer import calls, fields, measured
from rbkernel.importer.cells import Went
from rbkernel.importer.page import Page
from rbkernel.importer.reading import holes, plaintext
from rbkernel.importer.reading.blocks import Block
from rbkernel.importer.stated import communications, escalations, limits, permissions
from rbkernel.importer.stated.limits import Limit
from rbkernel.model import Severity
from rbkernel.runbook import conditions

# sections whose figures are no limits of the service
_OTHER = re.compile(
    r"escalat|communicat|post-?\s?(?:mortem|incident)|automat|example|failure mode|root cause"
    r"|change log|severity|recovery|prerequisite|rollback",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?<=[\w)%`][.!?])\s+(?=[A-Z*`])")
_LEADS_TO = re.compile(
    r"^(?P<when>.+?)\s*(?:→|->|=>)\s*(?P<level>P[0-4]|SEV-?[0-5])\b(?:\s+incident)?\s*$",
    re.IGNORECASE,
)
_MARK = re.compile(r"^\s*(?:>\s*)*(?:[-*+]|\d+[.)])?\s*(?:\[[ xX]\]\s+)?")


class Conditions:
    """Reads limits, escalation, severities and permissions from blocks, and adds them to a page."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._metrics: list[tuple[Went, list[str]]] = []

    def words(self, block: Block, went: Went) -> None:
        """Read the statements in the sentences of a paragraph or a list."""
        if communications.is_about(block):
            self._communication(block, went)
        if block.path and permissions.is_section(block.path[-1]):
            self.permissions(block, went, self._lines(block))
        in_section = fields.section_of(block) == "escalation.when"
        for line in self._lines(block):
            self._severity(went, line)
            if not in_section or block.kind in {"paragraph", "quote"}:
                self._level(block, went, line, in_section=in_section)
        self.limits(block, went, self._lines(block))

    def limits(self, block: Block, went: Went, lines: Iterable[str]) -> None:
        """Add a metric to the front matter for each limit that these lines state."""
        if any(_OTHER.search(words) for words in block.path[-2:]):
            return
        heading = " ".join([*block.path[-1:], self._page.label])
        lines = list(lines)
        found = [one for line in lines for one in limits.stated(line, heading)]
        if not found and any(map(limits.compares, lines)):
            went.notes.append(
                "a number is kept as text: the sentence does not say clearly which values are bad"
            )
        names = [name for one in found if (name := self._metric(block, one))]
        if names:
            went.bound("metrics")
            self._page.once(block, went, "rb.metrics()")
            self._metrics.append((went, names))

    def _metric(self, block: Block, limit: Limit) -> str:
        """Add a metric unless the document has already stated it; return its name."""
        known = {_plain(one["name"]): one for one in self._page.fields.values.get("metrics", ())}
        same = known.get(_plain(limit.name))
        row = limit.row
        if same and any(_same(same.get(field), limit.words) for field in ("warning", "critical")):
            return str(same["name"])
        if same:
            place = plaintext.plain(block.path[-1]) if block.path else block.place
            row["name"] = f"{limit.name}: {place}"
            if _plain(row["name"]) in known:
                return ""
        metric = measured.metric(row)
        if self._page.fields.say("metrics", [metric]):
            return ""
        if "diagnostic" in metric:
            self._page.connections.of("")
        return row["name"]

    def table(self, went: Went, names: Iterable[str]) -> None:
        """Record the metrics that a table declares; they replace equal metrics from sentences."""
        names = list(names)
        self._metrics.append((went, names))
        rows = self._page.fields.values.get("metrics", [])
        declared = {_plain(row["name"]): row for row in rows if row["name"] in names}
        kept = [row for row in rows if not _repeats(row, declared.get(_plain(row["name"])))]
        self._page.fields.replace("metrics", kept)

    def finish(self) -> None:
        """Mark blocks whose metrics are measured as evaluated; call this after the last block."""
        rows = self._page.fields.values.get("metrics", ())
        measured_names = {one["name"] for one in rows if "query" in one or "diagnostic" in one}
        for went, names in self._metrics:
            if measured_names.intersection(names):
                went.evaluated()

    # escalation and severity

    def escalate(self, block: Block, went: Went, items: Iterable[str]) -> None:
        """Add levels for the conditions with a time or attempts; the others stay in words."""
        levels, rest = [], []
        for item in items:
            for part in escalations.parts(item):
                level = escalations.level(part)
                levels += [level] if level else []
                rest += [] if level else [part]
        if rest:
            self._page.say(went, "escalation.when", rest)
            if any(map(conditions.comparisons, rest)) and not levels:
                self._page.once(block, went, "rb.escalation()")
        self.levels(block, went, levels)

    def levels(self, block: Block, went: Went, levels: list[dict[str, Any]]) -> None:
        """Add levels of escalation, and a call that shows which of them are due."""
        if not levels:
            return
        self._page.say(went, "escalation.levels", levels)
        if "escalation.levels" in went.into:
            self._page.once(block, went, "rb.escalation()")
            went.evaluated()

    def _level(self, block: Block, went: Went, line: str, *, in_section: bool) -> None:
        if level := escalations.level(line, in_section=in_section):
            self.levels(block, went, [level])

    def _severity(self, went: Went, line: str) -> None:
        """Add a severity level for a line such as ``tasks > 200 → P2 incident``."""
        found = _LEADS_TO.match(line)
        if found and not holes.find(line) and conditions.comparisons(found["when"]):
            level = {"level": found["level"], "any_of": [found["when"].strip()]}
            self._page.say(went, "severity_levels", [level])

    def severities(self, block: Block, went: Went) -> None:
        """Add severity levels for a list such as ``- SEV1: service down``."""
        if not (block.path and re.search(r"severit|priorit", block.path[-1], re.IGNORECASE)):
            return
        rows = [
            {"level": key, "when": holes.loud(plaintext.plain(value))}
            for key, value in fields.pairs(block)
            if Severity.place(key) < len(Severity)
        ]
        if len(rows) > 1:
            self._page.say(went, "severity_levels", rows)

    # communication and permissions

    def _communication(self, block: Block, went: Went) -> None:
        said = communications.of_list(block) if block.kind == "list" else {}
        for line in self._lines(block):
            if "every" not in said and (every := communications.interval(line)):
                said["every"] = every
        for field, value in said.items():
            self._page.say(went, f"communication.{field}", value)
        if any(place.startswith("communication") for place in went.into):
            self._page.once(block, went, 'rb.show("communication")')

    def permissions(self, block: Block, went: Went, lines: Iterable[str]) -> None:
        """Add checks of the roles and permissions that these lines name."""
        for line in lines:
            if role := permissions.role(line):
                row = {"text": line, "connection": self._page.connections.of(""), "role": role}
                self._page.say(went, "prerequisites", [row])
                self._page.once(block, went, "rb.prerequisites()")
                went.evaluated()
            for asked in permissions.questions(line):
                title = self._page.titles.one_of_its_own(f"Permission: {' '.join(asked[3:])}")
                words = calls.listed([calls.quoted(word) for word in asked])
                call = calls.call("rb.shell", calls.quoted(title), words, answers='"yes"')
                self._page.code(block, went, call, joins=True)
                went.evaluated()

    @staticmethod
    def _lines(block: Block) -> Iterator[str]:
        """Yield the sentences of a block as plain text; a paragraph's lines are joined."""
        text = re.sub(r"```.*?```", "", block.text, flags=re.DOTALL)
        lines = [_MARK.sub("", line).strip() for line in text.splitlines()]
        if block.kind == "paragraph" and not fields.pairs(block):
            lines = [" ".join(lines)]
        for line in lines:
            yield from filter(None, _SENTENCE.split(plaintext.plain(line, code=True)))


def _plain(name: str) -> str:
    return " ".join(sorted(re.findall(r"[a-z0-9]+", str(name).lower())))


def _repeats(row: Mapping[str, Any], declared: Mapping[str, Any] | None) -> bool:
    """Tell whether a metric adds nothing to a metric that a table declares."""
    return (
        declared is not None
        and row is not declared
        and all(value == declared.get(name) for name, value in row.items() if name != "name")
    )


def _same(first: Any, other: str) -> bool:
    return re.sub(r"\s+", "", str(first)) == re.sub(r"\s+", "", other)
