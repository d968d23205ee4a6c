"""Baselines: which earlier runs count, how many are needed, and what is never said without them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from rbkernel.checks.answer import Provenance
from rbkernel.errors import DatabaseError, EvidenceError, ParameterError
from rbkernel.evidence import suspect
from rbkernel.evidence.baselines import Figure, Normal, Sample, normal, samples
from rbkernel.evidence.manifest import Head
from rbkernel.model import Finding, Verdict
from rbkernel.triage import baseline as module
from rbkernel.triage import decide as decide_module
from rbkernel.triage.decisions.recommendation import Recommendation

NOW = datetime(2026, 11, 20, 6, 10, tzinfo=UTC)  # a Friday
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
NAME = "activity/rates commits_per_s"


def how(sql: str = "SELECT 1", **values: Any) -> str:
    """The hash of a query and its values."""
    text = json.dumps([sql, values], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


FIGURE = Figure(
    name=NAME,
    unit="",
    how=how(),
    connection="orders",
    cluster="7423",
    database="shop",
    standby=False,
)


def at(day: int, hours: float = 0.0) -> datetime:
    return NOW - day * DAY + timedelta(hours=hours)


def usual(*given: tuple[datetime, float], now: datetime = NOW) -> Normal:
    return normal([Sample(at=when, value=value) for when, value in given], now)


def test_a_median_needs_seven_days() -> None:
    six = [(at(day), 10.0) for day in range(1, 7)]
    assert usual(*six).median is None
    assert usual(*six).words == "no baseline yet: 6 of 7 days at this hour"
    assert usual(*six, (at(7), 1000.0)).median == 10.0


def test_a_weekend_is_compared_with_weekends_once_there_are_enough() -> None:
    saturday = NOW + DAY
    work = [(at(day), 100.0) for day in range(28) if at(day).weekday() < 5]
    ends = [(at(day), 10.0) for day in range(28) if at(day).weekday() >= 5]
    assert usual(*work, *ends).median == 100.0
    assert usual(*work, *ends, now=saturday).median == 10.0
    assert "weekend days" in usual(*work, *ends, now=saturday).words
    assert usual(*work, *ends[:3], now=saturday).median == 100.0


class Sealed:
    """An evidence folder with sealed runs, written by hand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.count = 0
        root.mkdir(exist_ok=True)

    def run(self, when: datetime, value: Any = 10.0, **more: Any) -> Path:
        return self.measured(when, **{**asdict(FIGURE), "value": value, **more})

    def measured(
        self,
        when: datetime,
        *,
        headless: bool = True,
        source: str = "schedule",
        alerted: bool = False,
        verdict: str = "warning",
        **data: Any,
    ) -> Path:
        self.count += 1
        run_id = f"{when:%Y%m%dT%H%M%SZ}-{self.count:06x}"
        incident = f"INC-20261120-{self.count:04x}"
        journal = self.root / incident / f"0001-RUN-016-{run_id}" / "journal.jsonl"
        journal.parent.mkdir(parents=True)
        events = [
            ("run", {"headless": headless}),
            ("finding", {"verdict": verdict}),
            ("measured", data),
        ]
        lines = [json.dumps({"kind": kind, "data": data}) for kind, data in events]
        journal.write_text("\n".join(lines) + "\n")
        said = [("opened", {"source": source})] + [("alert", {"source": "x"})] * alerted
        opened = [
            {"at": when.isoformat(), "kind": kind, "by": "rbkernel", **more} for kind, more in said
        ]
        text = "".join(json.dumps(line) + "\n" for line in opened)
        (self.root / incident / "incident.jsonl").write_text(text)
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

    def values(self, now: datetime = NOW) -> list[float]:
        return sorted(one.value for one in samples(self.root, FIGURE, now).samples)


@pytest.fixture
def sealed(tmp_path: Path) -> Sealed:
    return Sealed(tmp_path / "evidence")


def test_of_each_day_the_run_nearest_to_this_time_of_day_counts(sealed: Sealed) -> None:
    assert sealed.values() == []
    for hours, value in ((-1.0, 4.0), (-0.5, 3.0), (0.1, 1.0), (0.5, 2.0), (1.1, 5.0)):
        sealed.run(at(1, hours), value)
    sealed.run(at(2, 0.9), 10.0)
    sealed.run(at(2, -0.8), 20.0)
    # another hour, long ago, and today
    for when in (at(3, 3), at(3, -1.1), at(29), at(0, -0.5), at(0, -11), NOW):
        sealed.run(when, 99.0)
    assert sealed.values() == [1.0, 20.0]


def test_this_hour_is_also_found_around_midnight(sealed: Sealed) -> None:
    midnight = NOW.replace(hour=23, minute=50)
    for day in (1, 2):
        sealed.run(midnight - day * DAY + timedelta(minutes=40), float(day))
    sealed.run(midnight - timedelta(minutes=40), 99.0)
    assert sealed.values(midnight) == [1.0, 2.0]


