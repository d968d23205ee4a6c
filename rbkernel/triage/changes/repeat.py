"""Look at something again and again for some minutes, and stop at the first harm."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from IPython.display import DisplayHandle, display

from rbkernel import amounts
from rbkernel.model import Finding, Verdict, by_urgency, now
from rbkernel.render import cards

#: What is not ok in one look, and the problems that were there before, as sentences by their key.
Looked = tuple[Sequence[Finding], Mapping[tuple[str, str], str]]


def repeat(
    look: Callable[[], Looked], *, for_s: float, every_s: float, all_s: float | None = None
) -> Finding:
    """Look every few seconds, show how far it is, and stop as soon as something is wrong.

    Parameters
    ----------
    look
        Takes one look.
    for_s, every_s
        How long, and the time between the starts of two looks, in s.
    all_s
        The whole time, in s, if each look is about all of it, also about what has passed before the
        first look. What the last look could see is then seen.

    Returns
    -------
    Finding
        As that of `watched`.
    """
    card: DisplayHandle | None = None
    began = due = time.monotonic()
    looks = 0
    seen: Finding | None = None
    before: dict[tuple[str, str], str] = {}
    whole_s = for_s if all_s is None else all_s
    while True:
        time.sleep(max(0.0, due - time.monotonic()))
        due += every_s
        looks += 1
        fresh, old = look()
        before |= old
        found = by_urgency(fresh)
        harm = next((one for one in found if one.wrong), None)
        earlier = seen if all_s is None else None
        seen = harm or earlier or next(iter(found), None)
        passed_s = time.monotonic() - began
        over = passed_s + every_s > for_s
        passed_s += whole_s - for_s
        card = _show(card, passed_s, whole_s, seen)
        if over or (seen is not None and seen.wrong):
            return watched(
                seen, looks=looks, passed_s=passed_s, for_s=whole_s, before=[*before.values()]
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
