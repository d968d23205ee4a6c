"""The rules that judge the differences of two tables; `rb.assess` applies them."""

from __future__ import annotations

from rbkernel.checks.rule import Rule
from rbkernel.reconciliation.outcome import KINDS, OF_COLUMNS, State
from rbkernel.reconciliation.question import Question


def rules(question: Question) -> tuple[Rule, ...]:
    """Return the rules that judge the result of a comparison.

    >>> asked = Question(source="a", target="b", key=("id",))
    >>> [rule.name for rule in rules(asked)]
    ['columns', 'persistent', 'unsettled', 'in_flight']
    """
    source, target = question.source, question.target
    return (
        Rule(
            title="Columns missing in the new table or of another type",
            name="columns",
            agg="rows",
            where={"kind": list(OF_COLUMNS)},
            by="columns",
            unit="columns",
            critical=0,
            cause=f"{{value}} of {source} cannot be compared with {target}: {{top}}",
            next_step="halt the stage and correct the schema; or list the columns in ignore, if"
            " they are not needed",
            source="what is not compared may differ in every row",
        ),
        Rule(
            title="Persistent differences",
            name="persistent",
            agg="rows",
            where={
                "state": State.PERSISTENT.value,
                "kind": [kind for kind in KINDS if kind not in OF_COLUMNS],
            },
            by="kind",
            each="key",
            unit="rows",
            warn=0,
            critical=100,
            cause=f"{{value}} of {target} {{differs|differ}} from {source} and {{stays|stay}}"
            " different: {top}",
            next_step="first resolve any cause that was found; then patch the rows if this is a"
            " warning, or halt the stage if it is critical",
            source="one row that stays different is drift; 100 rows are what a person can review",
        ),
        Rule(
            title="Unsettled rows",
            name="unsettled",
            agg="rows",
            where={"state": State.UNSETTLED.value},
            unit="rows",
            warn=0,
            cause="{value} differed each time, but were changed in between",
            next_step="compare again with a longer recheck_after_s",
            source="a row that keeps changing cannot be compared reliably",
        ),
        Rule(
            title="Rows in flight",
            name="in_flight",
            agg="rows",
            where={"state": State.IN_FLIGHT.value},
            unit="rows",
            warn=1000,
            expected="no rows, or a few rows if the copy is asynchronous",
            cause="{value} were not copied yet at the first comparison",
            next_step="see whether the copy job keeps up",
            source="an asynchronous copy always has some rows in flight",
        ),
    )
