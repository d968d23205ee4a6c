"""The causes of problems of a service that calls models: what counts as one, and what does not."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import pytest

from rbkernel.checks.answer import TIMESTAMPTZ, Answer, Column, Provenance
from rbkernel.checks.frames import to_frame
from rbkernel.model import Verdict
from rbkernel.sources.monitoring.causes import approvals, cost, latency, provider, safety
from rbkernel.sources.monitoring.causes.approvals import Approver, Queue
from rbkernel.sources.monitoring.causes.cost import Spending
from rbkernel.sources.monitoring.causes.figures import Figure, Group, courses, group
from rbkernel.sources.monitoring.causes.latency import Times
from rbkernel.sources.monitoring.causes.provider import Calls, Model
from rbkernel.sources.monitoring.causes.safety import Deployed, Guardrail
from rbkernel.sources.monitoring.causes.suspect import Suspect, findings

_ORIGIN = Provenance(
    name="q",
    connection="prom",
    server="",
    role="",
    sql="",
    values={},
    at="",
    duration_s=0,
    rows=0,
    cut_by="",
)


def figures(**pairs: tuple[float, float | None]) -> Group:
    """A group by name: now, and as usual."""
    return Group(members={name: Figure(now=n, usual=u) for name, (n, u) in pairs.items()})


def frame(
    rows: list[tuple[str, float, float | None]], origin: Provenance = _ORIGIN
) -> pd.DataFrame:
    """An answer with baselines, by the label `tenant`."""
    names = ("series", "value", "baseline", "tenant")
    columns = tuple(Column(name, 701 if name in names[1:3] else 25) for name in names)
    known = [(t, v, math.nan if usual is None else usual, t) for t, v, usual in rows]
    return to_frame(Answer(columns=columns, rows=known, provenance=origin))


def of_now(by: str, **values: float) -> pd.DataFrame:
    """An answer about a moment, by a label."""
    columns = (Column("series", 25), Column("value", 701), Column(by, 25))
    rows = [(name, value, name) for name, value in values.items()]
    return to_frame(Answer(columns=columns, rows=rows, provenance=_ORIGIN))


def course(by: str, later_s: float = 0, **values: list[float]) -> pd.DataFrame:
    """An answer about a range, with a value each minute, by a label."""
    columns = (Column("sampled_at", TIMESTAMPTZ), Column("value", 701), Column(by, 25))
    at = pd.to_datetime(
        [60 * n + later_s for n in range(1, 10)], unit="s", utc=True
    ).to_pydatetime()
    rows = [(at[n], float(v), name) for name, all_ in values.items() for n, v in enumerate(all_)]
    ranged = dataclasses.replace(_ORIGIN, step_s=60.0)
    return to_frame(Answer(columns=columns, rows=rows, provenance=ranged))


class TestFigures:
    def test_a_new_member_was_usually_nothing_if_others_have_a_history(self) -> None:
        found = group(frame([("new", 5, None), ("old", 2, 2)]), "tenant")
        assert found.members["new"] == Figure(now=5, usual=0)
        assert found.culprit() == "new"

    def test_without_any_history_nothing_is_usual(self) -> None:
        found = group(frame([("a", 5, None), ("b", 2, None)]), "tenant")
        assert found.total.usual is None
        assert "what is usual at this hour is not known" in found.unknown
        assert (found.culprit(), found.leader()) == ("", "")

    def test_a_member_that_is_gone_was_usual(self) -> None:
        """A tenant with another name is no rise."""
        given = frame([("acme-eu", 5, None), ("b", 2, 2)])
        assert group(given, "tenant").culprit() == "acme-eu"
        given.attrs["gone"] = [{"tenant": "acme", "baseline": 5.0}]
        found = group(given, "tenant")
        assert (found.culprit(), found.members["acme"]) == ("", Figure(now=0, usual=5))

    @pytest.mark.parametrize(("now", "culprit", "known"), [(90.0, "", False), (0.5, "b", True)])
    def test_a_member_that_works_once_a_week_is_no_culprit(
        self, now: float, culprit: str, known: bool
    ) -> None:
        """Too small, it decides nothing."""
        given = frame([("weekly", now, None), ("b", 20, 2), ("c", 4, 4)])
        given["baseline_of"] = ["disputed: 0 by the last days, 90 by the last Sunday", "", ""]
        found = group(given, "tenant")
        assert (found.culprit(), not found.unknown) == (culprit, known)
        assert known or "weekly (disputed: 0 by the last days, 90" in found.unknown

    def test_a_cut_baseline_is_no_history(self) -> None:
        cut = dataclasses.replace(_ORIGIN, missing={"ratio": "unknown: the baseline is cut off"})
        assert group(frame([("a", 5, None), ("b", 2, 2)], cut), "tenant").members["a"].usual is None

    @pytest.mark.parametrize(
        ("changed", "why"),
        [
            ({"reason": "no answer", "next_step": "start it"}, "no answer"),
            ({"cut_by": "the row cap of 2"}, "the answer is cut by the row cap of 2"),
        ],
    )
    def test_an_answer_that_is_not_whole_says_nothing(
        self, changed: Mapping[str, str], why: str
    ) -> None:
        given = frame([("a", 5, 1), ("b", 2, 2)], dataclasses.replace(_ORIGIN, **changed))  # type: ignore[arg-type]  # texts
        found = group(given, "tenant")
        assert (found.reason, found.members) == (why, {})
        assert courses(given, "tenant") == {}

    def test_a_missing_value_says_nothing(self) -> None:
        found = group(frame([("a", math.nan, 1), ("b", 2, 2)]), "tenant")
        assert found.reason == "no value for a"

    def test_no_row_of_a_queue_is_not_0(self) -> None:
        found = group(frame([("a", 1, 1)]), "tenant", {"tenant": "b"})
        assert found.reason == "there are no values of tenant b"

    @pytest.mark.parametrize(
        ("members", "culprit"),
        [
            ({"a": (60, 6), "b": (10, 10)}, "a"),
            ({"a": (60, 6), "b": (30, 10)}, ""),  # both have risen
            ({"a": (24, 8), "b": (6, 2)}, ""),  # all alike, one is large
            ({"a": (9, 1)}, ""),  # nobody to compare with
            ({"a": (1, 5), "b": (1, 5)}, ""),  # all have fallen
            ({"a": (5, 5), "b": (5, 5)}, ""),
            ({"a": (5, None), "b": (5, 1)}, ""),
            ({"a": (9, 0), "b": (0, 0)}, ""),  # usually none at all
        ],
    )
    def test_who_has_risen_alone(
        self, members: dict[str, tuple[float, float | None]], culprit: str
    ) -> None:
        assert figures(**members).culprit() == culprit

    @pytest.mark.parametrize(
        ("failing", "per_s", "now", "holds"),
        [
            ([1, 1], [1, 1], {}, None),  # its series is gone
            ([1], [1, 0], {"x": 0.0}, None),  # no calls now
            ([1, 0], [1, 1], {"x": 1.0}, False),  # it has calls, which succeed
            ([0, 0], [1, 0], {"x": 0.0}, False),  # it never failed
            ([1, 1], [0.01, 0.01], {"x": 0.01}, False),  # too few calls to say that it failed
        ],
    )
    def test_only_calls_show_that_a_model_is_well(
        self, failing: list[float], per_s: list[float], now: dict[str, float], holds: bool | None
    ) -> None:
        found = provider.silent(
            errors=course("model", x=[100 * one for one in failing]),
            asked=course("model", later_s=2, x=per_s),
            requests=of_now("model", y=1.0, **now),
            tolerated=0.05,
        )
        assert found.holds is holds

    def test_the_values_of_a_series_by_time(self) -> None:
        at = pd.to_datetime([60, 120], unit="s", utc=True).to_pydatetime()
        ranged = dataclasses.replace(_ORIGIN, step_s=60.0)
        columns = (Column("sampled_at", TIMESTAMPTZ), Column("value", 701), Column("queue", 25))
        rows = [(at[0], 1.0, "q"), (at[1], math.nan, "q"), (at[1], 3.0, "r")]
        known = to_frame(Answer(columns=columns, rows=rows, provenance=ranged))
        assert courses(known, "queue")["q"].values == [(60.0, 1.0)]
        assert courses(known, "queue", {"queue": "r"})["r"].between(60, 120) == [3.0]
        assert courses(known, "queue")["r"].between(120, 180) == []


def queue(
    *approvers: tuple[str, float, float],
    created: float = 0.05,
    usually: float | None = None,
    waiting: float = 90,
    seen_s: float = 3600,
    **given: object,
) -> Queue:
    """A queue that gets 0.05 tasks per s from two agents; approvers by name, before, and lately."""
    decided = sum(lately for *_, lately in approvers)
    known = [Approver(name=n, before=b, lately=now, seen_s=seen_s) for n, b, now in approvers]
    agents = figures(x=(created / 2, 0.02), y=(created / 2, 0.02))
    fields = {"agents": agents, "everybody": agents, "approvers": known, **given}
    return Queue(
        name="refunds",
        waiting=waiting,
        created=Figure(now=created, usual=0.04),
        decided=Figure(now=decided, usual=usually),
        silent_s=900,
        **fields,  # type: ignore[arg-type]  # agents and approvers
    )


def held(suspects: Mapping[str, Suspect]) -> dict[str, str]:
    """The causes that hold, with their culprits."""
    return {name: one.which for name, one in suspects.items() if one.holds}


def unseen(suspects: Mapping[str, Suspect]) -> set[str]:
    return {name for name, one in suspects.items() if one.holds is None}


class TestApprovals:
    def test_nobody_decides(self) -> None:
        found = approvals.suspects(queue(("ann", 0.02, 0), ("bob", 0.02, 0)))
        assert held(found) == {"absent": "ann, bob"}
        assert "nobody else decides either" in found["absent"].said

    def test_an_approver_who_decides_seldom_is_not_absent(self) -> None:
        """None in 15 min of one who decides 4 in an hour is chance."""
        found = approvals.suspects(queue(("ann", 0.001, 0), ("bob", 0.04, 0.02)))
        assert held(found) == {"more": ""}
        assert "no single approver has stopped" in found["absent"].said

    def test_short_knowledge_of_decisions_is_none(self) -> None:
        found = approvals.suspects(queue(("ann", 0.02, 0), ("bob", 0.02, 0.02), seen_s=600))
        assert (held(found), unseen(found)) == ({}, {"absent", "more"})

    def test_decisions_that_are_not_known(self) -> None:
        found = approvals.suspects(
            dataclasses.replace(queue(("ann", 0.02, 0.02)), approvers="there are no decisions")
        )
        assert (held(found), unseen(found)) == ({}, {"absent", "more"})

    def test_a_loop_and_an_absent_approver_are_both_told(self) -> None:
        agents = figures(x=(0.5, 0.02), y=(0.02, 0.02))
        found = approvals.suspects(queue(("ann", 0.02, 0), ("bob", 0.02, 0.02), agents=agents))
        assert held(found) == {"loop": "x", "absent": "ann"}

    @pytest.mark.parametrize(
        ("now", "others", "culprit"),
        [(0.5, 0.02, {"loop": "x"}), (0.1, 0.02, {}), (0.5, 0.2, {}), (0.5, None, {})],
    )
    def test_the_only_agent_of_a_queue_loops_if_those_of_other_queues_are_calm(
        self, now: float, others: float | None, culprit: dict[str, str]
    ) -> None:
        everybody = {"x": (now, 0.02)} | ({"z": (others, 0.02)} if others else {})
        agents = figures(x=(now, 0.02))
        found = approvals.suspects(
            queue(("ann", 0.02, 0.02), created=now, agents=agents, everybody=figures(**everybody))
        )
        assert held(found) == culprit
        assert ("loop" in unseen(found)) is not bool(culprit)

    @pytest.mark.parametrize("usual", [0.01, 0.0])
    def test_an_agent_with_twice_its_work_or_a_new_one_may_work(self, usual: float) -> None:
        agents = figures(x=(0.022, usual), y=(0.01, 0.01))
        found = approvals.suspects(
            queue(("ann", 0.02, 0.02), created=0.032, agents=agents, everybody=agents)
        )
        assert (held(found), unseen(found)) == ({}, {"loop", "more"})

    def test_a_queue_that_shrinks_does_not_hide_a_loop(self) -> None:
        agents = figures(x=(0.4, 0.02), y=(0.02, 0.02))
        for waiting in (90, 9000):
            found = approvals.suspects(
                queue(("ann", 0.02, 0.45), created=0.42, waiting=waiting, agents=agents)
            )
            assert held(found) == {"loop": "x"}

    def test_a_queue_that_shrinks_too_slowly_is_not_left_to_itself(self) -> None:
        found = approvals.suspects(queue(("ann", 0.06, 0.0501), waiting=9000))
        assert (held(found), unseen(found)) == ({}, {"more"})

    @pytest.mark.parametrize(
        ("usually", "causes", "open_"),
        [(0.04, {"absent": ""}, set()), (None, {}, {"absent", "more"}), (0.0, {"more": ""}, set())],
    )
    def test_nobody_decides_in_the_whole_range(
        self, usually: float | None, causes: dict[str, str], open_: set[str]
    ) -> None:
        found = approvals.suspects(queue(("ann", 0, 0), ("bob", 0, 0), usually=usually))
        assert (held(found), unseen(found)) == (causes, open_)

    def test_one_who_was_absent_in_the_whole_range_is_missed(self) -> None:
        found = approvals.suspects(queue(("ann", 0, 0), ("bob", 0.02, 0.02), usually=0.04))
        assert (held(found), unseen(found)) == ({}, {"absent", "more"})

    def test_without_new_tasks_the_queue_gets_no_more_work(self) -> None:
        idle = figures(x=(0, 0.02), y=(0, 0.02))
        found = approvals.suspects(
            queue(("ann", 0, 0), created=0, usually=0.0, agents=idle, everybody=idle)
        )
        assert (held(found), unseen(found)) == ({}, {"more"})

    def test_a_queue_that_shrinks_has_no_cause(self) -> None:
        found = approvals.suspects(queue(("ann", 0.02, 0), ("bob", 0.08, 0.08)))
        assert (held(found), unseen(found)) == ({}, set())
        assert found["absent"].said == "refunds shrinks, and is empty in about 50 min"


def spent(**given: Any) -> Spending:
    """Two features, tenants and models, all as usual."""
    usual = {
        "features": figures(chat=(5, 5), search=(5, 5)),
        "tenants": figures(a=(5, 5), b=(5, 5)),
        "models": figures(small=(10, 10)),
        "requests": figures(small=(2, 2)),
        "steps": figures(search=(4, 4)),
        "retries": figures(chat=(0.1, 0.1), search=(0.1, 0.1)),
        "tokens": figures(chat=(900, 900), search=(900, 900)),
    }
    return Spending(**{**usual, **given})


_UP = {"features": figures(chat=(5, 5), search=(40, 5)), "models": figures(small=(45, 10))}


class TestCost:
    def test_a_loop_that_is_not_known_is_no_traffic(self) -> None:
        requests = figures(small=(9, 2))
        nothing = Group(members={}, reason="the query has no result")
        found = cost.suspects(spent(**_UP, requests=requests, retries=nothing))
        assert (held(found), "loop" in unseen(found), "traffic" in unseen(found)) == (
            {},
            True,
            True,
        )

    def test_agents_that_take_as_many_steps_do_not_loop(self) -> None:
        """Whether one feature with more requests is meant, only its owner knows."""
        found = cost.suspects(spent(**_UP, requests=figures(small=(9, 2))))
        assert (held(found), unseen(found)) == ({}, {"traffic"})
        assert found["traffic"].next_step == "ask the owner of search whether that is meant"
        assert "with as many steps and retries as usual" in found["loop"].said

    def test_a_loop_for_one_tenant_is_the_loop(self) -> None:
        found = cost.suspects(
            spent(
                **_UP,
                requests=figures(small=(9, 2)),
                steps=figures(search=(40, 4)),
                tenants=figures(a=(40, 5), b=(5, 5)),
            )
        )
        assert held(found) == {"loop": "search"}
        assert found["tenant"].said == (
            "search repeats its requests: that explains the rise of a, too"
        )

    def test_a_few_more_retries_are_no_loop(self) -> None:
        """0.001 for each request in place of 0.0001 is ten times as many, and nothing."""
        retries = figures(chat=(0.1, 0.1), search=(0.001, 0.0001))
        found = cost.suspects(spent(**_UP, requests=figures(small=(9, 2)), retries=retries))
        assert not found["loop"].holds

    @pytest.mark.parametrize(
        "signs",
        [{"retries": figures(chat=(0.1, 0.05))}, {"steps": figures(chat=(3, 1.5))}],
    )
    def test_repetition_that_explains_little_of_a_growth_stops_no_feature(
        self, signs: dict[str, Group]
    ) -> None:
        features = figures(chat=(200, 80), search=(50, 20))
        grown = {"features": features, "requests": figures(small=(5, 2))}
        usual = {"retries": figures(chat=(0.05, 0.05)), "models": figures(small=(25, 10))}
        found = cost.suspects(spent(**{**grown, **usual, **signs}))
        assert held(found) == {"traffic": ""}

    @pytest.mark.parametrize(
        ("requests", "failing", "instead"),
        [
            ({"large": (2, 0), "small": (0, 2), "embed": (1, 1)}, {"small": 0.01}, "small"),
            ({"large": (2, 0), "embed": (1, 1)}, {"embed": 0.0}, ""),  # small has vanished
            ({"large": (2, 0), "small": (0, 2)}, {"small": 0.9}, ""),  # it is down
            ({"large": (2, 0), "small": (0, 2)}, {}, ""),  # no calls show that it answers
        ],
    )
    def test_only_a_model_that_was_replaced_and_answers_is_one_to_return_to(
        self,
        requests: dict[str, tuple[float, float]],
        failing: dict[str, float],
        instead: str,
    ) -> None:
        models = figures(large=(90, 0), embed=(1, 1), small=(0, 5))
        both = figures(chat=(45, 3), search=(45, 3))
        found = cost.suspects(
            spent(features=both, models=models, requests=figures(**requests), failing=failing)
        )["switch"]
        assert (found.holds, found.instead) == (True if instead else None, instead)

    def test_a_small_feature_with_larger_requests_is_not_accused(self) -> None:
        found = cost.suspects(
            spent(
                features=figures(chat=(20, 5), search=(20, 5), tiny=(0.2, 0.1)),
                models=figures(small=(40, 10)),
                tokens=figures(chat=(900, 900), search=(900, 900), tiny=(2000, 900)),
            )
        )
        assert (held(found), "larger" in unseen(found)) == ({}, True)

    def test_a_price_that_rose_is_not_known(self) -> None:
        found = cost.suspects(spent(**_UP))
        assert (held(found), "larger" in unseen(found)) == ({}, True)
        assert "compare the prices" in found["larger"].next_step

    def test_a_model_that_is_called_more_as_all_are_is_no_switch(self) -> None:
        models, requests = (
            figures(small=(20, 5), large=(60, 5)),
            figures(small=(4, 1), large=(4, 1)),
        )
        found = cost.suspects(
            spent(models=models, requests=requests, features=figures(chat=(40, 5), search=(40, 5)))
        )
        assert not found["switch"].holds

    def test_without_requests_nothing_is_known_of_their_price(self) -> None:
        found = cost.suspects(spent(**_UP, requests=figures(small=(0, 0))))
        assert (held(found), {"switch", "larger"} <= unseen(found)) == ({}, True)


def guardrail(
    reviewed: float | str,
    deployed: Deployed | str | None = None,
    share: tuple[float, float] = (0.4, 0.02),
    of_source: Mapping[str, float | str] | None = None,
    **sources: tuple[float, float | None],
) -> Guardrail:
    known = sources or {"u1": (2, 0.1), "u2": (2, 0.1)}
    return Guardrail(
        name="pii",
        share=Figure(now=share[0], usual=share[1]),
        sources=figures(**known),
        false_positives=reviewed,
        of_source=of_source or {},
        deployed=deployed,
    )


_REVIEWS = {
    "attacker": (("pii", "u9", "confirmed", 40.0), ("pii", "u9", "false_positive", 1.0)),
    "feed": (("pii", "u1", "confirmed", 40.0), ("pii", "u9", "confirmed", 1.0)),
    "few": (("pii", "u9", "confirmed", 1.0),),
    "coin": (("pii", "u9", "confirmed", 12.0), ("pii", "u9", "false_positive", 9.0)),
    "unlabelled": (("pii", None, "confirmed", 40.0),),
}


def by_labels(labels: tuple[str, ...], *rows: tuple[object, ...]) -> pd.DataFrame:
    """An answer about a moment: values of the labels, then now and, if given, the baseline."""
    width = len(labels)
    names = ["series", *labels, "value", "baseline"][: 1 + max(width + 1, len(rows[0]))]
    kinds = [25] * (width + 1) + [701] * (len(names) - width - 1)
    columns = tuple(Column(name, kind) for name, kind in zip(names, kinds, strict=True))
    known = [(str(row[:width]), *row) for row in rows]
    return to_frame(Answer(columns=columns, rows=known, provenance=_ORIGIN))


class TestSafety:
    def test_a_deployment_alone_is_not_guilty(self) -> None:
        quiet = Deployed(version="2", ago_s=900, before=0.02, after=0.02)
        loud = Deployed(version="2", ago_s=900, before=0.01, after=0.2)
        assert held(safety.suspects(guardrail(0.9, quiet))) == {"mistuned": "pii"}
        assert held(safety.suspects(guardrail(0.9, loud))) == {"deployed": "pii"}
        assert held(safety.suspects(guardrail(0.1, loud))) == {"wave": "pii"}

    def test_a_guardrail_without_reviews_is_never_called_wrong(self) -> None:
        loud = Deployed(version="2", ago_s=900, before=0.01, after=0.2)
        found = safety.suspects(guardrail("nobody reviewed it", loud))
        assert (held(found), unseen(found)) == ({}, {"deployed", "mistuned", "wave"})
        assert all(one.next_step for one in found.values() if one.holds is None)

    @pytest.mark.parametrize(
        ("reviews", "source"),
        [("attacker", True), ("feed", None), ("few", None), ("coin", None), ("unlabelled", None)],
    )
    def test_only_enough_reviews_of_its_own_convict_a_source(
        self, reviews: str, source: bool | None
    ) -> None:
        found = safety.judged(
            events=by_labels(("guardrail",), ("pii", 0.4, 0.02), ("toxicity", 0.02, 0.02)),
            sources=by_labels(
                ("guardrail", "source"), ("pii", "u9", 4.0, 0.0), ("pii", "u1", 0.1, 0.1)
            ),
            reviews=by_labels(("guardrail", "source", "outcome"), *_REVIEWS[reviews]),
            course=course("guardrail", pii=[0.4]),
            deployed=of_now("version", v41=0.0),
            guardrail="",
        )
        assert found["source"].holds is source
        assert held(found) == ({"source": "u9"} if source else {})

    def test_a_guardrail_that_triggers_as_usual_has_no_cause(self) -> None:
        """Also if it is the one of the alert, and another one triggers more often now."""
        found = safety.suspects(guardrail(0.1, share=(0.02, 0.02)))
        assert (held(found), unseen(found)) == ({}, set())

    def test_one_that_usually_never_triggers_comes_first(self) -> None:
        found = safety.judged(
            events=by_labels(("guardrail",), ("new", 0.4, 0.0), ("pii", 0.022, 0.02)),
            sources=by_labels(("guardrail", "source"), ("new", "u1", 4.0, 0.0)),
            reviews=by_labels(("guardrail", "source", "outcome"), ("new", "u1", "confirmed", 50.0)),
            course=course("guardrail", new=[0.4]),
            deployed=of_now("version", v41=0.0),
            guardrail="",
        )
        assert "new" in found["wave"].said

    @pytest.mark.parametrize(
        ("versions", "values", "causes"),
        [
            ({"v41": 0.0}, [0.4] * 9, {"mistuned": "pii"}),  # long before the range
            ({"v41": 0.0, "v42": 400.0}, [0.02] * 6 + [0.4] * 3, {}),  # just now
            ({"v42": 100.0}, [0.4] * 9, {}),  # nothing is known of before
        ],
    )
    def test_a_guardrail_is_not_tuned_while_a_deployment_may_be_the_cause(
        self, versions: dict[str, float], values: list[float], causes: dict[str, str]
    ) -> None:
        found = safety.judged(
            events=by_labels(("guardrail",), ("pii", 0.4, 0.02)),
            sources=by_labels(
                ("guardrail", "source"), ("pii", "u1", 4.0, 0.1), ("pii", "u2", 4.0, 0.1)
            ),
            reviews=by_labels(
                ("guardrail", "source", "outcome"), ("pii", "u1", "false_positive", 50.0)
            ),
            course=course("guardrail", pii=values),
            deployed=of_now("version", **versions),
            guardrail="",
        )
        assert held(found) == causes
        assert ({"deployed", "mistuned"} <= unseen(found)) is not bool(causes)

    def test_no_step_switches_a_guardrail_off(self) -> None:
        loud = Deployed(version="2", ago_s=900, before=0.01, after=0.2)
        for one in (guardrail(0.9), guardrail(0.9, loud), guardrail(0.1)):
            for suspect in safety.suspects(one).values():
                assert "switch off" not in suspect.next_step
                assert "disable" not in suspect.next_step.lower()


def calls(*models: Model, **given: object) -> Calls:
    return Calls(models=models, tolerated=0.05, **given)  # type: ignore[arg-type]  # its fields


def model(of: str, name: str, failing: float, per_s: float = 1, **given: float) -> Model:
    return Model(provider=of, name=name, failing=failing, per_s=per_s, limited=0.0, **given)


class TestProvider:
    def test_a_few_calls_that_fail_are_not_judged(self) -> None:
        found = provider.suspects(calls(model("a", "x", 1, 0.01), model("b", "y", 0)))
        assert (held(found), unseen(found)) == ({}, {"partial"})
        assert "x" in found["partial"].said
        alone = provider.suspects(calls(model("a", "x", 1, 0.01)))
        assert (held(alone), len(unseen(alone))) == ({}, 5)

    def test_a_status_page_is_not_needed_for_the_fallback(self) -> None:
        found = provider.suspects(calls(model("a", "x", 0.9), model("b", "y", 0)))
        assert (held(found), unseen(found)) == ({"total": "a"}, {"ours"})
        assert found["total"].instead == "y"

    def test_the_named_fallback_comes_first_and_is_tried_if_it_has_no_calls(self) -> None:
        models = (model("a", "x", 0.9), model("b", "y", 0, 9), model("c", "z", 0, price=0.2))
        named = provider.suspects(calls(*models, fallback="z"))["total"]
        assert (named.instead, "Use z of c" in named.next_step) == ("z", True)
        cold = provider.suspects(calls(*models, fallback="w"))["total"]
        assert (cold.instead, "one test request to w" in cold.next_step) == ("w", True)

    def test_nothing_else_answers(self) -> None:
        """Nothing shows whether it is the provider or we, unless the provider says so."""
        found = provider.suspects(calls(model("a", "x", 0.9)))
        assert (held(found), {"ours", "total"} <= unseen(found)) == ({}, True)
        found = provider.suspects(calls(model("a", "x", 0.9), reported_well=False))
        assert (held(found), found["total"].instead) == ({"total": "a"}, "")
        assert found["total"].next_step.startswith("Pause the feature")

    def test_a_status_page_that_is_late_does_not_blame_us(self) -> None:
        models = (model("a", "x", 1), model("b", "y", 0))
        found = provider.suspects(calls(*models, reported_well=True))
        assert (held(found), unseen(found)) == ({"total": "a"}, {"ours"})
        assert "401 or 403" in found["ours"].next_step

    def test_noise_of_another_provider_is_not_our_side(self) -> None:
        found = provider.suspects(calls(model("a", "x", 1), model("b", "y", 0.06)))
        assert held(found) == {"total": "a"}
        assert "Use y of b, which answers, except 6 % of its calls" in found["total"].next_step

    def test_a_few_refused_calls_do_not_hide_an_outage(self) -> None:
        refused = Model(provider="b", name="y", failing=0.12, per_s=1, limited=0.12)
        found = provider.suspects(calls(model("a", "x", 1), refused))
        assert (held(found), found["total"].instead) == ({"total": "a"}, "")
        assert "most failed calls are others" in found["quota"].said

    def test_a_quota_is_no_outage_of_its_provider(self) -> None:
        refused = Model(provider="b", name="y", failing=0.9, per_s=5, limited=0.9)
        found = provider.suspects(calls(model("a", "x", 1), refused))
        assert held(found) == {"quota": "b", "total": "a"}

    def test_a_fallback_that_is_down_is_not_used(self) -> None:
        models = (model("a", "x", 1), model("a", "z", 1), model("b", "y", 0))
        found = provider.suspects(calls(*models, fallback="z"))["total"]
        assert (found.which, found.instead) == ("a", "")
        assert "the fallback z fails, too (100 % of its calls); y of b answers" in found.next_step

    def test_without_a_fallback_the_busiest_model_is_only_a_candidate(self) -> None:
        found = provider.suspects(calls(model("a", "x", 1), model("b", "embed", 0)))["total"]
        assert "Confirm first that it can do this work" in found.next_step

    def test_how_calls_fail_may_be_unknown(self) -> None:
        unsaid = Model(provider="a", name="x", failing=0.9, per_s=1)
        found = provider.suspects(calls(unsaid, model("b", "y", 0)))
        assert unseen(found) >= {"quota"}
        assert held(found) == {"total": "a"}

    def test_all_providers_at_once_are_our_side(self) -> None:
        found = provider.suspects(calls(model("a", "x", 0.9), model("b", "y", 0.8)))
        assert held(found) == {"ours": "a, b"}


@pytest.mark.parametrize(
    ("problem", "verdicts"),
    [
        (Verdict.OK, (Verdict.OK, Verdict.OK)),
        (Verdict.WARNING, (Verdict.WARNING, Verdict.UNKNOWN)),
        (Verdict.CRITICAL, (Verdict.CRITICAL, Verdict.UNKNOWN)),
        (Verdict.UNKNOWN, (Verdict.WARNING, Verdict.UNKNOWN)),
    ],
)
def test_a_cause_is_as_urgent_as_its_problem(
    problem: Verdict, verdicts: tuple[Verdict, Verdict]
) -> None:
    known = {
        "a": Suspect(title="A", holds=True, said="x does it", which="x"),
        "b": Suspect(title="B", holds=None, said="not known", next_step="look"),
    }
    found = findings(known, problem, "RUN-900")
    assert (found["a"].verdict, found["b"].verdict) == verdicts
    assert found["a"].is_cause is (problem is not Verdict.OK)
    assert found["a"].which == ("x" if found["a"].is_cause else "")


class TestLatency:
    """A part of the requests is the cause only if it explains that they are slow."""

    USUAL: Mapping[str, Group] = {
        "requests": figures(**{"": (3.0, 0.3)}),
        "models": figures(contoso=(1.2, 1.2), northwind=(1.1, 1.2)),
        "systems": figures(payments=(0.1, 0.1)),
        "queries": figures(**{"": (0.02, 0.02)}),
        "rate": figures(**{"": (40, 40)}),
    }

    def holds(self, **changed: Group) -> dict[str, bool | None]:
        found = latency.suspects(Times(**{**self.USUAL, **changed}))
        return {name: one.holds for name, one in found.items()}

    @pytest.mark.parametrize(
        ("changed", "cause"),
        [
            ({"models": figures(contoso=(5, 1.2), northwind=(1.1, 1.2))}, "provider"),
            ({"systems": figures(payments=(2.5, 0.1), mail=(0.1, 0.1))}, "upstream"),
            ({"queries": figures(**{"": (1.5, 0.02)})}, "database"),
            # many queries that are each a little slower
            ({"queries": figures(**{"": (0.2, 0.02)})}, "database"),
            ({"rate": figures(**{"": (320, 40)})}, "traffic"),
            # retries of a slow part
            (
                {"rate": figures(**{"": (320, 40)}), "queries": figures(**{"": (1.5, 0.02)})},
                "database",
            ),
            # the slower of two
            (
                {
                    "systems": figures(payments=(1.5, 0.1)),
                    "queries": figures(**{"": (2.5, 0.02)}),
                },
                "database",
            ),
            # twice as slow, and too little to be the cause
            ({"systems": figures(payments=(0.2, 0.1))}, ""),
            ({"queries": figures(**{"": (0.004, 0.002)})}, ""),
            ({"rate": figures(**{"": (55, 40)})}, ""),
        ],
    )
    def test_the_part_that_became_slower(self, changed: dict[str, Group], cause: str) -> None:
        found = self.holds(**changed)
        assert [name for name, holds in found.items() if holds] == ([cause] if cause else [])
        assert None not in found.values()

    def test_what_is_not_measured_is_unknown(self) -> None:
        silent = Group(members={}, reason="no result")
        assert self.holds(models=silent)["provider"] is None
        new = figures(**{"": (3.0, None)})
        assert set(self.holds(requests=new).values()) == {None}
        assert self.holds(queries=new)["database"] is None

    def test_the_slowest_model_of_a_provider_counts_and_one_without_calls_does_not(self) -> None:
        given = frame([("a", 5.0, 1.0), ("b", 1.0, 1.0), ("c", math.nan, 1.0)]).assign(
            provider=["contoso", "contoso", "northwind"]
        )
        assert latency.slowest(given, "provider").members == {"contoso": Figure(now=5, usual=1)}

    @pytest.mark.parametrize(
        ("contoso", "northwind", "holds"),
        [
            (1.0, 3.0, None),  # it may be slower, or always slow
            (1.0, 0.2, False),  # too fast to be the cause
            (5.0, 3.0, True),  # another one is the cause
        ],
    )
    def test_without_calls_at_this_hour_of_the_last_days_no_time_is_usual(
        self, contoso: float, northwind: float, holds: bool | None
    ) -> None:
        """Usually 0 ms would accuse each system that is seldom called."""
        given = frame([("a", contoso, 1.0), ("b", northwind, None)]).assign(provider=["c", "n"])
        found = latency.slowest(given, "provider")
        assert found.members["b"] == Figure(now=northwind)
        slow = figures(**{"": (0.42, 0.02)})
        assert self.holds(models=found, queries=slow)["provider"] is holds
        assert self.holds(models=found, queries=slow)["database"] is (holds is not True)

    def test_a_disputed_baseline_says_so(self) -> None:
        given = frame([("a", 9.0, 9.0), ("b", 0.5, None)]).assign(
            provider="c", baseline_of=["", "disputed: 0.1 by the last days, 0.5 by the last Sunday"]
        )
        found = latency.slowest(given, "provider")
        assert (found.members["b"].usual, "b (disputed: 0.1" in found.unknown) == (None, True)

    def test_no_calls_at_all_are_unknown(self) -> None:
        given = frame([("a", math.nan, 1.0)]).assign(provider="c")
        given.attrs["gone"] = [{"provider": "c", "model": "old", "baseline": 1.0}]
        found = latency.slowest(given, "provider")
        assert found.reason == "there are no calls now"
        assert self.holds(models=found)["provider"] is None

    def test_a_model_that_is_gone_has_no_time(self) -> None:
        given = frame([("a", 2.0, 1.0)]).assign(provider="c")
        given.attrs["gone"] = [{"provider": "c", "model": "old", "baseline": 1.0}]
        assert latency.slowest(given, "provider").members == {"c": Figure(now=2, usual=1)}

    @pytest.mark.parametrize("part", ["models", "systems", "queries"])
    def test_traffic_is_the_cause_only_if_no_part_is_unknown(self, part: str) -> None:
        """Scaling adds connections to a database that may be the slow part."""
        more = figures(**{"": (320, 40)})
        silent = Group(members={}, reason="no result")
        assert self.holds(rate=more, **{part: silent})["traffic"] is None
        assert self.holds(**{part: silent})["traffic"] is False

    def test_what_a_service_does_not_call_is_not_unknown(self) -> None:
        none = latency.NOT_CALLED
        found = self.holds(rate=figures(**{"": (320, 40)}), models=none, systems=none)
        assert found == {"provider": False, "upstream": False, "database": False, "traffic": True}
