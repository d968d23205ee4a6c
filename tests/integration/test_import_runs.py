"""Imported runbooks run: the five seeds on the sandbox, and what nobody looked at is never ok."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rbkernel.config import Settings
from rbkernel.model import Verdict
from rbkernel.run import runner
from rbkernel.run.runner import Outcome
from tests.support.markdown_corpus import SEEDS, by_command, command


def ran(path: Path, settings: Settings, **values: Any) -> Outcome:
    """Run a notebook by papermill, to its end."""
    outcome = runner.run(str(path), values, settings)
    assert not outcome.failure
    return outcome


@pytest.mark.parametrize("seed", [path.stem for path in SEEDS])
def test_a_seed_runs_and_what_nobody_looked_at_is_unknown(
    seed: str, shop: Settings, evidence: Path, tmp_path: Path
) -> None:
    [made] = by_command(seed, tmp_path)
    outcome = ran(Path(made["notebook"]), shop)
    assert outcome.verdict is Verdict.UNKNOWN
    found = {finding.title: finding for finding in outcome.record.findings}
    assert found["Placeholders"].verdict is Verdict.UNKNOWN
    assert found["Checklists"].verdict is Verdict.UNKNOWN
    assert all(cell.status == "done" for cell in outcome.record.cells)
    assert [decision.state for decision in outcome.record.decisions] == ["parked"]


def test_values_are_bound_and_a_mutation_is_only_proposed(
    shop: Settings, evidence: Path, tmp_path: Path
) -> None:
    made = by_command("runbook_creation", tmp_path, "--split")
    [path] = [one["notebook"] for one in made if one["id"] == "RUN-001"]
    outcome = ran(Path(path), shop, problematic_pid=4711)
    [plan] = outcome.record.of_kind("plan")
    assert plan.data["sql"].endswith("WHERE pid = 4711")
    assert plan.data["state"] == "waits for a decision"
    asked = outcome.record.of_kind("query")
    assert len(asked) == 4  # its three queries, and the pool that its trigger is about
    assert not any(event.data["reason"] for event in asked)


def test_with_a_placeholder_nothing_is_asked(
    shop: Settings, evidence: Path, tmp_path: Path
) -> None:
    source = tmp_path / "x.md"
    source.write_text(
        "# X\n\n```sql\nSELECT count(*) FROM pg_stat_activity WHERE usename = '<who>';\n"
        "SELECT count(*) FROM pg_stat_activity LIMIT <limit>;\nSELECT no_such FROM nowhere;\n```\n"
    )
    command(str(source))
    outcome = ran(tmp_path / "x.ipynb", shop)
    [unanswered] = [f for f in outcome.record.findings if f.title == "Queries without an answer"]
    assert unanswered.actual == "3 of 3 not answered"
    reasons = [event.data["reason"] for event in outcome.record.of_kind("query")]
    assert "who is not filled in" in reasons[0]
    assert "limit is not filled in" in reasons[1]
    assert "nowhere" in reasons[2]
    again = ran(tmp_path / "x.ipynb", shop, who="rb_diag", limit=1)
    [left] = [f for f in again.record.findings if f.title == "Queries without an answer"]
    assert left.actual == "1 of 3 not answered"


def test_a_query_for_a_named_database_is_asked_nowhere_else(
    shop: Settings, evidence: Path, tmp_path: Path
) -> None:
    source = tmp_path / "y.md"
    source.write_text(
        "# Y\n\n```sh\npsql -h db9 -d orders -c \"SELECT now() - interval '<n> hours'\"\n"
        "psql -h db9 -d orders -c 'DELETE FROM orders'\n```\n"
    )
    command(str(source))
    outcome = ran(tmp_path / "y.ipynb", shop)
    [unasked] = outcome.record.of_kind("query")
    assert "connection of db9 orders is not filled in" in unasked.data["reason"]
    again = ran(tmp_path / "y.ipynb", shop, db_at_db9_orders="sandbox-primary", n="3")
    [asked] = again.record.of_kind("query")
    assert (asked.data["connection"], asked.data["reason"]) == ("sandbox-primary", "")
