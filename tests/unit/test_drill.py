"""What a drill asks of a run, and what it writes into the runbook."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rbkernel import config
from rbkernel.errors import RbkernelError, SandboxError
from rbkernel.evidence.reading import Record
from rbkernel.model import Decision, Finding, Verdict
from rbkernel.runbook import catalogue
from rbkernel.runbook.frontmatter_sections import Drill
from rbkernel.sandbox import control, drill, drill_results, drill_training
from tests.support.good_runbook import document, front, good

SLOT = Finding(
    title="Slots without a reader",
    verdict=Verdict.WARNING,
    expected="",
    actual="1 slot",
    which="old_standby",
)
LAG = Finding(title="Lag", verdict=Verdict.OK, expected="", actual="0 s")
FALSE_ALARM = "false alarm: Slots without a reader"
SAID = Drill(fault="slot-unread", finds="Slots without a reader", names="old_standby")


def write(folder: Path, said: object) -> Path:
    """Write a good runbook whose front matter says this of its drill."""
    notebook, path = good(), folder / "good.ipynb"
    front(drill=said)(notebook)
    path.write_bytes(document(notebook, path).raw)
    return path


def record(*findings: Finding, recommended: str | None = None) -> Record:
    decision = Decision(id="d", question="?", options=("wait", "drop"), recommended=recommended)
    return cast("Record", SimpleNamespace(findings=findings, decisions=(decision,)))


@pytest.mark.parametrize(
    ("asked", "findings", "problem"),
    [
        (SAID, (SLOT, LAG), None),
        (SAID, (LAG,), "the fault was not detected"),
        (SAID.model_copy(update={"finds": "Lag"}), (SLOT, LAG), "no finding “Lag”"),
        (SAID.model_copy(update={"names": "other"}), (SLOT,), "“other” is not named"),
        (
            SAID.model_copy(update={"harmless": True}),
            (SLOT,),
            FALSE_ALARM,
        ),
        (SAID.model_copy(update={"harmless": True}), (LAG,), None),
    ],
)
def test_what_is_found_is_held_against_the_drill(
    asked: Drill, findings: tuple[Finding, ...], problem: str | None
) -> None:
    found = list(drill_results.problems(asked, record(*findings)))
    assert bool(found) is bool(problem)
    assert (problem or "") in "".join(found)


def test_each_option_is_that_of_the_question_that_has_it() -> None:
    """Who is told, which is asked last, says nothing of what is done."""
    decisions = (
        Decision(id="a", question="What?", options=("wait", "drop"), recommended="wait"),
        Decision(id="b", question="Who?", options=("all", "lead"), recommended="lead"),
    )
    run = cast("Record", SimpleNamespace(findings=(SLOT,), decisions=decisions))
    asked = Drill(fault="slot-unread", recommends=("drop", "lead"))
    assert list(drill_results.problems(asked, run)) == ["recommended “wait” instead of “drop”"]
    unknown = Drill(fault="slot-unread", recommends="nobody")
    assert list(drill_results.problems(unknown, run)) == ["recommended “lead” instead of “nobody”"]


@pytest.mark.parametrize(
    ("recommended", "problems"),
    [
        ("drop", []),
        ("wait", ["recommended “wait” instead of “drop”"]),
        (None, ["recommended “nothing” instead of “drop”"]),
    ],
)
def test_what_is_recommended_is_held_against_the_drill(
    recommended: str | None, problems: list[str]
) -> None:
    asked = SAID.model_copy(update={"recommends": "drop"})
    assert list(drill_results.problems(asked, record(SLOT, recommended=recommended))) == problems


def test_a_run_that_does_not_finish_does_not_pass() -> None:
    assert list(drill_results.problems(SAID, record(SLOT), "the kernel died")) == [
        "the run did not finish: the kernel died"
    ]


def test_the_result_is_written_and_the_rest_of_the_notebook_stays(tmp_path: Path) -> None:
    path = write(tmp_path, "replay-paused")
    before, mode = catalogue.read(path), path.stat().st_mode
    drill_results.record_result(before, "1 of 1 fault found", date(2026, 11, 30))
    after = catalogue.read(path)
    assert after.front_matter.last_tested == date(2026, 11, 30)
    assert after.front_matter.drill_result == "1 of 1 fault found"
    assert after.cells[1:] == before.cells[1:]
    drill_results.record_result(after, "1 of 1 fault found", date(2026, 11, 30))
    assert path.read_bytes() == after.document
    assert path.stat().st_mode == mode


def test_a_notebook_that_was_edited_meanwhile_is_left_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path, "replay-paused")
    before = catalogue.read(path)
    path.write_bytes(before.document.replace(b"Connections run out", b"Connections ran out"))
    edited = path.read_bytes()
    with pytest.raises(SandboxError, match="was changed while the drills ran"):
        drill_results.record_result(before, "1 of 1 fault found", date(2026, 11, 30))
    assert path.read_bytes() == edited


def test_a_drill_in_words_is_left_to_people(tmp_path: Path) -> None:
    path = write(tmp_path, "Stop the server by hand")
    with pytest.raises(RbkernelError, match="no drill with a fault of the sandbox"):
        drill.chosen([str(path)], config.load())


@pytest.mark.parametrize("word", ["no-such-fault", "failover"])
def test_an_unknown_fault_is_refused_before_anything_is_started(tmp_path: Path, word: str) -> None:
    path = write(tmp_path, word)
    with pytest.raises(SandboxError, match=f"has no fault {word}") as caught:
        drill.chosen([str(path)], config.load())
    assert "replay-paused" in caught.value.next_step


def test_an_unknown_fault_keeps_no_other_runbook_from_its_drills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "rbkernel.toml"
    own.write_text(f'[catalogue]\npaths = ["{tmp_path}"]\n')
    monkeypatch.setenv("RBKERNEL_CONFIG", str(own))
    path = write(tmp_path, "no-such-fault")
    chosen = drill.chosen([], config.load())
    assert "RUN-005" in {one.runbook.id for one in chosen.planned}
    assert path not in {one.runbook.path for one in chosen.planned}
    assert ["has no fault no-such-fault" in str(one) for one in chosen.problems] == [True]


def test_drills_of_services_are_left_out_and_counted() -> None:
    every, without = (drill.chosen([], config.load(), with_service=one) for one in (True, False))
    missing = {one.runbook.id for one in every.planned} - {
        one.runbook.id for one in without.planned
    }
    assert {"RUN-008", "RUN-029"} <= missing
    assert "RUN-005" not in missing
    drills = sum(len(one.drills) for one in every.planned if one.runbook.id in missing)
    assert (every.left_out, without.left_out) == (0, drills)


def passed(runbook: catalogue.Runbook, fault: str) -> drill_results.Result:
    return drill_results.Result(
        notebook=runbook.path,
        runbook=runbook.id,
        fault=fault,
        harmless=False,
        values={"service": "shop"},
        server_version="18.1",
        verdict=Verdict.WARNING,
    )


def test_a_fault_is_injected_once_for_all_runbooks_and_healed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of the steps, without a sandbox; the last fault cannot be injected."""
    done: list[str] = []

    def inject(fault: str) -> SimpleNamespace:
        done.append(f"inject {fault}")
        if fault == "failed-over":
            raise SandboxError("no room", next_step="")
        return SimpleNamespace(truth={})

    def judged(asked: drill.Asked, _: object) -> drill_results.Result:
        done.append(f"run on {asked[1].fault}")
        return passed(asked[0], asked[1].fault)

    monkeypatch.setattr(drill, "on_the_sandbox", lambda *_, **__: nullcontext(config.load()))
    monkeypatch.setattr(drill, "_judged", judged)
    monkeypatch.setattr(control, "inject", inject)
    monkeypatch.setattr(control, "heal", lambda: done.append("heal"))
    runbook = catalogue.read(write(tmp_path, "slot-unread"))
    late = Drill(fault="slot-unread", after_s=0.01)
    planned = [
        drill.Planned(runbook=runbook, drills=(late, SAID, Drill(fault="failed-over"))),
        drill.Planned(runbook=runbook, drills=(SAID,)),
    ]
    results = list(drill.run(planned, config.load()))
    of_the_slot = ["inject slot-unread", *["run on slot-unread"] * 3, "heal"]
    of_healthy = ["run on healthy"] * 2
    assert done == [*of_healthy, *of_the_slot, "inject failed-over", "heal"]
    assert [one.passed for one in results] == [True] * 5 + [False]


