"""The scenarios of the matrix: problems of servers, each with the expected results.

A scenario is created on a `Stage`, which also undoes it. There are at least 40 scenarios:

>>> len(SCENARIOS) >= 40
True
"""

from rbkernel.sandbox.faults.scenario import Scenario
from rbkernel.sandbox.faults.scenarios import (
    controls,
    other_locks,
    reach,
    replication,
    row_locks,
    rows,
    slots,
    standbys,
    table_locks,
    transactions,
)

__all__ = ["SCENARIOS"]

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for module in (
        *(controls, row_locks, table_locks, other_locks),
        *(slots, transactions, standbys, replication, rows, reach),
    )
    for scenario in module.SCENARIOS
}
