"""Statistics: what counts, from which time to which, and what is left out."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from rbkernel.cli import main
from rbkernel.cli.operations import stats_text
from rbkernel.evidence.reading import read
from rbkernel.incidents.statistics import (
    Figures,
    Question,
    Statistics,
    StepUse,
    Time,
    criteria,
    gather,
    is_candidate,
    statistics_of,
)
from rbkernel.incidents.statistics.of_run import facts_of
from tests.support.journal_builder import (
    CHECK,
    INCIDENT,
    RUN_ID,
    Journal,
    other_run,
    runbook,
    whole_run,
)

SINCE, UNTIL = (datetime.fromisoformat(f"2026-{day}T00:00:00+00:00") for day in ("11-01", "12-01"))
OTHER, THIRD = "INC-20261120-0002", "INC-20261120-0003"
# the finding of `whole_run`
FOUND_S = 122


def line(kind: str, clock: str, by: str = "ann", **fields: Any) -> dict[str, Any]:
    return {"at": f"2026-11-20T{clock}+00:00", "kind": kind, "by": by, **fields}


def alert(
    clock: str, status: str = "firing", starts: str = "2026-11-20T03:00:00Z", ends: str = ""
) -> dict[str, Any]:
    said = {"source": "alertmanager", "fingerprint": "lag", "labels": {"alertname": "Lag"}}
    times = {"starts_at": starts, "ends_at": f"2026-11-20T{ends}Z" if ends else ""}
    return line("alert", clock, "rbkernel", status=status, **said, **times)


def decided(clock: str, choice: str = "wait", question: str = "q1", **more: Any) -> dict[str, Any]:
    said = {"identity": question, "question": "What now?", "recommended": "wait"}
    return line("decided", clock, runbook="RUN-005", choice=choice, **said, **more)


def write(root: Path, incident: str, *lines: dict[str, Any]) -> None:
    (root / incident).mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(one) + "\n" for one in lines)
    (root / incident / "incident.jsonl").write_text(text)


def found(root: Path, sandbox: tuple[str, ...] = ("sandbox-primary",)) -> Statistics:
    return statistics_of(gather(root, SINCE, UNTIL, sandbox))


def test_times_begin_with_the_alert_and_are_those_of_its_runbook(tmp_path: Path) -> None:
    whole_run(tmp_path)
    over = alert("03:42:00", "resolved", ends="03:41:00")
    write(tmp_path, INCIDENT, alert("03:01:00"), decided("03:05:00"), over)
    (one,) = found(tmp_path).runbooks
    assert (one.runbook, one.runs, one.occasions, one.alerted) == ("RUN-005", 1, 1, 1)
    assert one.detect.median_s == pytest.approx(FOUND_S, abs=3)
    assert (one.acknowledge, one.resolve) == (Time.of([300.0]), Time.of([41 * 60.0]))
    assert one.run.counted == 1
    assert one.verdicts == {"critical": 1}


def test_an_unknown_start_is_the_time_at_which_the_alert_came(tmp_path: Path) -> None:
    whole_run(tmp_path)
    write(tmp_path, INCIDENT, alert("03:01:00", starts="0001-01-01T00:00:00Z"), decided("03:05:00"))
    assert found(tmp_path).total.acknowledge == Time.of([240.0])


def test_an_acknowledgement_or_a_recorded_plan_is_a_response_but_rbkernel_is_none(
    tmp_path: Path,
) -> None:
    own = line("acknowledged", "03:01:30", "rbkernel")
    write(tmp_path, INCIDENT, alert("03:01:00"), own, line("acknowledged", "03:02:00"))
    write(tmp_path, OTHER, alert("03:01:00"), line("done", "03:04:00", plan="p", title="Resume"))
    assert found(tmp_path).total.acknowledge == Time.of([120.0, 240.0])


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        ([alert("03:42:00", "resolved", ends="03:41:00")], 2460.0),
        ([line("closed", "03:30:00")], 1800.0),
        # the alert was over, but somebody says that the problem is not
        (
            [
                alert("03:42:00", "resolved", ends="03:41:00"),
                line("closed", "03:45:00"),
                line("reopened", "03:50:00"),
            ],
            None,
        ),
        (
            [
                alert("03:42:00", "resolved", ends="03:41:00"),
                line("closed", "03:45:00"),
                line("reopened", "03:50:00"),
                line("closed", "04:00:00"),
            ],
            3600.0,
        ),
        ([], None),
    ],
    ids=["resolved", "closed", "reopened", "closed again", "open"],
)
def test_the_end_is_that_of_the_alerts_or_the_last_closing(
    tmp_path: Path, lines: list[dict[str, Any]], seconds: float | None
) -> None:
    write(tmp_path, INCIDENT, alert("03:01:00"), *lines)
    assert found(tmp_path).total.resolve == Time.of([seconds])


def test_a_scheduled_run_is_no_occasion_but_one_that_a_person_needed_is(tmp_path: Path) -> None:
    whole_run(tmp_path)
    scheduled = line("opened", "03:00:00", "rbkernel", title="hourly", source="schedule")
    write(tmp_path, INCIDENT, scheduled)
    assert [(one.runs, one.occasions) for one in found(tmp_path).runbooks] == [(1, 0)]
    write(tmp_path, INCIDENT, scheduled, alert("03:01:00"))
    whole_run(tmp_path, other_run(1), OTHER)
    write(tmp_path, OTHER, line("opened", "03:00:00", title="Lag"))
    by_hand = Journal(tmp_path, other_run(2))
    start = by_hand.request("start", cell_id="start")
    by_hand.begin(start)
    by_hand.event("run", start, **_run(headless=False) | {"incident": THIRD})
    by_hand.reply(start)
    assert [(one.runs, one.occasions) for one in found(tmp_path).runbooks] == [(3, 3)]


def test_planned_maintenance_is_left_out_and_counted(tmp_path: Path) -> None:
    whole_run(tmp_path)
    quiet = line("silenced", "03:01:00", "rbkernel", until="2026-11-20T05:00:00+00:00")
    write(tmp_path, INCIDENT, alert("03:01:00"), decided("03:05:00"), quiet)
    write(tmp_path, OTHER, alert("03:01:00"), decided("03:09:00"))
    one = found(tmp_path)
    assert (one.silenced, one.total.alerted, one.total.occasions) == (1, 1, 0)
    assert one.total.acknowledge == Time.of([540.0])
    assert one.total.runs == 1


def test_a_response_long_before_the_alert_is_none(tmp_path: Path) -> None:
    starts = "2026-11-20T03:10:00Z"
    write(tmp_path, INCIDENT, decided("03:06:00"), alert("03:10:00", starts=starts))
    write(tmp_path, OTHER, decided("03:04:00"), alert("03:10:00", starts=starts))
    assert found(tmp_path).total.acknowledge == Time.of([0.0, None])


def test_merged_incidents_are_one(tmp_path: Path) -> None:
    whole_run(tmp_path, incident=INCIDENT)
    whole_run(tmp_path, other_run(1), OTHER)
    earlier = alert("02:51:00", starts="2026-11-20T02:50:00Z")
    write(tmp_path, INCIDENT, alert("03:01:00") | {"fingerprint": "b"}, decided("03:05:00"))
    write(tmp_path, OTHER, earlier, line("merged", "03:03:00", "rbkernel", into=INCIDENT))
    one = found(tmp_path)
    assert (one.total.runs, one.total.occasions, one.total.alerted) == (2, 1, 1)
    assert one.total.acknowledge == Time.of([900.0])
    assert one.runbooks[0].incidents == (INCIDENT,)


def test_incidents_that_are_merged_in_a_circle_are_all_counted(tmp_path: Path) -> None:
    write(tmp_path, INCIDENT, alert("03:01:00"), line("merged", "03:03:00", into=OTHER))
    write(tmp_path, OTHER, alert("03:01:00"), line("merged", "03:03:00", into=INCIDENT))
    assert found(tmp_path).total.alerted == 2


def test_a_run_without_an_alert_counts_as_a_run_only(tmp_path: Path) -> None:
    whole_run(tmp_path)
    write(tmp_path, INCIDENT, line("opened", "03:00:00", title="Lag"), line("closed", "03:30:00"))
    one = found(tmp_path).total
    assert (one.runs, one.alerted) == (1, 0)
    assert one.detect == one.acknowledge == one.resolve == Time.of([])


def test_drills_on_the_sandbox_are_left_out(tmp_path: Path) -> None:
    whole_run(tmp_path).event("query", connection="sandbox-primary")
    write(tmp_path, INCIDENT, alert("03:01:00"), decided("03:05:00"))
    whole_run(tmp_path, other_run(1), OTHER)
    whole_run(tmp_path, other_run(2), OTHER).event("query", connection="sandbox-primary")
    write(tmp_path, OTHER, alert("03:01:00"))
    looked = line("situation", "03:01:00", "rbkernel", connection="sandbox-primary")
    write(tmp_path, THIRD, alert("03:01:00"), looked)
    one = found(tmp_path)
    assert (one.total.runs, one.drills) == (1, 2)
    assert (one.total.alerted, one.total.acknowledge) == (1, Time.of([None]))
    assert one.runbooks[0].incidents == (OTHER,)


def test_only_the_period_counts(tmp_path: Path) -> None:
    whole_run(tmp_path)
    write(tmp_path, INCIDENT, alert("03:01:00"))
    later = datetime.fromisoformat("2026-11-20T03:02:12+00:00")
    one = statistics_of(gather(tmp_path, later, UNTIL, ()))
    assert (one.total.runs, one.total.alerted) == (0, 0)


def test_damaged_evidence_is_named_and_the_rest_counts(tmp_path: Path) -> None:
    whole_run(tmp_path)
    write(tmp_path, INCIDENT, alert("03:01:00"), decided("03:05:00"))
    with (tmp_path / INCIDENT / "incident.jsonl").open("a") as file:
        file.write("nonsense\n")
    broken = tmp_path / "open" / other_run(1)
    broken.mkdir()
    (broken / "journal.jsonl").write_text("nonsense\nnonsense\n")
    (tmp_path / "open" / other_run(2)).mkdir()
    one = found(tmp_path)
    assert (one.total.runs, one.total.acknowledge) == (1, Time.of([300.0]))
    said = "\n".join(one.skipped)
    assert f"{INCIDENT}: line 3 is not a line of a record" in said
    assert f"run {other_run(1)} is not counted" in said
    assert f"run {other_run(2)} is not counted" in said
    (tmp_path / "HEADS").write_text("nonsense\n")
    one = found(tmp_path)
    assert one.total.runs == 0
    assert one.total.acknowledge == Time.of([300.0])
    assert "no run is counted" in one.skipped[0]


def test_a_journal_read_without_outputs_says_the_same(tmp_path: Path) -> None:
    folder = whole_run(tmp_path).folder
    whole, without = read(folder), read(folder, outputs=False)
    assert any(cell.outputs for cell in whole.cells)
    assert not any(cell.outputs for cell in without.cells)
    bare = tuple(replace(cell, outputs=()) for cell in whole.cells)
    assert replace(whole, cells=bare, widgets=without.widgets) == without
    assert without.verdict is whole.verdict


def test_a_run_by_hand_has_no_run_time_and_its_failed_step_is_named(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    start = journal.request("start", cell_id="start")
    journal.begin(start)
    journal.snapshot(runbook())
    journal.event("run", start, **_run(headless=False))
    journal.reply(start)
    check = journal.request(CHECK)
    journal.begin(check, CHECK)
    journal.fail(check, "ValueError")
    undo: dict[str, Any] = {"title": "Resume", "verify": "replication/standby"}
    journal.event("plan", id="p1", undo="SELECT pg_wal_replay_pause();", **undo)
    journal.event("plan", id="p2", undo="None: the work is lost.", **undo)
    facts = facts_of(read(journal.folder), "")
    assert facts.seconds is None
    assert facts.steps == {"Replication lag": False, "Look": True}
    assert facts.plans == {"p1": True, "p2": False}


def _run(*, headless: bool) -> dict[str, Any]:
    began = {"started_at": "2026-11-20T03:02:11+00:00", "incident": INCIDENT}
    return {"id": RUN_ID, "runbook": "RUN-005", "title": "Lag", "headless": headless, **began}


def test_answers_are_counted_by_question_without_those_that_a_person_withdrew(
    tmp_path: Path,
) -> None:
    again = line("asked again", "03:06:00", identity="q1")
    write(
        tmp_path,
        INCIDENT,
        alert("03:01:00"),
        decided("03:05:00", "resume"),
        again,
        decided("03:07:00"),
    )
    write(tmp_path, OTHER, alert("03:01:00"), decided("03:05:00", question="q2"))
    write(tmp_path, THIRD, alert("03:01:00"), decided("03:05:00", question="q3"))
    (question,) = found(tmp_path).total.questions
    assert (question.choices, question.as_recommended) == ({"wait": 3}, 3)
    assert question.always_alike


TYPICAL = Figures(
    runbook="RUN-005",
    title="Lag",
    runs=4,
    headless=4,
    occasions=3,
    alerted=3,
    verdicts={"critical": 4},
    run=Time.of([4.0]),
    detect=Time.of([60.0]),
    acknowledge=Time.of([120.0]),
    resolve=Time.of([600.0]),
    questions=(Question(question="What now?", choices={"wait": 3}, as_recommended=3),),
    asked=3,
    plans=2,
    steps=(StepUse(step="Look", runs=4, failed=0),),
)


def judged(days: float = 30, **changes: Any) -> list[bool | None]:
    return [one.met for one in criteria(replace(TYPICAL, **changes), days, ())]


def test_a_runbook_is_a_candidate_if_every_criterion_is_known_to_be_met() -> None:
    assert judged() == [True, True, True, True]
    assert is_candidate(criteria(TYPICAL, 30, ()))
    assert not is_candidate(criteria(TYPICAL, 30, None))
    assert criteria(TYPICAL, 30, ["RB202 step 1 …"])[3].met is False


def test_how_often_is_not_extrapolated() -> None:
    often = [judged(days, occasions=number)[0] for days, number in ((7, 1), (7, 2), (30, 1))]
    assert often == [None, True, False]
    assert judged(90, occasions=3)[0] is False


@pytest.mark.parametrize(
    ("changes", "met"),
    [
        ({"steps": (StepUse(step="Look", runs=4, failed=1),)}, False),
        ({"unsafe_plans": 1}, False),
        ({"runs": 2}, None),
        ({"steps": ()}, None),
    ],
)
def test_a_failed_step_or_a_plan_without_undo_is_not_safe(
    changes: dict[str, Any], met: bool | None
) -> None:
    assert judged(**changes)[1] is met


def test_judgment_is_needed_if_one_answer_differs_from_the_recommended_one() -> None:
    differs = Question(question="What now?", choices={"wait": 2, "go": 1}, as_recommended=2)
    few = Question(question="What now?", choices={"wait": 2}, as_recommended=2)
    assert judged(questions=(differs,))[2] is False
    assert judged(questions=(few,))[2] is None
    assert judged(questions=(), asked=2)[2] is None
    assert judged(questions=(), asked=0)[2] is True
    assert judged(questions=(), asked=0, runs=2)[2] is None


@pytest.fixture
def stats(
    evidence: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """The command, in this process."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rbkernel", "stats", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


