"""What a cause explains is folded under it, and is no worse where it only could not be seen."""

from __future__ import annotations

from typing import Any

import pytest

from rbkernel.config import Settings
from rbkernel.evidence import Recorder, install
from rbkernel.model import Finding, Run, Verdict
from rbkernel.triage.context import Triage


def finding(title: str, verdict: Verdict, **fields: Any) -> Finding:
    return Finding(title=title, verdict=verdict, expected="", actual=title, **fields)


@pytest.fixture
def run(tmp_path_factory: pytest.TempPathFactory) -> Triage:
    install(Recorder(tmp_path_factory.mktemp("evidence")))
    told = Run(id="r", runbook="RUN-000", title="t", incident="i", headless=True, started_at="")
    return Triage(told, Settings(), ())


@pytest.mark.parametrize(
    ("cause", "unseen"),
    [(Verdict.WARNING, Verdict.WARNING), (Verdict.CRITICAL, Verdict.UNKNOWN)],
)
def test_what_a_lock_hides_is_no_worse_than_the_lock(
    run: Triage, cause: Verdict, unseen: Verdict
) -> None:
    hidden = finding("a read", Verdict.UNKNOWN, opens="RUN-007")
    run.add_finding(finding("root blocks", cause, explains=("RUN-007",)))
    kept = run.add_finding(hidden)
    assert (kept.verdict, kept.explained_by) == (unseen, "root blocks")
    assert run.verdict is cause


def test_what_has_no_cause_stays_unknown(run: Triage) -> None:
    run.add_finding(finding("root blocks", Verdict.WARNING, explains=("RUN-007",)))
    kept = run.add_finding(finding("a read", Verdict.UNKNOWN))
    assert (kept.verdict, kept.explained_by) == (Verdict.UNKNOWN, "")
    assert run.verdict is Verdict.UNKNOWN
