"""Write plans that change messages of an outbox. Pure, as `plans`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from rbkernel import amounts
from rbkernel.actions.plans import must_have, planned, rows_of
from rbkernel.arguments import checked
from rbkernel.checks.frames import Frame
from rbkernel.model import ActionPlan
from rbkernel.sources.postgres.connection.driver import quote_literal

_COLUMNS = ("id", "status", "relation", "id_column", "status_column", "error_column")
# what is added to the error of a message, before the name of the role
_NOTES = {"set_failed": "set to failed", "requeue": "requeued"}
_SHOWN = ["id", "destination", "status", "attempts", "touched_s", "error"]


@checked
def set_failed(db: str, messages: Frame) -> ActionPlan:
    """Plan to set messages of an outbox to failed, so that nothing delivers them.

    Parameters
    ----------
    db
        Connection name.
    messages
        Rows of ``queue/stuck``. The SQL to copy leaves a message alone whose status has changed
        since, or that a worker is delivering; if rbkernel executes the plan, it then changes
        nothing. ``failed`` is written in the case of the old status: PENDING becomes FAILED. If the
        table records errors, the name of the role that executes the plan is added to the error.
    """
    return _moved(
        "set_failed",
        db,
        messages,
        word="failed",
        title="Set {} to failed",
        risk="Nobody delivers them until they are set back. Tell the owner of the destination.",
    )


@checked
def requeue(db: str, messages: Frame, *, status: str = "pending") -> ActionPlan:
    """Plan to deliver messages of an outbox again: those that failed, or that a worker left.

    Parameters
    ----------
    db
        Connection name.
    messages
        Rows of ``queue/stuck``; with ``pending="failed"``, it finds messages that failed. As for
        `set_failed`, a message whose status has changed is left alone.
    status
        The status of a message that waits, written in the case of the old status. Only this is
        changed: a relay that limits the attempts may leave the message.
    """
    return _moved(
        "requeue",
        db,
        messages,
        word=status,
        title="Requeue {}",
        risk="A message that did arrive is delivered twice: ask the receiver first.",
    )


def _moved(
    action: str, db: str, messages: pd.DataFrame, *, word: str, title: str, risk: str
) -> ActionPlan:
    """Return the plan that gives messages another status."""
    must_have("messages", messages, _COLUMNS, 'rows of rb.assess("queue/stuck", db)')
    title = title.format(amounts.count(len(messages), "message"))
    if messages.empty:
        return planned(title=title, connection=db, sql="")
    first = messages.iloc[0]
    column, error = first["status_column"], first["error_column"]
    arguments = {
        "table": first["relation"],
        "key": [first["id_column"]],
        "rows": [
            {
                "key": [str(one["id"])],
                "before": {column: str(one["status"])},
                "after": {column: _in_case(word, str(one["status"]))},
            }
            for one in rows_of(messages, ["id", "status"])
        ],
    }
    if isinstance(error, str):
        arguments["note"] = {"column": error, "text": _NOTES[action]}
    return planned(
        title=title,
        connection=db,
        sql=messages_sql(arguments),
        action=action,
        arguments=arguments,
        targets=rows_of(messages, _SHOWN),
        undo="\n".join(_undone(arguments, some) for some in _alike(arguments)),
        risk=risk,
        verify="queue/stuck",
    )


def messages_sql(arguments: Mapping[str, Any]) -> str:
    """Return the SQL to copy, which gives messages another status; see `rows` for the arguments.

    ``note``, if there is one, has the ``column`` that gets a ``text`` and the name of the role.
    """
    return "\n".join(_changed(arguments, some) for some in _alike(arguments))


def _alike(arguments: Mapping[str, Any]) -> list[list[Mapping[str, Any]]]:
    """Return the rows in groups of the same old status."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for one in arguments["rows"]:
        [was] = one["before"].values()
        found.setdefault(was, []).append(one)
    return list(found.values())


def _changed(arguments: Mapping[str, Any], some: Sequence[Mapping[str, Any]]) -> str:
    table, [key], [[status, was]] = arguments["table"], arguments["key"], some[0]["before"].items()
    note, told = arguments.get("note"), ""
    if note:
        who = f"'[{note['text']} by ' || current_user || ']'"
        told = f", {note['column']} = concat_ws(' ', {note['column']}, {who})"
    # without waiting for a worker that is delivering one of them
    return (
        f"UPDATE {table} SET {status} = {quote_literal(some[0]['after'][status])}{told}\n"
        f"WHERE {key} IN (SELECT {key} FROM {table}\n  WHERE {_chosen(key, some)}\n"
        f"  AND {status}::text = {quote_literal(was)} FOR UPDATE SKIP LOCKED)\n"
        f"RETURNING {key}, {status};"
    )


def _undone(arguments: Mapping[str, Any], some: Sequence[Mapping[str, Any]]) -> str:
    table, [key], [[status, was]] = arguments["table"], arguments["key"], some[0]["before"].items()
    now = quote_literal(some[0]["after"][status])
    return (
        f"UPDATE {table} SET {status} = {quote_literal(was)}\n"
        f"WHERE {_chosen(key, some)} AND {status}::text = {now};"
    )


def _chosen(key: str, some: Sequence[Mapping[str, Any]]) -> str:
    ids = "'{" + ",".join(f'"{_in_array(one["key"][0])}"' for one in some) + "}'"
    return f"{key}::text = ANY ({ids})"


def _in_case(word: str, status: str) -> str:
    """Return a word in the case of a status.

    >>> [_in_case("failed", one) for one in ("pending", "PENDING", "Pending")]
    ['failed', 'FAILED', 'Failed']
    """
    if status.isupper():
        return word.upper()
    return word.capitalize() if status[:1].isupper() else word


def _in_array(value: object) -> str:
    r"""Return a text escaped for an element of an array literal within an SQL literal.

    >>> _in_array('a"b'), _in_array("it's")
    ('a\\"b', "it''s")
    """
    return str(value).replace("\\", "\\\\").replace('"', '\\"').replace("'", "''")
