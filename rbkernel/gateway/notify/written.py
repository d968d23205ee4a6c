"""Write into the record of an incident whom rbkernel notified, or tried to notify."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from rbkernel.errors import EvidenceError
from rbkernel.evidence import incident
from rbkernel.evidence.incident import IncidentState

log = logging.getLogger("rbkernel.notify")


def down(
    root: Path,
    name: str,
    *,
    whom: str,
    events: Sequence[str],
    title: str,
    text: str,
    how: str,
    problem: str,
) -> None:
    """Write a notification into an open incident's record.

    A closed record is left alone, because a further line of it would be unsealed.

    Parameters
    ----------
    root, name
        The evidence folder, and the incident.
    whom
        The target that was notified.
    events
        The keys of the events that it was told.
    title, text
        The message, without signatures of links.
    how
        The services that accepted it; empty if none did.
    problem
        Why none did.
    """
    try:
        if incident.read(root, name).state == IncidentState.CLOSED:
            return
        incident.append(
            *(root, name, "notified"),
            by="rbkernel",
            whom=whom,
            events=list(events),
            title=title,
            text=text,
            how=how,
            problem=problem,
        )
    except EvidenceError as error:
        log.warning("a notification was sent but not recorded: %s", error)
