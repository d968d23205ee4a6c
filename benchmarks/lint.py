"""How long lint takes: ``python -m benchmarks.lint [NOTEBOOKS]``, 500 when not given.

Copies of our own runbooks, each with an id of its own, in one folder. Prints wall-clock and CPU
seconds of reading and judging them, in one process. The aim is below 10 s for 500.
"""

from __future__ import annotations

import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from rbkernel.config import Settings
from rbkernel.lint import check, reading
from rbkernel.runbook import catalogue
from rbkernel.sandbox.faults.catalogue import FAULTS
from rbkernel.triage.surroundings import surroundings

LIMIT_S = 10.0


def copies(folder: Path, count: int) -> None:
    """Write copies of our runbooks, with ids of their own."""
    ours, _ = catalogue.runbooks([])
    for number, runbook in enumerate(islice(cycle(ours), count), 1):
        text = runbook.document.decode().replace(runbook.id, f"RUN-{10_000 + number}")
        (folder / f"{number:05}.ipynb").write_text(text, encoding="utf-8")


def main(count: int) -> int:
    """Measure, and tell whether the aim is met."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copies(folder, count)
        wall, cpu = time.perf_counter(), time.process_time()
        documents, unread = reading.documents(reading.notebooks([folder]))
        around = surroundings(Settings(), documents, faults=list(FAULTS))
        problems = [problem for document in documents for problem in check(document, around)]
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    size = sum(len(document.cells) for document in documents) / max(1, len(documents))
    print(
        f"{len(documents)} notebooks of {size:.0f} cells: {wall:.1f} s, {cpu:.1f} s of CPU;"
        f" {len(problems)} problems, {len(unread)} unreadable"
    )
    return 0 if wall < LIMIT_S else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 500))
