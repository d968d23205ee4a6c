"""`rb.reconcile` and `rb.repair`: which rows of two tables differ, and SQL to repair them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from rbkernel import actions
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

# Longer SQL belongs in a file: nobody reads it in a notebook.
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
        Column, or columns, that identify a row in both.
    target_db
        Connection name of the target.
    recheck_after_s
        Seconds between two looks at a suspect: longer than a row is ever in flight.
    max_load
        Sessions at work or waiting for a lock, above which the comparison pauses.
    jobs
        How many parts of the tables are compared at the same time, each by a connection of its own
        on each server; 1 to 8.
    question
        Further fields of `rbkernel.reconciliation.Question`: ``columns``, ``ignore``,
        ``mapping``, ``where``, ``window_s``, ``window_column``, ``tolerance``, ``time_zone``.

    Returns
    -------
    pandas.DataFrame
        A row a difference: ``key``; ``kind``, which is what is wrong in the target (missing, extra,
        changed; or of a column: column, that it lacks; type, that differs); ``columns`` that
        differ; ``state``: ``persistent``, ``in flight`` (it had arrived at a later look) or
        ``unsettled`` (it still differed, but kept changing). ``attrs`` hold ``compared``,
        ``notes``, ``key_range``, ``source_rows``,
        ``target_rows`` and ``beyond`` (differences that are counted and not listed). Empty with a
        reason when a server could not answer, or the conditions pick no row. Keys are shown as
        the column policies of ``[redaction]`` let them be seen.

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
    show(frame)
    return frame


def _told(
    asked: tables.Question,
    outcome: tables.Outcome,
    policies: Mapping[str, Policy],
    db: str,
    target_db: str,
) -> Provenance:
    """Return where the frame of a comparison came from."""
    one, other = outcome.servers
    rows = f"{outcome.source_rows} rows of {asked.source}, {outcome.target_rows} of {asked.target}"
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
    """Plan to make the target's rows equal to the source's; nothing is executed.

    Parameters
    ----------
    differences
        What `reconcile` returned, or some of its rows.

    Returns
    -------
    ActionPlan
        For `rb.act`: SQL that changes exactly these rows, if they are still as they are now, and
        as its undo the SQL that reverts it. Without SQL when there is nothing to repair, when it
        would show what column policies protect, or a server does not answer.
    """
    if "asked" not in differences.attrs or differences.empty:
        return actions.repair_rows(differences)
    asked, outcome, db, target_db = differences.attrs["asked"]
    run = triage()
    rules = (run.session(name).connection.redaction for name in (db, target_db))
    protected = outcome.policies(*rules, asked.mapping)
    rows = outcome.listed(differences) if not protected else ()
    if protected or len(rows) > _MOST_ROWS:
        told = f"{len(rows)} rows are too many to show"
        if protected:
            told = f"it would show {', '.join(protected)}, which [redaction] protects"
        command = f"rbkernel reconcile {db}:{asked.source} {target_db}:{asked.target}"
        told = f"{told}: {command} … --repair repair.sql"
        return actions.repair_rows(differences, db=target_db, question=asked, why=told)
    try:
        written = repairing.write(run.session(db), run.session(target_db), asked, rows)
    except DatabaseError as error:
        return actions.repair_rows(differences, db=target_db, question=asked, why=str(error))
    return actions.repair_rows(
        differences, db=target_db, question=asked, sql=written.sql, undo=written.inverse
    )
