"""`rb.overview`: one screen over everything, and which runbook to open next."""

from __future__ import annotations

import dataclasses

from IPython.display import display

from rbkernel.model import Finding
from rbkernel.postgres import overview as looks
from rbkernel.triage import cards
from rbkernel.triage.context import triage


def overview(db: str, *, standby: str = "", standby_name: str = "") -> list[str]:
    """Look at everything that goes wrong often, and show one table.

    Parameters
    ----------
    db
        Connection name of the primary, or of the only server.
    standby
        Connection name of a standby, to look at as well; empty for none.
    standby_name
        application_name of the standby that the primary must have; empty for none.

    Returns
    -------
    list of str
        Ids of the runbooks to open, the most urgent first.
    """
    run = triage()
    found: list[Finding] = list(looks.look(run.session(db), standby_name=standby_name))
    if standby:
        # the same question to another server is another finding
        seen = looks.look(run.session(standby))
        found += [dataclasses.replace(f, title=f"{f.title}, on {standby}") for f in seen]
    for finding in found:
        run.add_finding(finding)
    opens = looks.next_runbooks(found)
    data = {"findings": [dataclasses.asdict(finding) for finding in found], "opens": opens}
    html, text = cards.overview_card(found), cards.overview_text(found)
    display(cards.bundle("overview", data, html, text), raw=True)
    return opens
