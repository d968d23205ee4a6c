"""What JupyterLab shows beside results: text boxes, copy buttons, tables, cards of errors."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from ipywidgets.widgets import widget

from rbkernel.config import Settings
from rbkernel.errors import RecorderError, UnknownConnection
from rbkernel.evidence import Recorder, incident, recorder
from rbkernel.kernel import error_cards
from rbkernel.model import ActionPlan, Decision, DecisionState, Finding, Run, Verdict, now
from rbkernel.render import cards, frames
from rbkernel.triage import context
from rbkernel.triage.act import act, done
from rbkernel.triage.context import Triage
from rbkernel.triage.panel import bar
from rbkernel.triage.panel.copying import copy_button
from rbkernel.triage.panel.note_box import note_box, with_text
from tests.support.journal_builder import INCIDENT


def _parts(box: Any) -> tuple[Any, Any, Any]:
    area, row = box.children
    press, said = row.children
    return area, press, said


def test_a_note_is_recorded_once_and_the_box_says_so() -> None:
    kept: list[str] = []

    def record(text: str) -> str:
        kept.append(text)
        return "Noted"

    area, press, said = _parts(note_box("What did you do?", "Done", record))
    press.click()
    assert (kept, said.value) == ([], "Nothing was recorded: the text is empty.")
    area.value = "  resumed it  "
    press.click()
    assert (kept, said.value, area.value) == (["resumed it"], "Noted", "")


def test_a_refused_note_stays_in_the_box() -> None:
    error = UnknownConnection("the record is closed", next_step="reopen it")

    def refuse(_: str) -> str:
        raise error

    area, press, said = _parts(note_box("What did you do?", "Done", refuse))
    area.value = "resumed it"
    press.click()
    assert (area.value, said.value) == ("resumed it", f"Not recorded: {error}")


def test_a_dead_widget_says_what_to_do() -> None:
    shown = with_text(note_box("What?", "Done", str), "run all cells again")
    assert shown["text/plain"] == "run all cells again"
    assert "application/vnd.jupyter.widget-view+json" in shown


@pytest.mark.parametrize("text", ["SELECT 'a' \"b\"", "</button><script>x()</script>", "a\nb\\n&"])
def test_a_copy_button_holds_exactly_the_text(text: str) -> None:
    shown = copy_button("SQL", text).value
    [kept] = re.findall(r'data-text="([^"]*)"', shown)
    assert html.unescape(kept) == text
    assert shown.count("<") == 2  # one element, whatever the text is


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    made = InteractiveShell.instance()
    error_cards.install(made)
    yield made
    InteractiveShell.clear_instance()


def test_an_error_of_ours_is_a_card_and_no_traceback(shell: InteractiveShell) -> None:
    shell.user_ns["raised"] = UnknownConnection(
        "no connection 'db2' <b>", where="rbkernel.toml", next_step="run `rbkernel init`"
    )
    with capture_output() as captured:
        done = shell.run_cell("raise raised")
    assert isinstance(done.error_in_exec, UnknownConnection)  # papermill sees that it failed
    [card] = [one.data["text/html"] for one in captured.outputs]
    for words in ("no connection &#x27;db2&#x27; &lt;b&gt;", "rbkernel.toml", "rbkernel init"):
        assert words in card
    assert "Traceback" not in captured.stdout


def test_an_error_of_others_keeps_its_traceback(shell: InteractiveShell) -> None:
    with capture_output() as captured:
        shell.run_cell("1 / 0")
    assert not captured.outputs
    assert "Traceback" in captured.stdout


def test_tables_are_aligned_and_say_what_is_empty() -> None:
    frame = pd.DataFrame(
        {
            "query": ["SELECT 1\n  FROM t", None],
            "pid": [12, 13],
            "on": [True, False],
            "wait_s": [1.5, None],
            "nobody": [None, None],
        }
    )
    shown = frames.table(frame)
    sides = re.findall(r"<th scope='col' style='[^']*text-align: (\w+)'>(\w+)</th>", shown)
    assert sides == [("left", "query"), ("right", "pid"), ("left", "on"), ("right", "wait_s")]
    assert "SELECT 1 FROM t" in shown
    assert "\\n" not in shown
    assert ">12</td>" in shown  # whole numbers stay whole, also beside floats
    assert "no value in: nobody" in shown


def test_cards_follow_a_dark_page_and_badges_do_not_break() -> None:
    card = cards.error_card("a", "b", "c")
    assert "var(--jp-layout-color1, #ffffff)" in card
    assert "white-space: nowrap" in cards.badge("waits for a decision", "open")


# --- in a run


@pytest.fixture
def run(shell: InteractiveShell, evidence: Path, monkeypatch: pytest.MonkeyPatch) -> Triage:
    """A run that a person started, without a kernel: its outputs are what is asked for."""
    made = Recorder(evidence)
    made.request = {"msg_id": "m", "headless": False}
    made.record("request", parent="m", data={"code": ""})
    monkeypatch.setattr(recorder, "_current", made)
    told = Run(
        id=made.run_id,
        runbook="RUN-900",
        title="Requests of the shop",
        incident=INCIDENT,
        headless=False,
        started_at=now(),
        parameters={},
    )
    here = Triage(told, Settings(), ())
    monkeypatch.setattr(context, "_current", here)
    return here


def _widgets(captured: Any, kind: str) -> list[Any]:
    """Return the living widgets of a kind that were displayed, in order."""
    ids = [
        one.data["application/vnd.jupyter.widget-view+json"]["model_id"]
        for one in captured.outputs
        if "application/vnd.jupyter.widget-view+json" in one.data
    ]
    found: list[Any] = []
    left = [widget._instances[one] for one in ids]
    while left:
        one = left.pop(0)
        found += [one] if type(one).__name__ == kind else []
        left[:0] = getattr(one, "children", ())
    return found


PLAN = ActionPlan(
    id="p1",
    title="Restart the shop",
    connection="",
    sql="",
    command="systemctl restart shop",
)


def test_done_records_what_is_written_into_the_box(run: Triage, evidence: Path) -> None:
    with capture_output() as captured:
        done(act(PLAN))
    [area], [press] = _widgets(captured, "Textarea"), _widgets(captured, "Button")
    [copied] = _widgets(captured, "HTML")
    assert 'data-text="systemctl restart shop"' in copied.value
    # a notebook without its kernel shows only the text
    assert "Buttons need the running kernel" in captured.outputs[-1].data["text/plain"]
    area.value = "restarted it"
    with capture_output():
        press.click()
    [line] = [one for one in incident.look(evidence, INCIDENT).lines if one.kind == "done"]
    assert (line.text("plan"), line.text("note")) == ("p1", "restarted it")


def test_nobody_presses_a_button_in_a_headless_run(run: Triage, evidence: Path) -> None:
    current = recorder.current()
    current.request = {**current.request, "headless": True}
    with capture_output() as captured:
        done(act(PLAN))
        bar.show()
    assert _widgets(captured, "Button") == []
    assert "nobody could carry out the plan" in captured.outputs[-1].data["text/plain"]


def test_the_bar_says_state_and_where_to_turn(run: Triage, evidence: Path) -> None:
    with capture_output() as captured:
        bar.show()
    first = captured.outputs[0].data["text/plain"]
    assert first.startswith("UNKNOWN RUN-900 Requests of the shop")  # no check has run
    assert f"Recording: on, as run {run.run.id}" in first
    assert f"rbkernel incident show {INCIDENT}" in first
    look, call, note = _widgets(captured, "Button")
    with capture_output() as renewed:
        look.click()
        call.click()
    said = "\n".join(one.data["text/plain"] for one in renewed.outputs)
    assert "did not look for causes" in said
    assert "names nobody: ask your team" in said
    [area] = _widgets(captured, "Textarea")
    area.value = "called Ann"
    note.click()
    [line] = [one for one in incident.look(evidence, INCIDENT).lines if one.kind == "note"]
    assert line.text("text") == "called Ann"


def test_a_broken_recorder_is_said(run: Triage) -> None:
    recorder.current().broken = RecorderError("the disk is full", next_step="free space")
    with capture_output() as captured:
        bar.show()
    assert "Recording: STOPPED: the disk is full" in captured.outputs[0].data["text/plain"]


def test_a_cause_that_is_over_explains_nothing_any_more(run: Triage) -> None:
    symptom = Finding(title="Lag", verdict=Verdict.CRITICAL, expected="", actual="9 s")
    symptom = replace(symptom, opens="RUN-007")
    cause = Finding(
        title="db: cause",
        verdict=Verdict.CRITICAL,
        expected="",
        actual="replay is paused",
        explains=("RUN-007",),
    )
    over = Finding(title="db: cause", verdict=Verdict.OK, expected="", actual="none")
    run.add_finding(symptom)
    run.add_finding(cause)
    before = run.findings["Lag"].explained_by
    run.add_finding(over)
    assert (bool(before), run.findings["Lag"].explained_by) == (True, "")


def test_the_bar_asks_only_what_needs_an_answer(run: Triage) -> None:
    asked = Decision(id="d", question="What now?", options=("wait",), recommended="wait")
    run.add_decision(replace(asked, state=DecisionState.NOT_NEEDED))
    assert "none is open" in bar._state()["text/plain"]
    run.add_decision(asked)
    assert "What now?" in bar._state()["text/plain"]
