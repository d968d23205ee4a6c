"""Report where each source block went: executable, evaluated, front matter or text, and why.

A block is *evaluated* if a program checks it: an expected answer, a limit, a time to escalate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Fate = Literal["executable", "evaluated", "front matter", "text"]
FATES: tuple[Fate, ...] = ("executable", "evaluated", "front matter", "text")
# kinds of blocks with no content that a notebook could use
_PLAIN = frozenset({"heading", "paragraph", "list", "blank", "rule", "frame", "quote"})


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A block of the source: its lines (from 1, both included), its kind, and where it went.

    ``into`` names the cells and the fields of the front matter. ``reason`` says why a part of it
    stayed text, ``note`` is a further remark, ``secrets`` describes the secrets that were removed.
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
    """The import report of a source, or of the part of it that is in a single notebook."""

    entries: tuple[Entry, ...]

    @property
    def counts(self) -> dict[str, int]:
        """The number of blocks by destination; blank blocks and horizontal rules do not count."""
        fates = Counter(one.fate for one in self.entries if one.kind not in {"blank", "rule"})
        return {fate: fates[fate] for fate in FATES}

    @property
    def kept(self) -> list[Entry]:
        """The blocks that were not understood, or only in part, with the reason."""
        return [one for one in self.entries if one.reason]

    @property
    def secrets(self) -> list[str]:
        """The descriptions of the removed secrets, with line and rule."""
        return [secret for one in self.entries for secret in one.secrets]

    def as_data(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {"counts": self.counts, "blocks": [asdict(entry) for entry in self.entries]}


def joined(reports: Iterable[Report]) -> Report:
    """Merge the reports of the parts of a source, in the order of its lines."""
    entries = [entry for report in reports for entry in report.entries]
    return Report(entries=tuple(sorted(entries, key=lambda one: one.first)))


def as_markdown(title: str, reports: Sequence[tuple[str, Report]]) -> str:
    """Return the report as Markdown: the counts for each notebook, then every block."""
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
    """Return a block as a line for a terminal: its lines, its kind, and why it stayed text.

    >>> line_of(Entry(first=3, last=5, kind="fence", fate="text", reason="JSON is no command"))
    'lines 3-5, fence: JSON is no command'
    """
    one = entry.first >= entry.last
    return f"{'line' if one else 'lines'} {_lines(entry)}, {entry.kind}: {entry.reason}"
