"""Find the causes of waits for locks: the session that blocks each queue. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rbkernel import amounts
from rbkernel.model import Verdict
from rbkernel.sources.postgres.blocking import Tree
from rbkernel.sources.postgres.causes import recovery
from rbkernel.sources.postgres.causes.cause import (
    EXPLAINS,
    REPLICATION,
    Cause,
    Victims,
    applications,
    identity,
    level,
    worse,
)
from rbkernel.sources.postgres.remedy import forbidden, ranked, suspects
from rbkernel.sources.postgres.situation import PREPARED, SETTLED_S, Backend, Doing, Situation

# limits in s of a wait for a lock: 5 s is longer than usual waits, 30 s is the usual time-out of
# the application's request (own choice)
_WAIT_WARN_S, _WAIT_CRITICAL_S = 5.0, 30.0
# limits of sessions that wait behind one root (own choice: 20 fill a pool of the usual size)
_BLOCKED_WARN, _BLOCKED_CRITICAL = 3, 20


def blocked(situation: Situation, groups: Iterable[Tree]) -> Iterator[Cause]:
    """Yield a cause for each group of waiting sessions that is too large or waits too long."""
    groups = list(groups)
    full = _fills(situation, sum(len(tree.waiters) for tree in groups))
    for tree in groups:
        waiting = [one for pid in tree.waiters if (one := situation.backend(pid))]
        longest = max((one.wait_s or 0.0 for one in waiting), default=0.0)
        verdict = worse(
            level(longest, _WAIT_WARN_S, _WAIT_CRITICAL_S),
            level(len(waiting), _BLOCKED_WARN - 1, _BLOCKED_CRITICAL - 1),
        )
        if _moves(situation, tree, waiting):
            yield from _moving(situation, waiting, longest, full=full)
        elif verdict is not Verdict.OK:
            yield _lock(situation, tree, waiting, longest, verdict, full=full)


def _lock(
    situation: Situation,
    tree: Tree,
    waiting: list[Backend],
    longest: float,
    verdict: Verdict,
    *,
    full: bool,
) -> Cause:
    culprits = [one for pid in tree.roots if (one := situation.backend(pid)) and not one.held_up]
    if not culprits and tree.roots and PREPARED not in tree.roots:
        return _unseen_root(waiting, longest)
    several = len(culprits) > 1 and not suspects(tree, situation)
    patient = _are_patient(waiting)
    remedies = () if patient else ranked(tree, situation)
    victims = _victims(situation, waiting, longest)
    cause = Cause(
        headline=f"{_who_blocks(situation, tree, culprits)}"
        f" {_blocked(situation, tree, victims, several=several)}",
        mechanism=_patience(waiting) if patient else _mechanism(waiting, tree),
        verdict=Verdict.WARNING if patient or _may_be_meant(waiting) else verdict,
        culprits=tuple(culprits),
        victims=victims,
        ruled_out=tuple(_excluded(situation, tree)),
        remedies=remedies,
        next_step=remedies[0].sentence if remedies else _without_remedy(tree, culprits, waiting),
        opens="RUN-007",
        explains=("RUN-007", *_also(situation, tree, full=full)),
    )
    waits = recovery.replay_waits(situation, tree)
    return recovery.unless_soon_over(situation, cause) if waits else cause


def _also(situation: Situation, tree: Tree, *, full: bool) -> Iterator[str]:
    """Yield the other runbooks whose symptoms this lock explains: full pool, waiting replay."""
    if full:
        yield "RUN-001"
    if recovery.replay_waits(situation, tree):
        yield REPLICATION


def _who_blocks(situation: Situation, tree: Tree, culprits: list[Backend]) -> str:
    named = [_named(culprit) for culprit in culprits[:2]]
    if PREPARED in tree.roots:
        named.append(_prepared(situation))
    if len(culprits) > 2:
        named.append(f"{len(culprits) - 2} more")
    if not named:
        return "A deadlock among the waiting sessions"
    return (" or " if suspects(tree, situation) else " and ").join(named)


def _named(culprit: Backend) -> str:
    """Return a description of the culprit that holds a lock.

    If the culprit is the replay process of a standby, it holds the lock for a transaction of the
    primary.
    """
    if culprit.backend_type == "startup":
        return (
            f"A transaction of the primary, whose lock is held here by replay (pid {culprit.pid}),"
        )
    return identity(culprit)


def _prepared(situation: Situation) -> str:
    if len(situation.prepared) != 1:
        return f"one of {amounts.count(len(situation.prepared), 'prepared transaction')}"
    one = situation.prepared[0]
    return (
        f"the prepared transaction {one.name} (of {one.owner},"
        f" prepared {amounts.duration(one.prepared_s)} ago)"
    )


def _blocked(situation: Situation, tree: Tree, victims: Victims, *, several: bool) -> str:
    share = f" holding {victims.slots_pct:.0f} % of the slots" if victims.slots_pct >= 10 else ""
    held = "block" if several else "blocks"
    if not recovery.replay_waits(situation, tree):
        return f"{held} {amounts.count(victims.count, 'session')}{share}"
    others = victims.count - 1
    behind = f" and {held} {amounts.count(others, 'session')} behind it" if others else ""
    return f"{'hold' if several else 'holds'} up replay on {situation.connection}{behind}"


def _moves(situation: Situation, tree: Tree, waiting: list[Backend]) -> bool:
    """Return whether a queue for a row advances by itself.

    Whenever the row gets a new holder, the first session in the queue begins a new wait for this
    holder; the others wait for their turn. So the queue advances if the first session has waited
    only for a short time.
    """
    roots = [situation.backend(pid) for pid in tree.roots]
    return bool(roots) and all(one is not None and _has_just_begun(one, waiting) for one in roots)


def _has_just_begun(root: Backend, waiting: list[Backend]) -> bool:
    if root.passes_on:
        return True
    if not root.is_client or (root.at_rest and (root.state_s or 0.0) >= SETTLED_S):
        return False
    first = [
        one.wait_s or 0.0
        for one in waiting
        if one.locktype == "transactionid" and root.pid in one.blocked_by
    ]
    return bool(first) and max(first) < SETTLED_S


def _moving(
    situation: Situation, waiting: list[Backend], longest: float, *, full: bool
) -> Iterator[Cause]:
    """Yield the cause of long waits in a queue that moves; this cause has no culprit."""
    verdict = level(longest, _WAIT_WARN_S, _WAIT_CRITICAL_S)
    if verdict is Verdict.OK:
        return
    relation = next((one.relation for one in waiting if one.relation), "")
    most, *_ = applications(waiting)
    yield Cause(
        headline=f"{amounts.clause(len(waiting), 'session', 'wait')} in turn for the same lock"
        f"{f' on {relation}' if relation else ''}, for up to {amounts.duration(longest)} ({most})",
        mechanism="the queue moves: each session holds the lock for less than a second, as when"
        " many sessions change one row",
        verdict=verdict,
        victims=_victims(situation, waiting, longest),
        ruled_out=("ending the session that holds the lock now: the next one takes it at once",),
        next_step="Ask the owner of the application to change that row less often, or with fewer"
        " sessions at a time",
        opens="RUN-007",
        explains=("RUN-007", *(["RUN-001"] if full else [])),
    )


def _victims(situation: Situation, waiting: list[Backend], longest: float) -> Victims:
    return Victims(
        count=len(waiting),
        longest_s=longest,
        applications=applications(waiting),
        slots_pct=situation.share_of_slots(len(waiting)),
    )


def _fills(situation: Situation, sessions: int) -> bool:
    """Return whether this number of sessions takes most of the used connection slots."""
    return sessions >= EXPLAINS * situation.used


def _unseen_root(waiting: list[Backend], longest: float) -> Cause:
    """Return the cause of a queue for a lock whose holder was not seen."""
    return Cause(
        headline=f"{amounts.clause(len(waiting), 'session', 'wait')} for a lock, but its holder"
        " was not seen",
        mechanism=f"the longest wait is {amounts.duration(longest)}; the first session in the queue"
        " waits, too, but the session that it waits for ended before it could be read",
        verdict=Verdict.UNKNOWN,
        victims=Victims(count=len(waiting), longest_s=longest, applications=applications(waiting)),
        ruled_out=(f"ending any of the sessions that only wait ({len(waiting)})",),
        next_step="Run this again; if the waits are short, with --seconds 5 (in a notebook:"
        " seconds=5)",
        opens="RUN-007",
        explains=("RUN-007",),
        subject="waits for a lock whose holder was not seen",
    )


def _are_patient(waiting: list[Backend]) -> bool:
    """Return whether all sessions only wait for older transactions.

    For example, CREATE INDEX CONCURRENTLY waits for them.
    """
    return all(one.locktype == "virtualxid" or _is_deferrable(one) for one in waiting)


def _may_be_meant(waiting: list[Backend]) -> bool:
    """Return whether the wait may be intended: few sessions wait, all for an advisory lock.

    For example, spare instances of an application wait until they can become the leader.
    """
    return len(waiting) < _BLOCKED_WARN and all(one.locktype == "advisory" for one in waiting)


def _is_deferrable(one: Backend) -> bool:
    return one.doing is Doing.SAFE_SNAPSHOT


def _patience(waiting: list[Backend]) -> str:
    """Return a description of a command that waits for older transactions and blocks nobody."""
    first = waiting[0]
    if _is_deferrable(first):
        return (
            f"{first.name} (pid {first.pid}) is SERIALIZABLE READ ONLY DEFERRABLE: it begins when"
            " the serializable transactions that may write have ended, and blocks nobody meanwhile"
        )
    command = " ".join(first.query.split()[:4]) or "a command"
    return (
        f"{command} … of {first.name} (pid {first.pid}) waits for older transactions to end, as a"
        " concurrent build does, and blocks nobody meanwhile"
    )


def _mechanism(waiting: list[Backend], tree: Tree) -> str:
    """Return a description of the lock that the sessions wait for, and of the queue."""
    first = max(waiting, key=lambda one: (len(tree.behind(one.pid)), one.wait_s or 0.0))
    queue = len(tree.behind(first.pid))
    kinds = {"transactionid": "a row", "tuple": "a row", "relation": "a lock"}
    if first.doing is Doing.PAGE:
        return _page(first, queue)
    if _is_deferrable(first):
        return _patience([first])
    wanted = kinds.get(first.locktype or "", f"a lock ({first.locktype})")
    place = f" {'of' if wanted == 'a row' else 'on'} {first.relation}" if first.relation else ""
    if first.locktype == "relation" and queue:
        return (
            f"{first.name} (pid {first.pid}) waits for {first.mode}{place};"
            f" {amounts.clause(queue, 'later session', 'wait')} behind it"
        )
    return f"{amounts.clause(len(waiting), 'session', 'wait')} for {wanted}{place}"


def _page(first: Backend, queue: int) -> str:
    """Return a description of a VACUUM that waits for a page.

    PostgreSQL does not report which session uses a page.
    """
    many = len(first.blocked_by)
    who = f"one of the {many} sessions that use it" if many > 1 else "the only session that uses it"
    behind = f"; {amounts.clause(queue, 'session', 'wait')} behind it" if queue else ""
    return (
        f"VACUUM ({first.name}, pid {first.pid}) waits for a page of {first.relation}, which {who}"
        f" keeps in use, for example with an open cursor{behind}"
    )


def _excluded(situation: Situation, tree: Tree) -> Iterator[str]:
    for pid in tree.roots:
        backend = situation.backend(pid)
        if backend and (why := forbidden(backend)):
            yield f"ending pid {pid}: {why}"
    yield f"ending any of the sessions that only wait ({len(tree.waiters)})"


def _without_remedy(tree: Tree, culprits: list[Backend], waiting: list[Backend]) -> str:
    if PREPARED in tree.roots:
        return (
            "Ask the coordinator of the prepared transaction whether to COMMIT PREPARED or"
            " ROLLBACK PREPARED; it has no session that could be ended"
        )
    if any(one.backend_type == "startup" for one in culprits):
        return (
            "End the transaction on the primary that holds the lock: run RUN-007 there, or look in"
            " its pg_locks for AccessExclusiveLock; nothing here can be ended"
        )
    if any(map(_is_deferrable, waiting)) and _are_patient(waiting):
        return (
            "Wait: it continues by itself when those transactions end; if it must not wait, ask"
            " their owners to commit or roll back"
        )
    if _are_patient(waiting):
        return (
            "Wait: it continues by itself when that transaction ends. If it must not wait, cancel"
            " the build, then drop the invalid index that it leaves"
        )
    reasons = [f"pid {one.pid}: {why}" for one in culprits if (why := forbidden(one))]
    if reasons:
        return f"Escalate; nothing can be proposed safely ({'; '.join(reasons)})"
    if any(one.doing is Doing.PAGE for one in waiting):
        return (
            "Ask the owners of these sessions to close their cursors or to end their transactions,"
            " one by one until VACUUM continues; PostgreSQL does not report which one it is"
        )
    members = ", ".join(str(pid) for pid in sorted(tree.waiters)[:5])
    return (
        "Look again: PostgreSQL ends a deadlock by itself after deadlock_timeout (its members are"
        f" among pids {members})"
    )
