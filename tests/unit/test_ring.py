"""The last hour of a connection on disk: bounded, private, and without secrets."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rbkernel.errors import WatchError
from rbkernel.redact import Redactor
from rbkernel.sources.postgres import history, ring
from rbkernel.sources.postgres.diagnosis import Diagnosis, judged
from rbkernel.sources.postgres.history import Earlier
from rbkernel.sources.postgres.ring import Ring
from rbkernel.sources.postgres.situation import Backend, Measured, Prepared, Situation

SECRET = "c4naryInAStatement"


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Ring]:
    made = Ring(tmp_path / "watch", "orders/primary")
    with made.owned():
        yield made


def redactor() -> Redactor:
    made = Redactor()
    made.learn("password", SECRET)
    return made


def look(minutes_ago: float, waiters: int = 0) -> Diagnosis:
    started = datetime(2026, 11, 20, 3, tzinfo=UTC)
    root = Backend(
        pid=7,
        backend_start=started,
        application="refund-job",
        state="idle in transaction",
        state_s=9.0,
        query=f"SELECT '{SECRET}'",
    )
    behind = (
        Backend(pid=n, locktype="tuple", wait_s=40.0, blocked_by=(7,))
        for n in range(100, 100 + waiters)
    )
    at = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    backends = (root, *behind) if waiters else ()
    return judged(Situation(connection="orders", at=at.isoformat(), backends=backends, usable=97))


def test_what_is_kept_is_found_again_without_secrets(kept: Ring) -> None:
    seen = look(1, waiters=5)
    kept.add(seen, redactor())
    [glance] = kept.glances()
    assert (glance.waiting, glance.verdict) == (5, "critical")
    assert glance.causes[0].headline == seen.causes[0].headline
    situation = kept.situation(glance.at)
    assert situation is not None
    assert SECRET not in repr(situation)
    assert judged(situation).causes[0].headline == seen.causes[0].headline


def test_others_may_not_read_it(kept: Ring) -> None:
    kept.add(look(0), redactor())
    modes = {stat.S_IMODE(path.stat().st_mode) for path in kept.folder.iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE(kept.folder.stat().st_mode) == 0o700


def test_it_holds_an_hour_and_no_more(kept: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    for minutes_ago in (90, 61, 59, 2, 1):
        kept.add(look(minutes_ago), redactor())
    assert len(kept.glances()) == 3
    monkeypatch.setattr(ring, "_MOST", 2)
    kept.add(look(0), redactor())
    assert len(list(kept.folder.glob("*.json.gz"))) == 2
    assert len(kept.glances()) == 2


def test_a_watcher_that_ended_long_ago_has_no_say(tmp_path: Path) -> None:
    old = Ring(tmp_path, "orders")
    with old.owned():
        old.add(look(61), redactor())
    assert old.glances() == []


def test_a_damaged_file_costs_one_look(kept: Ring) -> None:
    for minutes_ago in (3, 2, 1):
        kept.add(look(minutes_ago, waiters=3), redactor())
    first, second, _ = sorted(kept.folder.glob("*.json.gz"))
    first.write_bytes(first.read_bytes()[:40])
    second.write_bytes(b"")
    assert len(kept.glances()) == 1
    for path in (first, second):
        assert kept.situation(f"{path.name[:8]}T{path.name[9:22]}+00:00") is None


def test_one_process_adds_to_it(kept: Ring, tmp_path: Path) -> None:
    with pytest.raises(WatchError, match="another process already watches"), kept.owned():
        pass


def test_a_folder_that_cannot_be_written_is_an_error_with_a_next_step(tmp_path: Path) -> None:
    (tmp_path / "watch").write_text("a file")
    with pytest.raises(WatchError, match="RBKERNEL_WATCH"), Ring(tmp_path / "watch", "db").owned():
        pass


class TestHistory:
    def test_a_cause_is_followed_by_its_culprit_and_not_by_its_words(self) -> None:
        glances = [history.Glance.of(look(minutes, waiters=count)) for minutes, count in
                   ((50, 4), (40, 0), (12, 3), (7, 25), (2, 6))]  # fmt: skip
        [cause] = look(0, waiters=9).causes
        assert history.first_seen(cause, glances) == glances[2].at

    def test_looks_that_saw_nothing_say_neither(self) -> None:
        refused = judged(Situation(connection="orders", at=look(3).situation.at, reason="refused"))
        glances = [history.Glance.of(one) for one in (look(6, waiters=4), refused)]
        [cause] = look(0, waiters=9).causes
        assert history.first_seen(cause, glances) == glances[0].at

    def test_what_is_there_still_is_not_over(self) -> None:
        earlier = history.Earlier(diagnosis=look(1, waiters=4), occasion="")
        assert not history.before(look(0, waiters=9), [earlier])
        [(_, cause)] = history.before(look(0), [earlier, earlier])
        assert cause.victims.count == 4

    def test_a_server_that_does_not_answer_now_says_nothing_of_what_is_over(self) -> None:
        earlier = history.Earlier(diagnosis=look(1, waiters=4), occasion="when it was tried")
        silent = judged(Situation(connection="orders", at="", reason="no answer"))
        [finding] = history.findings(silent, [earlier])
        assert "over by now" not in finding.cause
        assert finding.actual == "unknown: the server does not answer now"
        [finding] = history.findings(look(0), [earlier])
        assert finding.cause.endswith("blocks 4 sessions, over by now")


_NOW = datetime(2026, 11, 20, 3, tzinfo=UTC).isoformat()


def lagging(lag_s: float) -> Situation:
    late = Measured(
        title="Replay lag",
        column="replay_lag_s",
        verdict="critical",
        value=lag_s,
        actual=f"{lag_s} s",
    )
    return Situation(
        connection="orders", at=_NOW, usable=97, standby_name="copy", replication=(late,)
    )


def prepared(name: str) -> Situation:
    left = Prepared(name=name, owner="bank", prepared_s=400.0)
    return Situation(connection="orders", at=_NOW, usable=97, prepared=(left,))


@pytest.mark.parametrize(
    ("earlier", "later", "same"),
    [
        (lagging(33.0), lagging(7.2), True),
        (
            Situation(connection="orders", at=_NOW, usable=97, limited_roles=("app",)),
            Situation(connection="orders", at=_NOW, usable=97, limited_roles=("report",)),
            False,
        ),
        (prepared("payout-17"), prepared("payout-18"), False),
        (prepared("payout-17"), prepared("payout-17"), True),
    ],
)
def test_a_cause_without_culprits_is_recognised_whatever_its_figures_are(
    earlier: Situation, later: Situation, same: bool
) -> None:
    """A lag of 33 s that is 7 s now is not over, and another role's limit is another cause."""
    before = Earlier(diagnosis=judged(earlier), occasion="when the alert arrived")
    over = list(history.findings(judged(later), [before]))
    assert (over == []) == same
