"""`rb.reconcile` and `rb.repair`: find the rows of two tables that differ, and make SQL to repair
them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from rbkernel import actions, amounts
from rbkernel import reconciliation as tables
from rbkernel.arguments import checked, unknown_keyword
from rbkernel.checks.answer import Provenance
from rbkernel.checks.frames import Frame, failed_frame
from rbkernel.config.quantities import Number, Pause, Whole
from rbkernel.errors import DatabaseError, NothingCompared
from rbkernel.model import ActionPlan
from rbkernel.reconciliation import repair as repairing
from rbkernel.redact.columns import Policy
from rbkernel.triage.context import triage
from rbkernel.triage.query import show

# Longer SQL is written to a file, because it is too long to read in a notebook.
_MOST_ROWS = 500
_OWN = ("key", "target_db", "recheck_after_s", "max_load", "jobs")
_FIELDS = tuple(
    one.name
    for one in dataclasses.fields(tables.Question)
    if one.name not in {"source", "target", "key"}
)


@checked
def reconcile(
    db: str,
    source: str,
    target: str,
    *,
    key: str | Sequence[str] = "id",
    target_db: str = "",
    recheck_after_s: Pause = 5.0,
    max_load: Number | None = None,
    jobs: Whole = 1,
    **question: Any,
) -> pd.DataFrame:
    """Compare two tables, on one server or on two, and show the rows that differ.

    Parameters
    ----------
    db
        Connection name of the source, and of the target unless `target_db` names another.
    source, target
        Tables, possibly qualified; the source is taken as the truth.
    key
        Column or columns that identify a row in both tables.
    target_db
        Connection name of the target.
    recheck_after_s
        Seconds between two comparisons of a suspect row; must be longer than the delay of
        replication.
    max_load
        The comparison pauses while more than this number of sessions are active or wait for a lock.
    jobs
        Number of parts of the tables that are compared at the same time, 1 to 8. Each part uses its
        own connection on each server.
    question
        Further fields of `rbkernel.reconciliation.Question`: ``columns``, ``ignore``,
        ``mapping``, ``where``, ``window_s``, ``window_column``, ``tolerance``, ``time_zone``.

    Returns
    -------
    pandas.DataFrame
        One row per difference, with the columns ``key``, ``kind``, ``columns`` (the columns that
        differ) and ``state``. The kind says what is wrong in the target: the row is ``missing``,
        ``extra`` or ``changed``; the target lacks a ``column``; or the ``type`` of a column
        differs. The state is ``persistent``, ``in flight`` (the rows were equal in a later
        comparison) or ``unsettled`` (the rows still differed, but kept changing). ``attrs`` hold
        ``compared``, ``notes``, ``key_range``, ``source_rows``, ``target_rows`` and ``beyond`` (the
        number of differences that are not listed). If a server does not answer, or the conditions
        select no row, the frame is empty and the reason is attached. The column policies of
        ``[redaction]`` apply to the keys.

    Raises
    ------
    QueryError, ParameterError
        A table or column does not exist, or the key does not identify a row.
    """
    for name in question:
        if name not in _FIELDS:
            raise unknown_keyword("rb.reconcile", name, [*_OWN, *_FIELDS])
    asked = tables.Question(
        source=source, target=target, key=(key,) if isinstance(key, str) else tuple(key), **question
    )
    run = triage()
    one, other = run.session(db), run.session(target_db or db)
    try:
        outcome = tables.compare(
            one, other, asked, recheck_after_s=recheck_after_s, max_load=max_load, jobs=jobs
        )
    except (DatabaseError, NothingCompared) as error:
        frame = failed_frame(tables.COLUMNS, error, name=asked.name, connection=db, sql="")
    else:
        rules = one.connection.redaction
        policies = outcome.policies(rules, other.connection.redaction, asked.mapping)
        hashed = Policy.HASH in policies.values()
        frame = outcome.protected(policies, rules.key() if hashed else b"").frame()
        frame.attrs["rbkernel"] = _told(asked, outcome, policies, db, target_db)
        frame.attrs["asked"] = (asked, outcome, db, target_db or db)
    frame.attrs["question"] = asked
    return show(frame)


def _told(
    asked: tables.Question,
    outcome: tables.Outcome,
    policies: Mapping[str, Policy],
    db: str,
    target_db: str,
) -> Provenance:
    """Return the provenance for the frame of a table comparison."""
    one, other = outcome.servers
    rows = (
        f"{amounts.count(outcome.source_rows, 'row')} of {asked.source},"
        f" {amounts.count(outcome.target_rows, 'row')} of {asked.target}"
    )
    lines = [f"{outcome.how}: {rows}", f"compared: {', '.join(outcome.compared)}", *outcome.notes]
    return Provenance(
        name=asked.name,
        connection=f"{db}, {target_db}" if target_db else db,
        server=one if one == other else f"{one}; {other}",
        role=outcome.role,
        sql="\n".join(f"-- {line}" for line in lines),
        values=dataclasses.asdict(asked),
        at=outcome.started_at,
        duration_s=outcome.duration_s,
        rows=len(outcome.differences),
        cut_by="the limit of listed rows" if outcome.beyond else "",
        # values of other columns are not shown
        protected={name: policies[name].value for name in outcome.key if name in policies},
    )


@checked
def repair(differences: Frame) -> ActionPlan:
    """Plan to make rows of the target equal to the source; nothing is executed.

    Parameters
    ----------
    differences
        The result of `reconcile`, or some of its rows.

    Returns
    -------
    ActionPlan
        A plan for `rb.act`, with SQL that changes exactly these rows if they are unchanged when it
        runs, and with SQL that reverts the change. The plan has no SQL if there is nothing to
        repair, if the SQL would show values that column policies protect, or if a server does not
        answer.
    """
    if "asked" not in differences.attrs or differences.empty:
        return actions.repair_rows(differences)
    asked, outcome, db, target_db = differences.attrs["asked"]
    run = triage()
    rules = (run.session(name).connection.redaction for name in (db, target_db))
    protected = outcome.policies(*rules, asked.mapping)
    rows = outcome.listed(differences) if not protected else ()
    if protected or len(rows) > _MOST_ROWS:
        reason = f"{len(rows)} rows are too many to show"
        if protected:
            reason = f"the plan would show {', '.join(protected)}, which [redaction] protects"
        command = f"rbkernel reconcile {db}:{asked.source} {target_db}:{asked.target}"
        reason = f"{reason}: {command} … --repair repair.sql"
        return actions.repair_rows(differences, db=target_db, question=asked, why=reason)
    try:
        written = repairing.write(run.session(db), run.session(target_db), asked, rows)
    except DatabaseError as error:
        return actions.repair_rows(differences, db=target_db, question=asked, why=str(error))
    return actions.repair_rows(
        differences, db=target_db, question=asked, sql=written.sql, undo=written.inverse
    )
