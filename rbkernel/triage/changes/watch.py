"""`rb.watch`: look at a server again and again for some minutes, and stop at the first harm."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import zip_longest

from rbkernel.arguments import checked
from rbkernel.checks import rules
from rbkernel.config.quantities import Pause
from rbkernel.evidence import current
from rbkernel.model import Finding, Verdict, explained
from rbkernel.sources.postgres import diagnosis, diagnostics
from rbkernel.triage.act import ProposedPlan
from rbkernel.triage.changes.lasting import Lasting
from rbkernel.triage.changes.repeat import repeat
from rbkernel.triage.check import keep
from rbkernel.triage.context import triage
from rbkernel.triage.diagnose import looked
from rbkernel.triage.query import ask


@checked
def watch(
    names: Sequence[str],
    db: str,
    *,
    change: ProposedPlan | None = None,
    for_s: Pause = 900.0,
    every_s: Pause = 15.0,
    standby: str = "",
) -> Finding:
    """Watch a server for some minutes after a change, and stop as soon as something is wrong.

    Each look examines the causes, as `rb.diagnose` does, and runs the diagnostics.

    Parameters
    ----------
    names
        The diagnostics whose rules are applied at each look, such as ``["locks/blocking"]``.
    db
        Connection name.
    change
        The plan of the change, which somebody has carried out. A cause is no reason to stop if
        `rb.diagnose` found it before the plan was first chosen, and at each look since, and it has
        not become worse. Without a plan, every cause is.
    for_s
        How long to watch, in seconds.
    every_s
        Seconds between the starts of two looks.
    standby
        Connection name of the standby; empty for none.

    Returns
    -------
    Finding
        ok if nothing new was wrong in any look, for the whole time; else the first problem, at
        once. unknown if a look could not tell.
    """
    for name in names:
        diagnostics.get(name)  # a misspelt name is reported before the first look
    known = _known_before(change)
    return keep(repeat(partial(_look, names, db, standby, known), for_s=for_s, every_s=every_s))


def _known_before(change: ProposedPlan | None) -> dict[str, Lasting]:
    """Return what was wrong before a change, by connection.

    Somebody may carry it out as soon as it is chosen: a first look after that knows nothing.
    """
    at = change.first_chosen_at if change else ""
    return {name: one for name, one in triage().lasting.items() if at and one.was_before(at)}


def _look(
    names: Sequence[str], db: str, standby: str, known: dict[str, Lasting]
) -> tuple[list[Finding], dict[tuple[str, str], str]]:
    """Return what is not ok in one look, and the causes that were there before.

    The latter are sentences, by connection and by the sentence of before. ``known`` forgets what
    this look does not find.
    """
    found: list[Finding] = []
    old: dict[tuple[str, str], Finding] = {}
    looks = looked(db, standby)
    for here in looks:
        name = here.situation.connection
        lasting = known.get(name)
        for finding, cause in zip_longest(diagnosis.findings(here), here.causes):
            there = lasting.known(cause, here.situation.at) if lasting and cause else None
            if there and finding.wrong:
                old[name, there.headline] = finding
            else:
                found.append(finding)
        if lasting and not here.situation.reason:
            known[name] = Lasting.of(here, lasting)
    explaining = [one for (name, _), one in old.items() if name == looks[0].situation.connection]
    for name in names:
        frame = ask(name, db, None, {})
        for rule in diagnostics.get(name).rules:
            symptom = rules.apply(rule, frame)
            if not explained(symptom, rule.opens, explaining).explained_by:
                found.append(symptom)
    found = [one for one in found if one.verdict is not Verdict.OK]
    current().event("watch", db=db, wrong=[one.headline for one in found])
    return found, {key: one.headline for key, one in old.items()}
