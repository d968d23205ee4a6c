"""Decisions in a real kernel: they survive Run All, a restart, and are answered from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rbkernel.evidence import incident, reading, runs
from rbkernel.evidence.incident import Answer
from rbkernel.incidents import questions, workflow
from rbkernel.model import Origin
from tests.support import kernels
from tests.support.kernels import Kernel
from tests.support.waiting import until

START = 'import rbkernel as rb\nrb.start("RUN-900")'
ASK = 'choice = rb.decide("What now?", ["resume replay", "wait"], recommended="resume replay")'
STATE = 'print(choice.chose("wait").state)'
FOUND = """
from rbkernel.model import Finding, Verdict
from rbkernel.triage.context import triage
triage().add_finding(
    Finding(title="Lag", verdict=Verdict("{}"), expected="below 2 s", actual="as it is")
)
"""
PLAN = """
from rbkernel.model import ActionPlan
p = rb.act(
    ActionPlan(id="p1", title="Wait", connection="db", sql="SELECT 1"), when=choice.chose("wait")
)
print(p.state)
"""
COUNT = iter(range(1000))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kernel, Path]]:
    """A kernel with an evidence folder; each test begins an incident of its own."""
    folder = tmp_path_factory.mktemp("decisions")
    root = folder / "evidence"
    kernels.write_runbook(folder / "r.ipynb", [START, ASK, STATE])
    with kernels.kernel(
        RBKERNEL_CONFIG=str(kernels.configure(folder)), RBKERNEL_EVIDENCE=str(root)
    ) as kernel:
        yield kernel, root


class Notebook:
    """An open notebook: its cells run in the kernel, and its buttons can be clicked."""

    def __init__(self, kernel: Kernel, root: Path, name: str) -> None:
        self.kernel, self.root, self.incident = kernel, root, name

    def run_all(self, *, finding: str = "", headless: bool = False) -> str:
        """Run all cells; return what the last one printed."""
        start = START.replace('"RUN-900"', f'"RUN-900", incident="{self.incident}"')
        cells = [start, *([FOUND.format(finding)] if finding else []), ASK, STATE]
        for code in cells:
            answer = self.kernel.run(code, allow_stdin=not headless)
            assert answer.reply["status"] == "ok", answer.reply
            if code == ASK:
                self.asked = answer.messages
        return answer.text.strip()

    def click(self, button: str) -> list[dict[str, Any]]:
        """Click a button, and return the messages until the kernel is idle again."""
        models = [
            one["content"]
            for one in self.asked
            if one["msg_type"] == "comm_open"
            and one["content"]["data"]["state"].get("description") == button
        ]
        client = self.kernel.client
        content = {"method": "custom", "content": {"event": "click"}}
        message = client.session.msg(
            "comm_msg", {"comm_id": models[-1]["comm_id"], "data": content}
        )
        client.shell_channel.send(message)
        got: list[dict[str, Any]] = []
        while not (got and got[-1]["content"].get("execution_state") == "idle"):
            heard = client.get_iopub_msg(timeout=kernels.PATIENCE_S)
            if heard["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                got.append(heard)
        self.asked = (*self.asked, *got)
        return got

    @property
    def answer(self) -> Answer | None:
        """The answer that the record holds."""
        found = questions.questions(self.root, self.incident)
        [asked] = {one.decision.identity for one in found.asked}
        return found.answers.to(asked)


@pytest.fixture
def notebook(shared: tuple[Kernel, Path]) -> Notebook:
    return Notebook(*shared, f"INC-20261120-{next(COUNT):04x}")


def shown(messages: list[dict[str, Any]] | tuple[dict[str, Any], ...]) -> str:
    """Return the texts that messages display."""
    data = (one["content"].get("data", {}) for one in messages)
    return "\n".join(str(one.get("text/plain", "")) for one in data if isinstance(one, dict))


def elsewhere(notebook: Notebook, choice: str = "wait", by: str = "bob") -> Answer:
    """Answer the open question on a page."""
    found = questions.questions(notebook.root, notebook.incident)
    [asked] = found.asked
    return questions.answer(
        notebook.root, found, asked, choice, by=by, origin=Origin.PAGE, note="load falls"
    )


def test_a_click_is_in_the_record_and_survives_run_all_and_restart(notebook: Notebook) -> None:
    assert notebook.run_all(finding="critical") == "None"
    click = notebook.click("wait")
    assert "DECIDED  What now?: wait" in shown(click)
    found = notebook.answer
    assert found
    assert (found.choice, found.origin, found.findings) == (
        "wait",
        "notebook",
        (("Lag", "critical"),),
    )
    assert notebook.run_all(finding="critical") == "True"
    text = shown(notebook.asked)
    assert re.search(r"Answered \d+ s ago by .* \(notebook\): 'wait'", text)
    assert "[ Decide again ]" in text
    notebook.kernel.restart()
    assert notebook.run_all(finding="critical") == "True"
    told = [one.what for one in workflow.look(notebook.root, notebook.incident).timeline]
    assert sum("decided: " in one for one in told) == 1


def test_decide_again_opens_the_question_everywhere(notebook: Notebook) -> None:
    notebook.run_all()
    notebook.click("wait")
    text = shown(notebook.click("Decide again"))
    assert "[ resume replay | wait ]" in text
    assert notebook.answer is None
    assert notebook.kernel.run(STATE).text.strip() == "None"
    notebook.click("resume replay")
    found = notebook.answer
    assert found
    assert found.choice == "resume replay"
    assert notebook.kernel.run(STATE).text.strip() == "False"


def test_an_idle_notebook_shows_the_answer_that_a_page_gave(notebook: Notebook) -> None:
    notebook.run_all()
    elsewhere(notebook)
    client = notebook.kernel.client

    def told() -> bool:
        heard = client.get_iopub_msg(timeout=kernels.PATIENCE_S)
        return "by bob (page): 'wait'. Note: load falls." in shown([heard])

    until(told, "the notebook shows the answer of the page")
    assert notebook.kernel.run(STATE).text.strip() == "True"


def test_a_late_click_shows_who_was_first(notebook: Notebook) -> None:
    notebook.run_all()
    first = elsewhere(notebook)
    text = shown(notebook.click("resume replay"))
    assert "'wait' counts, your 'resume replay' was not recorded: answered" in text
    assert "by bob (page): 'wait'" in text
    assert notebook.answer == first
    assert notebook.kernel.run(STATE).text.strip() == "True"


def test_a_record_that_cannot_be_written_leaves_the_answer_in_the_run(
    notebook: Notebook,
) -> None:
    notebook.root.mkdir(exist_ok=True)
    (notebook.root / notebook.incident).write_text("a file where the folder should be")
    notebook.run_all()
    text = shown(notebook.click("wait"))
    assert "Only this run knows this answer" in text
    assert "evidence cannot be written" in text
    assert notebook.kernel.run(STATE).text.strip() == "True"
    [live] = [one for one in runs.list_runs(notebook.root) if one.state == runs.LIVE]
    assert reading.read(live.folder).decisions[-1].choice == "wait"
    (notebook.root / notebook.incident).unlink()


def test_a_headless_run_parks_again_if_the_situation_is_another(notebook: Notebook) -> None:
    notebook.run_all(finding="warning", headless=True)
    assert "PARKED" in shown(notebook.asked)
    elsewhere(notebook)
    assert notebook.run_all(finding="warning", headless=True) == "True"
    assert notebook.run_all(finding="critical", headless=True) == "None"
    assert "PARKED" in shown(notebook.asked)
    lines = incident.read(notebook.root, notebook.incident).lines
    assert (lines[-1].kind, lines[-1].by) == ("asked again", "rbkernel")
    assert "Lag: warning → critical" in lines[-1].text("why")
    # as it was before the change: the answer was about what is over
    assert notebook.run_all(finding="warning", headless=True) == "None"
    text = shown(notebook.asked)
    assert re.search(
        r"Earlier answer: 'wait' \(\d+ s ago, by bob\). Since then: Lag: warning", text
    )


def test_an_answer_to_another_situation_does_not_count(notebook: Notebook) -> None:
    notebook.run_all(finding="warning")
    notebook.click("wait")
    assert notebook.run_all(finding="warning") == "True"
    assert notebook.run_all(finding="critical") == "None"
    assert "Earlier answer: 'wait'" in shown(notebook.asked)
    assert "Since then: Lag: warning → critical." in shown(notebook.asked)
    notebook.click("wait")
    other = ASK.replace('recommended="resume replay"', 'recommended="wait"')
    answer = notebook.kernel.run(f"{other}\n{STATE}", allow_stdin=True)
    assert answer.text.strip() == "None"
    assert "recommended now: wait (before: resume replay)" in shown(answer.messages)


def test_an_answer_counts_only_for_the_culprit_that_it_was_about(notebook: Notebook) -> None:
    blocks = FOUND.replace("expected=", "which='pid {}', explains=('RUN-007',), expected=")
    start = START.replace('"RUN-900"', f'"RUN-900", incident="{notebook.incident}"')
    states = []
    for pid in (4711, 4711, 5200):
        notebook.kernel.run(start)
        notebook.kernel.run(blocks.format("critical", pid))
        answer = notebook.kernel.run(f"{ASK}\n{STATE}", allow_stdin=True)
        states.append(answer.text.strip())
        if len(states) == 1:
            notebook.asked = answer.messages
            notebook.click("wait")
    assert states == ["None", "True", "None"]


def test_another_session_with_the_same_verdict_proposes_nothing(notebook: Notebook) -> None:
    """*Run All* when another session blocks: its plan must wait for an answer of its own."""
    blocks = FOUND.replace("expected=", "which='pid {}', explains=('RUN-007',), expected=")
    start = START.replace('"RUN-900"', f'"RUN-900", incident="{notebook.incident}"')

    def run_all(pid: int) -> str:
        notebook.kernel.run(start)
        notebook.kernel.run(blocks.format("critical", pid))
        notebook.asked = notebook.kernel.run(ASK, allow_stdin=True).messages
        plan = PLAN.replace('"p1"', f'"{pid}"')
        return notebook.kernel.run(f"{plan}\nrb.done(p, 'terminated it')").text

    run_all(4711)
    notebook.click("wait")
    assert "proposed" in run_all(4711)
    assert "waits for a decision" in run_all(5200)
    assert "Earlier answer: 'wait'" in shown(notebook.asked)
    told = incident.read(notebook.root, notebook.incident).lines
    assert [line.text("plan") for line in told if line.kind == "done"] == ["4711"]


def test_a_loop_over_servers_must_name_them_in_the_question(notebook: Notebook) -> None:
    notebook.kernel.run(START)
    answer = notebook.kernel.run(f"{ASK}\n{ASK}")
    assert answer.reply["status"] == "error"
    assert "asks the same question twice" in answer.reply["evalue"]


def test_an_open_notebook_sees_the_answer_after_a_merge(notebook: Notebook) -> None:
    notebook.run_all()
    other = f"{notebook.incident}b"
    incident.append(notebook.root, notebook.incident, "merged", by="rbkernel", into=other)
    merged: dict[str, Any] = {"from": notebook.incident}
    incident.append(notebook.root, other, "merged", by="rbkernel", **merged)
    elsewhere(notebook)
    client = notebook.kernel.client

    def told() -> bool:
        return "by bob (page): 'wait'" in shown([client.get_iopub_msg(kernels.PATIENCE_S)])

    until(told, "the notebook shows the answer in the other record")


def test_a_closed_incident_takes_no_click(notebook: Notebook) -> None:
    notebook.run_all()
    incident.append(notebook.root, notebook.incident, "closed", by="ann", resolution="over")
    assert "is closed, so nothing was recorded" in shown(notebook.click("wait"))
    assert notebook.kernel.run(STATE).text.strip() == "None"


def test_a_card_of_an_earlier_run_takes_no_answer(notebook: Notebook) -> None:
    notebook.run_all()
    notebook.kernel.run(START, allow_stdin=True)
    assert "belongs to an earlier execution of rb.start" in shown(notebook.click("wait"))
    assert notebook.kernel.run(STATE).text.strip() == "None"


def test_what_was_done_is_done_after_run_all_until_it_is_decided_again(
    notebook: Notebook,
) -> None:
    def plan() -> str:
        answer = notebook.kernel.run(PLAN)
        assert answer.reply["status"] == "ok", answer.reply
        return answer.text.strip()

    notebook.run_all()
    assert plan() == "waits for a decision"
    notebook.click("wait")
    assert plan() == "proposed"
    assert "Recorded: Wait" in shown(notebook.kernel.run("rb.done(p, 'I waited')").messages)
    notebook.run_all()
    again = notebook.kernel.run(PLAN)
    assert again.text.strip() == "done by a human"
    assert "I waited" in shown(again.messages)
    told = workflow.look(notebook.root, notebook.incident).timeline
    assert sum(one.kind == "done" and "I waited" in one.what for one in told) == 1
    # Run All repeats the note, but the plan has another target now
    other = PLAN.replace('"p1"', '"p2"')
    text = shown(notebook.kernel.run(f"{other}\nrb.done(p, 'I waited')").messages)
    assert "this note is recorded for another plan, Wait (p1)" in text
    notebook.click("Decide again")
    notebook.click("wait")
    assert plan() == "proposed"


def test_acknowledging_is_recorded_once(notebook: Notebook) -> None:
    notebook.run_all()
    for headless in (True, False, False):
        answer = notebook.kernel.run("rb.acknowledge('on it')", allow_stdin=not headless)
        told = "nobody is present" if headless else f"{notebook.incident} is acknowledged by"
        assert told in shown(answer.messages)
    lines = incident.read(notebook.root, notebook.incident).lines
    assert [(line.kind, line.text("text")) for line in lines if line.kind != "opened"] == [
        ("acknowledged", "on it")
    ]


def test_run_all_and_a_restart_keep_the_incident_of_a_notebook(
    shared: tuple[Kernel, Path],
) -> None:
    kernel, root = shared
    kernel.restart()  # no run of this notebook is before it, except those of this module

    def begun() -> tuple[str, str]:
        said = (
            "from rbkernel.triage.context import triage\nr = triage().run\nprint(r.incident, r.id)"
        )
        answer = kernel.run(f"{START}\n{said}", allow_stdin=True)
        assert answer.reply["status"] == "ok", answer.reply
        name, run_id = answer.text.split()
        return name, run_id

    first, run_id = begun()
    assert begun() == (first, run_id)
    kernel.restart()
    again, later = begun()
    assert (again, later != run_id) == (first, True)
    found = reading.read(runs.find(root, later)).run
    assert found
    assert found.continues == run_id
    incident.append(root, first, "closed", by="ann", resolution="over")
    assert begun()[0] != first
