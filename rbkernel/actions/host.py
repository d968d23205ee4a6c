"""Plans of commands that a human runs on the host of a server, when nobody can log in to it."""

from __future__ import annotations

from rbkernel.actions.plans import command
from rbkernel.model import ActionPlan

_LOOK = """\
pg_isready; df -h; free -m; journalctl -u postgresql -n 50 --no-pager
ps -eo pid,stat,lstart,args | grep '[p]ostgres'  # T: frozen, D: waits for the disk"""
# a session that waits for the lock has "waiting" in the title of its process
_END = """\
ps -eo pid,lstart,args | grep '[p]ostgres: .*(' | grep -v waiting
kill -TERM <pid>"""


def look_at_host() -> ActionPlan:
    """Plan to look at the server on its host: disk, memory, log and processes. It changes nothing.

    >>> look_at_host().command.startswith("pg_isready")
    True
    """
    return command("Look at the server on its host", _LOOK, undo="None needed: it changes nothing.")


def end_on_host() -> ActionPlan:
    """Plan to find the session that locks the catalogue, and to end it, on the server's host.

    Nobody can log in while the catalogue is locked, so the session cannot be found in SQL.

    >>> "kill -TERM ‹PLACEHOLDER: pid›" in end_on_host().command
    True
    """
    return command(
        "End the session that locks the catalogue",
        _END,
        values={"<pid>": None},
        undo="None: its open transaction is rolled back, and its client must connect again.",
        risk="Use -TERM only: -9 restarts the whole server. Ask the owner of the session first.",
    )
