"""Check a server for all common problems, to find the runbooks to open next.

Each topic is a diagnostic with its own rules. A topic is left out if it does not apply: the
database lacks the table; the topic is only about primaries, or only about standbys, and the server
is not one; the topic is the lag of standbys, and none is expected or connected; or the topic
compares statements with their past, and pg_stat_statements is not there; or the topic is scans of
whole tables, and the server is a standby. A topic whose query fails
is not left out.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from rbkernel.checks import rules
from rbkernel.errors import DatabaseError, RbkernelError
from rbkernel.model import Finding, Verdict, now
from rbkernel.sources.postgres import diagnosis, diagnostics
from rbkernel.sources.postgres.causes.cause import REPLICATION
from rbkernel.sources.postgres.connection.capabilities import has
from rbkernel.sources.postgres.connection.session import Session
from rbkernel.sources.postgres.diagnosis import Diagnosis
from rbkernel.sources.postgres.twice import PAUSE

if TYPE_CHECKING:
    import pandas as pd

# topics in the order in which an engineer would check them
TOPICS = (
    "connections/saturation",
    "connections/holders",
    "connections/databases",
    "connections/roles",
    "locks/blocking",
    "locks/prepared",
    "activity/transactions",
    "replication/lag",
    "replication/standby",
    "replication/synchronous",
    "replication/slots",
    "replication/publisher",
    "replication/subscriber",
    "queue/depth",
    "queue/tasks",
    "reconciliation/open",
    "vacuum/wraparound",
    "vacuum/behind",
    "storage/sequences",
    "storage/partitions",
    "storage/collations",
    "archive/status",
    "archive/wal",
    "io/cache",
    "migration/leftovers",
    "roles/audit",
    "queries/regression",
    "storage/scans",
)
# of these, only the rules with these names: the others can wait, or have many harmless reasons
URGENT = {
    "io/cache": ("damaged_now", "damaged_earlier"),
    "migration/leftovers": ("half_way",),
    "roles/audit": ("reaches_host",),
    "queries/regression": ("reads_more", "returns_more"),
    "storage/scans": ("stale", "broken"),
}
# parameters of the diagnostics; the other topics are checked between the two samples
VALUES: Mapping[str, Mapping[str, float]] = {
    # in so short a time, only what is beyond doubt: much load, many calls, and all of them slow
    "queries/regression": {
        PAUSE: 2.0,
        "busy_sessions": 0.1,
        "least_share": 0.1,
        "least_calls": 20,
        "single_spreads": 3,
    },
    "storage/scans": {PAUSE: 2.0},
}
_STATEMENTS = "pg_stat_statements"
# a standby does not see whether an index is being built, or when its tables were analyzed
_SCANS = "storage/scans"
# these read tables in full themselves, so they run after the second samples
_LAST = ("queue/depth", "queue/tasks", "reconciliation/open")
# runbooks about what may have been so for long: of two warnings, the other one comes first
_CHRONIC = frozenset({"RUN-004", "RUN-021", "RUN-027"})
# topic → the function that takes its second sample, and returns the frame
Begun = Mapping[str, Callable[[], "pd.DataFrame"]]
# topics that are not urgent
HOUSEKEEPING = (
    "vacuum/tables",
    "storage/indexes",
    "storage/foreign_keys",
    "storage/bloat",
    "storage/sizes",
    "replication/failover",
    "backup/age",
    "settings/notable",
    "roles/audit",
)


def survey(
    session: Session,
    seen: Diagnosis | None = None,
    *,
    standby_name: str = "",
    housekeeping: bool = False,
    tell: Callable[[Diagnosis], Iterable[Finding]] = diagnosis.findings,
    begun: Begun | None = None,
) -> Iterator[Finding]:
    """Yield the findings about the causes of a server's problems, then the findings of each topic.

    Parameters
    ----------
    session
        The connection.
    seen
        The diagnosis of the server, if there is one already.
    standby_name
        As for `look`.
    housekeeping
        Whether to include the topics that are not urgent.
    tell
        A function that returns the findings of a diagnosis.
    begun
        As for `look`.
    """
    seen = seen or diagnosis.diagnose(session)
    yield from tell(seen)
    if seen.reached:
        whole = HOUSEKEEPING if housekeeping else ()
        topics = (*(name for name in TOPICS if name not in whole), *whole)
        yield from look(session, standby_name=standby_name, topics=topics, whole=whole, begun=begun)


def begin(session: Session, topics: Iterable[str] = TOPICS) -> Begun:
    """Take the first sample of the topics that need two, so that time passes until the second."""
    return {
        name: diagnostics.begun(session, name, **VALUES.get(name, {}))
        for name in topics
        if diagnostics.get(name).twice and not _left_out(session, name)
    }


def look(
    session: Session,
    *,
    standby_name: str = "",
    topics: Iterable[str] = TOPICS,
    whole: Container[str] = (),
    begun: Begun | None = None,
) -> Iterator[Finding]:
    """Run the diagnostic of each topic on a server, and yield the findings of its rules.

    Parameters
    ----------
    session
        The connection.
    standby_name
        application_name of the standby that a primary must have; empty for none.
    topics
        Names of diagnostics.
    whole
        Names of diagnostics of which all rules are applied, not only those in `URGENT`.
    begun
        What `begin` returned, if the first samples were taken already.
    """
    wanted = [name for name in topics if not _left_out(session, name)]
    twice = begin(session, wanted) if begun is None else begun
    for name in sorted(wanted, key=lambda name: (name in _LAST, name in twice)):
        values = {"standby": standby_name} if name == "replication/lag" else {}
        frame = twice[name]() if name in twice else diagnostics.run(session, name, **values)
        if name == "replication/lag" and not standby_name and frame.empty:
            continue  # a primary without standbys, as configured
        if "no_past" in frame:  # a statement without a past is no reason to escalate
            frame = frame[~frame["no_past"].eq(True).fillna(False)]
        for rule in diagnostics.get(name).rules:
            if name in URGENT and name not in whole and rule.name not in URGENT[name]:
                continue
            yield rules.apply(rule, frame)


def belongs(standby: Session, primary: Session) -> bool:
    """Return whether two servers are copies of one cluster; true if this cannot be determined."""
    try:
        return cluster_of(standby) == cluster_of(primary)
    except RbkernelError:
        return True  # other findings report why the servers do not answer


def cluster_of(session: Session) -> str:
    """Return the system identifier of a server's cluster; a standby has that of its primary."""
    return str(session.look("SELECT system_identifier FROM pg_control_system()").iloc[0, 0])


