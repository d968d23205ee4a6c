"""A group of servers: what is shown of each, in which order, and what a slow one costs."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from rbkernel.config.connections import Connection
from rbkernel.errors import DatabaseError
from rbkernel.model import Finding, Verdict
from rbkernel.render import fleet as rendered
from rbkernel.runbook.connections import taking_groups
from rbkernel.sources.postgres.connection.session import Session
from rbkernel.triage.fleet.shown import Group
from rbkernel.triage.fleet.survey import survey


def finding(verdict: Verdict, title: str = "Locks", opens: str = "") -> Finding:
    return Finding(title=title, verdict=verdict, expected="", actual="so", opens=opens)


def sessions(*names: str) -> list[Session]:
    return [Session(Connection(name=name), application_name="test") for name in names]


def test_the_worst_server_is_first_and_a_silent_one_keeps_what_it_said() -> None:
    never = threading.Event()

    def look(session: Session) -> Iterator[Finding]:
        match session.connection.name:
            case "fine":
                yield finding(Verdict.OK)
            case "late":
                yield finding(Verdict.WARNING, opens="RUN-005")
            case "locked":
                yield finding(Verdict.CRITICAL, opens="RUN-007")
                yield finding(Verdict.WARNING, "Slots", opens="RUN-018")
                yield finding(Verdict.OK, "Disk")
            case "a-refused":
                raise DatabaseError("role is unknown")
            case "silent":
                yield finding(Verdict.OK, "Slots")
                never.wait()

    found = survey(
        sessions("fine", "late", "locked", "a-refused", "silent"), deadline_s=0.2, look=look
    )
    never.set()
    by_name = {one.connection: one for one in found}
    assert [one.connection for one in found][-2:] == ["late", "fine"]
    assert by_name["locked"].verdict is Verdict.CRITICAL
    # what is not known is never ok, and what was said before is kept
    assert by_name["silent"].verdict is Verdict.UNKNOWN
    assert [one.title for one in by_name["silent"].findings] == ["Slots", "silent answers"]
    assert by_name["a-refused"].verdict not in {Verdict.OK, Verdict.WARNING}
    summary = by_name["locked"].summary()
    assert (summary.title, summary.opens) == ("locked", "RUN-007")
    assert "1 other finding" in summary.actual
    assert by_name["fine"].summary().actual == "1 check ok"

    group = Group(servers=tuple(found), findings=tuple(one.summary() for one in found))
    assert group.first == "locked"  # not one that does not answer
    assert group.opens["RUN-007"] == "locked"
    assert group.opens["RUN-005"] == "late"
    assert group.opens["RUN-018"] == "locked"
    html = rendered.card(
        group.findings, {one.connection: one.findings for one in found}, ["rbkernel run RUN-007"]
    )
    assert html.count("<details") == 4  # all but the one that is fine


def test_a_defect_of_rbkernel_is_no_answer_of_a_server() -> None:
    def look(_: Session) -> Iterator[Finding]:
        raise ZeroDivisionError
        yield

    with pytest.raises(ZeroDivisionError):
        survey(sessions("a"), look=look)


@pytest.mark.parametrize(
    "source", ["rb.diagnose(db)", "rb.overview(db)\nrb.query(x, db)", "rb.overview(x, standby=db)"]
)
def test_only_the_overview_takes_a_group(source: str) -> None:
    assert "db" not in taking_groups([("code", source)])
