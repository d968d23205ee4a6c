"""Which cases `make test` tries, and which are left to `make soak`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def first(cases: Iterable[Any], kept: int = 1) -> list[Any]:
    """Return the parameters of a test: the first cases as they are, the others for the soak.

    A tuple has the values of several parameters.
    """
    values = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [
        pytest.param(*case, marks=() if number < kept else pytest.mark.soak)
        for number, case in enumerate(values)
    ]
