"""To which of two commands a comment belongs, and what becomes of it where both are possible."""

from __future__ import annotations

import json

import pytest

from tests.support.markdown_corpus import code_of, imported, text_of


def _cells(content: str) -> list[str]:
    [one] = imported(f"# T\n\n## Step\n\n```bash\n{content}\n```\n".encode())
    return ["".join(cell["source"]) for cell in json.loads(one.document)["cells"]]


def _at(cells: list[str], words: str) -> int:
    [found] = [number for number, cell in enumerate(cells) if words in cell]
    return found


@pytest.mark.parametrize(
    "comment",
    [
        "All jobs must be Complete",
        "Should be active",
        "if more than 9, call the owner",
        "Bad: Failed",
        "The queue is expected to be idle",
    ],
)
@pytest.mark.parametrize("below", ["systemctl status app", "curl -X POST http://x/jobs/clear"])
def test_a_comment_between_two_commands_is_no_check_of_either(comment: str, below: str) -> None:
    cells = _cells(f"kubectl get jobs\n# {comment}\n{below}")
    label = _at(cells, "For you to judge")
    assert _at(cells, '"get", "jobs"') < label <= _at(cells, comment)
    after = cells[label + 1 :]
    assert not any("answers=" in cell or f'"{comment}"' in cell for cell in after)
    assert "answers=" not in "\n".join(cells)


@pytest.mark.parametrize("rest", ["", "\n\ndf -h"])
def test_an_expectation_before_a_blank_line_is_about_the_command_above(rest: str) -> None:
    cells = _cells(f"kubectl get jobs\n# Each job must be Complete{rest}")
    assert _at(cells, '"get", "jobs"') < _at(cells, "For you to judge")
    assert "answers=" not in "\n".join(cells)


def test_a_numbered_comment_begins_the_next_step() -> None:
    cells = _cells("kubectl get jobs\n# Expected: Complete\n# 2. the nodes, must be Ready\nuptime")
    assert 'answers="Complete"' in cells[_at(cells, '"get", "jobs"')]
    assert "the nodes" in cells[_at(cells, '["uptime"]')]


def test_what_follows_an_expected_line_is_not_expected_of_the_command_above() -> None:
    cells = _cells("kubectl get jobs\n# Expected: ok\n# Status must be idle\nuptime")
    assert 'answers="idle"' not in "\n".join(cells)
    assert "about the command above or the one below" in "\n".join(cells)


def test_empty_is_no_text_to_compare_with() -> None:
    code = "\n".join(_cells("# the output must be empty\nkubectl get jobs"))
    assert 'answers="empty"' not in code
    assert 'answers=""' in code


def test_an_answer_below_a_change_is_no_check_of_the_read_before_it() -> None:
    text = (
        "# T\n\n```sh\nkubectl get jobs\nkubectl delete job x\n```\n\n"
        "Expected output:\n\n```\ndeleted\n```\n"
    )
    [one] = imported(text.encode())
    assert "answers=" not in code_of(one)
    assert "deleted" in text_of(one)
