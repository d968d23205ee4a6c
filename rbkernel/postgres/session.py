"""One guarded connection to the patient.

Every query runs in its own read-only transaction with local time-outs, a row cap and a wall-clock
deadline. At the deadline it is cancelled by protocol, which needs no new slot and no catalogue; a
backend that ignores even that is abandoned, so that the notebook goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd
from sqlalchemy import Connection as SqlConnection
from sqlalchemy import CursorResult, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from rbkernel import sqltext
from rbkernel.config import Connection
from rbkernel.errors import DatabaseError, QueryError
from rbkernel.model import now
from rbkernel.postgres import driver
from rbkernel.postgres.frames import to_frame

# A cancel needs one round trip; a healthy server on a slow network answers well within this.
_CANCEL_S = 2.0
# Between the statement time-out and the deadline: the server's own time-out should win.
_GRACE_S = 2.0

_BEGIN = """
SELECT set_config('transaction_read_only', 'on', true),
       set_config('statement_timeout', :statement_ms, true),
       set_config('lock_timeout', :lock_ms, true),
       set_config('idle_in_transaction_session_timeout', '30000', true),
       set_config('cursor_tuple_fraction', '1.0', true)
"""
_PROBE = """
SELECT current_setting('server_version') AS version,
       current_setting('server_version_num')::int AS version_num,
       pg_is_in_recovery() AS standby,
       current_setting('default_transaction_read_only') = 'on' AS default_read_only,
       current_user::text AS role,
       current_database()::text AS database,
       host(inet_server_addr()) AS address,
       inet_server_port() AS port,
       pg_has_role(current_user, 'pg_monitor', 'USAGE') AS monitor
"""


@dataclass(frozen=True, kw_only=True)
class Server:
    """Whom we are talking to, as the server itself tells it."""

    version: str
    version_num: int
    standby: bool
    default_read_only: bool
    role: str
    database: str
    address: str | None
    port: int | None
    monitor: bool

    def __str__(self) -> str:
        kind = "standby" if self.standby else "primary"
        place = f"{self.address or 'local socket'}:{self.port}/{self.database}"
        return f"PostgreSQL {self.version.split()[0]} {kind} at {place}"


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a frame came from: kept in ``frame.attrs["rbkernel"]``.

    ``reason`` says why there is no answer, ``next_step`` what to do about that; both are empty
    when the query succeeded.
    """

    name: str
    connection: str
    server: str
    role: str
    sql: str
    values: Mapping[str, Any]
    at: str
    duration_s: float
    rows: int
    capped: bool
    reason: str = ""
    next_step: str = ""


