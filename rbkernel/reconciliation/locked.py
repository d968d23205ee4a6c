"""Find the session whose lock blocks a comparison of tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rbkernel.errors import DatabaseError
from rbkernel.reconciliation.question import Question
from rbkernel.sources.postgres import situation
from rbkernel.sources.postgres.causes.cause import identity
from rbkernel.sources.postgres.connection.session import Session
from rbkernel.sources.postgres.connection.troubles import Trouble


@contextmanager
def holders_named(source: Session, target: Session, question: Question) -> Iterator[None]:
    """Add the session that holds the lock, or waits for it, to the error about a locked table."""
    try:
        yield
    except DatabaseError as error:
        if error.trouble == Trouble.LOCKED:
            named = [*_holders(source, question.source), *_holders(target, question.target)]
            error.what = "; ".join([*dict.fromkeys(named), error.what])
        raise


def _holders(session: Session, table: str) -> Iterator[str]:
    for one in situation.look_once(session).clients:
        if _closes(one.strong_lock or "", table):
            yield f"{identity(one)} holds {one.strong_lock}"
        elif one.locktype == "relation" and _closes(f"{one.mode} on {one.relation}", table):
            yield f"{identity(one)} waits for {one.mode} on {one.relation}"


def _closes(lock: str, table: str) -> bool:
    """Return whether a lock prevents other sessions from reading this table.

    >>> _closes("AccessExclusiveLock on public.orders", 'public."orders"')
    True
    >>> _closes("ShareLock on public.orders", "orders")
    False
    >>> _closes("AccessExclusiveLock on public.old_orders", "orders")
    False
    """
    mode, _, name = lock.partition(" on ")
    plain = table.replace('"', "")
    return mode == "AccessExclusiveLock" and (name == plain or name.endswith(f".{plain}"))
