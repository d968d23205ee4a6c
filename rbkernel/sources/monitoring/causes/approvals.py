"""Why tasks wait for a human: a loop, an absent approver, or more work. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from rbkernel import amounts
from rbkernel.amounts import percent
from rbkernel.checks.answer import provenance
from rbkernel.sources.monitoring.causes.figures import Figure, Group, courses, group, number
from rbkernel.sources.monitoring.causes.suspect import Suspect, all_unknown, explained, unknown

if TYPE_CHECKING:
    import pandas as pd

# tasks in the time of silence that an approver who works would have decided: with fewer, none
# decided may be chance (own choice; with 3, the chance is 5 %, Poisson)
_EXPECTED = 3.0
# decisions below this share of those before have fallen (own choice)
_FALLEN = 0.75
# an agent loops from this multiple of its usual on, if other agents create as many as usual (own
# choice: a mailing may bring ten times the work, and hardly more)
_LOOPS = 10.0
# a queue that is empty within this time, in s, needs only time (the alert on the oldest task)
_SOON_S = 4 * 3600.0
_ASK = "ask in the channel of the approvers who works"
_LOOP = "An agent that creates most tasks"
_ABSENT = "An approver who decides nothing"
_MORE = "More tasks than the approvers decide"
_TITLES = {"loop": _LOOP, "absent": _ABSENT, "more": _MORE}


@dataclass(frozen=True, kw_only=True)
class Approver:
    """How many tasks an approver decided per s, before the time of silence and in it.

    ``seen_s`` is for how long before the silence the decisions are known, in s.
    """

    name: str
    before: float
    lately: float
    seen_s: float


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A queue of tasks: how many wait, and who creates and decides them.

    ``created`` and ``decided`` are tasks per s; ``everybody`` are the agents of all queues;
    ``approvers`` is the reason if nothing is known of them. An approver without a decision in
    ``silent_s`` s is absent.
    """

    name: str
    waiting: float
    created: Figure
    decided: Figure
    agents: Group
    everybody: Group
    approvers: Sequence[Approver] | str
    silent_s: float

    @property
    def empty_in_s(self) -> float:
        """In how many s the queue is empty; infinite if it does not shrink."""
        shrinks = self.decided.now - self.created.now
        return self.waiting / shrinks if shrinks > 0 else math.inf


def judged(
    *,
    waiting: pd.DataFrame,
    oldest: pd.DataFrame,
    created: pd.DataFrame,
    decided: pd.DataFrame,
    agents: pd.DataFrame,
    approvers: pd.DataFrame,
    queue: str,
    by_age: bool,
    silent_s: float,
) -> dict[str, Suspect]:
    """Judge a queue, by default the worst one, from answers of Prometheus.

    See `rb.causes.approvals`; with ``by_age``, the worst queue is the one with the oldest task.
    """
    known, aged = group(waiting, "queue"), group(oldest, "queue")
    name = queue or next(iter((aged if by_age else known).members), "")
    within = {"queue": name}
    new, done = group(created, "", within), group(decided, "", within)
    if unseen := next((one for one in (known, new, done) if one.reason), None):
        return all_unknown(_TITLES, unseen.reason, unseen.next_step)
    return suspects(
        Queue(
            name=name,
            waiting=known.members.get(name, Figure(now=0.0)).now,
            created=new.total,
            decided=done.total,
            agents=group(agents, "agent", within),
            everybody=group(agents, "agent"),
            approvers=_read(approvers, within, silent_s),
            silent_s=silent_s,
        )
    )


def _read(
    frame: pd.DataFrame, within: Mapping[str, str], silent_s: float
) -> Sequence[Approver] | str:
    """Return who decided how much, or why that is not known.

    A series that ended counts as 0 since then: its process may have been restarted.
    """
    source, known = provenance(frame), courses(frame, "approver", within)
    if source is None or not known:
        return (source and (source.reason or source.cut_by)) or "there are no decisions"
    end = datetime.fromisoformat(source.ends).timestamp()
    begin = end - silent_s
    moments = {at for one in known.values() for at, _ in one.values}
    sooner, later = sum(at <= begin for at in moments), sum(at > begin for at in moments)
    return [
        Approver(
            name=name,
            before=sum(one.between(0.0, begin)) / max(1, sooner),
            lately=sum(one.between(begin, end)) / max(1, later),
            seen_s=sooner * source.step_s,
        )
        for name, one in known.items()
    ]


def suspects(queue: Queue) -> dict[str, Suspect]:
    """Return what is known of each possible cause: ``loop``, ``absent``, ``more``."""
    loop = _loop(queue)
    if queue.empty_in_s <= _SOON_S:
        left = amounts.duration(queue.empty_in_s)
        said = f"{queue.name} shrinks, and is empty in about {left}"
        soon = {
            name: Suspect(title=_TITLES[name], holds=False, said=said)
            for name in ("absent", "more")
        }
        return {"loop": loop, **soon}
    absent = _absent(queue)
    return {"loop": loop, "absent": absent, "more": _more(queue, loop, absent)}


