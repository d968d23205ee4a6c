"""Choose the picture of a finding among the figures of its run. Pure."""

from __future__ import annotations

from collections import defaultdict

from rbkernel.evidence.reading import Record
from rbkernel.model import Finding
from rbkernel.render.documents.blocks import Figure, Image, Reader


def picture_of(record: Record, finding: Finding) -> Figure | Image | None:
    """Return the figure that shows a finding; None if the run has none for it.

    A figure shows the findings of its own cell, else of the last cell before it that has findings.
    The picture of a cause may be that of a finding that it explains.

    Parameters
    ----------
    record
        The journal of the run, with outputs.
    finding
        One of its findings.
    """
    own = {finding.title}
    explained = {one.title for one in record.findings if one.explained_by == finding.headline != ""}
    pictures = _pictures(record)
    for wanted in (own, explained):
        for titles, picture in pictures:
            if titles & wanted:
                return picture
    return None


def _pictures(record: Record) -> list[tuple[set[str], Figure | Image]]:
    """Return the figures of a run in their order, each with the titles of what it shows."""
    made: dict[str | None, set[str]] = defaultdict(set)
    for event in record.of_kind("finding"):
        made[event.parent].add(str(event.data.get("title", "")))
    found: list[tuple[set[str], Figure | Image]] = []
    titles: set[str] = set()
    reader = Reader()
    for cell in record.cells:
        titles = made.get(cell.msg_id) or titles
        found += [
            (titles, block)
            for block in reader.blocks(list(cell.outputs), {})
            if isinstance(block, Image) or (isinstance(block, Figure) and block.drawn)
        ]
    return found
