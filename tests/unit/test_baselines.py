"""Baselines: which earlier runs count, how many are needed, and what is never said without them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from rbkernel.checks.answer import Provenance
from rbkernel.errors import DatabaseError, EvidenceError, ParameterError
from rbkernel.evidence import suspect
from rbkernel.evidence.baselines import Normal, Place, Sample, normal, samples
from rbkernel.evidence.manifest import Head
from rbkernel.model import Finding, Verdict
from rbkernel.triage import baseline as module

NOW = datetime(2026, 11, 20, 6, 10, tzinfo=UTC)  # a Friday
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
PLACE = Place(connection="orders", cluster="7423", database="shop", standby=False)
NAME = "activity/rates commits_per_s"


def at(day: int, hours: float = 0.0) -> datetime:
    return NOW - day * DAY + timedelta(hours=hours)


def usual(*given: tuple[datetime, float], now: datetime = NOW) -> Normal:
    return normal([Sample(at=when, value=value) for when, value in given], now)


def test_a_median_needs_seven_samples_of_five_days() -> None:
    six = [(at(day), 10.0) for day in range(1, 7)]
    assert usual(*six).median is None
    assert usual(*six).words == "no baseline yet: 6 of 7 samples at this hour"
    assert usual(*six, (at(7), 1000.0)).median == 10.0
    few_days = [(at(day, hours), 10.0) for day in (1, 2, 3) for hours in (-0.9, 0.0, 0.9)]
    assert usual(*few_days).median is None
    assert "3 of 5 days" in usual(*few_days).words


def test_only_this_hour_counts_also_around_midnight() -> None:
    others = [(at(day, 2), 1000.0) for day in range(1, 20)]
    assert usual(*others).samples == 0
    midnight = NOW.replace(hour=23, minute=50)
    night = [(midnight - day * DAY + timedelta(minutes=40), 7.0) for day in range(1, 20)]
    assert usual(*night, now=midnight).median == 7.0


def test_a_weekend_is_compared_with_weekends_once_there_are_enough() -> None:
    saturday = NOW + DAY
    work = [(at(day), 100.0) for day in range(28) if at(day).weekday() < 5]
    ends = [(at(day), 10.0) for day in range(28) if at(day).weekday() >= 5]
    assert usual(*work, *ends).median == 100.0
    assert usual(*work, *ends, now=saturday).median == 10.0
    assert "weekends" in usual(*work, *ends, now=saturday).words
    assert usual(*work, *ends[:3], now=saturday).median == 100.0


class Sealed:
    """An evidence folder with sealed runs, written by hand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.count = 0
        root.mkdir(exist_ok=True)

    def run(
        self, when: datetime, value: Any = 10.0, *, headless: bool = True, alerted: bool = False
    ) -> Path:
        return self.measured(when, headless=headless, alerted=alerted, value=value, **vars(PLACE))

    def measured(
        self, when: datetime, *, headless: bool = True, alerted: bool = False, **data: Any
    ) -> Path:
        self.count += 1
        run_id = f"{when:%Y%m%dT%H%M%SZ}-{self.count:06x}"
        incident = f"INC-20261120-{self.count:04x}"
        journal = self.root / incident / f"0001-RUN-016-{run_id}" / "journal.jsonl"
        journal.parent.mkdir(parents=True)
        events = [("run", {"headless": headless}), ("measured", {"name": NAME, **data})]
        lines = [json.dumps({"kind": kind, "data": data}) for kind, data in events]
        journal.write_text("\n".join(lines) + "\n")
        if alerted:
            line = {"at": when.isoformat(), "kind": "alert", "by": "rbkernel", "source": "x"}
            (self.root / incident / "incident.jsonl").write_text(json.dumps(line) + "\n")
        head = Head(
            sha256="ab" * 32,
            incident=incident,
            generation=1,
            at=f"{when:%Y-%m-%dT%H:%M:%S}Z",
            run_id=run_id,
        )
        with (self.root / "HEADS").open("a") as file:
            file.write(head.line)
        return journal

    def values(self) -> list[float]:
        return sorted(one.value for one in samples(self.root, NAME, PLACE, NOW))


