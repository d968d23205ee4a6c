"""Complete the ids of incidents and runbooks in a shell.

A shell asks at each press of Tab: an error proposes nothing, and prints nothing.
"""

from __future__ import annotations

from rbkernel import config
from rbkernel.errors import RbkernelError
from rbkernel.model import INCIDENT_ID


def incidents(incomplete: str) -> list[str]:
    """Return the ids of incidents that begin with a text."""
    try:
        root = config.load().evidence_root
        names = [one.name for one in root.iterdir() if INCIDENT_ID.fullmatch(one.name)]
    except (RbkernelError, OSError):
        return []
    return sorted(name for name in names if name.startswith(incomplete))


def runbooks(incomplete: str) -> list[str]:
    """Return the ids of runbooks that begin with a text."""
    from rbkernel.runbook import catalogue

    try:
        names = catalogue.ids(config.load().catalogue.paths)
    except (RbkernelError, OSError):
        return []
    return sorted(name for name in names if name.startswith(incomplete))
