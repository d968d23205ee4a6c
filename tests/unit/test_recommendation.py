"""Which option of a decision is recommended: unknown never reads as false."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rbkernel.checks.assessed import Assessed
from rbkernel.errors import ParameterError
from rbkernel.model import Finding, Verdict
from rbkernel.triage.decisions.recommendation import by_conditions, truth

LATE = Finding(
    title="Lag", verdict=Verdict.CRITICAL, expected="2 s", actual="9 s", cause="it is 9 s behind"
)
WELL = replace(LATE, title="Slots", verdict=Verdict.OK, actual="3 %", cause="")
UNSEEN = replace(LATE, title="Record", verdict=Verdict.UNKNOWN, actual="no answer", cause="")


def assessed(**findings: Finding) -> Assessed:
    """What `rb.assess` returns."""
    return Assessed(pd.DataFrame(), findings)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (LATE, True),
        (WELL, False),
        (UNSEEN, None),
        (assessed(a=WELL, b=LATE), True),
        (assessed(a=WELL, b=UNSEEN), None),
        (assessed(a=UNSEEN, b=LATE), True),
        (assessed(a=WELL), False),
        ([WELL, False, 0], False),
        ([UNSEEN, 2], True),
        ([[UNSEEN], WELL], None),
        (None, None),
        (float("nan"), None),
        (pd.NA, None),
        (np.True_, True),
        (np.int64(0), False),
    ],
)
def test_conditions(condition: Any, holds: bool | None) -> None:
    assert truth(condition).holds is holds


@pytest.mark.parametrize("condition", ["RUN-005", pd.Series([True]), object()])
def test_what_is_no_condition_is_said(condition: Any) -> None:
    with pytest.raises(ParameterError, match="neither true nor false"):
        truth(condition)


@pytest.mark.parametrize(
    ("condition", "kind"),
    [
        ("yes", "is text"),
        (pd.DataFrame({"state": ["idle"]}), "is a DataFrame"),
        ([WELL, "yes"], "is text"),
    ],
)
def test_the_option_of_what_is_no_condition_is_named(condition: Any, kind: str) -> None:
    with pytest.raises(ParameterError) as caught:
        by_conditions({"wait": False, "escalate": condition}, [])
    assert "the option 'escalate': the condition" in caught.value.what
    assert kind in caught.value.what
    assert caught.value.where == "rb.decide"
    assert caught.value.next_step


def test_the_first_that_holds_says_why() -> None:
    options = {"halt": WELL, "patch": LATE, "escalate": True, "wait": True}
    found = by_conditions(options, [WELL, LATE])
    assert (found.option, found.reason, found.needed) == ("patch", "it is 9 s behind", True)


def test_a_mere_true_is_explained_by_what_is_wrong() -> None:
    found = by_conditions({"halt": LATE.critical, "wait": True}, [LATE])
    assert (found.option, found.reason) == ("halt", "it is 9 s behind")


def test_waiting_needs_no_answer() -> None:
    found = by_conditions({"patch": WELL, "wait and look again": True}, [WELL])
    assert (found.option, found.needed) == ("wait and look again", False)


@pytest.mark.parametrize("condition", [UNSEEN, UNSEEN.critical, [UNSEEN.critical, False]])
@pytest.mark.parametrize("harmless", ["wait a minute", "do nothing"])
def test_unknown_never_ends_in_a_harmless_option(condition: Any, harmless: str) -> None:
    options = {"escalate to P1": condition, harmless: True}
    found = by_conditions(options, [WELL, UNSEEN])
    assert (found.option, found.needed) == ("escalate to P1", True)
    assert found.reason == "not known: Record (no answer)"
    assert by_conditions({"halt": condition, harmless: True}, [UNSEEN]).option is None


def test_a_check_that_its_cause_prevented_is_unknown_and_not_wrong() -> None:
    prevented = replace(UNSEEN, verdict=Verdict.WARNING, explained_by="Cause on primary")
    found = by_conditions({"patch": prevented, "wait": True, "escalate": False}, [prevented])
    assert (found.option, found.reason) == ("escalate", "not known: Record (no answer)")
    measured = replace(LATE, explained_by="Cause on primary", value=9.0)
    assert by_conditions({"patch": measured, "wait": True}, [measured]).option == "patch"


def test_waiting_in_the_middle_is_harmless_too() -> None:
    options = {"halt": UNSEEN, "wait": WELL.ok, "escalate": True}
    assert by_conditions(options, [UNSEEN, WELL]).option == "escalate"


def test_what_is_wrong_is_acted_on_although_more_is_unknown() -> None:
    found = by_conditions({"escalate": UNSEEN, "patch": LATE, "wait": True}, [UNSEEN, LATE])
    assert found.option == "patch"
    assert found.reason == "it is 9 s behind; not known: Record (no answer)"


def test_nothing_holds() -> None:
    assert by_conditions({"halt": WELL, "patch": False}, [WELL]).option is None
    assert by_conditions({"halt": WELL, "patch": None}, [WELL]).reason == (
        "not known: whether to patch"
    )


class TestAssessed:
    """What `rb.assess` returns."""

    two = assessed(connected=WELL, replay_lag_s=LATE)

    def test_findings_by_name_and_in_order(self) -> None:
        well, late = self.two
        assert (well, late) == (WELL, LATE)
        assert self.two["replay_lag_s"] is self.two.replay_lag_s is self.two[1] is LATE

    def test_a_misspelt_name_is_answered_with_the_right_one(self) -> None:
        with pytest.raises(ParameterError, match="did you mean replay_lag_s"):
            self.two["replay_lag"]
        with pytest.raises(AttributeError, match="did you mean connected"):
            _ = self.two.conected

    def test_all_together(self) -> None:
        assert (self.two.verdict, self.two.ok, self.two.critical) == ("critical", False, True)
        opening = assessed(a=replace(UNSEEN, opens="RUN-1"), b=replace(LATE, opens="RUN-2"), c=WELL)
        assert opening.opens == ("RUN-2", "RUN-1")
        assert opening.unknown
