"""Each rule on a failing and on a passing example. A rule without both fails here.

The passing example of all is the good runbook; beside it stand near misses, which a careless rule
would take for the fault.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest

from rbkernel.errors import RunbookError
from rbkernel.lint import RULES, Document, Level
from tests.support.good_runbook import Spoil, good, problems
from tests.support.lint_examples import EXAMPLES


def _cases(kind: str) -> list[Any]:
    found = []
    for rule, example in EXAMPLES.items():
        spoils = example.bad if kind == "bad" else example.near
        found += [pytest.param(rule, spoil, id=f"{rule}-{i}") for i, spoil in enumerate(spoils)]
    return found


def test_every_rule_has_examples() -> None:
    # those about diagnostics have theirs in test_team_diagnostics
    about_runbooks = {code for code, rule in RULES.items() if rule.about == "runbook"}
    assert set(EXAMPLES) | {"RB001"} == about_runbooks
    assert all(example.bad for example in EXAMPLES.values())


def test_the_good_runbook_is_good(tmp_path: Path) -> None:
    assert list(map(str, problems(tmp_path))) == []


@pytest.mark.parametrize(("rule", "spoil"), _cases("bad"))
def test_a_rule_fires(rule: str, spoil: Spoil, tmp_path: Path) -> None:
    found = problems(tmp_path, spoil, **EXAMPLES[rule].around)
    assert rule in {problem.code for problem in found}
    for problem in found:
        assert problem.level is RULES[problem.code].level
        assert problem.message
        assert not problem.message.endswith(".")
        assert problem.next_step
        assert not problem.next_step.endswith(".")


@pytest.mark.parametrize(("rule", "spoil"), _cases("near"))
def test_a_rule_spares_the_near_miss(rule: str, spoil: Spoil, tmp_path: Path) -> None:
    found = problems(tmp_path, spoil, **EXAMPLES[rule].around)
    assert [str(problem) for problem in found if problem.code == rule] == []


def test_what_is_no_notebook_is_rb001(tmp_path: Path) -> None:
    path = tmp_path / "x.ipynb"
    for content in (b"", b"<<<<<<< HEAD", b'{"cells": 3}', b"\xff"):
        path.write_bytes(content)
        with pytest.raises(RunbookError) as caught:
            Document.read(path)
        assert caught.value.where == str(path)
    with pytest.raises(RunbookError, match="No such file"):
        Document.read(tmp_path / "gone.ipynb")


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_a_page_says_what_why_and_what_instead(rule: Any) -> None:
    assert rule.level is not Level.OFF
    assert "\n\nWhy: " in rule.text
    assert "\n\nInstead:" in rule.text
    assert len(rule.title) < 100


def test_the_good_runbook_is_a_notebook() -> None:
    nbformat.validate(good())
