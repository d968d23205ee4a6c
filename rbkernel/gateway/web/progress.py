"""Compute how far a run is: which of its cells is running, and for what purpose. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from rbkernel.displaytext import visible
from rbkernel.evidence.notebook import first_line
from rbkernel.evidence.reading import INTERRUPTED, NOT_RUN, CellRun


@dataclass(frozen=True, kw_only=True)
class Step:
    """A code cell of a run's document, with the heading that states the cell's purpose."""

    source: str
    heading: str


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The progress of a run: ``done`` of its ``total`` code cells have ended.

    ``doing`` is the purpose of the running cell, or empty. ``total`` is 0 until the document is
    known: before the cell with `rb.start`.
    """

    done: int
    total: int
    doing: str

    @property
    def words(self) -> str:
        """The progress as one line of text.

        >>> Progress(done=3, total=12, doing="How far behind?").words
        'cell 4 of 12: How far behind?'
        >>> Progress(done=0, total=0, doing="").words, Progress(done=2, total=2, doing="").words
        ('starting', '2 of 2 cells done')
        """
        if not self.total:
            return "starting"
        if not self.doing:
            return f"{self.done} of {self.total} cells done"
        return f"cell {min(self.done + 1, self.total)} of {self.total}: {self.doing}"


def steps(document: bytes | None) -> tuple[Step, ...]:
    """Return a document's code cells that a frontend would run; none if it is not a notebook.

    >>> cells = [{"cell_type": "markdown", "source": ["## Look"]}]
    >>> cells += [{"cell_type": "code", "source": "x"}, {"cell_type": "code", "source": " "}]
    >>> steps(json.dumps({"cells": cells}).encode())
    (Step(source='x', heading='Look'),)
    """
    found: list[Step] = []
    heading = ""
    try:
        for cell in json.loads(document or b"{}")["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] == "markdown":
                heading = _heading(source) or heading
            elif cell["cell_type"] == "code" and source.strip():
                found.append(Step(source=source, heading=heading))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return ()
    return tuple(found)


def progress(cells: Iterable[CellRun], steps: Iterable[Step], *, live: bool) -> Progress:
    """Return the progress of a run, from its executed cells and its document.

    Parameters
    ----------
    cells
        The executed cells so far, in order.
    steps
        The document's code cells. Executed cells that are not among them, such as injected
        parameters, count as well.
    live
        Whether the kernel is alive; only then is a cell without an end still running.
    """
    steps = tuple(steps)
    if not steps:
        return Progress(done=0, total=0, doing="")
    began = [cell for cell in cells if cell.status != NOT_RUN]
    last = began[-1] if began else None
    running = last if live and last and last.status == INTERRUPTED else None
    wanted = Counter(step.source for step in steps)
    ran = Counter(cell.code for cell in began)
    added = {code for code in ran if code not in wanted and code.strip()}
    done = sum(min(count, ran[source]) for source, count in wanted.items()) + len(added)
    return Progress(
        done=done - bool(running),
        total=len(steps) + len(added),
        doing=_purpose(running.code, steps) if running else "",
    )


def _purpose(code: str, steps: Iterable[Step]) -> str:
    heading = next((step.heading for step in steps if step.source == code), "")
    return heading or first_line(code)


def _heading(source: str) -> str:
    """Return the last heading of a Markdown cell, without its markup.

    >>> _heading("text\\n### 2. Is `replay` paused?\\nmore"), _heading("text")
    ('2. Is replay paused?', '')
    """
    lines = [line.strip() for line in source.splitlines()]
    found = [line.lstrip("#").strip() for line in lines if line.startswith("#")]
    return visible(found[-1]).replace("`", "").replace("*", "") if found else ""