@pytest.fixture
def sealed(tmp_path: Path) -> Sealed:
    return Sealed(tmp_path / "evidence")


def test_sealed_runs_of_the_same_server_at_this_hour_count(sealed: Sealed) -> None:
    assert sealed.values() == []
    sealed.run(at(1), 1.0)
    sealed.run(at(2, 0.9), 2.0)
    for when in (at(1, 3), at(29), NOW):
        sealed.run(when, 99.0)
    assert sealed.values() == [1.0, 2.0]
    for other in (
        {"connection": "copy"},
        {"cluster": "7424"},
        {"database": "test"},
        {"standby": True},
        {"name": "activity/rates sessions"},
    ):
        sealed.measured(at(1), **{**vars(PLACE), "value": 98.0, **other})
    assert sealed.values() == [1.0, 2.0]


def test_runs_of_an_alert_or_of_a_person_tell_nothing_of_what_is_normal(sealed: Sealed) -> None:
    sealed.run(at(1), 97.0, alerted=True)
    sealed.run(at(1), 96.0, headless=False)
    sealed.run(at(1), 1.0)
    assert sealed.values() == [1.0]


def test_what_cannot_be_read_is_left_out(sealed: Sealed) -> None:
    with sealed.run(at(1), 1.0).open("a") as file:
        file.write('{"kind": "measured"\n{"kind": "measured", "data": 5}\n[]\n\xff\n')
    sealed.run(at(2), "nan")
    sealed.run(at(3), None)
    gone = sealed.run(at(4), 95.0)
    gone.unlink()
    assert sealed.values() == [1.0]
    (sealed.root / "HEADS").write_text("nonsense\n")
    with pytest.raises(EvidenceError, match="damaged"):
        sealed.values()


