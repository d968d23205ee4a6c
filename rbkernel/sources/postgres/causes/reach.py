"""Find the cause if a server refuses connections or does not answer. Pure.

The verdict is critical if the server refuses all clients. If the problem is rbkernel's own role,
password or address, the state of the server is unknown.
"""

from __future__ import annotations

from rbkernel.model import Verdict
from rbkernel.sources.postgres.causes.cause import Cause
from rbkernel.sources.postgres.connection.troubles import DOWN, Trouble
from rbkernel.sources.postgres.situation import Situation

# findings that follow from a server that does not answer
_EVERYTHING = ("RUN-001", "RUN-005", "RUN-007", "RUN-009", "RUN-010", "RUN-011")
_FULL = {
    Trouble.SLOTS_FULL: (
        "No connection slot is left on {}",
        "the server refused this runbook's own connection",
        (
            "Have an administrator connect as a superuser, for whom slots are reserved, and"
            " terminate sessions that are idle in transaction; then run this again. From PostgreSQL"
            " 16 on, grant pg_use_reserved_connections to the diagnostic role beforehand"
        ),
    ),
    Trouble.DATABASE_FULL: (
        "The connection limit of the database of {} is reached",
        "the database has a CONNECTION LIMIT of its own",
        (
            "Have an administrator end connections to this database, or raise its limit"
            " (ALTER DATABASE … CONNECTION LIMIT)"
        ),
    ),
}

# the first word of the option of RUN-010 for a problem; for other problems of a server that is
# down, its host must be checked
_OPTIONS = {
    Trouble.NOT_LISTENING: "start",
    Trouble.NO_SOCKET: "start",
    Trouble.STARTING: "let",
    Trouble.CATALOGUE_LOCKED: "end",
}


def unseen(situation: Situation) -> Cause:
    """Return the cause for a server that could not be queried: down, full, or unknown."""
    trouble = situation.trouble
    if trouble in _FULL:
        headline, mechanism, next_step = _FULL[Trouble(trouble)]
        return Cause(
            headline=f"{headline.format(situation.connection)}: {situation.reason}",
            mechanism=mechanism,
            verdict=Verdict.CRITICAL,
            next_step=next_step,
            opens="RUN-001",
            explains=("RUN-001", "RUN-009", "RUN-010", "RUN-011"),
            option="free",
        )
    if trouble in DOWN:
        return Cause(
            headline=f"{situation.connection} does not answer: {situation.reason}",
            mechanism=trouble,
            verdict=Verdict.CRITICAL,
            next_step=situation.next_step,
            opens="RUN-010",
            explains=_EVERYTHING,
            option=_OPTIONS.get(Trouble(trouble), "check"),
        )
    # many diagnostics report the same problem of the role, so it is shown once
    own_role = trouble == Trouble.FORBIDDEN
    return Cause(
        headline=situation.reason
        if own_role
        else f"{situation.connection} could not be queried: {situation.reason}",
        mechanism="the server could not be queried",
        verdict=Verdict.UNKNOWN,
        next_step=situation.next_step,
        # RUN-010 tells a server that is down from a connection of rbkernel that is wrong
        opens="" if own_role else "RUN-010",
        option="repair",
    )
