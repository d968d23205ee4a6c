"""Open a session, and learn the SQLSTATE of a refusal.

libpq gives a refused login as text only. Asked to be verbose, it puts the SQLSTATE before the
server's words and the routine behind them, and neither is translated. psycopg does not wrap that
call of libpq's; it documents `pgconn_ptr` for this.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import sys
from typing import Any, Self

import psycopg
from psycopg import pq
from psycopg.abc import PQGenConn
from psycopg.waiting import Wait

_DEFAULT, _VERBOSE = 1, 2
_SAID = re.compile(r"^.*?:  (?P<sqlstate>[0-9A-Z]{5}): (?P<words>.*)$", re.MULTILINE)
_RAISED = re.compile(r"^\S+:  (?P<routine>\w+), \w+\.c:\d+$", re.MULTILINE)
# who takes no settings at login: pgbouncer (protocol_violation), RDS Proxy (feature), and a server
# that is too old to know one of them (undefined_object)
_TAKES_NO_OPTIONS = {"08P01", "0A000", "42704"}


class Refused(psycopg.OperationalError):
    """A login that was refused, or did not come about.

    ``sqlstate`` and ``routine`` are the server's, empty when it sent none; ``needs_password`` tells
    that it asked for one and there was none, ``unresolved`` that libpq itself could not make out
    which server is meant.
    """

    def __init__(
        self,
        words: str,
        *,
        sqlstate: str = "",
        routine: str = "",
        needs_password: bool = False,
        unresolved: bool = False,
    ) -> None:
        super().__init__(words)
        self.sqlstate = sqlstate
        self.routine = routine
        self.needs_password = needs_password
        self.unresolved = unresolved


def connect(*, options: str = "", **parameters: Any) -> psycopg.Connection[Any]:
    """Open a session.

    Parameters
    ----------
    options
        Settings that hold from the first statement on, as ``-c name=value``: they win over what a
        role or a database has set. Left out where a pooler does not take them.
    parameters
        As for `psycopg.connect`.

    Raises
    ------
    psycopg.Error
        `Refused`, or a time-out.
    """
    if options:
        # what the user has there is kept: some services route by it
        options = f"{os.environ.get('PGOPTIONS', '')} {options}".strip()
        try:
            return _Session.connect(**parameters, options=options)
        except Refused as error:
            if error.sqlstate not in _TAKES_NO_OPTIONS:
                raise
    return _Session.connect(**parameters)


class _Session(psycopg.Connection[Any]):
    """psycopg's own, except that libpq is verbose during the login."""

    @classmethod
    def _connect_gen(cls, conninfo: str = "") -> PQGenConn[Self]:
        pgconn = pq.PGconn.connect_start(conninfo.encode())
        _set_verbosity(pgconn, _VERBOSE)
        while (status := pgconn.connect_poll()) != pq.PollingStatus.OK:
            if status == pq.PollingStatus.FAILED:
                raise _refused(pgconn)
            wait = Wait.R if status == pq.PollingStatus.READING else Wait.W
            while not (yield pgconn.socket, wait):
                pass
        _set_verbosity(pgconn, _DEFAULT)
        pgconn.nonblocking = 1
        return cls(pgconn)


def _set_verbosity(pgconn: Any, verbosity: int) -> None:
    """Call libpq's PQsetErrorVerbosity, in the very library that psycopg uses."""
    module = sys.modules[type(pgconn).__module__]
    # a pure Python psycopg has loaded libpq by itself
    library = getattr(getattr(module, "impl", None), "pq", None)
    with contextlib.suppress(OSError, AttributeError):  # then there are words, but no SQLSTATE
        call = (library or ctypes.CDLL(module.__file__)).PQsetErrorVerbosity
        call.argtypes = [ctypes.c_void_p, ctypes.c_int]
        call(pgconn.pgconn_ptr, verbosity)


def _refused(pgconn: Any) -> Refused:
    text = pgconn.get_error_message()
    refused = read(text, needs_password=bool(pgconn.needs_password))
    # libpq knows its hosts as soon as it has read a service's definition and all parameters
    refused.unresolved = not pgconn.host
    pgconn.finish()
    return refused


def read(text: str, *, needs_password: bool = False) -> Refused:
    r"""Read what libpq says of a login; of several tries, with TLS and without, the last counts.

    >>> said = read('server at "h" failed: FATAL:  28P01: no\nLOCATION:  auth_failed, auth.c:1')
    >>> str(said), said.sqlstate, said.routine
    ('no', '28P01', 'auth_failed')
    >>> read("FATALE:  28P01: non").sqlstate, read("Connection refused").sqlstate
    ('28P01', '')
    """
    said, raised = list(_SAID.finditer(text)), list(_RAISED.finditer(text))
    return Refused(
        said[-1]["words"] if said else text,
        sqlstate=said[-1]["sqlstate"] if said else "",
        routine=raised[-1]["routine"] if raised else "",
        needs_password=needs_password,
    )
