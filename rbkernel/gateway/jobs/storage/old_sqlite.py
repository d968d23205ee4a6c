"""Make DBOS work with SQLite versions that lack a function it uses.

DBOS uses ``unixepoch('subsec')`` on Python 3.12 and later, in queries and as a column's default.
SQLite has it since 3.42; older versions return NULL, or have no such function. `Connection` adds
the function, so a queue that one Python made works with every other Python.
"""

from __future__ import annotations

import platform
import sqlite3
import sys
import time
from typing import Any

from rbkernel.errors import StoreError

OLDEST = (3, 35)  # RETURNING needs this version: https://www.sqlite.org/lang_returning.html
_HAS_SUBSEC = (3, 42)  # 'subsec' needs this version: https://www.sqlite.org/lang_datefunc.html


class Connection(sqlite3.Connection):
    """An SQLite connection on which ``unixepoch('subsec')`` works with every SQLite version.

    >>> connection = Connection(":memory:")
    >>> connection.execute("SELECT unixepoch('subsec') > 1700000000").fetchone()
    (1,)
    >>> connection.close()
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if sqlite3.sqlite_version_info < _HAS_SUBSEC:
            # a column's default may call the function; some builds of SQLite do not trust the
            # schema by default
            self.execute("PRAGMA trusted_schema = ON").close()
            self.create_function("unixepoch", 1, _unixepoch)


def _unixepoch(modifier: str) -> float:
    """The SQL function ``unixepoch``: return the seconds since 1970, with milliseconds."""
    if modifier not in ("subsec", "subsecond"):
        raise ValueError(f"unixepoch({modifier!r}) is not supported")
    return round(time.time(), 3)


def refuse_too_old(store_url: str) -> None:
    """Raise an error if the store is a SQLite file and this Python's SQLite is too old for it.

    Raises
    ------
    StoreError
        SQLite is too old.
    """
    if not store_url.startswith("sqlite") or sqlite3.sqlite_version_info >= OLDEST:
        return
    oldest = ".".join(map(str, OLDEST))
    raise StoreError(
        f"SQLite {sqlite3.sqlite_version} of Python {platform.python_version()} is too old:"
        f" the gateway's store and queue need {oldest} or later",
        where=sys.executable,
        next_step="use a Python with a newer SQLite"
        " (`python -c 'import sqlite3; print(sqlite3.sqlite_version)'` prints it),"
        " or keep the store in PostgreSQL: set RBKERNEL_STORE_URL to postgresql://…",
    )
