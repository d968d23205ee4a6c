"""Rules of deployments: whose errors they are, what is harm, what a leak is, and who signs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import pandas as pd
import pytest

from rbkernel.checks import frames
from rbkernel.config.actions import ActionRule
from rbkernel.errors import ParameterError, SourceError
from rbkernel.model import Verdict
from rbkernel.triage.changes import flags, releases, watch_queries
from rbkernel.triage.changes.expected import Expected, Seen
from rbkernel.triage.changes.flags import Flags
from rbkernel.triage.changes.pressure import Course
from rbkernel.triage.changes.releases import migrated
from rbkernel.triage.changes.version import Sample, Version, samples
from rbkernel.triage.changes.versions import Deployments

NOW = 1_800_000_000.0
LIMIT = 0.01


def _errors(begin_min: float, end_min: float, value: float) -> tuple[Sample, ...]:
    """Return a value each minute between two times, in min before now."""
    moments = range(int(-begin_min), int(-end_min) + 1)
    return tuple((NOW + 60 * minute, value) for minute in moments)


def _served(version: Version, rate: float) -> Version:
    """Return a version that got so many requests per second, whenever its errors are known."""
    return dataclasses.replace(version, rates=tuple((at, rate) for at, _ in version.errors))


def _at(begin_min: float, *errors: Sample, name: str, rate: float = 10.0, runs: int = 1) -> Version:
    made = Version(name=name, started_at=NOW - 60 * begin_min, instances=runs, errors=errors)
    return _served(made, rate)


def _deployed(*versions: Version, limit: float = LIMIT) -> Deployments:
    return Deployments(versions=versions, at=NOW, limit=limit)


def _old(*errors: Sample, instances: float = 0.0) -> Version:
    old = Version(name="1", started_at=NOW - 7200, instances=instances, errors=errors)
    return _served(old, 10.0)


def _new(*errors: Sample) -> Version:
    return _served(Version(name="2", started_at=NOW - 1200, instances=3, errors=errors), 10.0)


class TestVersions:
    def test_the_deployment_brought_the_errors(self) -> None:
        found = _deployed(_old(*_errors(120, 21, 0.0)), _new(*_errors(20, 0, 0.2)))
        assert found.began().critical
        assert found.began().opens == "RUN-022"
        assert found.last_good().which == "1"

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            # the old version runs, and fails, too
            (_old(*_errors(120, 11, 0.0), *_errors(10, 0, 0.3), instances=3), _errors(10, 0, 0.3)),
            # it failed long before
            (_old(*_errors(120, 61, 0.0), *_errors(60, 21, 0.3)), _errors(20, 0, 0.3)),
        ],
    )
    def test_errors_of_another_origin(self, old: Version, new: tuple[Sample, ...]) -> None:
        before = _errors(20, 11, 0.0) if old.instances else ()
        found = _deployed(old, _new(*before, *new))
        assert found.errors().critical
        assert found.began().ok
        assert "not by the deployment" in found.began().actual

    def test_errors_that_began_a_minute_before_the_deployment(self) -> None:
        old = _old(*_errors(120, 2, 0.0), *_errors(1, 0, 0.3), instances=3)
        now = {"errors": ((NOW, 0.3),), "rates": ((NOW, 10.0),)}
        new = Version(name="2", started_at=NOW - 30, instances=3, **now)
        assert "1, which runs too, fails 30 %" in _deployed(old, new).began().actual
        well = _old(*_errors(120, 0, 0.0), instances=3)
        assert _deployed(well, new).began().critical

    def test_a_bad_hotfix_on_a_bad_version_leads_to_the_version_before_both(self) -> None:
        middle = _at(60, *_errors(60, 21, 0.2), name="1.5", runs=0)
        found = _deployed(_old(*_errors(120, 61, 0.0)), middle, _new(*_errors(20, 0, 0.2)))
        assert found.began().critical
        assert found.began().cause.startswith("1.5 was deployed")
        assert found.last_good().which == "1"

    def test_what_is_not_measured_is_neither_good_nor_to_blame(self) -> None:
        few = _old(*_errors(24, 21, 0.0))
        found = _deployed(few, _new(*_errors(20, 0, 0.2)))
        assert found.began().critical
        assert found.last_good().unknown, "too few values of it"
        assert _deployed(_new(*_errors(20, 0, 0.2))).began().unknown
        assert _deployed(_new()).errors().unknown
        assert _deployed(_old(*_errors(120, 0, 0.0))).errors().unknown, "none is known to run"
        stale = _deployed(_old(*_errors(120, 21, 0.0)), _new(*_errors(20, 10, 0.0)))
        assert stale.errors().unknown, "its last value is old"

    def test_a_failure_of_a_few_requests_says_nothing(self) -> None:
        def at(rate: float) -> Deployments:
            new = _served(_new(*_errors(20, 0, 0.2)), rate)
            return _deployed(_old(*_errors(120, 21, 0.0)), new)

        assert at(0.01).errors().unknown
        assert at(0.01).began().unknown
        assert at(math.nan).errors().unknown
        assert at(10.0).began().critical

    def test_nor_do_a_few_requests_without_a_failure(self) -> None:
        assert _deployed(_served(_new(*_errors(20, 0, 0.0)), 0.01)).errors().unknown
        assert _deployed(_served(_new(*_errors(20, 0, 0.0)), 0.2)).errors().ok

    def test_a_bad_version_that_ended_does_not_explain_what_all_versions_fail_now(self) -> None:
        runs = _at(120, *_errors(120, 2, 0.0), *_errors(1, 0, 0.25), name="1")
        ended = _at(20, *_errors(20, 3, 0.4), name="2", runs=0)
        found = _deployed(runs, ended, _at(1, *_errors(0, 0, 0.25), name="3"))
        assert found.errors().critical
        assert found.began().ok
        assert "1, which runs too, fails 25 %" in found.began().actual

    @pytest.mark.parametrize("runs", [0, 1])
    def test_errors_that_become_much_more_are_new(self, runs: int) -> None:
        old = _at(120, *_errors(120, 0 if runs else 21, 0.012), name="1", runs=runs)
        found = _deployed(old, _new(*_errors(20, 0, 0.6)))
        assert found.began().critical
        assert found.began().headline.endswith("requests fail: 60 %, before it 1.2 %")
        same = _deployed(old, _new(*_errors(20, 0, 0.015)))
        assert not same.began().wrong
        assert same.errors().critical

    def test_one_failure_of_an_old_instance_does_not_clear_the_new_version(self) -> None:
        old = (*_errors(120, 4, 0.0), *_errors(3, 0, 0.4))
        found = _deployed(_at(120, *old, name="1", rate=0.02), _new(*_errors(20, 0, 0.6)))
        assert found.began().critical

    def test_a_healthy_canary_does_not_hide_the_errors_of_the_others(self) -> None:
        old = _at(120, *_errors(120, 21, 0.0), name="1.4", runs=0)
        most = _at(20, *_errors(20, 0, 0.5), name="1.5", runs=19)
        canary = _at(5, *_errors(5, 0, 0.0), name="1.6")
        found = _deployed(old, most, canary)
        assert (found.errors().verdict, found.errors().which) == (Verdict.CRITICAL, "1.5")
        assert found.began().unknown, "back to 1.4, or on to 1.6: a person decides"
        assert "1.6" in found.began().next_step
        assert found.good is not None
        assert found.good.name == "1.4"

    def test_the_version_that_brought_the_errors_is_never_the_last_good_one(self) -> None:
        good = _at(180, *_errors(180, 61, 0.0), name="1.3", runs=0)
        late = (*_errors(60, 43, 0.0), *_errors(42, 31, 0.2))
        culprit = _at(60, *late, name="1.4", runs=0)
        found = _deployed(good, culprit, _at(30, *_errors(30, 0, 0.2), name="1.5"))
        assert found.began().cause.startswith("1.4 was deployed")
        assert found.last_good().which == "1.3"

    def test_a_version_that_ended_with_errors_or_had_few_requests_is_not_good(self) -> None:
        ended_badly = _old(*_errors(120, 27, 0.0), *_errors(26, 21, 0.3))
        assert _deployed(ended_badly, _new(*_errors(20, 0, 0.0))).good is None
        once = _served(_old(*_errors(26, 21, 0.0)), 1 / 300)
        assert _deployed(once, _new(*_errors(20, 0, 0.2))).last_good().unknown

    @pytest.mark.parametrize(
        "before",
        [
            (*_errors(120, 22, 0.0), *_errors(21, 21, 0.04)),  # they begin just before
            (*_errors(120, 36, 0.0), *_errors(35, 25, 0.2), *_errors(24, 21, 0.0)),  # and a lull
        ],
    )
    def test_errors_before_the_deployment_leave_the_cause_open(
        self, before: tuple[Sample, ...]
    ) -> None:
        assert _deployed(_old(*before), _new(*_errors(20, 0, 0.2))).began().unknown
        # an older version that runs without errors decides
        runs = _old(*before, *_errors(20, 0, 0.0), instances=1)
        assert _deployed(runs, _new(*_errors(20, 0, 0.2))).began().critical

    def test_another_cause_counts_unless_an_older_version_runs_without_errors(self) -> None:
        new = _new(*_errors(20, 0, 0.2))
        stopped = _deployed(_old(*_errors(120, 21, 0.0)), new)
        stopped = dataclasses.replace(stopped, others="60 % of the calls of payments fail")
        assert stopped.began().unknown
        assert "payments" in stopped.began().actual
        runs = _deployed(_old(*_errors(120, 0, 0.0), instances=1), new)
        assert dataclasses.replace(runs, others="payments").began().critical

    def test_a_recovery_does_not_clear_the_deployment(self) -> None:
        falls = [(NOW - 60 * n, value) for n, value in enumerate((0, 0, 0.04, 0.08, 0.12, 0.16))]
        found = _deployed(_old(*_errors(120, 21, 0.0)), _new(*_errors(20, 6, 0.2), *falls[::-1]))
        assert found.errors().critical
        assert found.began().critical

    def test_errors_that_come_and_go_since_the_deployment_are_not_cleared(self) -> None:
        bursts = (*_errors(90, 61, 0.3), *_errors(60, 21, 0.0), *_errors(20, 0, 0.3))
        found = _deployed(
            _at(200, *_errors(200, 91, 0.0), name="1", runs=0), _at(90, *bursts, name="2")
        )
        assert found.began().unknown

    def test_a_version_that_is_deployed_again_is_not_cleared_by_its_first_deployment(self) -> None:
        again = (*_errors(300, 281, 0.0), *_errors(20, 0, 0.3))
        old = _at(400, *_errors(400, 301, 0.0), *_errors(280, 21, 0.0), name="1", runs=0)
        assert _deployed(old, _at(300, *again, name="2")).began().unknown

    def test_nan_is_no_value(self) -> None:
        assert samples([(1.0, math.nan), (0.0, 1.0)]) == ((0.0, 1.0),)

    def test_time_on_staging(self) -> None:
        found = _deployed(_new())
        assert [found.stood("2", least).verdict for least in (900, 1500)] == [
            Verdict.OK,
            Verdict.WARNING,
        ]
        assert found.stood("3", 900).unknown


def test_the_answers_of_the_named_queries_are_joined_by_version() -> None:
    def answer(*rows: tuple[str, float, float]) -> pd.DataFrame:
        made = pd.DataFrame(rows, columns=["version", "at", "value"])
        return made.assign(sampled_at=pd.to_datetime(made["at"], unit="s", utc=True))

    minutes = [(NOW - 60 * n) for n in range(60, -1, -1)]
    errors = [("1", at, 0.0) for at in minutes if at < NOW - 1200]
    errors += [("2", at, 0.2) for at in minutes if at >= NOW - 1200]
    found = releases.deployments(
        "shop",
        answer(("1", NOW, NOW - 9000), ("2", NOW, NOW - 1200)),
        answer(("2", NOW, 3.0)),
        answer(*errors, ("2", NOW, math.nan)),
        answer(*((name, at, 40.0) for name, at, _ in errors)),
        limit=LIMIT,
    )
    assert found.current is not None
    assert (found.current.name, found.current.instances) == ("2", 3.0)
    assert found.good is not None
    assert found.good.name == "1"
    assert dataclasses.replace(found, at=NOW).began().critical
    nothing = pd.DataFrame(columns=["series", "sampled_at", "value"])
    empty = releases.deployments("shop", nothing, nothing, nothing, nothing, limit=LIMIT)
    assert empty.errors().unknown
    assert empty.began().unknown


def test_a_migration_without_a_time_may_be_newer() -> None:
    good = Version(name="1", started_at=NOW)
    old, new = (pd.Timestamp(NOW + s, unit="s", tz="UTC") for s in (-60, 60))
    assert migrated([{"version": "V1", "applied_at": old}], good).ok
    later = migrated(
        [{"version": "V1", "applied_at": old}, {"version": "V2", "applied_at": new}], good
    )
    assert (later.verdict, later.which) == (Verdict.WARNING, "V2")
    assert migrated([{"version": "V1", "applied_at": pd.NaT}], good).unknown
    assert migrated([], good).unknown


def test_a_repeatable_migration_counts_each_time() -> None:
    good = Version(name="1", started_at=NOW)
    new, old = (pd.Timestamp(NOW + s, unit="s", tz="UTC") for s in (60, -6_000_000))
    for times in ((new, old), (old, new)):
        assert migrated(
            [{"version": "R__views.sql", "applied_at": at} for at in times], good
        ).warning


def test_a_time_without_a_zone_is_not_taken_as_utc() -> None:
    good = Version(name="1", started_at=NOW)

    def at(hours: float) -> Verdict:
        naive = pd.Timestamp(NOW + 3600 * hours, unit="s")
        return migrated([{"version": "V7", "applied_at": naive}], good).verdict

    assert [at(hours) for hours in (-15, -3, 3, 15)] == [
        Verdict.OK,
        Verdict.UNKNOWN,
        Verdict.UNKNOWN,
        Verdict.WARNING,
    ]


class TestWatch:
    error = Expected(query="up", critical=0.02, times=2, by=0.005)

    def _seen(self, *values: float, before: float | None = 0.001, one: Expected = error) -> Seen:
        since = [(NOW + 30 * n, value) for n, value in enumerate(values)]
        return Seen(title="Errors", expected=one, before=before, since=since, unit="ratio")

    def test_one_value_beyond_is_an_outlier(self) -> None:
        assert self._seen(0.001, 0.5, 0.001).finding().ok
        assert self._seen(0.001, 0.5, 0.5).finding().critical
        assert self._seen(0.001, 0.01, 0.01).finding().warning

    def test_twice_next_to_nothing_is_no_harm(self) -> None:
        assert self._seen(0.003, 0.003).finding().ok

    def test_without_the_time_before_only_the_absolute_limit_is_judged(self) -> None:
        assert self._seen(0.001, 0.001, before=None).finding().unknown
        assert self._seen(0.1, 0.1, before=None).finding().critical

    def test_a_business_metric_falls(self) -> None:
        half = Expected(query="up", times=0.5)
        assert self._seen(18, 18, before=40, one=half).finding().warning
        assert self._seen(22, 22, before=40, one=half).finding().ok
        assert self._seen(0, 0, before=0, one=half).finding().unknown

    @pytest.mark.parametrize("requests", [60.0, math.nan])
    def test_a_failure_of_a_few_requests_is_no_harm(self, requests: float) -> None:
        counted = self.error.model_copy(update={"requests": "@http/request_rate"})
        one = dataclasses.replace(self._seen(0.033, 0.033, one=counted), requests=requests)
        assert one.finding().unknown
        assert dataclasses.replace(one, requests=3000.0).finding().critical
        calm = dataclasses.replace(self._seen(0.0, 0.0, one=counted), requests=requests)
        assert calm.finding().unknown

    def test_values_that_end_are_unknown(self) -> None:
        seen = self._seen(*[0.001] * 20)
        last = seen.since[-1][0]
        assert dataclasses.replace(seen, until=last + 60).finding(values=15).ok
        ended = dataclasses.replace(seen, until=last + 420).finding(values=15)
        assert ended.unknown
        assert "no value since" in ended.actual

    def test_missing_values_are_unknown(self) -> None:
        assert self._seen(0.001, 0.001).finding(values=15).unknown
        assert self._seen().finding(values=0).ok, "the first look comes right after the change"

    @pytest.mark.parametrize("fields", [{}, {"times": 1.0}, {"critical": 1, "warm": 2}])
    def test_limits_that_say_nothing_are_refused(self, fields: dict[str, float]) -> None:
        with pytest.raises(ParameterError, match=r"rb\.watch_queries: Errors"):
            watch_queries.watch_queries({"Errors": {"query": "up", **fields}}, "")


class TestOtherCauses:
    @pytest.mark.parametrize("asked", [0, 1, 2])
    def test_an_answer_that_failed_may_hide_another_cause(self, asked: int) -> None:
        late = SourceError("Prometheus did not answer in 10 s", next_step="ask again")
        failed = frames.failed_frame(("value",), late, name="x", connection="prom", sql="x")
        answers = [pd.DataFrame()] * 3
        answers[asked] = failed
        others = releases.causes(*answers)
        assert "not known, " in others
        assert "did not answer" in others
        silent = _deployed(_old(*_errors(120, 21, 0.0)), _new(*_errors(20, 0, 0.2)))
        assert silent.began().critical
        assert dataclasses.replace(silent, others=others).began().unknown

    def test_a_service_without_such_calls_has_no_other_cause(self) -> None:
        none = SourceError("the query has no result", next_step="see the reference")
        empty = frames.failed_frame(("value",), none, name="x", connection="prom", sql="x")
        assert releases.causes(empty, empty, empty) == ""

    def test_models_whose_calls_fail(self) -> None:
        models = pd.DataFrame({"model": ["large"], "value": [0.9]})
        said = releases.causes(pd.DataFrame(), pd.DataFrame(), models)
        assert said == "90 % of the calls of large fail"


class TestPressure:
    def test_a_restart_begins_anew(self) -> None:
        saw = [n / 20 for n in range(4, 18)]
        found = Course(title="Pool", used=[*saw, 0.1, 0.12, 0.14], load=[40.0] * 17)
        assert found.leak().ok
        assert found.used_up().ok

    def test_a_leak_needs_a_known_load(self) -> None:
        grows = [n / 40 for n in range(10, 38)]
        assert Course(title="Pool", used=grows, load=[]).leak().unknown
        assert Course(title="Pool", used=grows, load=[40.0] * 28).leak().wrong
        assert Course(title="Pool", used=grows[:5], load=[40.0] * 5).used_up().unknown

    def test_a_full_resource_at_the_usual_load_is_no_leak(self) -> None:
        found = Course(title="Pool", used=[0.95] * 20, load=[40.0] * 20)
        assert found.leak().ok
        assert found.used_up().critical
        assert found.by_load is False, "new instances would be held, too"
        assert "what holds it" in found.used_up().next_step
        unknown = Course(title="Pool", used=[0.95] * 20, load=[])
        assert unknown.by_load is None
        busy = Course(title="Pool", used=[0.95] * 20, load=[*range(20, 60, 2)])
        assert busy.by_load is True

    @pytest.mark.parametrize("course", [range(12, 40), [10] * 10 + [38] * 18])
    def test_what_slow_calls_hold_or_what_is_used_up_at_once_is_no_leak(
        self, course: Sequence[int]
    ) -> None:
        used, load = [n / 40 for n in course], [40.0] * 28
        slow = {"bank": [0.1] * 14 + [2.0] * 14, "mail": [0.2] * 28}
        found = Course(title="Pool", used=used, load=load, calls=slow)
        assert found.leak().ok
        assert (found.held().critical, found.held().which) == (True, "bank")
        assert "do without the slow system" in found.used_up().next_step
        usual = Course(title="Pool", used=used, load=load, calls={"bank": [0.1] * 28})
        assert usual.held().ok
        assert usual.leak().wrong == isinstance(course, range)
        assert Course(title="Pool", used=used, load=load, calls={}).held().unknown
        calm = Course(title="Pool", used=[0.2] * 28, load=load, calls=slow)
        assert calm.held().ok, "slow calls that hold nothing are no pressure"

    def test_calls_that_are_a_little_slower_explain_no_leak(self) -> None:
        used, load = [0.1 + n / 30 for n in range(28)], [40.0] * 28
        found = Course(title="Pool", used=used, load=load, calls={"bank": [0.1] * 14 + [0.16] * 14})
        assert (found.leak().critical, found.held().ok) == (True, True)
        assert "restart" in found.used_up().next_step

    def test_few_values_of_calls_say_nothing(self) -> None:
        used, load = [0.2 + n / 36 for n in range(28)], [40.0] * 28
        found = Course(title="Pool", used=used, load=load, calls={"bank": [0.1, 2.0]})
        assert (found.leak().unknown, found.held().unknown) == (True, True)


class TestFlags:
    def test_off_in_reverse_order(self) -> None:
        stages = ["write", "read", "drop"]
        found = Flags(shares={"write": 1.0, "read": 1.0, "drop": 0.0}, findings={})
        assert flags.out_of_order(found, "read", False, stages).ok
        wrong = flags.out_of_order(found, "write", False, stages)
        assert (wrong.verdict, wrong.which) == (Verdict.CRITICAL, "read")
        unseen = Flags(shares={"write": 0.5}, findings={})
        assert flags.out_of_order(unseen, "read", True, stages).unknown
        assert flags.out_of_order(found, "other", True, stages).ok

    @pytest.mark.parametrize(
        ("approvers", "alone", "verdict"),
        [(0, False, "critical"), (1, False, "ok"), (1, True, "critical"), (2, True, "ok")],
    )
    def test_people_who_sign(self, approvers: int, alone: bool, verdict: str) -> None:
        more = {"proposer_may_approve": alone} if approvers else {}
        rule = ActionRule(action="request:flag", approvers=approvers, **more)
        assert flags.signed("request:flag", [rule], 2).verdict == verdict
        two = ActionRule(action="request:flag", approvers=2, severities=("P0",))
        # the rule with the fewest people may be the one that applies
        assert flags.signed("request:flag", [two, rule], 2).verdict == verdict

    def test_without_a_rule_or_a_configured_request_nobody_signs(self) -> None:
        assert flags.signed("request:flag", [], 2).critical
        assert flags.signed("", [], 2).critical

    def test_break_glass_is_one_person(self) -> None:
        rule = ActionRule(action="request:flag", approvers=1)
        found = flags.signed("request:flag", [rule], 2, break_glass=True)
        assert found.critical
        assert "break_glass = false" in found.next_step
        never = ActionRule(action="request:flag", approvers=1, break_glass=False)
        assert flags.signed("request:flag", [never], 2, break_glass=True).ok

    def test_an_unknown_flag_is_not_as_expected(self) -> None:
        seen = {"a": flags.judged("a", True, 1.0)}
        assert Flags(shares={}, findings=seen).as_expected is True
        unseen = seen | {"b": flags.judged("b", True, None)}
        assert Flags(shares={}, findings=unseen).as_expected is None
        assert Flags(shares={}, findings={}).as_expected is None

    def test_a_state_is_the_same_in_each_spelling(self) -> None:
        found = Flags(shares={"a": 1.0}, findings={})
        assert [found.is_in("a", state) for state in ("on", "On", "Off", "false")] == [
            True,
            True,
            False,
            False,
        ]
        assert found.turns_on("a", "On")
        assert not found.turns_on("a", "")

    def test_a_state_is_on_or_off(self) -> None:
        with pytest.raises(ParameterError, match="neither on nor off"):
            flags.flags("shop", "a=maybe")
