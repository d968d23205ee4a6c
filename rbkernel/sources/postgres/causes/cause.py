"""The class `Cause`, and the texts and limits that all causes share. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from rbkernel import amounts
from rbkernel.model import Verdict
from rbkernel.sources.postgres.remedy import Remedy
from rbkernel.sources.postgres.situation import Backend, Doing

# a group with this share of the used slots explains why the slots are full (own choice)
EXPLAINS = 0.5
# the runbook on replication; causes that explain it are causes about replication
REPLICATION = "RUN-005"


@dataclass(frozen=True, kw_only=True)
class Victims:
    """The sessions that a cause harms: number, longest wait, applications, and % of the slots."""

    count: int = 0
    longest_s: float = 0.0
    applications: tuple[str, ...] = ()
    slots_pct: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Cause:
    """The cause of one or more findings, with its culprit, its victims and the steps that help.

    ``headline`` is one sentence that names the culprit; ``opens`` is the runbook to open next, and
    ``explains`` names the runbooks whose symptoms come from this cause. ``remedies`` are the steps
    that help, the least harmful first. If the recommended step does not act on a session,
    ``option`` is the first word of the matching option of `rb.decide`, such as ``resume``.

    ``mechanism`` says how the culprit does harm. ``late_s`` is by how many s a standby is behind,
    if the cause says only that: it is then dropped as a symptom if another cause explains the lag.
    ``subject`` says what the cause is about, without figures, so that a cause without culprits is
    recognized in a later snapshot. If it is empty, the cause is recognized by its ``mechanism``.
    """

    headline: str
    mechanism: str
    verdict: Verdict
    culprits: tuple[Backend, ...] = ()
    victims: Victims = Victims()
    ruled_out: tuple[str, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    next_step: str = ""
    opens: str = ""
    explains: tuple[str, ...] = ()
    option: str = ""
    late_s: float | None = None
    subject: str = ""

    @property
    def lasting(self) -> str:
        """The text by which a later snapshot recognizes the cause: its subject, else mechanism."""
        return self.subject or self.mechanism

    @property
    def named(self) -> frozenset[int]:
        """The pids of the culprits, and of the sessions that a step cancels or terminates."""
        targets = (target for remedy in self.remedies for target in remedy.targets)
        return frozenset(one.pid for one in (*self.culprits, *targets))

    @property
    def remedy(self) -> Remedy | None:
        """The recommended step; None if no step may be proposed."""
        return next(iter(self.remedies), None)


def identity(backend: Backend) -> str:
    """Return a description of a session: application, pid, state and duration of the state.

    >>> identity(Backend(pid=422, application="refund-job", state="idle in transaction",
    ...                  state_s=346.0))
    'refund-job (pid 422, idle in transaction for 5 min 46 s)'
    """
    return f"{backend.name} (pid {backend.pid}, {_state(backend)})"


# the meanings of common wait events
_WAITS = {
    "ClientRead": "waits for its client to send more",
    "ClientWrite": "waits for its client to read the answer",
    "PgSleep": "sleeps in pg_sleep()",
}


def _state(backend: Backend) -> str:
    if backend.idle_in_transaction or backend.state == "idle":
        return f"{backend.state} for {amounts.duration(backend.state_s or 0.0)}"
    if backend.doing is Doing.UNKNOWN:
        why = "track_activities is off" if backend.state == "disabled" else "hidden from this role"
        return f"state unknown, {why}"
    if backend.query_s is None:
        return backend.backend_type
    doing = str(backend.doing)
    if backend.doing is Doing.OTHER_WAIT:
        unnamed = f"waits for {backend.wait_type}: {backend.wait_event}"
        doing = _WAITS.get(backend.wait_event or "", unnamed)
    return f"{doing} for {amounts.duration(backend.query_s)}"


def applications(backends: Iterable[Backend]) -> tuple[str, ...]:
    """Return the three applications with the most sessions, each with its number."""
    counts = Counter(one.name for one in backends)
    return tuple(f"{name} {count}" for name, count in counts.most_common(3))


def level(value: float, warn: float, critical: float) -> Verdict:
    """Return the verdict on a value: warning above ``warn``, critical above ``critical``."""
    if value > critical:
        return Verdict.CRITICAL
    return Verdict.WARNING if value > warn else Verdict.OK


def worse(one: Verdict, other: Verdict) -> Verdict:
    """Return the more urgent of two verdicts."""
    return max(one, other, key=lambda verdict: verdict.rank)


def without_symptoms(
    causes: Iterable[Cause], known: Iterable[Cause], meant_s: float = 0.0
) -> list[Cause]:
    """Remove causes that only say that a standby is late, if a known cause explains the lag.

    A lag of up to ``meant_s`` is meant, and no problem.

    >>> late = Cause(headline="late", mechanism="", verdict=Verdict.WARNING, late_s=9.0)
    >>> reader = Cause(headline="reader", mechanism="", verdict=Verdict.WARNING,
    ...                explains=("RUN-007", "RUN-005"))
    >>> [cause.headline for cause in without_symptoms([late, reader], [late, reader])]
    ['reader']
    >>> [cause.headline for cause in without_symptoms([late], [late])]
    ['late']
    >>> [without_symptoms([late], [late], meant_s) == [late] for meant_s in (8.0, 10.0)]
    [True, False]
    """
    explained = any(REPLICATION in cause.explains and cause.late_s is None for cause in known)
    return [
        cause
        for cause in causes
        if cause.late_s is None or not (explained or cause.late_s <= meant_s)
    ]