@pytest.mark.parametrize(
    "other",
    [
        {"connection": "copy"},
        {"cluster": "7424"},
        {"database": "test"},
        {"standby": True},
        {"name": "activity/rates sessions"},
        {"unit": "ms"},
        {"how": how("SELECT 2")},
        {"how": how(every_s=60)},
    ],
    ids=str,
)
def test_only_the_same_figure_in_the_same_place_counts(
    sealed: Sealed, other: dict[str, Any]
) -> None:
    sealed.run(at(1), 98.0, **other)
    assert sealed.values() == []
    sealed.run(at(1, 0.5), 1.0)
    assert sealed.values() == [1.0]


@pytest.mark.parametrize(
    "other",
    [
        {"alerted": True},
        {"headless": False},
        {"source": ""},
        {"verdict": "critical"},
    ],
    ids=str,
)
def test_only_runs_of_a_schedule_without_trouble_tell_what_is_normal(
    sealed: Sealed, other: dict[str, Any]
) -> None:
    sealed.run(at(1), 97.0, **other)
    sealed.run(at(1, 0.5), 1.0)
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
    for day in range(1, 4):
        for minute in range(-50, 50, 2):
            sealed.run(at(day, minute / 60), float(minute))
            if day == 3:
                sealed.run(at(day, minute / 60), 99.0, connection=f"other{minute}")
    for number in range(30):
        sealed.run(at(4, 0.1), 99.0, connection=f"other{number}")
    opened: list[Path] = []
    read = suspect.read_bytes

    def reading(path: Path) -> bytes | None:
        opened.append(path)
        return read(path)

    monkeypatch.setattr(suspect, "read_bytes", reading)
    found = samples(sealed.root, FIGURE, NOW)
    assert [one.value for one in found.samples] == [0.0, 0.0, 0.0]
    assert found.cut_days == 1  # there may be a sample among those that were not read
    journals = [path for path in opened if path.name == "journal.jsonl"]
    assert len(journals) <= 1 + 1 + 2 + 24


# --- rb.baseline


class Run:
    """A run whose server is that of `FIGURE`: what it records, keeps and shows."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.events: list[dict[str, Any]] = []
        self.shown: list[str] = []
        self.kept: list[Finding] = []
        self.volatile: set[str] = set()
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
        sql="SELECT 1",
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


def history(sealed: Sealed, value: float, days: int = 20, **more: Any) -> None:
    """Runs of the last days at the present time of day, whatever that is, and others nearby."""
    now = datetime.now(UTC)
    for day in range(1, days + 1):
        sealed.run(now - day * DAY, value, **more)
        sealed.run(now - day * DAY + HOUR / 2, 50 * value, **more)
        sealed.run(now - HOUR / day, 50 * value, **more)


def test_without_a_baseline_nothing_is_judged_but_the_figure_is_recorded(
    run: Run, sealed: Sealed
) -> None:
    history(sealed, 10.0, days=3)
    found = compared(frame(4000.0))
    assert (found.finding, found.median, found.wrong, run.kept) == (None, None, False, [])
    assert run.shown == [
        "Load: 4,000; no baseline yet: 3 of 7 days at this hour, so it is not judged"
    ]
    [event] = run.events
    assert (event["kind"], event["name"], event["value"]) == ("measured", NAME, 4000.0)
    assert {name: event[name] for name in asdict(FIGURE)} == asdict(FIGURE)


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(99.0, Verdict.OK), (50.0, Verdict.OK), (201.0, Verdict.WARNING), (9e9, Verdict.WARNING)],
)
def test_a_figure_is_compared_with_the_usual_one(
    run: Run, sealed: Sealed, value: float, verdict: Verdict
) -> None:
    history(sealed, 100.0, unit="per s")
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
    much = compared(frame(3000.0)).finding
    assert much is not None
    assert much.verdict is Verdict.WARNING


def test_a_drop_is_neither_ok_nor_wrong(run: Run, sealed: Sealed) -> None:
    history(sealed, 1000.0)
    found = compared(frame(0.0))
    assert (found.finding, found.median, found.wrong, run.kept) == (None, 1000.0, False, [])
    assert "far below the usual 1,000" in run.shown[0]
    assert [event["value"] for event in run.events] == [0.0]


def test_no_answer_rests_on_the_load(
    run: Run, sealed: Sealed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rests_on(*findings: Finding | None) -> str:
        made = {one.title: one for one in findings if one}
        of_run = SimpleNamespace(runbook="RUN-000", parameters={})
        context = SimpleNamespace(run=of_run, findings=made, volatile=run.volatile)
        monkeypatch.setattr(decide_module, "triage", lambda: context)
        monkeypatch.setattr(decide_module, "headless", lambda: True)
        chosen = Recommendation(option="wait", reason="", needed=True)
        return decide_module._asked("What now?", ["wait"], chosen, [], needed=None).rests_on

    history(sealed, 100.0)
    more, usual = compared(frame(900.0)).finding, compared(frame(100.0)).finding
    assert more
    assert more.wrong
    other = replace(more, title="Replication lag")
    assert rests_on(more) == rests_on(usual) == rests_on()
    assert rests_on(other) != rests_on()


def test_an_evidence_folder_that_cannot_be_read_fails_no_cell(
    run: Run, sealed: Sealed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(module, "samples", fails)
    assert "cannot be read: [Errno 5]" in compared(frame(500.0)).words
    assert run.kept == []


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
    with pytest.raises(ParameterError, match="a part cannot be compared"):
        compared(frame(1.0, 2.0).head(1))
