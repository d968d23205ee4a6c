"""Describe an action in words, for terminals and pages. Pure; texts are not escaped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rbkernel import amounts

Facts = Mapping[str, Any]


def target(facts: Facts) -> str:
    """Describe a target in one line.

    >>> target({"verb": "terminate", "pid": 7, "application": "job", "username": "shop",
    ...         "state": "idle in transaction", "transaction_s": 70.4, "writes": True,
    ...         "strong_lock": "RowExclusiveLock", "query": "UPDATE orders"})
    'terminate pid 7 job (shop): idle in transaction, for 1 min 10 s, has written: UPDATE orders'
    """
    lasts = facts.get("transaction_s")
    known = [
        str(facts.get("state")),
        f"for {amounts.duration(lasts)}" if isinstance(lasts, int | float) else "",
        "has written" if facts.get("writes") else "",
        f"in {facts['database']}" if facts.get("database") else "",
        f"from {facts['client']}" if facts.get("client") else "",
        f"connected {facts['backend_start']}" if facts.get("backend_start") else "",
    ]
    who = f"{facts.get('application') or 'a session'} ({facts.get('username')})"
    said = ", ".join(filter(None, known))
    return f"{facts['verb']} pid {facts['pid']} {who}: {said}: {facts.get('query')}"


def policy(facts: Facts) -> str:
    """Describe who must approve.

    >>> policy({"approvers": 2, "proposer_may_approve": False, "requested_by": "ann"})
    '2 approvals, not by ann, who asked'
    >>> policy({"approvers": 0})
    'no approval needed'
    """
    if not facts["approvers"]:
        return "no approval needed"
    needed = amounts.count(facts["approvers"], "approval")
    if facts.get("proposer_may_approve"):
        return f"{needed}, also by the person who asks"
    asked = facts.get("requested_by")
    return f"{needed}, not by {f'{asked}, who asked' if asked else 'the person who asks'}"


def server(facts: Facts) -> str:
    """Describe the server of an action.

    >>> server({"database": "shop", "standby": False, "system_identifier": "7"})
    'database shop, primary, 7'
    """
    kind = "standby" if facts.get("standby") else "primary"
    return f"database {facts['database']}, {kind}, {facts['system_identifier']}"