def _loop(queue: Queue) -> Suspect:
    agents = queue.agents
    if agents.unknown:
        return unknown(_LOOP, f"whether an agent loops: {agents.unknown}", agents.advice)
    if not agents.total.up:
        return Suspect(title=_LOOP, holds=False, said="agents create as many tasks as usual")
    name = agents.culprit()
    if not name and len(agents.members) == 1:
        [name] = agents.members
        if queue.everybody.culprit() != name:
            return _work_or_loop(name, agents.members[name])
    if name and (agents.members[name].times or 0.0) < _LOOPS:
        return _work_or_loop(name, agents.members[name])
    if not name:
        said = f"{amounts.count(len(agents.members), 'agent')} create more than usual, none alone"
        return Suspect(title=_LOOP, holds=False, said=said)
    return Suspect(
        title=_LOOP,
        holds=True,
        said=f"{name} creates {percent(agents.share(name))} of the tasks of {queue.name},"
        f" {_per_hour(agents.members[name].now)} ({agents.members[name].compared()}); the other"
        " agents create as many as usual",
        which=name,
        next_step=f"Disable the feature flag of {name}; do not ask approvers to work faster",
    )


def _work_or_loop(name: str, figure: Figure) -> Suspect:
    return unknown(
        _LOOP,
        f"whether {name} loops: it creates {_per_hour(figure.now)} ({figure.compared()}), which may"
        " be work or a loop",
        f"look at the newest tasks of {name}: the same task again and again is a loop",
    )


def _absent(queue: Queue) -> Suspect:
    if isinstance(queue.approvers, str):
        return unknown(_ABSENT, f"who decides: {queue.approvers}", _ASK)
    before = sum(one.before for one in queue.approvers)
    lately = sum(one.lately for one in queue.approvers)
    span = amounts.duration(queue.silent_s)
    seen_s = max((one.seen_s for one in queue.approvers), default=0.0)
    if seen_s < queue.silent_s:
        why = f"decisions are known for less than {amounts.duration(2 * queue.silent_s)}"
        return unknown(_ABSENT, why, "ask for a longer range, or look again later")
    silent = [
        one
        for one in queue.approvers
        if not one.lately and one.before * queue.silent_s >= _EXPECTED
    ]
    if not before and not lately:
        return _nobody(queue, seen_s + queue.silent_s)
    if lately >= _FALLEN * before:
        usual = queue.decided.usual or 0.0
        if lately < _FALLEN * usual and (usual - lately) * queue.silent_s >= _EXPECTED:
            why = f"who is missing: {_per_hour(lately)} are decided, usually {_per_hour(usual)}"
            return unknown(_ABSENT, why, _ASK)
        said = f"the approvers decide as many tasks as before ({_per_hour(lately)})"
        return Suspect(title=_ABSENT, holds=False, said=said)
    if not silent:
        said = f"no single approver has stopped; they decide {_per_hour(lately)}, before"
        return Suspect(title=_ABSENT, holds=False, said=f"{said} {_per_hour(before)}")
    names = ", ".join(one.name for one in silent)
    who = f"{names} {'has' if len(silent) == 1 else 'have'} decided nothing for {span}"
    usually = _per_hour(sum(one.before for one in silent))
    others = f"the others decide {_per_hour(lately)}" if lately else "nobody else decides either"
    return Suspect(
        title=_ABSENT,
        holds=True,
        said=f"{who} in {queue.name} (before: {usually}); {others}, and {queue.name} grows",
        which=names,
        next_step=f"Call the backup approver of {names}; hand over the tasks that are assigned to"
        " them",
    )


def _nobody(queue: Queue, since_s: float) -> Suspect:
    """Judge a range in which nobody decided: it does not show who is missing."""
    said = f"nobody has decided a task of {queue.name} for {amounts.duration(since_s)}"
    usual = queue.decided.usual
    if usual is None:
        return unknown(_ABSENT, f"{said}; what is usual at this hour is not known", _ASK)
    if usual * queue.silent_s < _EXPECTED:
        said = f"{said}, as usual at this hour ({_per_hour(usual)})"
        return Suspect(title=_ABSENT, holds=False, said=said)
    return Suspect(
        title=_ABSENT,
        holds=True,
        said=f"{said}; {_per_hour(usual)} are usual at this hour",
        next_step=f"Call the backup approver of {queue.name}; {_ASK}",
    )


def _more(queue: Queue, *others: Suspect) -> Suspect:
    if said := explained(others):
        return Suspect(title=_MORE, holds=False, said=said)
    if unseen := [one for one in others if one.holds is None]:
        return unknown(_MORE, f"not known, since it is not known {unseen[0].said}", "")
    created, decided = queue.created, queue.decided
    if created.now <= decided.now:
        empty = amounts.duration(queue.empty_in_s) if queue.empty_in_s < math.inf else "never"
        return unknown(
            _MORE,
            f"why tasks wait: {_per_hour(created.now)} are created, {_per_hour(decided.now)}"
            f" decided; {queue.name} is empty in: {empty}",
            "ask the approvers when the oldest tasks are decided, and whether they need help",
        )
    grows = _per_hour(created.now - decided.now)
    return Suspect(
        title=_MORE,
        holds=True,
        said=f"{queue.name} gets {_per_hour(created.now)} ({created.compared()}) from"
        f" {amounts.count(len(queue.agents.members), 'agent')}, and {_per_hour(decided.now)} are"
        f" decided: it grows by {grows}",
        next_step="Add approvers, or wait if the wave is known to end",
    )


def _per_hour(per_s: float) -> str:
    return f"{number(per_s * 3600)} tasks per h"
