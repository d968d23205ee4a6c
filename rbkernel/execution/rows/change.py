"""The actions that set columns of chosen rows: preview, execute, watch the effect, and undo.

The rows are locked, compared with the document, changed by one statement that
checks them again, and compared with what was approved, in one transaction that is otherwise rolled
back. Nothing waits long for a lock, and nothing is sent twice.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from rbkernel.actions.messages import messages_sql
from rbkernel.actions.rows import rows_sql
from rbkernel.config import Connection
from rbkernel.errors import ActionRefused, DatabaseError, QueryError, RbkernelError
from rbkernel.evidence.incident import ActionState
from rbkernel.execution import server
from rbkernel.execution.document import Facts, Preview, canonical
from rbkernel.execution.outcome import NotSent, Outcome
from rbkernel.execution.proposal import Proposal
from rbkernel.execution.rows import statements, tables, words
from rbkernel.sources.postgres.connection import driver, settings
from rbkernel.sources.postgres.connection.session import Session
from rbkernel.sql import lexer

# the SQL to copy of each action
_SQL: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "requeue": messages_sql,
    "set_failed": messages_sql,
    "set_flag": rows_sql,
}
# s between two looks at the rows
_EVERY_S = 0.5
# the most that a document holds, so that people can read it and records stay small
_MOST_ROWS, _MOST_BYTES = 1000, 256 * 1024
_UNDO = "`rbkernel action undo {}` restores these values, unless somebody changed them again"
_LOCKED = "55P03"


def preview(session: Session, proposal: Proposal) -> Preview:
    """Look at the rows of a proposal and their table, and compute what would be changed.

    Raises
    ------
    ActionRefused
        The proposal was altered, or its values are not valid for the columns.
    DatabaseError
        The server does not answer.
    """
    wanted = _wanted(proposal)
    identity, at = server.identify(session), server.clock(session)
    note = proposal.arguments.get("note") or {}
    sets = list(wanted[0]["after"])
    try:
        table = tables.look(
            session,
            proposal.arguments["table"],
            proposal.arguments["key"],
            [*sets, *filter(None, [note.get("column")])],
        )
        found = [] if table.refusals else _look(session, table, wanted, note)
    except QueryError as error:
        raise ActionRefused(
            f"the rows cannot be read: {error.what}",
            where=f"connection {proposal.connection}",
            next_step="run the runbook again; if it stays, copy the SQL",
        ) from error
    facts = _facts(table)
    targets = [one for one, _ in found if one["xmin"]]
    refusals = [
        "the server is a standby: rows are changed on the primary" if identity["standby"] else "",
        *table.refusals,
        *(why for _, why in found),
        _elsewhere(proposal, identity),
        _too_big(targets),
    ]
    return Preview(
        at=at,
        server=identity,
        targets=tuple(targets),
        effect=words.effect(len(targets), facts),
        loss=words.loss(facts),
        undo=_UNDO.format(proposal.plan) if not proposal.undoes else "none: propose it again",
        foretold=facts,
        statement=f"{statements.lock(facts)};\n{statements.change(facts)};",
        values=({**statements.values(facts, targets), **identity},),
        refusal="; ".join(filter(None, refusals)),
    )


def changed(document: Facts, now: Preview) -> str:
    """Return what changed since the preview that was approved; empty if nothing did. Pure."""
    if why := server.changed(document["server"], now.server) or now.refusal:
        return why
    if canonical(document["foretold"]) != canonical(now.foretold):
        return "the table changed since the preview: its columns, types, triggers or foreign keys"
    key = now.foretold["key"]
    before = {statements.in_order(one["key"], key): one["xmin"] for one in document["targets"]}
    for one in now.targets:
        if before.get(statements.in_order(one["key"], key)) != one["xmin"]:
            return f"the row {words.key(one['key'])} was changed since the preview"
    return "" if len(before) == len(now.targets) else "the targets are not those of the preview"


def execute(connection: Connection, document: Facts, until: datetime) -> Facts:
    """Change the rows, all or none, and return how many; nothing is sent twice.

    Raises
    ------
    NotSent
        A row, the table or the server had changed, a row was locked, or it was too late: nothing
        was changed.
    DatabaseError
        The server did not answer, or refused the commit: the rows may have been changed.
    """
    values = {**document["values"][0], "until": until}
    wanted = {**settings.for_own_sql(), "idle_in_transaction_session_timeout": "5000"}
    with server.transaction(connection) as raw:
        try:
            server.send(raw, settings.statement(wanted), wanted, connection)
            for statement, differs in (
                (statements.lock(document["foretold"]), _differs),
                (statements.change(document["foretold"]), _other_effect),
            ):
                rows = server.send(raw, lexer.to_driver(statement), values, connection)
                if why := differs(document, rows):
                    raise NotSent(f"{why}: nothing was changed")
        except RbkernelError as error:
            raise _not_committed(error) from error
    return {"changed": len(document["targets"])}


def _not_committed(error: RbkernelError) -> RbkernelError:
    """Return the error of a transaction that was not committed, so that nothing was changed."""
    if isinstance(error, ActionRefused):
        return error
    why = "a row is locked by another session" if driver.sqlstate(error) == _LOCKED else error.what
    return NotSent(f"{why}: nothing was changed")


def watch(session: Session, document: Facts, watch_s: float) -> Outcome:
    """Read the rows again until the time is over, or one has not its new values any more.

    Raises
    ------
    DatabaseError
        The server cannot be examined, or is not the one on which the action was executed.
    """
    until = time.monotonic() + watch_s
    while True:
        others = _without_effect(session, document)
        left_s = until - time.monotonic()
        if others or left_s <= 0:
            break
        time.sleep(min(_EVERY_S, left_s))
    if why := server.changed(document["server"], server.identify(session)):
        raise DatabaseError(why, where=f"connection {document['connection']}")
    count = len(document["targets"])
    said = f"; not so: {'; '.join(others)}" if others else ""
    return Outcome(
        state=ActionState.FAILED if others else ActionState.VERIFIED,
        result=f"{count - len(others)} of {count} rows have the new values{said}",
        facts={"rows": count, "others": len(others)},
    )


def committed(document: Facts, seen: Outcome) -> Outcome:
    """Return the outcome after a commit, which is the proof: it returned what was approved. Pure.

    Afterwards, others may change the rows at once, as the relay that takes a message. If the table
    has triggers, one of these may have undone the change in the same commit: nobody knows.
    """
    if seen.state is not ActionState.FAILED:
        return seen
    names = ", ".join(document["foretold"]["triggers"])
    why = f"by others, or by a trigger ({names})" if names else "by others since"
    return replace(
        seen,
        state=ActionState.INDETERMINATE if names else ActionState.VERIFIED,
        result=f"committed; then changed {why}: {seen.result}",
    )


def inverse(document: Facts) -> dict[str, Any]:
    """Return the arguments and the SQL of the action that restores the rows of a document. Pure."""
    table = document["foretold"]
    rows = [
        {
            "key": list(statements.in_order(one["key"], table["key"])),
            "before": one["after"],
            "after": one["before"],
        }
        for one in document["targets"]
    ]
    arguments = {
        "table": table["table"],
        "key": [one["name"] for one in table["key"]],
        "rows": rows,
        "on": {name: document["server"][name] for name in ("system_identifier", "database")},
    }
    return {"arguments": arguments, "sql": rows_sql(arguments)}


def touched(document: Facts) -> frozenset[Any]:
    """Return what identifies the rows of a document, on all servers. Pure."""
    place = tuple(document["server"][name] for name in ("system_identifier", "database"))
    table = document["foretold"]
    keys = (statements.in_order(one["key"], table["key"]) for one in document["targets"])
    return frozenset((*place, table["table"], *key) for key in keys)


def _wanted(proposal: Proposal) -> list[dict[str, Any]]:
    """Return the rows of a proposal, with key, expected and new values as texts.

    A notebook may have written anything, so every part is checked.

    Raises
    ------
    ActionRefused
        The proposal is malformed, or its SQL is not the SQL of its rows.
    """
    arguments = proposal.arguments
    try:
        rows = [
            {
                "key": [_str(value) for value in one["key"]],
                "before": {str(name): _str(value) for name, value in one["before"].items()},
                "after": {str(name): _str(value) for name, value in one["after"].items()},
            }
            for one in arguments["rows"]
        ]
        note = arguments.get("note") or {}
        more = [note["column"], note["text"]] if note else []
        for one in (arguments["table"], *arguments["key"], *more):
            _must_be_name(one)
        write = rows_sql if proposal.undoes else _SQL[proposal.action]
        if note and write is not messages_sql:
            raise ValueError("its SQL changes no column for a note")
        if write is messages_sql and proposal.action == "set_failed":
            _must_be_failed(rows)
        same = write(arguments) == proposal.sql
        shapes = {(len(one["key"]), (*one["before"],), (*one["after"],)) for one in rows}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise proposal.altered(f"its rows cannot be read: {error!r}") from error
    if not rows:
        raise ActionRefused(f"plan {proposal.plan} has no target: there is nothing to do")
    one = rows[0]
    if len(shapes) > 1 or not one["after"] or len(one["key"]) != len(arguments["key"]):
        raise proposal.altered("its rows have different columns")
    if list(one["before"]) != list(one["after"]):
        raise proposal.altered("it does not say what it expects of each column")
    if not same or len({(*one["key"],) for one in rows}) < len(rows):
        raise proposal.altered("the SQL that it shows is not the SQL of its rows")
    return rows


def _must_be_failed(rows: Sequence[Facts]) -> None:
    for one in rows:
        if [str(value).casefold() for value in one["after"].values()] != ["failed"]:
            raise ValueError("set_failed writes only failed, into one column")


def _must_be_name(value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no name")


def _str(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _look(
    session: Session, table: tables.Table, wanted: Sequence[Facts], note: Facts
) -> list[tuple[dict[str, Any], str]]:
    """Return each row as a target, with why it cannot be changed; empty if it can."""
    facts, width = _facts(table), len(table.sets)
    names = [one.name for one in table.sets]
    # what is added to the error of a message is not known before it is read
    more: list[str | None] = [None] * (width - len(wanted[0]["after"]))
    given = {
        "ns": list(range(len(wanted))),
        **statements.columns("k", [one["key"] for one in wanted], len(table.key)),
        **statements.columns("e", [[*one["before"].values(), *more] for one in wanted], width),
        **statements.columns("a", [[*one["after"].values(), *more] for one in wanted], width),
    }
    rows = session.answer(statements.look(facts), given, name="rows of the action").rows
    if len(rows) != len(wanted):
        raise ActionRefused(f"{len(rows)} of {len(wanted)} rows were read: are there too many?")
    role = session.connection.for_actions().user
    said = f"[{note['text']} by {role}]" if note else ""
    found = []
    for one, (_, xmin, *cells) in zip(wanted, rows, strict=True):
        present, expected, new, uncut = (cells[place::4] for place in range(4))
        if note:
            expected[-1] = present[-1]
            new[-1] = uncut[-1] = " ".join(filter(None, [present[-1], said]))
        target = {
            "key": dict(zip([each.name for each in table.key], one["key"], strict=True)),
            "xmin": xmin,
            "before": dict(zip(names, present, strict=True)),
            "after": dict(zip(names, new, strict=True)),
        }
        found.append((target, _why(target, expected, uncut)))
    return found


def _why(target: Facts, expected: Sequence[str | None], uncut: Sequence[str | None]) -> str:
    """Return why a row cannot be changed; empty if it can."""
    row = f"the row {words.key(target['key'])}"
    if target["xmin"] is None:
        return f"{row} is not there"
    pairs = target["before"].items()
    for (name, is_now), was in zip(pairs, expected, strict=True):
        if is_now != was:
            shown = f"{words.value(is_now)}, not {words.value(was)}"
            return f"{row} was changed: {name} is {shown}"
    for (name, new), given in zip(target["after"].items(), uncut, strict=True):
        if len(new or "") < len(given or ""):
            return f"{name} cannot hold {words.value(given)}, only {words.value(new)}"
    return ""


def _facts(table: tables.Table) -> dict[str, Any]:
    """Return what a document says about a table."""
    return {
        "table": table.name,
        "key": [dataclasses.asdict(one) for one in table.key],
        "sets": [dataclasses.asdict(one) for one in table.sets],
        "triggers": list(table.triggers),
        "follows": list(table.follows),
    }


def _elsewhere(proposal: Proposal, identity: Facts) -> str:
    """Return why the rows of an undo are not on this server; empty if they may be."""
    on = proposal.arguments["on"] if proposal.undoes else {}
    other = [name for name, value in on.items() if identity.get(name) != value]
    return f"the rows were changed on another server: {', '.join(other)}" if other else ""


def _too_big(targets: Sequence[Facts]) -> str:
    if len(targets) > _MOST_ROWS:
        return f"{len(targets)} rows are more than the {_MOST_ROWS} that rbkernel changes at once"
    size = len(json.dumps(targets))
    return "" if size <= _MOST_BYTES else f"the values are too long for a record: {size} bytes"


def _differs(document: Facts, rows: Sequence[Sequence[Any]]) -> str:
    """Return which locked row is not the one of the document; empty if all are."""
    targets, sets = document["targets"], document["foretold"]["sets"]
    found = {number: (xmin, *cells) for number, xmin, *cells in rows}
    for number, one in enumerate(targets):
        if number not in found:
            return f"the row {words.key(one['key'])} is not there any more"
        if found[number] != (one["xmin"], *statements.in_order(one["before"], sets)):
            return f"the row {words.key(one['key'])} was changed since the preview"
    return "" if len(rows) == len(targets) else "there are more rows than in the document"


def _other_effect(document: Facts, rows: Sequence[Sequence[Any]]) -> str:
    """Return how the statement had another effect than was approved; empty if it had this one."""
    if not rows:
        return "it was too late, or the server changed"
    targets, sets = document["targets"], document["foretold"]["sets"]
    found = {number: tuple(cells) for number, *cells in rows}
    for number, one in enumerate(targets):
        if found.get(number) != statements.in_order(one["after"], sets):
            return f"the row {words.key(one['key'])} got other values, as by a trigger"
    return "" if len(rows) == len(targets) else "more rows were changed than in the document"


def _without_effect(session: Session, document: Facts) -> list[str]:
    """Return the rows that do not have their new values."""
    table, targets = document["foretold"], document["targets"]
    nothing: list[list[str | None]] = [[None] * len(table["sets"])] * len(targets)
    given = {
        **statements.values(table, targets),
        **statements.columns("e", nothing, len(table["sets"])),
    }
    rows = session.answer(statements.look(table), given, name="rows of the action").rows
    return [
        f"{words.key(one['key'])} is gone" if xmin is None else words.key(one["key"])
        for one, (_, xmin, *cells) in zip(targets, rows, strict=True)
        if xmin is None or tuple(cells[0::4]) != statements.in_order(one["after"], table["sets"])
    ]
