"""Sum up the items that a run leaves to a human: one finding for each kind of item.

A runbook of forty commands that nobody has run would fill the first screen with forty findings. So
they are summed up in one finding, which is ``unknown`` until all of them are done. An item that was
not checked is never ok.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rbkernel.model import Finding, Verdict, now
from rbkernel.triage.context import triage

# the number of items named on the first screen; the cells show all of them
_NAMED = 3


class Kind(NamedTuple):
    """A kind of item that is left to a human, and the texts of its finding."""

    title: str
    expected: str
    what: str
    next_step: str


COMMANDS = Kind(
    "Commands to run yourself",
    "run and checked",
    "not run here",
    "run each command when you reach its step, or allow it under [commands] in rbkernel.toml",
)
QUERIES = Kind(
    "Queries without an answer",
    "all answered",
    "not answered",
    "fill in the parameters, correct the query or the source, and run the notebook again",
)
CHECKLISTS = Kind(
    "Checklists",
    "all ticked",
    "not ticked",
    "open the notebook in JupyterLab and tick what you have done",
)
METRICS = Kind(
    "Metrics to check yourself",
    "all within their limits",
    "not measured here",
    "check the dashboard, or name a diagnostic or a query in the front matter",
)
PLACEHOLDERS = Kind(
    "Placeholders",
    "all filled in",
    "to fill in",
    "replace each ‹PLACEHOLDER: …›, in the first cell (click the dots to unfold it) and below;"
    " `rbkernel lint`"
    " names all of them",
)


def note(kind: Kind, things: Mapping[str, bool]) -> Finding:
    """Store which items a human has done, and update the finding of their kind.

    Parameters
    ----------
    kind
        The kind of the items.
    things
        Name of an item → whether it is done; a known name is updated. Only the first line of a
        name is shown: further lines distinguish it from others.

    Returns
    -------
    Finding
        ``unknown`` while an item is not done.
    """
    run = triage()
    known = run.undone.setdefault(kind.title, {})
    known.update(things)
    finding = summed_up(kind, known)
    run.add_finding(finding)
    return finding


def summed_up(kind: Kind, things: Mapping[str, bool]) -> Finding:
    """Return one finding that sums up items left to a human. Pure.

    >>> found = summed_up(CHECKLISTS, {"VPN": True, "Access": False})
    >>> found.verdict.value, found.actual, found.which
    ('unknown', '1 of 2 not ticked', 'Access')
    """
    left = [name.partition("\n")[0] for name, done in things.items() if not done]
    more = f", and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
    return Finding(
        title=kind.title,
        verdict=Verdict.UNKNOWN if left else Verdict.OK,
        expected=kind.expected,
        actual=f"{len(left)} of {len(things)} {kind.what}"
        if left
        else "done"
        if len(things) == 1
        else f"all {len(things)} done",
        which=", ".join(left[:_NAMED]) + more,
        next_step=kind.next_step if left else "",
        at=now(),
    )
