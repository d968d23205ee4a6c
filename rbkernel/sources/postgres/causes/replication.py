"""Find the causes of replication problems from the findings of one server. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from rbkernel import amounts
from rbkernel.model import Verdict
from rbkernel.sources.postgres.causes.cause import Cause
from rbkernel.sources.postgres.situation import Situation

# the column of a rule → the sentence of the cause; causes that explain others come first
_HEADLINES = {
    "connected": "{standby} is not connected to {connection}",
    "replay_lag_s": "{standby} is {lag} behind {connection}",
    "paused": "Replay is paused on {connection}: somebody called pg_wal_replay_pause()",
    "receiving": "{connection} receives no WAL: its WAL receiver is not streaming",
    "silent_s": "{connection} receives nothing from its WAL sender: an answer is {lag} overdue",
    "stalled_s": "Replay on {connection} has stalled: the newest commit there is {lag} old",
}
# columns whose warnings count at once; other warnings may come from a burst of writes
_NO_BURST = {"replay_lag_s"}
_LATE = {"replay_lag_s", "stalled_s"}
# the first word of the option for the problem, if there is one
_OPTIONS = {"paused": "resume", "connected": "bring", "receiving": "bring"}


def broken(situation: Situation) -> Iterator[Cause]:
    """Yield the causes of replication problems that the findings of two diagnostics show.

    A lag with the verdict warning counts only if a second measurement confirms it. A delay that is
    configured (recovery_min_apply_delay) is no problem.
    """
    wrong = {
        one.column: one
        for one in situation.replication
        if one.verdict == Verdict.CRITICAL or (one.wrong and one.column in _NO_BURST)
    }
    for column, headline in _HEADLINES.items():
        if column in wrong:
            one = wrong[column]
            yield Cause(
                headline=headline.format(
                    connection=situation.connection,
                    standby=situation.standby_name,
                    lag=amounts.duration(one.value or 0.0),
                ),
                mechanism="; ".join(f"{each.title}: {each.actual}" for each in wrong.values()),
                verdict=Verdict(one.verdict),
                next_step=one.next_step,
                opens="RUN-005",
                explains=("RUN-005",),
                option=_OPTIONS.get(column, ""),
                late_s=one.value if column in _LATE else None,
                subject=f"{column} of {situation.connection} {situation.standby_name}",
            )
            return
