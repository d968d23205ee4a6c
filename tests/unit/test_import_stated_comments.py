"""Comments and sentences that state an expectation, in the words of `stated_comments.yaml`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from rbkernel.checks.rule import violates
from rbkernel.importer import sqlchecks
from rbkernel.importer.stated import expectations
from tests.support.markdown_corpus import code_of, front_of, imported

CORPUS = yaml.safe_load(
    (Path(__file__).parents[1] / "corpora/stated_comments.yaml").read_text(encoding="utf-8")
)
CHECKED = re.compile(r"\b(?:answers|expect|contains|json|rows|wrong|status)=")
Phrase = dict[str, Any]


def _of(kind: str) -> list[Phrase]:
    return [*CORPUS[kind]["implemented"], *CORPUS[kind]["held_out"]]


def _call(say: str) -> str:
    [one] = imported(f"# T\n\n## Look\n\n```bash\n{say}\n```\n".encode())
    return code_of(one)


@pytest.mark.parametrize("phrase", _of("shell"), ids=lambda phrase: phrase["say"])
def test_a_comment_of_a_command_is_its_check(phrase: Phrase) -> None:
    code = _call(phrase["say"])
    if phrase.get("text"):
        assert not CHECKED.search(code)
    else:
        assert phrase["call"] in code


@pytest.mark.parametrize("say", CORPUS["shell"]["text"])
def test_a_comment_that_a_program_cannot_judge_is_no_check_of_a_command(say: str) -> None:
    assert not CHECKED.search(_call(say))


SQL = "SELECT count(*) AS n FROM carts"


def _violated(say: str, figure: float, *, mild: bool) -> bool:
    return any(
        violates(figure, one.limit, below=one.below, at_limit=one.at_limit)
        for one in sqlchecks.of(SQL, expectations.read([say]))
        if one.mild is mild
    )


@pytest.mark.parametrize("phrase", _of("sql"), ids=lambda phrase: phrase["say"])
def test_a_comment_of_a_query_is_its_check(phrase: Phrase) -> None:
    say, warned = phrase["say"], phrase.get("warned", [])
    wrong = [one for one in phrase["wrong"] if one not in warned or one == phrase["wrong"][-1]]
    for figure in phrase["right"]:
        assert not _violated(say, figure, mild=False)
        assert not _violated(say, figure, mild=True)
    for figure in wrong if not warned else phrase["wrong"][1:]:
        assert _violated(say, figure, mild=False)
    for figure in warned:
        assert _violated(say, figure, mild=True)
        assert not _violated(say, figure, mild=False)


@pytest.mark.parametrize("say", CORPUS["sql"]["text"])
def test_a_comment_that_a_program_cannot_judge_is_no_check_of_a_query(say: str) -> None:
    assert not sqlchecks.of(SQL, expectations.read([say]))


@pytest.mark.parametrize("phrase", _of("sentences"), ids=lambda phrase: phrase["say"])
def test_a_sentence_is_a_metric(phrase: Phrase) -> None:
    [one] = imported(f"# T\n\n## Notes\n\n{phrase['say']}\n".encode())
    found = front_of(one).metrics
    if phrase.get("text"):
        assert not found
        return
    [metric] = found
    assert metric.name.lower() == phrase["name"]
    assert (metric.warning or metric.critical, "critical" in phrase) == (
        phrase["warning"],
        bool(metric.critical and metric.warning),
    )
    assert metric.critical == phrase.get("critical", metric.critical)


@pytest.mark.parametrize("say", CORPUS["sentences"]["text"])
def test_a_sentence_that_changes_its_limit_is_no_metric(say: str) -> None:
    [one] = imported(f"# T\n\n## Notes\n\n{say}\n".encode())
    assert not front_of(one).metrics
