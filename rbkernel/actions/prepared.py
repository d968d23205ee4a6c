"""Plan the SQL that a diagnostic has written for a row. Nothing is executed."""

from __future__ import annotations

from rbkernel import amounts
from rbkernel.actions.plans import must_have, planned
from rbkernel.arguments import checked
from rbkernel.checks.frames import Frame
from rbkernel.model import ActionPlan
from rbkernel.sql import lexer


@checked
def prepared(
    db: str, rows: Frame, sql: str, *, undo: str = "", title: str = "", risk: str = ""
) -> ActionPlan:
    """Plan to execute the SQL in a column of a diagnostic, which the server has quoted.

    A plan is for one row: a person judges each statement by itself, and sees its effect before the
    next one. If other rows have SQL, too, ``risk`` says so.

    Parameters
    ----------
    db
        Connection name.
    rows
        Rows of a diagnostic; the first one with SQL in the column counts. Without one, the plan
        does nothing.
    sql, undo
        The names of the columns that have the SQL, and its inverse.
    title
        The effect, in words; by default, the first line of the SQL.
    risk
        Text for the person who copies the statement.
    """
    must_have("rows", rows, [sql, *filter(None, [undo])], "the rows of a diagnostic")
    written = rows[rows[sql].notna() & rows[sql].ne("")] if sql in rows else rows.head(0)
    row = next(iter(written.to_dict("records")), {})
    text = str(row.get(sql, ""))
    if others := len(written) - 1 if text else 0:
        next_one = f"run all cells again for the next one ({amounts.count(others, 'more row')})"
        risk = " ".join(filter(None, [risk, f"It is for one row: {next_one}."]))
    return planned(
        title=title or lexer.first_line(text) or "Nothing to do",
        connection=db,
        sql=text,
        undo=str(row.get(undo) or ""),
        risk=risk if text else "",
    )