def stranger(standby: str, primary: str) -> Finding:
    """Return the finding that the named standby belongs to another cluster than the primary."""
    return Finding(
        title=f"Standby {standby} of {primary}",
        verdict=Verdict.UNKNOWN,
        expected="primary and standby belong to one cluster",
        actual="the two servers are different clusters, so the standby was not checked",
        next_step=f"pass the standby of {primary} as standby=…, or no standby (standby=)",
        at=now(),
    )


def next_runbooks(findings: Iterable[Finding]) -> list[str]:
    """Return the ids of the runbooks to open: first those for causes, then the others by urgency.

    Of two findings with the same verdict, the one that may have been so for long comes last.

    >>> bad = Finding(title="a", verdict=Verdict.WARNING, expected="", actual="", opens="RUN-018")
    >>> from dataclasses import replace
    >>> worse = replace(bad, verdict=Verdict.CRITICAL, opens="RUN-005")
    >>> next_runbooks([bad, worse, bad])
    ['RUN-005', 'RUN-018']
    >>> next_runbooks([replace(bad, opens="RUN-004"), bad])
    ['RUN-018', 'RUN-004']
    """
    return [*reasons_to_open(findings)]


def reasons_to_open(findings: Iterable[Finding]) -> dict[str, Finding]:
    """Return the runbooks to open, as `next_runbooks`, each with the first finding to open it."""
    unexplained = (finding for finding in findings if finding.opens and not finding.explained_by)
    reasons: dict[str, Finding] = {}
    for finding in sorted(unexplained, key=_urgency):
        reasons.setdefault(finding.opens, finding)
    return reasons


def parameters(runbook: str, server: str, *, primary: str, standby: str) -> dict[str, str]:
    """Return the connections that a runbook needs, so that it examines what a finding is about.

    Parameters
    ----------
    runbook
        Id of the runbook to open.
    server
        The connection that the finding is about.
    primary, standby
        The connections of both servers; without a standby, the second is empty.

    >>> parameters("RUN-001", "two", primary="one", standby="two")
    {'db': 'two'}
    >>> parameters("RUN-005", "two", primary="one", standby="two")
    {'db': 'one', 'standby': 'two'}
    """
    if runbook == REPLICATION and standby:
        return {"db": primary, "standby": standby}
    return {"db": server}


def as_options(given: Mapping[str, str]) -> str:
    """Return parameters as options of `rbkernel run`.

    >>> as_options({"db": "one", "standby": "two"})
    '-p db=one -p standby=two'
    """
    return " ".join(f"-p {name}={value}" for name, value in given.items())


def _urgency(finding: Finding) -> tuple[bool, int, bool]:
    return not finding.is_cause, -finding.verdict.rank, finding.opens in _CHRONIC


def _left_out(session: Session, name: str) -> bool:
    try:
        if _STATEMENTS in diagnostics.get(name).needs and not has(session.server, _STATEMENTS):
            return True
        if name == _SCANS and session.server.standby:
            return True
        return bool(diagnostics.inapplicable(session, name))
    except DatabaseError:
        return False  # not known; the rules of the diagnostic report the reason