def test_few_journals_are_opened_however_many_runs_there_are(
    sealed: Sealed, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(1, 8):
        for minute in range(-110, 110, 5):
            sealed.run(at(day, minute / 60), float(minute))
    opened: list[Path] = []
    read = suspect.read_bytes

    def reading(path: Path) -> bytes | None:
        opened.append(path)
        return read(path)

    monkeypatch.setattr(suspect, "read_bytes", reading)
    assert len(sealed.values()) == 7 * 4
    assert len([path for path in opened if path.name == "journal.jsonl"]) == 7 * 4


# --- rb.baseline


class Run:
    """A run whose server is `PLACE`: what it records, keeps and shows."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.events: list[dict[str, Any]] = []
        self.shown: list[str] = []
        self.kept: list[Finding] = []
        self.server: Any = SimpleNamespace(database="shop", standby=False)
        monkeypatch.setattr(module, "current", lambda: self)
        monkeypatch.setattr(module, "triage", lambda: self)
        monkeypatch.setattr(module, "cluster_of", self.cluster_of)
        monkeypatch.setattr(
            module, "display", lambda data, **_: self.shown.append(data["text/plain"])
        )
        monkeypatch.setattr(module, "keep", self.keep)

    def session(self, name: str) -> Run:
        assert name == "orders"
        return self

    def cluster_of(self, session: Run) -> str:
        if self.server is None:
            raise DatabaseError("permission denied for function pg_control_system")
        return "7423"

    def event(self, kind: str, **data: Any) -> None:
        self.events.append({"kind": kind, **data})

    def keep(self, finding: Finding) -> Finding:
        self.kept.append(finding)
        return finding


@pytest.fixture
def run(sealed: Sealed, monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(sealed.root, monkeypatch)


def frame(*values: float | None, **more: Any) -> pd.DataFrame:
    made = pd.DataFrame({"commits_per_s": list(values)}, dtype=float)
    origin = Provenance(
        name="activity/rates",
        connection="orders",
        server="",
        role="",
        sql="",
        values={},
        at="",
        duration_s=0.0,
        rows=len(values),
        cut_by="",
    )
    made.attrs["rbkernel"] = replace(origin, **more)
    return made


def compared(what: pd.DataFrame, **more: Any) -> module.Baseline:
    return module.baseline(what, "commits_per_s", title="Load", at_least=20.0, **more)


def history(sealed: Sealed, value: float, days: int = 20) -> None:
    """Runs of the last days at the present time of day, whatever that is."""
    now = datetime.now(UTC)
    for day in range(1, days + 1):
        sealed.run(now - day * DAY, value)


def test_without_a_baseline_nothing_is_judged_but_the_figure_is_recorded(
    run: Run, sealed: Sealed
) -> None:
    history(sealed, 10.0, days=3)
    found = compared(frame(4000.0))
    assert (found.finding, found.median, found.wrong, run.kept) == (None, None, False, [])
    assert run.shown == [
        "Load: 4,000; no baseline yet: 3 of 7 samples at this hour, so it is not judged"
    ]
    [event] = run.events
    assert (event["kind"], event["name"], event["value"]) == ("measured", NAME, 4000.0)
    assert {name: event[name] for name in vars(PLACE)} == vars(PLACE)


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(99.0, Verdict.OK), (201.0, Verdict.WARNING), (501.0, Verdict.CRITICAL)],
)
def test_a_figure_is_compared_with_the_usual_one(
    run: Run, sealed: Sealed, value: float, verdict: Verdict
) -> None:
    history(sealed, 100.0)
    found = compared(frame(value), unit="per s")
    assert found.finding is not None
    assert (found.finding.verdict, found.median, run.kept) == (verdict, 100.0, [found.finding])
    assert found.wrong == (verdict is not Verdict.OK)
    assert found.finding.expected == "at most 2 × 100 per s"


def test_little_load_is_no_matter_and_no_value_is_unknown(run: Run, sealed: Sealed) -> None:
    history(sealed, 1.0)
    small, none = compared(frame(15.0)).finding, compared(frame(None)).finding
    assert small is not None
    assert small.verdict is Verdict.OK
    assert none is not None
    assert (none.verdict, none.value) == (Verdict.UNKNOWN, None)
    cut = compared(frame(5000.0, cut_by="the row cap of 1")).finding
    assert cut is not None
    assert cut.verdict is Verdict.UNKNOWN
    assert len(run.events) == 1  # what has no value is not recorded
    much = compared(frame(3000.0), critical=None).finding
    assert much is not None
    assert much.verdict is Verdict.WARNING


def test_a_server_that_cannot_be_told_or_does_not_answer_has_no_baseline(
    run: Run, sealed: Sealed
) -> None:
    history(sealed, 100.0)
    assert "it was not measured: refused" in compared(frame(reason="refused")).words
    run.server = None
    run.server = SimpleNamespace(database="shop", standby=True)
    assert "0 of 7" in compared(frame(500.0)).words
    (sealed.root / "HEADS").write_text("nonsense\n")
    assert "damaged" in compared(frame(500.0)).words
    run.server = None
    run.session = lambda name: SimpleNamespace(server=None)  # type: ignore[method-assign,assignment,return-value]
    assert "permission denied" in compared(frame(500.0)).words
    assert run.kept == []


def test_a_wrong_call_is_refused(run: Run) -> None:
    with pytest.raises(ParameterError, match="has no column 'calls'"):
        module.baseline(frame(1.0), "calls", title="Load", at_least=1.0)
    with pytest.raises(ParameterError, match="needs the result of"):
        module.baseline(pd.DataFrame({"n": [1]}), "n", title="Load", at_least=1.0)
    with pytest.raises(ParameterError):
        compared(frame(1.0), warn=0.5)