LONG = ("--since", "36500d")


def test_the_command_shows_a_table_json_and_a_figure(
    stats: Callable[..., tuple[int, str, str]], evidence: Path, tmp_path: Path
) -> None:
    assert "no runs and no alerts since" in stats()[1]
    whole_run(evidence)
    write(evidence, INCIDENT, alert("03:01:00"), decided("03:05:00"))
    whole_run(evidence, other_run(1), OTHER)
    write(evidence, OTHER, alert("03:01:00"))  # nobody responds
    code, out, _ = stats(*LONG)
    assert code == 0
    assert "5 min (1 of 2)" in out
    assert "clear success criteria" in out
    picture = tmp_path / "stats.svg"
    code, out, _ = stats(*LONG, "--json", "--figure", str(picture))
    said = json.loads(out)
    assert said["runbooks"][0]["acknowledge"] == {
        "median_s": 300.0,
        "counted": 1,
        "cases": 2,
    }
    assert [one["met"] for one in said["runbooks"][0]["criteria"]][3] is True
    drawn = ET.parse(picture).getroot()
    words = [one.text or "" for one in drawn.iter() if one.tag.endswith("text")]
    assert "RUN-005 Replication lag" in words
    assert "yes" in words


def test_a_damaged_record_ends_with_1_and_a_wrong_period_with_3(
    stats: Callable[..., tuple[int, str, str]], evidence: Path
) -> None:
    write(evidence, INCIDENT, alert("03:01:00"))
    with (evidence / INCIDENT / "incident.jsonl").open("a") as file:
        file.write("nonsense\n")
    code, _, err = stats(*LONG)
    assert (code, "is not a line of a record" in err) == (1, True)
    for words in ("soon", "0d", "999999999d"):
        code, _, err = stats("--since", words)
        assert (code, "is not the length of a period" in err) == (3, True)


def test_a_narrow_terminal_gets_a_list(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    one = Statistics(
        since=SINCE,
        until=UNTIL,
        runbooks=(TYPICAL,),
        total=TYPICAL,
        skipped=(),
        drills=0,
        silenced=2,
    )
    stats_text.show(one, [(TYPICAL, criteria(TYPICAL, 30, ()))], tmp_path)
    out = capsys.readouterr().out
    assert "  acknowledge  2 min (1)\n" in out
    assert "  automation   a candidate\n" in out
    assert "; 2 incidents in maintenance windows not counted." in out
