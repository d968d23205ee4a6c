"""What a run leaves to a human, in a real kernel: lists to tick, commands and SQL to copy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rbkernel.evidence import reading
from tests.support.kernels import START, Answer, Kernel, configure, kernel, write_runbook

FINDING = "application/vnd.rbkernel.finding+json"


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kernel, Path]]:
    """A kernel whose configuration allows `echo` with one lower-case word."""
    folder = tmp_path_factory.mktemp("human")
    path = write_runbook(folder / "runbook.ipynb", [START])
    file = configure(folder)
    file.write_text(
        file.read_text()
        + '[commands.say]\nargv = ["echo", "-n", "{word}"]\n'
        + '[commands.say.arguments]\nword = "[a-z]+"\n'
    )
    with kernel(
        RBKERNEL_CONFIG=str(file), RBKERNEL_RUNBOOK=str(path), RBKERNEL_EVIDENCE=str(folder / "e")
    ) as started:
        assert started.run(START).reply["status"] == "ok"
        yield started, folder / "e"


def finding(started: Kernel, title: str) -> dict[str, Any]:
    """Return a finding of the run as it stands."""
    code = (
        "import dataclasses, json\nfrom rbkernel.triage.context import triage\n"
        f"print(json.dumps(dataclasses.asdict(triage().findings[{title!r}])))"
    )
    found: dict[str, Any] = json.loads(started.run(code).text)
    return found


def shown(answer: Answer) -> dict[str, Any]:
    """Return what the cell itself showed last, and not what it changed above."""
    told = [m["content"]["data"] for m in answer.messages if m["msg_type"] == "display_data"]
    return dict(told[-1])


def test_a_checklist_is_open_until_all_of_it_is_ticked(cells: tuple[Kernel, Path]) -> None:
    started, root = cells
    started.run('before = rb.checklist("Before", ["VPN", "Access"])')
    assert finding(started, "Checklists")["actual"] == "2 of 2 not ticked"
    started.run('before.tick("VPN")')
    left = finding(started, "Checklists")
    assert (left["verdict"], left["which"]) == ("unknown", "Before: Access")
    started.run('before.tick("Access")')
    assert finding(started, "Checklists")["verdict"] == "ok"
    started.run('before.tick("VPN", done=False)')
    assert finding(started, "Checklists")["verdict"] == "unknown"
    [folder] = (root / "open").iterdir()
    ticks = [(e.data["item"], e.data["done"]) for e in reading.read(folder).of_kind("tick")]
    assert ticks == [("VPN", True), ("Access", True), ("VPN", False)]


def test_in_jupyterlab_it_has_boxes(cells: tuple[Kernel, Path]) -> None:
    started, _ = cells
    answer = started.run('rb.checklist("Boxes", ["one"])', allow_stdin=True)
    assert "application/vnd.jupyter.widget-view+json" in shown(answer)


def test_a_list_runs_only_if_exactly_it_is_allowed(cells: tuple[Kernel, Path]) -> None:
    started, _ = cells
    answer = started.run('rb.shell("Allowed", ["echo", "-n", "hello"])')
    assert shown(answer)[FINDING]["verdict"] == "ok"
    assert "hello" in shown(answer)["text/plain"]
    for words in (["echo", "-n", "Hello"], ["echo", "-n", "a", "b"], ["echo", "-e", "hello"]):
        answer = started.run(f'rb.shell("Not allowed {words[-1]}", {words})')
        assert answer.reply["status"] == "ok"
        text = shown(answer)["text/plain"]
        assert text.startswith("NOT RUN")
        assert text.endswith(" ".join(words))
    assert finding(started, "Commands to run yourself")["verdict"] == "unknown"


def test_a_command_that_is_not_filled_in_says_so(cells: tuple[Kernel, Path]) -> None:
    started, _ = cells
    answer = started.run('rb.shell("Hole", ["echo", "-n", "‹PLACEHOLDER: word›"])')
    assert "placeholders to fill in first: word" in shown(answer)["text/plain"]


def test_a_plan_for_a_shell_is_shown_to_copy(cells: tuple[Kernel, Path]) -> None:
    started, _ = cells
    answer = started.run(
        'rb.act(rb.actions.command("Roll back", "kubectl rollout undo <name>",'
        ' values={"<name>": "api"}, undo="roll forward"))'
    )
    data = shown(answer)
    assert "kubectl rollout undo api" in data["text/html"]
    assert "Run in your own shell" in data["text/html"]
    assert data["application/vnd.rbkernel.plan+json"]["command"] == "kubectl rollout undo api"
