"""The pure parts of a comparison: what is asked, how it is split, how a run is kept."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from rbkernel.cli import app
from rbkernel.errors import ConfigError
from rbkernel.reconciliation import Difference, Outcome, Progress, Question
from rbkernel.reconciliation.outcome import State
from rbkernel.reconciliation.parts import Part, ranges
from rbkernel.reconciliation.search import Pairs, edges_of, unmatched, width
from rbkernel.redact.columns import Policy, Redaction, token

KEYS = st.integers(-(2**63), 2**63 - 1)
ONE = Difference(key=("7", "a"), kind="changed", columns=("v",), version="x", state=State.ONCE)


def test_a_question_is_known_again_and_told_from_others() -> None:
    one = Question(source="a", target="b", mapping={"x": "y"})
    assert one.digest == Question(source="a", target="b", mapping={"x": "y"}).digest
    assert one.digest != Question(source="a", target="b").digest


def test_progress_survives_the_state_file() -> None:
    part = Part(kind="range", rows=5, low=None, high=9, least=-(2**63), most=8)
    progress = Progress(digest="d", layout="l", parts=(part,), done=1, differences=(ONE,))
    assert Progress.from_json(json.loads(json.dumps(progress.as_json()))) == progress


@pytest.mark.parametrize("found", [None, {}, {"parts": [{"nix": 1}], "differences": []}])
def test_a_state_file_of_something_else_is_refused(found: object) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Progress.from_json(found)


@pytest.mark.parametrize("jobs", ["0", "9"])
def test_the_command_refuses_so_many_jobs(jobs: str) -> None:
    refused = CliRunner().invoke(app, ["reconcile", "a:s", "b:t", "--jobs", jobs])
    assert refused.exit_code != 0
    assert "--jobs" in refused.output
    assert "than or equal to" in refused.output


class TestLooks:
    def test_the_same_twice_is_persistent(self) -> None:
        assert ONE.settled(ONE).state is State.PERSISTENT

    def test_other_values_are_unsettled(self) -> None:
        now = Difference(key=ONE.key, kind="changed", columns=("v",), version="y")
        assert ONE.settled(now).state is State.UNSETTLED

    def test_gone_is_in_flight(self) -> None:
        assert ONE.settled(None).state is State.IN_FLIGHT


class TestOutcome:
    @staticmethod
    def outcome(*differences: Difference, beyond: int = 0) -> Outcome:
        return Outcome(
            differences=differences,
            beyond=beyond,
            source_rows=1,
            target_rows=1,
            key=("id",),
            compared=("id", "v"),
            integer_key=False,
        )

    @pytest.mark.parametrize("state", [State.ONCE, State.UNSETTLED, State.PERSISTENT])
    def test_only_what_was_in_flight_is_the_same(self, state: State) -> None:
        assert self.outcome(ONE.become(State.IN_FLIGHT)).same
        assert not self.outcome(ONE.become(state)).same

    def test_what_was_only_counted_is_not_the_same(self) -> None:
        assert not self.outcome(beyond=1).same

    def test_a_frame_remembers_it(self) -> None:
        other = Difference(key=("8", "b"), kind="missing")
        outcome = self.outcome(ONE, other)
        frame = outcome.frame()
        assert outcome.listed(frame[frame["kind"] == "missing"]) == [other]
        assert copy.deepcopy(outcome) is outcome


class TestColumnPolicies:
    @staticmethod
    def outcome() -> Outcome:
        rows = (ONE, Difference(key=(), kind="type", columns=("w: a / b",)))
        return Outcome(
            differences=rows,
            beyond=0,
            source_rows=1,
            target_rows=1,
            key=("id", "email"),
            compared=("id", "email", "v"),
            integer_key=False,
        )

    @pytest.mark.parametrize(
        ("source", "target", "policy"),
        [("hash", "keep", "hash"), ("hash", "mask", "mask"), ("keep", "drop", "drop")],
    )
    def test_the_stricter_side_counts(self, source: str, target: str, policy: str) -> None:
        one, other = (Redaction.model_validate({"columns": {"*mail": p}}) for p in (source, target))
        found = self.outcome().policies(one, other, {"email": "mail"})
        assert {name: told.value for name, told in found.items()} == {"email": policy}

    def test_a_key_is_shown_as_they_say(self) -> None:
        shown = self.outcome().protected({"email": Policy.DROP}, b"")
        assert [one.key for one in shown.differences] == [("7", "[masked]"), ()]
        shown = self.outcome().protected({"email": Policy.HASH}, b"k")
        assert shown.differences[0].key == ("7", token("a", b"k"))

    def test_other_columns_leave_it_alone(self) -> None:
        outcome = self.outcome()
        assert outcome.protected({"v": Policy.MASK}, b"") is outcome

    def test_an_integer_key_shows_no_range(self) -> None:
        one = replace(
            self.outcome(), key=("id",), integer_key=True, key_range=(1, 9),
            differences=(Difference(key=("7",), kind="extra"),),
        )  # fmt: skip
        shown = one.protected({"id": Policy.HASH}, b"k")
        assert shown.key_range == (None, None)
        assert shown.frame()["key"].tolist() == [token("7", b"k")]


@given(keys=st.lists(KEYS, min_size=1, unique=True), count=st.integers(1, 9))
def test_every_key_is_in_one_range(keys: list[int], count: int) -> None:
    split = ranges(min(keys), max(keys), sorted(keys), count, len(keys))
    for key in [*keys, -(2**63), 2**63 - 1]:
        within = [
            part
            for part in split
            if (part.low is None or part.low <= key) and (part.high is None or key < part.high)
        ]
        assert len(within) == 1


@given(key=KEYS, least=KEYS, most=KEYS, rows=st.integers(1, 10**9))
def test_every_key_is_in_its_bucket(key: int, least: int, most: int, rows: int) -> None:
    wide = width(Part(kind="range", rows=rows, least=min(least, most), most=max(least, most)))
    bucket = abs(key) // wide * (1 if key >= 0 else -1)  # as PostgreSQL divides
    low, high = edges_of(bucket, wide)
    assert low <= key <= high


@given(
    left=st.dictionaries(st.integers(0, 20), st.integers(0, 3)),
    right=st.dictionaries(st.integers(0, 20), st.integers(0, 3)),
)
def test_unmatched_are_those_that_differ(left: dict[int, int], right: dict[int, int]) -> None:
    def pairs(of: dict[int, int]) -> Pairs:
        items = np.array(list(of.items()), dtype=np.int64).reshape(-1, 2)
        return items[:, 0], items[:, 1]

    found = unmatched(pairs(left), pairs(right)).tolist()
    assert found == sorted(k for k in left.keys() | right.keys() if left.get(k) != right.get(k))
