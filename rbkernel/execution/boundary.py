"""Say whether kernels could execute actions, or approve them, without any person."""

from __future__ import annotations

import os
import socket

from rbkernel.execution.proposal import Proposal

NONE = "none: kernels run as the OS user that executes actions, so the approval is a convenience"
ONE_USER = (
    "kernels run here as the OS user of `rbkernel serve`: they could approve in any name,"
    " so nobody can approve or execute on a page"
)
APART = (
    "start `rbkernel serve --kernels 0`, and `rbkernel worker` in another container or on another"
    " host (docs/how-to/act.md); or set one_user = true in [actions] if approvals may be a mere"
    " convenience; or approve and execute by command (`rbkernel action`)"
)


def known(found: Proposal, *, runs_kernels: bool) -> str:
    """Say what is known about the kernels of an action: `NONE`, or where its run was.

    A kernel writes the name of its host itself, so this notices mistakes, and no attacker.

    Parameters
    ----------
    found
        The proposal.
    runs_kernels
        Whether this process starts kernels, which then are of the same OS user.
    """
    executor, host = os.geteuid(), socket.gethostname()
    if runs_kernels or (found.owner == executor and found.host in ("", host)):
        return NONE
    if found.owner == executor:
        return (
            "not known: the run has the same user id, and its kernel says that it ran on host"
            f" {found.host}, not {host}; if that is not true, the approval is a convenience"
        )
    return f"not known: the run belongs to user id {found.owner}, and user id {executor} executes"
