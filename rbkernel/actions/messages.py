"""Write plans that change messages of an outbox. Pure, as `plans`."""

from __future__ import annotations

from rbkernel import amounts
from rbkernel.actions.plans import must_have, planned, rows_of
from rbkernel.arguments import checked
from rbkernel.checks.frames import Frame
from rbkernel.model import ActionPlan
from rbkernel.sources.postgres.connection.driver import quote_literal

_COLUMNS = ("id", "status", "relation", "id_column", "status_column", "error_column")
_TOLD = "'[set to failed by ' || current_user || ']'"


@checked
def set_failed(db: str, messages: Frame) -> ActionPlan:
    """Plan to set messages of an outbox to failed, so that nothing delivers them.

    Parameters
    ----------
    db
        Connection name.
    messages
        Rows of ``queue/stuck``. A message whose status has changed since, or that a worker is
        delivering, is left alone. ``failed`` is written in the case of the old status: PENDING
        becomes FAILED. If the table records errors, the name of the role that executes the plan is
        added to the error.
    """
    must_have("messages", messages, _COLUMNS, 'rows of rb.assess("queue/stuck", db)')
    title = f"Set {amounts.count(len(messages), 'message')} to failed"
    if messages.empty:
        return planned(title=title, connection=db, sql="")
    first = messages.iloc[0]
    error = first["error_column"]
    told = f", {error} = concat_ws(' ', {error}, {_TOLD})" if isinstance(error, str) else ""
    table, key, status = first["relation"], first["id_column"], first["status_column"]
    changes, undos = [], []
    for before, some in messages.groupby("status", sort=False):
        ids = "'{" + ",".join(f'"{_in_array(one)}"' for one in some["id"]) + "}'"
        chosen = f"{key}::text = ANY ({ids})"
        was, failed = quote_literal(before), quote_literal(_failed(str(before)))
        # without waiting for a worker that is delivering one of them
        changes.append(
            f"UPDATE {table} SET {status} = {failed}{told}\nWHERE {key} IN (SELECT {key} FROM"
            f" {table}\n  WHERE {chosen}\n  AND {status}::text = {was} FOR UPDATE SKIP LOCKED)"
            f"\nRETURNING {key}, {status};"
        )
        undos.append(
            f"UPDATE {table} SET {status} = {was}\nWHERE {chosen} AND {status}::text = {failed};"
        )
    return planned(
        title=title,
        connection=db,
        sql="\n".join(changes),
        targets=rows_of(
            messages, ["id", "destination", "status", "attempts", "touched_s", "error"]
        ),
        undo="\n".join(undos),
        risk="Nobody delivers them until they are set back. Tell the owner of the destination.",
        verify="queue/stuck",
    )


def _failed(status: str) -> str:
    """Return the word failed in the case of a status.

    >>> _failed("pending"), _failed("PENDING"), _failed("Pending")
    ('failed', 'FAILED', 'Failed')
    """
    if status.isupper():
        return "FAILED"
    return "Failed" if status[:1].isupper() else "failed"


def _in_array(value: object) -> str:
    r"""Return a text escaped for an element of an array literal within an SQL literal.

    >>> _in_array('a"b'), _in_array("it's")
    ('a\\"b', "it''s")
    """
    return str(value).replace("\\", "\\\\").replace('"', '\\"').replace("'", "''")
