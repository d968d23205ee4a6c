"""What goes wrong on servers, each with its truth: the matrix, and drills to come.

A scenario is made on a `Stage`, which undoes it:

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
