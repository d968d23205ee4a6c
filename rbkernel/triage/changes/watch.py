"""`rb.watch`: look at a server again and again for some minutes, and stop at the first harm."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import zip_longest

from IPython.display import DisplayHandle, display

from rbkernel import amounts
from rbkernel.arguments import checked
from rbkernel.checks import rules
from rbkernel.config.quantities import Pause
from rbkernel.evidence import current
from rbkernel.model import Finding, Verdict, by_urgency, explained, now
from rbkernel.render import cards
from rbkernel.sources.postgres import diagnosis, diagnostics
from rbkernel.triage.act import ProposedPlan
from rbkernel.triage.changes.lasting import Lasting
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
    card: DisplayHandle | None = None
    began = due = time.monotonic()
    looks = 0
    seen: Finding | None = None
    before: dict[tuple[str, str], str] = {}
    while True:
        time.sleep(max(0.0, due - time.monotonic()))
        due += every_s
        looks += 1
        fresh, old = _look(names, db, standby, known)
        before |= old
        found = by_urgency(fresh)
        harm = next((one for one in found if one.wrong), None)
        seen = harm or seen or next(iter(found), None)
        passed_s = time.monotonic() - began
        over = passed_s + every_s > for_s
        card = _show(card, passed_s, for_s, seen)
        if over or (seen is not None and seen.wrong):
            return keep(
                watched(
                    seen, looks=looks, passed_s=passed_s, for_s=for_s, before=[*before.values()]
                )
            )


def watched(
    seen: Finding | None,
    *,
    looks: int,
    passed_s: float,
    for_s: float,
    before: Sequence[str] = (),
) -> Finding:
    """Return the finding of a watch from its most urgent problem, None if there was none. Pure.

    ``before`` are the causes that were there before the change, as sentences.

    >>> watched(None, looks=61, passed_s=900.2, for_s=900).actual
    'nothing wrong in 61 looks within 15 min'
    >>> bad = Finding(title="Lag", verdict=Verdict.WARNING, expected="", actual="9 s")
    >>> watched(bad, looks=2, passed_s=15.1, for_s=900).actual
    'stopped after 15 s, at look 2: Lag'
    """
    new = "new " if before else ""
    there = f"; there before the change: {'; '.join(before)}" if before else ""
    expected = f"nothing {new}wrong for {amounts.duration(for_s)}"
    if seen is None:
        spent = amounts.duration(round(passed_s))
        return Finding(
            title="Watch after the change",
            verdict=Verdict.OK,
            expected=expected,
            actual=f"nothing {new}wrong in {amounts.count(looks, 'look')} within {spent}{there}",
            at=now(),
        )
    stopped = "stopped after" if seen.wrong else "not everything could be seen in"
    return Finding(
        title="Watch after the change",
        verdict=seen.verdict,
        expected=expected,
        actual=f"{stopped} {amounts.duration(passed_s)}, at look {looks}: {seen.headline}{there}",
        cause=seen.cause if seen.wrong else "",
        which=seen.which,
        next_step=seen.next_step,
        opens=seen.opens,
        at=now(),
    )


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


def _show(
    card: DisplayHandle | None, passed_s: float, for_s: float, seen: Finding | None
) -> DisplayHandle | None:
    """Show how far the watch is, in place of what was shown before."""
    so_far = seen.headline if seen else "nothing wrong so far"
    text = f"{amounts.duration(round(passed_s))} of {amounts.duration(for_s)}: {so_far}"
    shown = {"text/html": cards.message_card("watching", text, "open"), "text/plain": text}
    if card is not None:
        card.update(shown, raw=True)
        return card
    made: DisplayHandle = display(shown, raw=True, display_id=f"rbkernel-watch-{now()}")
    return made
