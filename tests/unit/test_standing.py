"""Where an incident stands, and what is wrong in it: for every view the same, and never ok by
default."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rbkernel.evidence import incident, reading, runs
from rbkernel.evidence.incident import ActionState, AlertStatus, IncidentRecord, Line, tell
from rbkernel.gateway.web import overview
from rbkernel.gateway.web.alerts import grouped
from rbkernel.gateway.web.overview import Filter, IncidentLine, counted, folded, listed, summary
from rbkernel.gateway.web.timeline import stretches
from rbkernel.incidents import standing, workflow
from rbkernel.incidents.cause import Cause, cause
from rbkernel.incidents.standing import Stage
from rbkernel.model import Finding, Verdict
from rbkernel.render.documents.pictures import picture_of
from tests.support import cause_scenes, page_scenes
from tests.support.cause_scenes import LOCKS, POOL, REFUSED, SCENES
from tests.support.journal_builder import INCIDENT, RUN_ID, Journal, whole_run
from tests.unit.test_acted import act

LATER = {"approvers": 1, "approve_by": "2100-01-01T00:00:00+00:00"}


def said(kind: str, minute: int, **data: Any) -> Line:
    at = f"2026-11-20T03:{minute:02}:00+00:00"
    return Line(number=1, kind=kind, at=at, by="ann", data=data)


def alert(status: AlertStatus, minute: int) -> Line:
    at = f"2026-11-20T03:{minute:02}:00+00:00"
    return said("alert", minute, status=status, fingerprint="f", starts_at=at, ends_at=at)


def seen(root: Path, name: str) -> Cause:
    """What is wrong in an incident of an evidence folder."""
    entries = runs.of_incident(root, name)
    journals = {one.run_id: reading.read(one.folder) for one in entries if one.is_readable}
    return cause(incident.look(root, name), entries, journals)


# --- where it stands


def test_what_is_over_is_no_problem_and_what_is_reopened_is_not_over(evidence: Path) -> None:
    cause_scenes.play(evidence, LOCKS)
    entries = runs.of_incident(evidence, LOCKS.incident)
    record = incident.read(evidence, LOCKS.incident)
    resolved = [*record.lines, alert(AlertStatus.RESOLVED, 20)]
    stages = (
        (record.lines, "open, critical", "critical"),
        ([*record.lines, said("closed", 30)], "closed", "over"),
        ([*resolved, said("closed", 30), said("reopened", 40)], "reopened, critical", "critical"),
    )
    for lines, words, tone in stages:
        found = standing.standing(tell(lines), entries)
        assert (found.words, found.tone) == (words, tone)


def test_a_reopened_incident_is_resolved_only_by_what_came_after() -> None:
    lines = [said("opened", 1), alert(AlertStatus.FIRING, 2)]
    lines += [replace(alert(AlertStatus.RESOLVED, 2)), said("closed", 10)]
    assert standing.standing(tell(lines), ()).resolved
    lines += [said("reopened", 20)]
    again = standing.standing(tell(lines), ())
    assert (again.resolved, again.words) == (None, "reopened")
    lines += [alert(AlertStatus.FIRING, 30), alert(AlertStatus.RESOLVED, 30)]
    assert standing.standing(tell(lines), ()).words == "reopened, resolved, not closed"


def test_an_open_question_comes_before_a_running_runbook(evidence: Path) -> None:
    cause_scenes.play(evidence, LOCKS)
    [entry] = runs.of_incident(evidence, LOCKS.incident)
    live = replace(entry, state=runs.LIVE)
    record = incident.read(evidence, LOCKS.incident)
    assert standing.standing(record, [live]).stage is Stage.RUNNING
    assert standing.standing(record, [live], 1).stage is Stage.WAITING


@pytest.mark.parametrize(
    ("states", "more", "words", "is_for_people"),
    [
        ([], LATER, "open, waiting for an approval", True),
        ([], {}, "open", False),  # it was not approved in time
        ([ActionState.EXECUTING], {}, "open, an action is executed", False),
        (
            [ActionState.EXECUTING, ActionState.INDETERMINATE],
            {},
            "open, the outcome of an action is not known",
            True,
        ),
        ([ActionState.EXECUTING, ActionState.VERIFIED], {}, "open", False),
    ],
)
def test_an_action_is_part_of_where_an_incident_stands(
    evidence: Path, states: list[ActionState], more: Any, words: str, is_for_people: bool
) -> None:
    incident.append(evidence, INCIDENT, "opened", by="ann", title="Lag")
    act(evidence, RUN_ID, *states, **more)
    found = standing.standing(incident.read(evidence, INCIDENT), ())
    assert (found.words, found.is_for_people) == (words, is_for_people)


@pytest.mark.parametrize(
    "states",
    [[ActionState.EXECUTING, ActionState.INDETERMINATE], [ActionState.EXECUTING]],
    ids=["not known", "killed"],
)
def test_only_the_runbook_that_proposed_an_action_looks_at_its_outcome(
    evidence: Path, states: list[ActionState]
) -> None:
    cause_scenes.play(evidence, LOCKS)
    [entry] = runs.of_incident(evidence, LOCKS.incident)
    act(evidence, LOCKS.run_id, *states, until="2099-12-31T00:00:00+00:00")
    record = incident.read(evidence, INCIDENT)
    over = tuple(replace(one, until="2026-11-20T03:10:00+00:00") for one in record.actions)
    record = replace(record, actions=over)

    def stage(**later: Any) -> Stage:
        again = replace(entry, run_id="21000101T000000Z-00beef", **later)
        return standing.standing(record, [entry, again]).stage

    after = "2100-01-01T00:00:00+00:00"
    during = "2026-11-20T03:09:00+00:00"
    assert stage(started_at=after) is Stage.OPEN
    assert stage(started_at=during) is Stage.NOT_KNOWN
    assert stage(started_at=after, about="another database") is Stage.NOT_KNOWN
    assert stage(started_at=after, verdict=Verdict.UNKNOWN) is Stage.NOT_KNOWN


def test_commands_and_pages_say_the_same(evidence: Path) -> None:
    for scene in SCENES:
        cause_scenes.play(evidence, scene)
        found = workflow.look(evidence, scene.incident)
        entries = runs.of_incident(evidence, scene.incident)
        line = IncidentLine(
            id=scene.incident, record=found.record, runs=tuple(entries), waiting=found.waiting
        )
        assert line.standing == found.standing
        assert line.standing.verdict == scene.verdict
        assert (line.standing.stage is Stage.WAITING) == bool(scene.question)


def test_a_run_by_hand_that_is_ok_is_no_open_incident(evidence: Path) -> None:
    journal = Journal(evidence)
    journal.run(journal.cell("rb.start()"))
    journal.finding("Lag", "ok", "0 s")
    journal.event("summary", verdict="ok")
    entries = runs.of_incident(evidence, INCIDENT)
    assert not standing.standing(tell(()), entries).is_open
    journal.finding("Lag", "critical", "31 s")
    assert standing.standing(tell(()), runs.of_incident(evidence, INCIDENT)).is_open


# --- what is wrong


@pytest.mark.parametrize("scene", SCENES, ids=[one.name for one in SCENES])
def test_the_cause_is_named_and_not_its_symptoms(evidence: Path, scene: Any) -> None:
    cause_scenes.play(evidence, scene)
    found = seen(evidence, scene.incident)
    unknown = ": ".join(["Not known", *scene.symptoms[0]])
    assert found.words == (scene.cause or unknown)
    assert (found.verdict, found.databases) == (scene.verdict, (scene.db,))
    assert (found.run_id, found.others) == (scene.run_id, ())


def test_a_cause_comes_before_a_symptom_that_a_later_run_saw(evidence: Path) -> None:
    cause_scenes.play(evidence, LOCKS)
    journal = Journal(evidence, "20261120T040000Z-00beef")
    about = {"runbook": "RUN-009", "title": "High latency", "parameters": {"db": "orders"}}
    journal.run(journal.cell("rb.start()"), LOCKS.incident, **about)
    journal.finding("Slow requests", "critical", "9 s")
    journal.event("summary", verdict="critical")
    found = seen(evidence, LOCKS.incident)
    assert (found.words, found.others) == (LOCKS.cause, ("20261120T040000Z-00beef",))


def test_only_where_the_cause_is_stands_beside_it(evidence: Path) -> None:
    cause_scenes.play(evidence, LOCKS)
    journal = Journal(evidence, "20261120T040000Z-00beef")
    about = {"runbook": "RUN-003", "title": "Replication lag", "parameters": {"db": "billing"}}
    journal.run(journal.cell("rb.start()"), LOCKS.incident, **about)
    journal.finding("Lag", "warning", "40 s")  # wrong, and less urgent
    journal.event("summary", verdict="warning")
    found = seen(evidence, LOCKS.incident)
    assert (found.databases, found.also) == ((LOCKS.db,), ("billing",))
    assert found.others == ()


def test_what_is_not_known_is_said_to_be_not_known(evidence: Path) -> None:
    def of(*lines: Line) -> Cause:
        return cause(tell(lines), (), {})

    nothing = of(said("opened", 1, title="Lag"))
    assert (nothing.words, nothing.verdict) == ("Not known: Lag: no runbook has run", "unknown")
    labels = {"alertname": "Disk"}
    refused = said("alert", 1, status="firing", labels=labels, outcome="no run", why="no such db")
    assert of(refused).words == "Not known: alert Disk: no runbook ran: no such db"
    seen_then = said("situation", 2, connection="a", verdict="critical", causes=["it blocks 9"])
    assert "it blocks 9" in of(refused, seen_then).words
    journal = Journal(evidence)
    journal.run(journal.cell("rb.start()"))
    journal.line("end")
    cut = seen(evidence, INCIDENT)
    assert cut.words == "Not known: RUN-005 did not come to a result"
    assert cut.verdict is Verdict.UNKNOWN


def _well(root: Path, run_id: str) -> None:
    journal = Journal(root, run_id)
    journal.run(journal.cell("rb.start()"))
    journal.finding("Replay lag", "ok", "0 s")
    journal.event("summary", verdict="ok")
    journal.line("end")


def test_what_is_over_is_told_as_what_was_before(evidence: Path) -> None:
    whole_run(evidence)
    _well(evidence, "20261120T040000Z-00beef")
    found = seen(evidence, INCIDENT)
    assert (found.words, found.before) == ("No problem found: 1 check passed", "Replay lag")


def test_an_ok_run_is_no_all_clear_for_an_alert_that_no_run_was_for(evidence: Path) -> None:
    _well(evidence, RUN_ID)
    told = page_scenes.alert(1, labels={"alertname": "Disk"}).to_json()
    why: dict[str, Any] = {"outcome": "no run", "why": "no such db"}
    incident.append(evidence, INCIDENT, "alert", by="rbkernel", **told, **why)
    found = seen(evidence, INCIDENT)
    assert found.words == ("Not known: 1 check passed, but alert Disk: no runbook ran: no such db")
    assert found.verdict is Verdict.UNKNOWN


def _told(root: Path, *lines: Line) -> tuple[str, str]:
    """What page and badge say of an incident with one run that is ok, and these lines."""
    if not runs.of_incident(root, INCIDENT):
        _well(root, RUN_ID)
    return _said_of(root, tell(lines))


def _said_of(root: Path, record: IncidentRecord) -> tuple[str, str]:
    entries = runs.of_incident(root, INCIDENT)
    journals = {one.run_id: reading.read(one.folder) for one in entries}
    stands = standing.standing(record, entries)
    assert (stands.verdict is Verdict.OK) == cause(record, entries, journals).words.startswith(
        "No problem found: "
    )
    return cause(record, entries, journals).words, stands.words


def _of_run(run_id: str, minute: int, **more: Any) -> Line:
    return said("run", minute, run_id=run_id, runbook="RUN-007", **more)


def test_what_fires_again_or_is_reopened_after_a_run_is_not_known_to_be_ok(evidence: Path) -> None:
    fires = [said("opened", 1), alert(AlertStatus.FIRING, 2)]
    assert _told(evidence, *fires) == ("No problem found: 1 check passed", "open, ok")
    words, stands = _told(evidence, *fires, alert(AlertStatus.FIRING, 50))
    assert words.startswith("Not known: 1 check passed, but f fired at 03:50, after the last run")
    assert stands == "open, unknown"
    over = [*fires, alert(AlertStatus.RESOLVED, 2), said("closed", 20), said("reopened", 40)]
    words, stands = _told(evidence, *over)
    assert "but the incident was reopened at 03:40" in words
    assert stands == "reopened, unknown"


def test_what_has_not_ended_is_not_known_to_be_ok(evidence: Path) -> None:
    queued = [said("opened", 1), _of_run("20261120T030300Z-00beef", 3, state="queued")]
    so_far = "No problem found so far: 1 check passed, but RUN-007 is"
    assert _told(evidence, *queued) == (f"{so_far} queued", "open, unknown")
    started = _of_run("20261120T030300Z-00beef", 4, state="started")
    assert _told(evidence, *queued, started)[0] == f"{so_far} running"


def test_a_runbook_that_did_not_run_leaves_unknown_until_its_next_attempt(evidence: Path) -> None:
    why = "the connection is not configured"
    failed = [
        said("opened", 1),
        _of_run("20261120T030300Z-00beef", 3, state="ended", why=why, attempt=1),
    ]
    words, stands = _told(evidence, *failed)
    assert words.endswith(f"RUN-007 20261120T030300Z-00beef did not run: {why}")
    assert stands == "open, unknown"
    again = {"state": "ended", "verdict": "ok", "attempt": 2}
    assert _told(evidence, *failed, _of_run("20261120T030400Z-00beef", 4, **again))[1] == "open, ok"


def test_what_was_merged_counts_in_the_incident_that_remains(evidence: Path) -> None:
    def disk(status: AlertStatus, minute: int, **more: Any) -> Line:
        one = alert(status, minute)
        return replace(one, data={**one.data, "fingerprint": "disk", **more})

    own = [said("opened", 1), alert(AlertStatus.FIRING, 1), alert(AlertStatus.RESOLVED, 1)]
    record = tell([*own, said("merged", 3, **{"from": "INC-B"})], INCIDENT)
    fires = tell([disk(AlertStatus.FIRING, 1)], "INC-B")
    assert _told(evidence, *own)[1] == "open, ok, resolved, not closed"
    assert _said_of(evidence, incident.whole(record, [fires]))[1] == "open, ok"
    # the alert is resolved in the record of the incident that remains
    over = replace(record, lines=(*record.lines, disk(AlertStatus.RESOLVED, 1)))
    every = incident.whole(over, [fires])
    assert [one.status for one in every.alerts] == [AlertStatus.RESOLVED] * 2
    assert every.resolved
    unhandled = tell([disk(AlertStatus.FIRING, 1, outcome="no run", why="no such db")], "INC-B")
    words, stands = _said_of(evidence, incident.whole(record, [unhandled]))
    assert words.endswith("but alert disk: no runbook ran: no such db")
    assert stands == "open, unknown"


def test_every_view_reads_what_was_merged(evidence: Path) -> None:
    _well(evidence, RUN_ID)
    told = page_scenes.alert(1, labels={"alertname": "Disk"}).to_json()
    why: dict[str, Any] = {"outcome": "no run", "why": "no such db"}
    other = "INC-20261120-other"
    merged: dict[str, Any] = {"from": other}
    incident.append(evidence, other, "alert", by="rbkernel", **told, **why)
    incident.append(evidence, INCIDENT, "opened", by="ann", title="Lag")
    incident.append(evidence, INCIDENT, "merged", by="rbkernel", **merged)
    incident.append(evidence, other, "merged", by="rbkernel", into=INCIDENT)
    [listed_] = [one for one in workflow.list_all(evidence) if one.record.id == INCIDENT]
    lines = overview.incidents(
        runs.list_runs(evidence), [INCIDENT, other], lambda name: incident.look(evidence, name)
    )
    [line_] = [one for one in lines if one.id == INCIDENT]
    stands = workflow.look(evidence, INCIDENT).standing, listed_.standing, line_.standing
    assert [one.words for one in stands] == ["open, unknown"] * 3


# --- its picture


def test_the_picture_is_that_of_the_cause_or_of_what_it_explains(evidence: Path) -> None:
    cause_scenes.play(evidence, LOCKS)
    found = seen(evidence, LOCKS.incident)
    record = reading.read(runs.find(evidence, LOCKS.run_id))
    assert found.finding
    picture = picture_of(record, found.finding)
    assert picture
    assert picture.text == "Who waits for whom"
    other = Finding(title="Disk", verdict=Verdict.CRITICAL, expected="", actual="full")
    assert picture_of(record, other) is None
    cause_scenes.play(evidence, POOL)
    without = seen(evidence, POOL.incident)
    assert without.finding
    assert picture_of(reading.read(runs.find(evidence, POOL.run_id)), without.finding) is None


# --- the list


def line(
    number: int, words: str, verdict: Verdict = Verdict.CRITICAL, db: str = ""
) -> IncidentLine:
    found = Finding(title="Locks", verdict=verdict, expected="", actual="")
    about = Cause(words=words, verdict=verdict, finding=found, databases=(db,) if db else ())
    record: IncidentRecord = tell([said("opened", number)], f"INC-{number}")
    return IncidentLine(id=f"INC-{number}", record=record, runs=(), cause=about)


def test_a_storm_with_one_cause_is_one_row_with_all_databases() -> None:
    storm = [
        line(n, f"job (pid {n}) blocks {n} sessions of db-{n}", db=f"db-{n}") for n in range(20)
    ]
    other = line(30, "Replay is paused", db="db-30")
    rows = folded([*storm[:5], other, *storm[5:]])
    assert [len(row.lines) for row in rows] == [20, 1]
    assert listed(rows[0]).startswith("db-0, db-1, ")
    assert listed(rows[0]).endswith("db-11 and 8 others")
    assert [len(row.lines) for row in folded([storm[0], storm[1], other])] == [1, 1, 1]


def test_what_is_closed_is_not_folded_and_what_differs_neither() -> None:
    over = [
        replace(one, record=tell([*one.record.lines, said("closed", 59)], one.id))
        for one in (line(n, "the same") for n in range(5))
    ]
    assert len(folded(over)) == 5
    assert summary(over, 0) == "Nothing is open"
    assert counted(over)[Filter.OVER] == "Closed 5"
    assert not any(one.fits(Filter.OPEN) for one in over)
    assert len(folded([line(n, word) for n, word in enumerate(("a", "b", "c"))])) == 3
    for words in (
        "replica-{} lags",
        "HTTP {} of shop",
        "nobody listens on port {}",
        "idx_{} is bad",
    ):
        assert len(folded([line(n, words.format(n)) for n in range(3)])) == 3
    nothing = [line(n, f"Not known: RUN-00{n} did not come to a result") for n in range(3)]
    assert nothing[0].cause
    unknown = replace(nothing[0].cause, finding=None)
    assert len(folded([replace(one, cause=unknown) for one in nothing])) == 3


def test_alerts_with_one_name_are_one_group_that_says_where() -> None:
    told = [page_scenes.alert(n) for n in range(60)]
    told += [page_scenes.alert(n, status=AlertStatus.RESOLVED) for n in range(20)]
    told += [page_scenes.alert(99, labels={"alertname": "Disk"}, status=AlertStatus.RESOLVED)]
    record = tell([said("alert", n % 60, **one.to_json()) for n, one in enumerate(told)])
    many, disk = grouped(record.alerts)
    assert (many.count, many.status) == ("60 alerts, 40 firing", AlertStatus.FIRING)
    assert many.where.startswith("shop-0, shop-1, ")
    assert many.where.endswith(" and 48 more")
    assert (disk.name, disk.count, disk.where) == ("Disk", "1 alert", "")


def test_a_long_row_of_alerts_in_the_timeline_is_folded(evidence: Path) -> None:
    cause_scenes.play(evidence, LOCKS)
    cause_scenes.storm(evidence)
    shown = stretches(workflow.look(evidence, LOCKS.incident).timeline)
    [many] = (one for one in shown if len(one.entries) > 1 and one.tone == "warning")
    assert many.title == "52 alerts: alert firing: PostgresBlockedQueries"
    assert [one.first.at for one in shown] == sorted((one.first.at for one in shown), reverse=True)


def test_the_unreachable_server_asks_for_somebody_at_the_host(evidence: Path) -> None:
    cause_scenes.play(evidence, REFUSED)
    stands = workflow.look(evidence, REFUSED.incident).standing
    assert (stands.words, stands.tone) == ("open, unknown, waiting for a decision", "unknown")
