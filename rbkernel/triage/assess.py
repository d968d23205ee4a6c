"""`rb.assess`: run a diagnostic and apply its rules to the answer, in one call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import pandas as pd
from pydantic import Field, TypeAdapter, ValidationError

from rbkernel.arguments import checked, unknown_keyword
from rbkernel.checks import rules
from rbkernel.checks.answer import provenance
from rbkernel.checks.assessed import Assessed
from rbkernel.checks.frames import Frame
from rbkernel.checks.rule import Rule
from rbkernel.config.quantities import Count, Measured, Pause
from rbkernel.config.words import advice
from rbkernel.errors import ParameterError
from rbkernel.reconciliation import Question
from rbkernel.reconciliation.rules import rules as rules_of_differences
from rbkernel.sources.postgres import diagnostics
from rbkernel.sources.postgres.twice import PAUSE
from rbkernel.triage.check import explained, keep
from rbkernel.triage.query import query, sample

# warn, critical
_LIMITS: TypeAdapter[tuple[float | None, float | None]] = TypeAdapter(
    Annotated[tuple[Measured | None, Measured | None], Field(strict=False)]
)


@checked
def assess(
    what: Frame | str,
    db: str | None = None,
    *,
    n: Count | None = None,
    every_s: Pause | None = None,
    **values: Any,
) -> Assessed:
    """Run a diagnostic, and apply the rules that its header declares to the answer.

    Parameters
    ----------
    what
        A diagnostic's name, such as ``replication/lag``; or the result of `rb.query`, `rb.sample`,
        `rb.reconcile` or `rb.certificates`, which is judged without a new query.
    db
        Connection name; needed with a diagnostic's name.
    n
        How many samples to take, as `rb.sample` does; by default, the diagnostic runs once.
    every_s
        Seconds between two samples; for a diagnostic of rates, between the two queries of each.
    values
        The diagnostic's parameters by their names, and thresholds by the names of its rules:
        ``replay_lag_s=(2, 15)`` warns above 2 and is critical above 15. The name of a column
        stands for all rules on it.

    Returns
    -------
    Assessed
        The findings by the names of the rules: ``lag["replay_lag_s"]`` or ``lag.replay_lag_s``, or
        in the order of the header. ``.frame`` holds the rows; `rb.figure` and `rb.actions` accept
        this object instead of a frame.

    Raises
    ------
    ParameterError
        There is no such diagnostic, a keyword is unknown, or thresholds are not (warn, critical).
    """
    if isinstance(what, str):
        frame, values = _asked(what, db, n, every_s, values)
    else:
        frame = what
        given = {"db": db, "n": n, "every_s": every_s}
        if surplus := [name for name, value in given.items() if value is not None]:
            raise ParameterError(
                f"rb.assess was given a frame, so {', '.join(surplus)} cannot be used: nothing"
                " is queried",
                next_step='leave this out, or pass the name of a diagnostic: rb.assess("…", db)',
            )
    declared = _declared(frame)
    known = {rule.name for rule in declared} | {rule.column for rule in declared if rule.column}
    for name in values:
        if name not in known:
            raise unknown_keyword("rb.assess", name, [rule.name for rule in declared])
    applied = _limited(declared, values)
    # for `rb.figure.of`, which draws them
    frame.attrs["limits"] = {rule.column: (rule.warn, rule.critical) for rule in reversed(applied)}
    judged = {rule.name: keep(explained(rules.apply(rule, frame))) for rule in applied}
    return Assessed(frame, judged)


def _asked(
    name: str, db: str | None, n: int | None, every_s: float | None, values: Mapping[str, Any]
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Run a diagnostic; return its frame, and the keyword values that are thresholds of its
    rules.
    """
    if " " in name.strip():
        raise ParameterError(
            "rb.assess takes the name of a diagnostic, not SQL, because SQL has no rules",
            next_step="use rb.query for the SQL, and rb.check for its rule",
        )
    diagnostic = diagnostics.get(name)
    if db is None:
        raise ParameterError(
            f"rb.assess needs the connection on which to run {name}",
            next_step=f'write rb.assess("{name}", db)',
        )
    names = [rule.name for rule in diagnostic.rules]
    columns = [rule.column for rule in diagnostic.rules if rule.column]
    thresholds = {one: value for one, value in values.items() if one in {*names, *columns}}
    asked = {one: value for one, value in values.items() if one not in thresholds}
    for one in asked:
        if one not in diagnostic.parameters:
            own = ("db", "n", "every_s")
            raise unknown_keyword("rb.assess", one, [*own, *diagnostic.parameters, *names])
    _limited(diagnostic.rules, thresholds)  # wrong ones are refused before the query
    if n is not None:
        pause = {} if every_s is None else {"every_s": every_s}
        return sample(name, db, n=n, **pause, **asked), thresholds
    if every_s is not None and PAUSE not in diagnostic.parameters:
        raise ParameterError(
            f"rb.assess takes one sample of {name}, so every_s={every_s:g} has no effect",
            next_step="add n=3 for three samples, or remove every_s",
        )
    if every_s is not None:
        asked[PAUSE] = every_s
    return query(name, db, **asked), thresholds


def _declared(frame: pd.DataFrame) -> Sequence[Rule]:
    origin = provenance(frame)
    if (own := frame.attrs.get("rules")) is not None:
        return tuple(own)
    if isinstance(question := frame.attrs.get("question"), Question):
        return rules_of_differences(question)
    if origin is None or origin.name not in diagnostics.names():
        raise ParameterError(
            "rb.assess needs the frame of a named diagnostic", next_step="use rb.check instead"
        )
    return diagnostics.get(origin.name).rules


def _limits(name: str, value: Any) -> tuple[float | None, float | None]:
    try:
        return _LIMITS.validate_python(value)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        place = problem["loc"][0] if problem["loc"] else None
        if problem["type"] == "float_type" and isinstance(place, int):
            problem_text = f"{('warn', 'critical')[place]} {advice(problem)}"
        else:
            problem_text = "needs two thresholds, warn and critical; None is no threshold"
        raise ParameterError(
            f"rb.assess: {name}: {problem_text}", next_step=f"write {name}=(warn, critical)"
        ) from None


def _limited(rules: Iterable[Rule], thresholds: Mapping[str, Any]) -> Sequence[Rule]:
    """Return the rules with the thresholds of the call in place of those of the header."""
    limits = {name: _limits(name, value) for name, value in thresholds.items()}
    return [_with(rule, limits) for rule in rules]


def _with(rule: Rule, limits: Mapping[str, tuple[float | None, float | None]]) -> Rule:
    given = limits.get(rule.name, limits.get(rule.column))
    if given is None:
        return rule
    warn, critical = given
    try:
        return Rule(**{**rule.model_dump(), "warn": warn, "critical": critical})
    except ValidationError as error:
        raise ParameterError(
            f"rb.assess: {rule.name} {advice(error.errors()[0])}",
            next_step=f"write {rule.name}=(warn, critical)",
        ) from None
