"""Describe the sessions of an action, and what the action does to others, in words. Pure."""

from __future__ import annotations

from rbkernel import amounts
from rbkernel.execution.document import Facts

# texts of applications and people; everything else identifies a session exactly
FREE_TEXT = frozenset({"application", "username", "database", "client", "query", "relation"})


def target(facts: Facts) -> str:
    """Describe a session in one line.

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


def foretold(facts: Facts) -> tuple[tuple[str, str], ...]:
    """Describe how many sessions a document foretells to be freed.

    >>> foretold({"foretold": {"freed": [{"at_once": True}, {"at_once": False}]}})
    (('Frees', '2 sessions, 1 at once'),)
    """
    freed = facts["foretold"]["freed"]
    at_once = sum(bool(one["at_once"]) for one in freed)
    said = f"{amounts.count(len(freed), 'session')}, {at_once} at once" if freed else "none"
    return (("Frees", said),)
