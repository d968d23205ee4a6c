"""One guarded, read-only connection to a PostgreSQL server.

Every query runs in its own read-only transaction with local time-outs, caps on rows and on their
size, and a client-side deadline. At the deadline the query is cancelled by a protocol message,
which needs no new slot and no catalogue. If the backend ignores the cancel, the connection is cut,
so that the notebook continues.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from rbkernel.checks.answer import Answer, Column, Provenance, within_caps
from rbkernel.config import Connection
from rbkernel.errors import DatabaseError, QueryError
from rbkernel.model import now
from rbkernel.sources.postgres.connection import driver, identity, privileges, settings
from rbkernel.sources.postgres.connection.capabilities import OLDEST_SUPPORTED, Server
from rbkernel.sources.postgres.connection.deadline import FIRST_CANCEL_S, Deadline
from rbkernel.sources.postgres.connection.troubles import FUTILE
from rbkernel.sql import guard, lexer

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy import Engine

# Between the statement time-out and the deadline: the server's own time-out should win.
_GRACE_S = 2.0
# s without further attempts after an unanswered connect, so that a runbook with many diagnostics
# ends soon.
_PAUSE_S = 15.0


class Session:
    """A connection to a server that is opened at the first query and stays open during a run.

    Parameters
    ----------
    connection
        The named connection.
    application_name
        Shown to the server's administrator in ``pg_stat_activity``.
    """

    def __init__(self, connection: Connection, *, application_name: str) -> None:
        self.connection = connection
        self._application_name = application_name
        self._raw: driver.RawConnection | None = None
        self._engine: Engine | None = None  # of that connection, after the first query of a team
        self._server: Server | None = None
        self._excess: list[str] | None = None
        self._silence: DatabaseError | None = None
        self._again_at = 0.0
        # whether a time-out of the role or database ended a session before rbkernel's own were set
        self._all_timeouts = False
        self._version_num = 0
        self._own_path: tuple[str, ...] = ()
        self._encoding = ""
        self._turn = threading.Lock()

    @property
    def server(self) -> Server:
        """The server's identity, queried once; raises if the role has privileges that it must not
        have.

        Raises
        ------
        DatabaseError
            The server cannot be reached, does not answer in time, or the role may do more than
            read.
        """
        server = self.identify()
        if server.version_num < OLDEST_SUPPORTED:
            raise DatabaseError(
                f"PostgreSQL {server.version.split()[0]} is not supported",
                where=f"connection {self.connection.name}",
                next_step=f"upgrade it to {OLDEST_SUPPORTED // 10000} or later",
            )
        if found := self.excess():
            raise DatabaseError(
                f"the role {server.role} may do more than read: {'; '.join(found)}",
                where=f"connection {self.connection.name}",
                next_step=privileges.ADVICE,
            )
        return server

    def identify(self) -> Server:
        """Return the server's identity, queried once; the privileges of the role are not checked.

        Raises
        ------
        DatabaseError
            The server cannot be reached or does not answer in time.
        """
        if self._server is None:
            [row] = self._records(identity.PROBE, self._first_s)
            reported_pid = driver.backend_pid(self._raw) if self._raw else None
            self._server = identity.read(row, reported_pid=reported_pid)
        return self._server

    def excess(self) -> list[str]:
        """Return the privileges of the role that a diagnostic role must not have; queried once.

        Raises
        ------
        DatabaseError
            The server does not answer in time.
        """
        if self._excess is None:
            user = self.identify().role
            powers = self._records(privileges.PROBE, self.connection.statement_timeout_s)
            self._excess = privileges.excess(user, [privileges.Power(**row) for row in powers])
        return self._excess

    def query(
        self,
        sql: str,
        values: Mapping[str, Any] | None = None,
        *,
        name: str = "",
        row_cap: int | None = None,
        timeout_s: float | None = None,
        protect: bool = True,
    ) -> pd.DataFrame:
        """Run one query that a team wrote, as a frame; with `protect`, column policies are applied.

        Names are looked up in ``pg_catalog`` first, then in the role's search path.

        Returns
        -------
        pandas.DataFrame
            Rows × columns as the server returns them, at most `row_cap` rows, with a `Provenance`
            in ``attrs["rbkernel"]``. NULL is NA, NaN, NaT or None, by type.

        Raises
        ------
        DatabaseError
            The server fails, is slow, locked, or refuses; or the role may do more than read.
        QueryError, SqlTextError
            The SQL is wrong, or the guard refuses it.
        """
        self._check(sql)
        answer = self._answer(
            sql, values, name=name, row_cap=row_cap, timeout_s=timeout_s, team=True
        )
        return _frame(answer.protected(self.connection.redaction) if protect else answer)

    def _check(self, sql: str) -> None:
        """Raise if SQL of a team does more than read."""
        guard.check(sql, self.connection.allow_functions)

    def look(
        self, sql: str, values: Mapping[str, Any] | None = None, *, name: str = ""
    ) -> pd.DataFrame:
        """Run one query of rbkernel, and return a frame with the column policies applied."""
        return _frame(self.answer(sql, values, name=name).protected(self.connection.redaction))

    def answer(
        self,
        sql: str,
        values: Mapping[str, Any] | None = None,
        *,
        name: str = "",
        team: bool = False,
    ) -> Answer:
        """Run one query, of rbkernel or (with ``team``) of a team, and return the unmasked answer.

        Errors as for `query`. Names in rbkernel's SQL are looked up in ``pg_catalog`` only: no
        function, operator, type or table of the database can replace PostgreSQL's. The guard does
        not check rbkernel's SQL at run time, because the tests run the guard on all of it. The
        guard checks a team's SQL each time, and the names of a team's SQL are looked up in the
        role's search path, too.
        """
        if team:
            self._check(sql)
        return self._answer(sql, values, name=name, team=team)

    def _answer(
        self,
        sql: str,
        values: Mapping[str, Any] | None,
        *,
        name: str,
        row_cap: int | None = None,
        timeout_s: float | None = None,
        team: bool = False,
    ) -> Answer:
        values = lexer.bind(sql, values or {})
        server, own_path = self.server, self._own_path
        at, started = now(), time.monotonic()
        rows, columns, cut_by = self._fetch(
            sql,
            values,
            row_cap or self.connection.row_cap,
            timeout_s or self.connection.statement_timeout_s,
            team=team,
        )
        provenance = Provenance(
            name=name or lexer.first_line(sql),
            connection=self.connection.name,
            server=str(server),
            role=server.role,
            sql=sql.strip(),
            values=values,
            at=at,
            duration_s=round(time.monotonic() - started, 4),
            rows=len(rows),
            cut_by=cut_by,
            search_path=settings.path(own_path) if team else "",
        )
        return Answer(columns=columns, rows=rows, provenance=provenance)

    @contextmanager
    def lent(self) -> Iterator[driver.RawConnection]:
        """Yield the connection for transactions of several statements, as table comparisons need.

        The caller must set the time-outs and a deadline. A transaction that the caller leaves open
        is rolled back.
        """
        _ = self.server
        with self._borrowed() as raw:
            yield raw

    @contextmanager
    def _borrowed(self) -> Iterator[driver.RawConnection]:
        """Yield the open connection for one transaction, which is rolled back at the end."""
        with self._turn:
            raw = self._raw
            if raw is None or raw.closed:
                raw = self._connect()
            try:
                yield raw
            finally:
                driver.roll_back(raw)

    def another(self) -> Session:
        """Return a new session, not opened yet, with the same connection settings, for parallel
        work.
        """
        return Session(self.connection, application_name=self._application_name)

    def close(self) -> None:
        """Close the connection; the next query opens a new one."""
        if self._raw is not None:
            self._raw.close()

    def _records(self, sql: str, timeout_s: float) -> list[dict[str, Any]]:
        """Run an internal query, and return its rows as dicts, which are faster than a frame."""
        rows, columns, _ = self._fetch(sql, {}, self.connection.row_cap, timeout_s)
        return [dict(zip([one.name for one in columns], row, strict=True)) for row in rows]

    def _connect(self) -> driver.RawConnection:
        self._raw = self._engine = None
        started = time.monotonic()
        try:
            self._raw = driver.connect(
                self.connection,
                application_name=self._application_name,
                guarded=True,
                all_timeouts=self._all_timeouts,
                version_num=self._version_num,
            )
            self._version_num = driver.version_num(self._raw)
        except DatabaseError as error:
            slow = time.monotonic() - started >= self.connection.connect_timeout_s
            if slow or error.trouble in FUTILE:
                self._pause_after(error)
            raise
        return self._raw

    def _pause_after(self, error: DatabaseError) -> None:
        """Refuse queries for some seconds after this error, because each attempt may leave a
        waiting backend.
        """
        self._again_at = time.monotonic() + _PAUSE_S
        self._silence = DatabaseError(
            error.what,
            where=error.where,
            next_step=f"{error.next_step} (not tried again within {_PAUSE_S:.0f} s)",
            sqlstate=error.sqlstate,
            trouble=error.trouble,
            opens=error.opens,
        )

    def _fetch(
        self,
        sql: str,
        values: Mapping[str, Any],
        cap: int,
        timeout_s: float,
        *,
        team: bool = False,
        retries: int = 2,
    ) -> tuple[Sequence[Sequence[Any]], tuple[Column, ...], str]:
        if self._silence and time.monotonic() < self._again_at:
            raise self._silence
        first = self._server is None
        deadline = Deadline(timeout_s + _GRACE_S, lambda: self._raw, first=first)
        begun = False
        try:
            with deadline, self._borrowed() as raw, self._asking(raw, team=team) as ask:
                self._begin(raw, timeout_s, team=team)
                begun = True
                with closing(ask(sql, values)) as result:
                    columns = result.columns
                    rows, cut_by = within_caps(result, cap, self.connection.size_cap_mb)
                    return rows, columns, cut_by
        except driver.Error as error:
            too_soon = not begun and not deadline.passed and driver.ended_by_timeout(error)
            if too_soon and not self._all_timeouts:
                self._all_timeouts = True
                self.close()
                return self._fetch(sql, values, cap, timeout_s, team=team)
            if retries and driver.ended_by_replay(error):
                return self._fetch(sql, values, cap, timeout_s, team=team, retries=retries - 1)
            translated = driver.translate(error, self.connection.name)
            if not deadline.passed:
                raise translated from error
            late = deadline.error(translated)
            if first:
                self._pause_after(late)
            raise late from error
        except UnicodeEncodeError as error:
            raise self._not_in_encoding(error) from error

    @contextmanager
    def _asking(self, raw: driver.RawConnection, *, team: bool) -> Iterator[driver.Ask]:
        """Yield a function that runs a query; a query of a team goes through SQLAlchemy."""
        if not team:
            yield partial(driver.ask, raw)
            return
        # imported late, because the import takes longer than a check of the server without it
        from rbkernel.sources.postgres.connection import alchemy

        if self._engine is None:
            self._engine = alchemy.engine(raw)
        with alchemy.asking(self._engine) as ask:
            yield ask

    def _begin(self, raw: driver.RawConnection, timeout_s: float, *, team: bool) -> None:
        """Begin a transaction: set the session's settings for it, and check that it cannot
        write.
        """
        chosen = settings.for_team_sql(self._own_path) if team else settings.for_own_sql()
        self._encoding = driver.encoding(raw)
        wanted = {**chosen, **self._limits(timeout_s), "client_encoding": self._encoding}
        row = driver.one_row(raw, settings.statement(wanted), wanted)
        self._own_path = settings.begun(row, self.connection.name).own_path

    def _not_in_encoding(self, error: UnicodeEncodeError) -> QueryError:
        character = error.object[error.start : error.end]
        return QueryError(
            f"{character!r} in the SQL or in a value cannot be sent in the encoding of the database"
            f" ({self._encoding})",
            where=f"connection {self.connection.name}",
            next_step="pass text as a value (:name), or remove the character",
        )

    @property
    def _first_s(self) -> float:
        """The time limit in s for a session's first answer, after which the query is cancelled.

        A pooler without a free server lets a client wait for minutes. The sum of this limit and the
        grace period is the maximum time of a login.
        """
        longest = min(self.connection.connect_timeout_s, self.connection.statement_timeout_s)
        return max(longest - _GRACE_S - FIRST_CANCEL_S, 0.5)

    def _limits(self, timeout_s: float) -> dict[str, str]:
        return {
            "statement_timeout": f"{timeout_s * 1000:.0f}",
            "lock_timeout": f"{self.connection.lock_timeout_s * 1000:.0f}",
            "idle_in_transaction_session_timeout": "30000",
            **driver.no_transaction_timeout(self._version_num),
        }


def _frame(answer: Answer) -> pd.DataFrame:
    # imported late, because importing pandas takes a second, and not every query needs a frame
    from rbkernel.checks import frames

    return frames.to_frame(answer)
