"""Where each block of the source went: executable, evaluated, front matter or text, and why.

*Evaluated* is what a program judges: an expected answer, a limit, a time after which to escalate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Fate = Literal["executable", "evaluated", "front matter", "text"]
FATES: tuple[Fate, ...] = ("executable", "evaluated", "front matter", "text")
# they say nothing that a notebook could do anything with
_PLAIN = frozenset({"heading", "paragraph", "list", "blank", "rule", "frame", "quote"})


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One block: its lines (from 1, both included), what it is, and where it went.

    ``into`` names the cells and the fields of the front matter. ``reason`` says why something of it
    was kept as text, ``note`` what else somebody should know of it, ``secrets`` what was taken out.
    All entries together hold every line of the source once, in order.
    """

    first: int
    last: int
    kind: str
    fate: Fate
    into: tuple[str, ...] = ()
    reason: str = ""
    note: str = ""
    text: str = ""
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Report:
    """What became of one source, or of the part of it that one notebook holds."""

    entries: tuple[Entry, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many blocks went where; blank ones are not counted."""
        fates = Counter(one.fate for one in self.entries if one.kind not in {"blank", "rule"})
        return {fate: fates[fate] for fate in FATES}

    @property
    def kept(self) -> list[Entry]:
        """What was not understood, or not all of it, with the reason."""
        return [one for one in self.entries if one.reason]

    @property
    def secrets(self) -> list[str]:
        """The secrets that were taken out, by line and rule."""
        return [secret for one in self.entries for secret in one.secrets]

    def as_data(self) -> dict[str, Any]:
        """Return what a machine reads."""
        return {"counts": self.counts, "blocks": [asdict(entry) for entry in self.entries]}


def joined(reports: Iterable[Report]) -> Report:
    """Put the parts of a source together again, in its order."""
    entries = [entry for report in reports for entry in report.entries]
    return Report(entries=tuple(sorted(entries, key=lambda one: one.first)))


def as_markdown(title: str, reports: Sequence[tuple[str, Report]]) -> str:
    """Write the report for people: the counts, what was kept and why, then every block."""
    lines = [f"# Import of {title}", "", f"| notebook | {' | '.join(FATES)} |"]
    lines.append("|---|---|---|---|---|")
    for name, report in reports:
        counts = " | ".join(str(report.counts[fate]) for fate in FATES)
        lines.append(f"| {name} | {counts} |")
    for name, report in reports:
        lines += ["", f"## {name}", "", "| lines | what | went to | where | why |"]
        lines.append("|---|---|---|---|---|")
        lines += [_row(entry) for entry in report.entries if entry.kind != "blank"]
    return "\n".join(lines) + "\n"


def _row(entry: Entry) -> str:
    cells = (
        _lines(entry),
        entry.kind,
        entry.fate,
        ", ".join(entry.into),
        "; ".join(filter(None, [entry.reason, entry.note, *entry.secrets])) or _prose(entry),
    )
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"


def _prose(entry: Entry) -> str:
    return "prose" if entry.fate == "text" and entry.kind not in _PLAIN else ""


def _lines(entry: Entry) -> str:
    return str(entry.first) if entry.first >= entry.last else f"{entry.first}-{entry.last}"


def line_of(entry: Entry) -> str:
    """One line for a terminal: where, what, and why it was kept.

    >>> line_of(Entry(first=3, last=5, kind="fence", fate="text", reason="JSON is no command"))
    'lines 3-5, fence: JSON is no command'
    """
    one = entry.first >= entry.last
    return f"{'line' if one else 'lines'} {_lines(entry)}, {entry.kind}: {entry.reason}"
