"""Open a session, and read the SQLSTATE of a refused login.

libpq reports a refused login as text only. In verbose mode the text contains the SQLSTATE before
the server's message, and the server's routine after the message; neither is translated. psycopg
does not wrap PQsetErrorVerbosity, but documents `pgconn_ptr` for such calls.
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
# SQLSTATEs of systems that refuse settings at login: pgbouncer (protocol_violation), RDS Proxy
# (feature_not_supported), and a server without one of the settings (undefined_object)
_TAKES_NO_OPTIONS = {"08P01", "0A000", "42704"}


class Refused(psycopg.OperationalError):
    """A login to PostgreSQL that was refused or failed.

    ``sqlstate`` and ``routine`` come from the server; they are empty if it sent none.
    ``needs_password`` is true if the server required a password, but none was configured.
    ``unresolved`` is true if libpq could not determine the server.
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
    """Log in to PostgreSQL and open a session.

    Parameters
    ----------
    options
        Settings, as ``-c name=value``. They are in force before the first statement, and override
        the settings of the role and the database. If a pooler refuses them, they are left out.
    parameters
        As for `psycopg.connect`.

    Raises
    ------
    psycopg.Error
        `Refused`, or a time-out.
    """
    if options:
        # the user's own options are kept, because some services use them for routing
        options = f"{os.environ.get('PGOPTIONS', '')} {options}".strip()
        try:
            return _Session.connect(**parameters, options=options)
        except Refused as error:
            if error.sqlstate not in _TAKES_NO_OPTIONS:
                raise
    return _Session.connect(**parameters)


class _Session(psycopg.Connection[Any]):
    """A psycopg connection for which libpq reports verbose errors during the login."""

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
    """Call PQsetErrorVerbosity of the libpq that psycopg uses."""
    module = sys.modules[type(pgconn).__module__]
    # the pure Python version of psycopg has loaded libpq itself
    library = getattr(getattr(module, "impl", None), "pq", None)
    with contextlib.suppress(OSError, AttributeError):  # errors then have no SQLSTATE
        call = (library or ctypes.CDLL(module.__file__)).PQsetErrorVerbosity
        call.argtypes = [ctypes.c_void_p, ctypes.c_int]
        call(pgconn.pgconn_ptr, verbosity)


def _refused(pgconn: Any) -> Refused:
    text = pgconn.get_error_message()
    refused = read(text, needs_password=bool(pgconn.needs_password))
    # libpq has hosts after it has read the service definition and all parameters
    refused.unresolved = not pgconn.host
    pgconn.finish()
    return refused


def read(text: str, *, needs_password: bool = False) -> Refused:
    r"""Parse libpq's message about a failed login; of several attempts, the last one counts.

    >>> refused = read('server at "h" failed: FATAL:  28P01: no\nLOCATION:  auth_failed, auth.c:1')
    >>> str(refused), refused.sqlstate, refused.routine
    ('no', '28P01', 'auth_failed')
    >>> read("FATALE:  28P01: non").sqlstate, read("Connection refused").sqlstate
    ('28P01', '')
    """
    messages, raised = list(_SAID.finditer(text)), list(_RAISED.finditer(text))
    return Refused(
        messages[-1]["words"] if messages else text,
        sqlstate=messages[-1]["sqlstate"] if messages else "",
        routine=raised[-1]["routine"] if raised else "",
        needs_password=needs_password,
    )
