"""One runbook with everything that evidence went wrong with: secrets, odd numbers, odd texts."""

from __future__ import annotations

from pathlib import Path

from tests.support.kernels import START, write_runbook

PASSWORD = "correct-horse-77-battery"  # a canary
# numbers that JSON has not, or that a browser rounds
NUMBERS = """\
from decimal import Decimal
import numpy as np
import pandas as pd
nan, inf = float("nan"), float("inf")
values = [nan, inf, -inf, np.float32("inf"), np.int64(2**62), pd.NA, pd.NaT, Decimal("NaN"),
          Decimal("-Infinity"), 2**53 + 1, 10**400, 10**5000, 1.0, -0.0, 1.2345678901234568e20,
          1e22, 5e-324]
display({"application/json": {"values": values}, "text/plain": "values"}, raw=True)"""
# n/0 ratios, as a check judges them
RATIOS = """\
from rbkernel.model import Finding, Verdict
from rbkernel.triage.check import keep
ratio = pd.Series([1.0, 0.0, -1.0]) / 0
for name, value in zip(("up", "none", "down"), ratio, strict=True):
    _ = keep(Finding(title=f"ratio {name}", verdict=Verdict.CRITICAL, expected="1",
                     actual=str(value), value=value))"""
# bytes that are no UTF-8, as a query's text may hold them, and what steers a terminal
TEXTS = """\
query = b"SELECT caf\\xe9".decode(errors="surrogateescape")
print(query, "\\ud800", "\\x00\\x07\\x1b[31mred\\x1b[0m\\u2028\\u202e", "end")
display({"text/plain": query, "application/json": {query: query}}, raw=True)
query"""
ODD_CELLS = (
    "import rbkernel as rb\nfrom IPython.display import display",
    START,
    f'password = "{PASSWORD}"\nprint("connecting with", password)',
    NUMBERS,
    RATIOS,
    TEXTS,
    "pd.DataFrame({'n': range(100_000), 'text': 'x'})",
    "rb.summary()",
)


def write_odd(path: Path) -> Path:
    """Write it; it needs no database."""
    return write_runbook(path, ODD_CELLS, parameters="limit: float = 1.0")