def test_what_passed_is_known_until_the_notebook_changes(tmp_path: Path) -> None:
    path, file = write(tmp_path, "slot-unread"), tmp_path / "drills.jsonl"
    runbook = catalogue.read(path)
    other = SAID.model_copy(update={"fault": "replay-paused"})
    result, failed = passed(runbook, "slot-unread"), passed(runbook, "replay-paused")
    kept = drill_results.Kept(file)
    kept.add(result, runbook, SAID)
    kept.add(replace(failed, problems=("the fault was not detected",)), runbook, other)
    again = drill_results.Kept(file)
    assert again.known(runbook, SAID) == result
    assert again.known(runbook, other) is None
    path.write_bytes(path.read_bytes().replace(b"Connections run out", b"Connections ran out"))
    assert again.known(catalogue.read(path), SAID) is None


def test_what_passed_is_not_known_after_the_code_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runbook = catalogue.read(write(tmp_path, "slot-unread"))
    code = [tmp_path / name / "causes.py" for name in ("before", "after")]
    for file, text in zip(code, ("LIMIT = 1", "LIMIT = 2"), strict=True):
        file.parent.mkdir()
        file.write_text(text)
    monkeypatch.setattr(drill_results, "_PACKAGE", code[0].parent)
    kept = drill_results.Kept(tmp_path / "drills.jsonl")
    kept.add(passed(runbook, "slot-unread"), runbook, SAID)
    again = drill_results.Kept(tmp_path / "drills.jsonl")
    assert again.known(runbook, SAID)
    monkeypatch.setattr(drill_results, "_PACKAGE", code[1].parent)
    assert again.known(runbook, SAID) is None


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"drill": "x", "result": {"runbook": 3}}'])
def test_a_file_without_results_is_refused_and_left_as_it_is(tmp_path: Path, text: str) -> None:
    file = tmp_path / "drills.jsonl"
    file.write_text(text)
    with pytest.raises(SandboxError, match="cannot be read"):
        drill_results.Kept(file)
    assert file.read_text() == text


