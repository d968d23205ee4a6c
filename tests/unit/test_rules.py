"""The rule of a check: what cannot be judged is unknown, never ok."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbkernel.model import Verdict
from rbkernel.postgres.rule import Rule
from rbkernel.postgres.rules import judge

OK, WARNING, CRITICAL, UNKNOWN = Verdict.OK, Verdict.WARNING, Verdict.CRITICAL, Verdict.UNKNOWN
FIGURES = st.floats(allow_nan=False)


@pytest.mark.parametrize("value", [None, float("nan"), math.nan])
@pytest.mark.parametrize("below", [True, False])
def test_nothing_to_judge_is_unknown(value: float | None, below: bool) -> None:
    assert judge(value, warn=1, critical=2, below=below) is UNKNOWN


@pytest.mark.parametrize(
    ("value", "warn", "critical", "below", "verdict"),
    [
        (2, 2, 15, False, OK),  # the threshold itself is still right
        (2.001, 2, 15, False, WARNING),
        (15, 2, 15, False, WARNING),
        (15.001, 2, 15, False, CRITICAL),
        (float("inf"), 2, 15, False, CRITICAL),
        (float("-inf"), 2, 15, False, OK),
        (1, None, 1, True, OK),
        (0, None, 1, True, CRITICAL),
        (5, 10, None, True, WARNING),
        (1, 0, None, False, WARNING),
        (0, 0, None, False, OK),
    ],
)
def test_thresholds(
    value: float, warn: float | None, critical: float | None, below: bool, verdict: Verdict
) -> None:
    assert judge(value, warn=warn, critical=critical, below=below) is verdict


def test_a_rule_that_cannot_fail_is_an_error() -> None:
    with pytest.raises(ValueError, match="cannot fail"):
        Rule(title="x", column="y")


@given(value=FIGURES, warn=FIGURES, critical=FIGURES)
def test_worse_figures_never_read_better(value: float, warn: float, critical: float) -> None:
    warn, critical = sorted((warn, critical))
    here = judge(value, warn=warn, critical=critical)
    worse = judge(math.nextafter(value, math.inf), warn=warn, critical=critical)
    assert here is not UNKNOWN
    assert worse.rank >= here.rank
    assert judge(-value, warn=-warn, critical=-critical, below=True) is here