class Session:
    """One connection, held warm for a run; it is opened at the first query.

    Parameters
    ----------
    connection
        The named connection.
    application_name
        What the server's administrator sees in ``pg_stat_activity``.
    """

    def __init__(self, connection: Connection, *, application_name: str) -> None:
        self.connection = connection
        self._application_name = application_name
        self._raw: driver.RawConnection | None = None
        self._server: Server | None = None
        self._engine = self._make_engine()

    @property
    def server(self) -> Server:
        """The server's identity, asked once.

        Raises
        ------
        DatabaseError
            The server cannot be reached or does not answer in time.
        """
        if self._server is None:
            frame = self.query(_PROBE, name="server").astype(object)
            row = frame.where(frame.notna(), None).iloc[0]
            self._server = Server(**{str(key): value for key, value in row.items()})
        return self._server

    def query(
        self,
        sql: str,
        values: Mapping[str, Any] | None = None,
        *,
        name: str = "",
        row_cap: int | None = None,
        timeout_s: float | None = None,
    ) -> pd.DataFrame:
        """Run one query.

        Returns
        -------
        pandas.DataFrame
            Rows × columns as the server gives them, at most `row_cap` rows, with a `Provenance`
            in ``attrs["rbkernel"]``. NULL is NA, NaN, NaT or None, by type.

        Raises
        ------
        DatabaseError
            The patient is sick, slow, locked, or forbids it.
        QueryError, SqlTextError
            The SQL is wrong.
        """
        values = sqltext.bind(sql, values or {})
        _check_one_statement(sql)
        cap = row_cap or self.connection.row_cap
        timeout_s = timeout_s or self.connection.statement_timeout_s
        at, started = now(), time.monotonic()
        rows, description = self._fetch(sql, values, cap, timeout_s)
        frame = to_frame(rows[:cap], description)
        frame.attrs["rbkernel"] = Provenance(
            name=name or sqltext.first_line(sql),
            connection=self.connection.name,
            server=str(self._server or ""),
            role=self._server.role if self._server else "",
            sql=sql.strip(),
            values=values,
            at=at,
            duration_s=round(time.monotonic() - started, 4),
            rows=min(len(rows), cap),
            capped=len(rows) > cap,
        )
        return frame

    def close(self) -> None:
        """Close the connection; a later query opens a new one."""
        self._engine.dispose()

    def _make_engine(self) -> Engine:
        return create_engine(
            "postgresql+psycopg://",
            creator=self._connect,
            poolclass=QueuePool,
            pool_size=1,
            max_overflow=0,
            # looking hstore up would read pg_type before our time-outs are set
            use_native_hstore=False,
        )

    def _connect(self) -> driver.RawConnection:
        self._raw = driver.connect(self.connection, application_name=self._application_name)
        return self._raw

    def _fetch(
        self, sql: str, values: Mapping[str, Any], cap: int, timeout_s: float
    ) -> tuple[Sequence[Sequence[Any]], Sequence[Any]]:
        try:
            with self._deadline(timeout_s + _GRACE_S), self._engine.connect() as conn:
                conn.execute(text(_BEGIN), self._limits(timeout_s))
                result = self._execute(conn, sql, values)
                if not result.returns_rows or result.cursor is None:
                    raise QueryError(
                        "the statement returns no rows",
                        where=sqltext.first_line(sql),
                        next_step="write a SELECT: changes are proposed with rb.act",
                    )
                # before the rows: the cursor is closed with the last of them
                description = list(result.cursor.description or [])
                with closing(result):
                    return result.fetchmany(cap + 1), description
        except DBAPIError as error:
            raise driver.translate(error, self.connection.name) from error

    def _limits(self, timeout_s: float) -> dict[str, str]:
        return {
            "statement_ms": f"{timeout_s * 1000:.0f}",
            "lock_ms": f"{self.connection.lock_timeout_s * 1000:.0f}",
        }

    def _execute(
        self, conn: SqlConnection, sql: str, values: Mapping[str, Any]
    ) -> CursorResult[Any]:
        if sqltext.is_cursor_query(sql):
            # a server-side cursor: the cap bounds what the server sends, not only what we keep
            conn = conn.execution_options(stream_results=True)
        return conn.execute(text(sqltext.to_sqlalchemy(sql)), dict(values))

    @contextmanager
    def _deadline(self, seconds: float) -> Iterator[None]:
        finished = threading.Event()

        def watch() -> None:
            if finished.wait(seconds) or self._raw is None:
                return
            driver.cancel(self._raw, timeout_s=_CANCEL_S)
            if not finished.wait(_CANCEL_S):
                driver.abandon(self._raw)

        watcher = threading.Thread(target=watch, name="rbkernel-deadline", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            finished.set()


def _check_one_statement(sql: str) -> None:
    # a statement such as COMMIT would end our read-only transaction, and the next one may write
    if not sqltext.is_one_statement(sql):
        raise QueryError(
            "the text holds more than one statement",
            where=sqltext.first_line(sql),
            next_step="run them one by one, each in a cell of its own",
        )


def failed_frame(
    columns: Sequence[str], error: DatabaseError, *, name: str, connection: str, sql: str
) -> pd.DataFrame:
    """Return an empty frame (0 × columns) that knows why it is empty."""
    frame = pd.DataFrame(columns=list(columns))
    frame.attrs["rbkernel"] = Provenance(
        name=name,
        connection=connection,
        server="",
        role="",
        sql=sql.strip(),
        values={},
        at=now(),
        duration_s=0.0,
        rows=0,
        capped=False,
        reason=f"{error.what} ({error.where})" if error.where else error.what,
        next_step=error.next_step,
    )
    return frame


def provenance(frame: pd.DataFrame) -> Provenance | None:
    """Return where a frame came from, if one of our queries made it."""
    found = frame.attrs.get("rbkernel")
    return found if isinstance(found, Provenance) else None