def test_look_alikes_count_as_faults_too_if_something_is_wrong(tmp_path: Path) -> None:
    runbook = catalogue.read(write(tmp_path, "slot-unread"))
    harmless = replace(passed(runbook, "orders-in-flight"), harmless=True)
    mistaken = replace(passed(runbook, "errors-upstream"), problems=("“payments” is not named",))
    results = [passed(runbook, "slot-unread"), harmless, mistaken, passed(runbook, "healthy")]
    assert drill_results.totals(results) == (
        "Faults with the right cause and next step: 1 of 2 runs",
        "Look-alikes not mistaken: 1 of 2 runs",
        "Healthy, without a false alarm: 1 of 1 run",
    )


def test_no_database_of_the_user_can_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "rbkernel.toml"
    own.write_text(
        f'[catalogue]\npaths = ["{tmp_path}"]\n[connections.production]\nhost = "db"\n'
        "default = true\n"
    )
    monkeypatch.setenv("RBKERNEL_CONFIG", str(own))
    before: dict[str, Any] = dict(os.environ)
    users = config.load()
    assert "production" in users.connections
    with drill._only_the_sandbox(users, tmp_path) as settings:
        assert "production" not in settings.connections
        assert settings.catalogue.paths == users.catalogue.paths
        assert config.load().connections == settings.connections
    assert dict(os.environ) == before


def test_a_training_compares_a_person_with_the_runbook(tmp_path: Path) -> None:
    runbook = catalogue.read(write(tmp_path, "slot-unread"))
    result = drill_results.Result(
        notebook=runbook.path,
        runbook=runbook.id,
        fault="slot-unread",
        harmless=False,
        server_version="18.1",
        verdict=Verdict.WARNING,
        found="Nobody reads from 1 slot: old_standby",
        recommended="drop the slot",
        seconds=2.4,
    )
    answer = drill_training.Answer(runbook=runbook.id.lower(), culprit="the slot", step="drop it")
    training = drill_training.Training(
        runbook=runbook, drill=SAID, answer=answer, seconds=95.0, result=result
    )
    assert drill_training.comparison(training) == [
        ("fault", "", "slot-unread"),
        ("runbook", f"{runbook.id} (right)", runbook.id),
        ("cause", "the slot (expected: old_standby)", "Nobody reads from 1 slot: old_standby"),
        ("next step", "drop it", "drop the slot"),
        ("time", "1 min 35 s", "2 s"),
    ]
