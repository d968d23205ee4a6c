"""Commits that wait for a synchronous standby. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from rbkernel import amounts
from rbkernel.model import Verdict
from rbkernel.postgres.causes.cause import Cause, Victims, applications
from rbkernel.postgres.situation import Doing, Situation

# s after which a commit that waits for a synchronous standby is more than a slow network (ours)
_COMMIT_WARN_S = 5.0


def synchronous(situation: Situation) -> Iterator[Cause]:
    """Yield the cause of commits that hang, which must not be cancelled."""
    waiting = [one for one in situation.backends if one.doing is Doing.SYNCHRONOUS]
    longest = max((one.query_s or 0.0 for one in waiting), default=0.0)
    if longest < _COMMIT_WARN_S:
        return
    absent = situation.synchronous_connected == 0
    standbys = f"synchronous_standby_names = '{situation.synchronous_standbys}'"
    connected = ", ".join(situation.senders) or "none"
    state = "is not connected" if absent else "does not confirm"
    yield Cause(
        headline=f"The synchronous standby {state} ({standbys}; connected: {connected}):"
        f" {amounts.clause(len(waiting), 'commit', 'wait')}",
        mechanism="commits wait for a synchronous standby",
        verdict=Verdict.CRITICAL,
        victims=Victims(
            count=len(waiting),
            longest_s=longest,
            applications=applications(waiting),
            slots_pct=situation.share_of_slots(len(waiting)),
        ),
        ruled_out=("cancelling the commits: they would stay committed here, without the standby",),
        next_step="Bring the standby back; or, if losing its copy is acceptable, an administrator"
        " removes it from synchronous_standby_names and reloads, and the commits go on",
        opens="RUN-005",
        explains=("RUN-001", "RUN-005"),
    )
