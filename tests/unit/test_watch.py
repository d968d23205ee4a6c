"""What a watch knows from before a change: by the same transaction, and no worse."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from rbkernel.evidence.incident.decisions import answers_of
from rbkernel.evidence.incident.line import Line
from rbkernel.model import Finding, Verdict
from rbkernel.sources.postgres.causes import Cause, Victims
from rbkernel.sources.postgres.diagnosis import Diagnosis
from rbkernel.sources.postgres.situation import Backend, Situation
from rbkernel.triage.changes import repeat, watch
from rbkernel.triage.changes.lasting import Lasting
from rbkernel.triage.decisions import decided

BEGAN = datetime(2026, 11, 20, 3, tzinfo=UTC)
HOLDER = Backend(pid=7, backend_start=BEGAN, application="app", transaction_s=20.0)
LAG = Cause(headline="late", mechanism="lag", verdict=Verdict.WARNING, explains=("RUN-005",))


def at(second: float) -> str:
    return (BEGAN + timedelta(seconds=second)).isoformat()


def held(second: float, *, victims: int = 1, slots_pct: float = 0.0, of: float = 20.0) -> Cause:
    """A transaction that began ``of`` seconds before ``BEGAN``, and blocks others."""
    return Cause(
        headline=f"app blocks, idle for {of + second:.0f} s",
        mechanism="lock",
        verdict=Verdict.CRITICAL,
        culprits=(replace(HOLDER, transaction_s=of + second),),
        victims=Victims(count=victims, slots_pct=slots_pct),
        explains=("RUN-007",),
    )


def seen(second: float, *causes: Cause, connection: str = "db", reason: str = "") -> Diagnosis:
    situation = Situation(connection=connection, at=at(second), reason=reason)
    return Diagnosis(situation=situation, causes=causes)


@pytest.mark.parametrize(
    ("cause", "known"),
    [
        (held(900), True),
        (held(900, victims=5), True),
        (held(900, victims=300), False),
        (held(900, slots_pct=40.0), False),
        (held(900, of=-100.0), False),  # another transaction of the same session
        (LAG, True),
        (replace(LAG, verdict=Verdict.CRITICAL), False),
    ],
)
def test_it_is_known_if_it_is_the_same_and_no_worse(cause: Cause, known: bool) -> None:
    lasting = Lasting.of(seen(0, held(0), LAG))
    assert (lasting.known(cause, at(900)) is not None) == known


class Watched:
    """A watch whose looks are given, one second apart."""

    def __init__(self, patch: pytest.MonkeyPatch, *looks: tuple[Diagnosis, ...]) -> None:
        self.left = list(looks)
        self.lasting: dict[str, Lasting] = {}
        patch.setattr(watch, "looked", lambda *_: self.left.pop(0))
        patch.setattr(watch, "triage", lambda: SimpleNamespace(lasting=self.lasting))
        patch.setattr(watch, "current", lambda: SimpleNamespace(event=lambda *_, **__: None))

    def look(self, known: dict[str, Lasting], *names: str) -> tuple[list[Finding], list[str]]:
        found, old = watch._look(names, "db", "", known)
        return found, [*old.values()]


def test_what_is_over_and_returns_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    unseen = seen(2, reason="timeout", connection="db")
    run = Watched(monkeypatch, (seen(1, LAG),), (unseen,), (seen(3, LAG),), (seen(4),))
    run.left.append((seen(5, LAG),))
    known = {"db": Lasting.of(seen(0, LAG))}
    told = [[one.headline for one in run.look(known)[0]] for _ in range(5)]
    assert told == [[], [], [], [], ["late"]]


def test_a_cause_of_before_is_told_once_in_its_newest_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Watched(monkeypatch, *((seen(second, held(second)),) for second in range(30)))
    run.lasting["db"] = Lasting.of(seen(0, held(0)))
    told: list[Finding] = []
    monkeypatch.setattr(watch, "keep", told.append)
    monkeypatch.setattr(repeat, "_show", lambda *_: None)
    monkeypatch.setattr(watch, "_known_before", lambda _: dict(run.lasting))
    monkeypatch.setattr("time.sleep", lambda _: None)
    clock = iter(range(100))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    watch.watch([], "db", for_s=20.0, every_s=1.0)
    [found] = told
    assert found.verdict is Verdict.OK
    assert found.actual.count("app blocks") == 1
    looks = 30 - len(run.left)
    assert looks > 2
    assert f"idle for {20 + looks - 1} s" in found.actual


def test_a_first_look_after_the_choice_knows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Watched(monkeypatch)
    run.lasting["db"] = Lasting.of(seen(10, LAG))
    for chosen_at, known in ((at(20), ["db"]), (at(5), []), ("", [])):
        change: Any = SimpleNamespace(first_chosen_at=chosen_at)
        assert [*watch._known_before(change)] == known


@pytest.mark.parametrize(("connection", "hidden"), [("db", True), ("standby", False)])
def test_only_a_cause_of_the_server_itself_explains_its_symptoms(
    monkeypatch: pytest.MonkeyPatch, connection: str, hidden: bool
) -> None:
    looks = {name: seen(1, connection=name) for name in ("db", "standby")}
    looks[connection] = seen(1, held(1), connection=connection)
    run = Watched(monkeypatch, tuple(looks.values()))
    blocked = Finding(title="Waits", verdict=Verdict.WARNING, expected="", actual="9")
    monkeypatch.setattr(watch, "ask", lambda *_: None)
    monkeypatch.setattr("rbkernel.checks.rules.apply", lambda *_: blocked)
    found, _ = run.look({connection: Lasting.of(seen(0, held(0)))}, "locks/blocking")
    assert (found == []) == hidden


def test_a_second_choice_is_not_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the change, a restarted kernel finds its harm, and the question is asked again."""
    said = [("wait", 1), ("run it", 5), ("run it", 30)]
    lines = []
    for number, (choice, second) in enumerate(said):
        for kind in ("decided", "asked again"):
            data = {"identity": "q", "choice": choice, "origin": "page"}
            lines.append(Line(number=number, kind=kind, at=at(second), by="ann", data=data))
    monkeypatch.setattr(decided, "answers", lambda: answers_of(lines))
    assert decided.first_chosen("q", ["run it"]) == at(5)
    assert decided.first_chosen("q", ["undo it"]) == decided.first_chosen("r", ["run it"]) == ""
