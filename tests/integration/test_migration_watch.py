"""Steps 5 and 6 of RUN-004 in a kernel: the migration is run, watched, and undone on harm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from rbkernel.config import Settings
from rbkernel.evidence.reading import Record, read
from rbkernel.incidents import questions
from rbkernel.model import Finding, Origin, Verdict
from rbkernel.sandbox import control
from tests.support import kernels
from tests.support.kernels import Kernel
from tests.support.runbooks import administer

NOTEBOOK = Path(__file__).parents[2] / "notebooks/database_migration.ipynb"
INCIDENT = "INC-20261120-0004"
CHANGE = "ALTER TABLE orders ADD COLUMN note text"
UNDO = "ALTER TABLE orders DROP COLUMN note"
Hear = Callable[[dict[str, Any]], None]


class Opened:
    """The runbook, opened in a kernel; its cells are run one by one."""

    def __init__(self, kernel: Kernel, root: Path) -> None:
        self.kernel, self.root = kernel, root
        document = nbformat.read(NOTEBOOK, as_version=4)
        self.cells = [one.source for one in document.cells if one.cell_type == "code"]

    def run(self, words: str) -> None:
        """Run the cell with these words."""
        [code] = [one for one in self.cells if words in one]
        self.do(code)

    def watch(self, for_s: float, hear: Hear = lambda _: None) -> None:
        """Run the cell that watches, with little time between two looks."""
        [code] = [one for one in self.cells if "rb.watch(" in one]
        assert "for_s=watch_s" in code
        self.do(code.replace("for_s=watch_s", f"every_s=0.5, for_s={for_s}"), hear)

    def do(self, code: str, hear: Hear = lambda _: None) -> None:
        """Run code; ``hear`` gets each message meanwhile."""
        reply = self.kernel.client.execute_interactive(
            code, allow_stdin=True, timeout=kernels.PATIENCE_S, output_hook=hear
        )
        assert reply["content"]["status"] == "ok", reply["content"]

    def run_all(self, until: str) -> None:
        """Run all cells before the one with these words."""
        for code in self.cells:
            if until in code:
                return
            self.do(code)
            if code.startswith("db: str"):
                self.do(f"statements, undo, incident = {CHANGE!r}, {UNDO!r}, {INCIDENT!r}")

    def answer(self, question: str, choice: str) -> None:
        """Answer a question elsewhere, and run its cell again, which takes up the answer."""
        found = questions.questions(self.root, INCIDENT)
        [asked] = [one for one in found.asked if one.decision.question == question]
        questions.answer(self.root, found, asked, choice, by="bob", origin=Origin.PAGE)
        self.run(f'"{question}"')

    def carry_out(self, title: str) -> None:
        """Run the SQL of a plan as the owner of the tables, without the commands of psql."""
        plans = [one.data for one in self.record.of_kind("plan") if one.data["title"] == title]
        assert plans[-1]["state"] == "proposed"
        lines = str(plans[-1]["sql"]).splitlines()
        administer("\n".join(one for one in lines if not one.startswith("\\")))

    @property
    def record(self) -> Record:
        [folder] = (self.root / "open").iterdir()
        return read(folder)

    @property
    def watched(self) -> Finding:
        """What the last watch found."""
        titled = [one for one in self.record.findings if one.title == "Watch after the change"]
        return titled[-1]


@pytest.fixture
def opened(shop: Settings, evidence: Path) -> Iterator[Opened]:
    with kernels.kernel() as kernel:
        yield Opened(kernel, evidence)
    administer(UNDO.replace("COLUMN", "COLUMN IF EXISTS"))


def test_a_migration_is_watched_until_harm_appears_and_undone(opened: Opened) -> None:
    control.inject("replay-paused")
    opened.run_all(until="rb.done(")
    opened.answer("How should the migration go on?", "run it as step 5 says")
    opened.run("run = rb.act(")
    opened.watch(for_s=1.0)
    assert not opened.record.of_kind("watch"), "nothing is watched before it was run"

    opened.carry_out("Run the migration")
    opened.do('rb.done(run, note="psql: ALTER TABLE")')
    opened.watch(for_s=1.0)
    # what step 1 found is no reason to stop
    assert opened.watched.verdict is Verdict.OK
    assert opened.watched.actual.startswith("nothing new wrong in ")
    assert "there before the change: Replay is paused on sandbox-standby" in opened.watched.actual

    opened.run_all(until="rb.done(")  # as Run All does: what was there before is still known
    truth: dict[str, Any] = {}

    def hear(message: dict[str, Any]) -> None:
        text = str(message["content"].get("data", {}).get("text/plain", ""))
        if "nothing wrong so far" in text and not truth:
            truth.update(control.inject("lock-queue").truth)

    opened.watch(for_s=600.0, hear=hear)
    assert opened.watched.verdict in {Verdict.WARNING, Verdict.CRITICAL}
    assert opened.watched.actual.startswith("stopped after ")
    assert f"(pid {truth['root']['pid']}, " in opened.watched.actual
    assert opened.watched.opens == "RUN-007"

    opened.run('"Does it stay?"')
    decision = opened.record.decisions[-1]
    assert decision.recommended == "find out whether the migration did it"
    opened.answer("Does it stay?", "undo it")
    opened.run("rb.act(back")
    opened.carry_out("Undo the statements of this run: the SQL of undo=")
    with control.connect_as("postgres") as raw:
        left = raw.execute(
            b"SELECT count(*) FROM pg_attribute WHERE attrelid = 'orders'::regclass"
            b" AND attname = 'note'"
        ).fetchone()
    assert left == (0,)
