"""Find the cause if commits wait for a synchronous standby. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rbkernel import amounts
from rbkernel.model import Verdict
from rbkernel.sources.postgres.blocking import Tree
from rbkernel.sources.postgres.causes.cause import Cause, Victims, applications
from rbkernel.sources.postgres.situation import Doing, Situation

# own choice: s after which a wait for a synchronous standby is more than a slow network
_COMMIT_WARN_S = 5.0


def at_the_root(situation: Situation, tree: Tree) -> bool:
    """Return whether the roots of a group are all commits that wait for a synchronous standby."""
    roots = [situation.backend(pid) for pid in tree.roots]
    return bool(roots) and all(root and root.doing is Doing.SYNCHRONOUS for root in roots)


def synchronous(situation: Situation, behind: Iterable[Tree]) -> Iterator[Cause]:
    """Yield a cause if commits wait too long for a synchronous standby."""
    commits = [one for one in situation.backends if one.doing is Doing.SYNCHRONOUS]
    longest = max((one.query_s or 0.0 for one in commits), default=0.0)
    if longest < _COMMIT_WARN_S:
        return
    pids = {pid for tree in behind for pid in tree.waiters}
    waiting = [*commits, *(one for one in situation.backends if one.pid in pids)]
    state, first, option = "is not connected", "Bring the standby back", "bring"
    if situation.synchronous_connected:
        state, option = "does not confirm", "check"
        first = "Look at the standby: its disk, and with remote_apply its replay"
    connected = ", ".join(situation.senders) or "none"
    yield Cause(
        # the name comes first, because long titles of notifications are cut
        headline=f"{_who_waits(len(commits), len(pids))} for the synchronous standby"
        f" ({situation.synchronous_standbys}), which {state}; connected: {connected}",
        mechanism="commits wait for a synchronous standby",
        verdict=Verdict.CRITICAL,
        victims=Victims(
            count=len(waiting),
            longest_s=longest,
            applications=applications(waiting),
            slots_pct=situation.share_of_slots(len(waiting)),
        ),
        ruled_out=("cancelling the commits: they would stay committed here, without the standby",),
        next_step=f"{first}; or, if losing its copy is acceptable, an administrator"
        " removes it from synchronous_standby_names and reloads, and the commits go on",
        opens="RUN-005",
        explains=("RUN-001", "RUN-005", "RUN-007"),
        option=option,
    )


def _who_waits(commits: int, behind: int) -> str:
    """Return the numbers of waiting commits and of waiting sessions as text.

    >>> _who_waits(1, 0), _who_waits(12, 6)
    ('1 commit waits', '12 commits and 6 sessions behind them wait')
    """
    if not behind:
        return amounts.clause(commits, "commit", "wait")
    sessions = amounts.count(behind, "session")
    return f"{amounts.count(commits, 'commit')} and {sessions} behind them wait"
