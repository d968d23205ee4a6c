"""The scenarios of the matrix: problems of servers, each with the expected results.

A scenario is created on a `Stage`, which also undoes it. There are at least 40 scenarios:

>>> len(SCENARIOS) >= 40
True
"""

from rbkernel.sandbox.faults.scenario import Scenario
from rbkernel.sandbox.faults.scenarios import (
    controls,
    locks,
    reach,
    replication,
    rows,
    slots,
    standbys,
    transactions,
)

__all__ = ["SCENARIOS"]

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for module in (controls, locks, slots, transactions, standbys, replication, rows, reach)
    for scenario in module.SCENARIOS
}
