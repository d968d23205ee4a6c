"""Survey several servers at the same time, each in a thread and a session of its own.

A server that fails or is too slow is unknown, and does not hold the others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from rbkernel import amounts
from rbkernel.errors import DatabaseError, RbkernelError
from rbkernel.model import Finding, Verdict, explained, leading, now
from rbkernel.sources.postgres import diagnosis, overview
from rbkernel.sources.postgres.connection.session import Session

#: s after which a server that has not answered everything is unknown
DEADLINE_S = 12.0


@dataclass(frozen=True, kw_only=True)
class Server:
    """The findings about one server of a group, by its connection."""

    connection: str
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of the findings."""
        return Verdict.worst(one.verdict for one in self.findings)

    @property
    def answers(self) -> bool:
        """Whether the server answers: one that does not has no check that is ok."""
        return any(one.ok for one in self.findings)

    def summary(self) -> Finding:
        """Return one finding about the server: the most urgent one, and how many others there are.

        The runbook to open is that of the most urgent finding.
        """
        first, *_ = [*leading(self.findings), None]
        if first is None:
            return Finding(
                title=self.connection,
                verdict=self.verdict,
                expected="all checks ok",
                actual=f"{amounts.count(len(self.findings), 'check')} ok",
                at=now(),
            )
        others = sum(not one.ok and not one.explained_by for one in self.findings) - 1
        more = f"; {amounts.count(others, 'other finding')}" if others > 0 else ""
        return replace(
            first,
            title=self.connection,
            verdict=self.verdict,
            actual=f"{first.title}: {first.actual}{more}",
            explains=(),
        )


def survey(
    sessions: Iterable[Session],
    *,
    housekeeping: bool = False,
    deadline_s: float = DEADLINE_S,
    look: Callable[[Session], Iterator[Finding]] | None = None,
) -> list[Server]:
    """Return the findings about each server, the worst server first.

    Parameters
    ----------
    sessions
        One for each server; no other thread uses them.
    housekeeping
        Whether to include checks that are not urgent.
    deadline_s
        When to stop waiting, in s. What a server has not answered by then is unknown.
    look
        Yields the findings about a server; by default, the checks of RUN-000.
    """
    looks = [_Look(one, look or partial(_look, housekeeping=housekeeping)) for one in sessions]
    for one in looks:
        one.start()
    ends = time.monotonic() + deadline_s
    found = [one.result(max(0.0, ends - time.monotonic()), deadline_s) for one in looks]
    return sorted(found, key=lambda one: (-one.verdict.rank, one.connection))


class _Look(threading.Thread):
    """Looks at one server. It is a daemon: a server that is silent does not hold the process."""

    def __init__(self, session: Session, look: Callable[[Session], Iterator[Finding]]) -> None:
        super().__init__(name=f"survey {session.connection.name}", daemon=True)
        self._session = session
        self._look = look
        self._found: list[Finding] = []
        self._error: Exception | None = None

    def run(self) -> None:
        try:
            for finding in self._look(self._session):
                self._found.append(finding)
        except Exception as error:  # noqa: BLE001  # raised again by `result`, in the main thread
            self._error = error

    def result(self, timeout_s: float, deadline_s: float) -> Server:
        """Return what was found so far; raise an error that is no answer of the server."""
        self.join(timeout_s)
        name, error = self._session.connection.name, self._error
        found = [*self._found]
        if isinstance(error, DatabaseError):
            found.append(diagnosis.unreached(name, error))
        elif isinstance(error, RbkernelError):
            found.append(_unknown(name, error.what, error.next_step))
        elif error is not None:
            raise error
        elif self.is_alive():
            what = f"not everything was answered within {deadline_s:g} s"
            step = f"`rbkernel run RUN-000 -p db={name}` waits longer"
            found.append(_unknown(name, what, step))
        return Server(
            connection=name,
            findings=tuple(explained(one, one.opens, found) for one in found),
        )


def _look(session: Session, *, housekeeping: bool) -> Iterator[Finding]:
    [seen] = diagnosis.looked(session.connection.name, lambda _: session)
    begun = overview.begin(session) if seen.reached else None
    yield from overview.survey(session, seen, housekeeping=housekeeping, begun=begun)


def _unknown(name: str, what: str, next_step: str) -> Finding:
    return Finding(
        title=f"{name} answers",
        verdict=Verdict.UNKNOWN,
        expected="all checks",
        actual=what,
        next_step=next_step,
        at=now(),
    )
