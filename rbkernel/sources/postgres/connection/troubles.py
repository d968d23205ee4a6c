"""The kinds of connection and query problems, found by SQLSTATE, with their next steps. Pure.

A server translates its messages (``lc_messages``), and one problem can have many messages. So this
module does not read messages. A refused login is recognized by its SQLSTATE and, if one code has
several causes, by the server's routine that raised it, which is not translated.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from rbkernel.errors import DatabaseError


class Trouble(StrEnum):
    """The kinds of problems with connections and queries; each value is a text for people."""

    # between rbkernel and the server
    HOST_UNKNOWN = "the host name is unknown"
    NAME_SERVER_SILENT = "the name server does not answer"
    NOT_LISTENING = "nothing listens on that port"
    HOST_SILENT = "the host does not answer"
    NO_ROUTE = "there is no route to the host"
    CLOSED_AT_ONCE = "the other end closes the connection at once"
    NO_SOCKET = "that folder has no socket of a server"
    SOCKET_FORBIDDEN = "this user may not open the server's socket"
    FROZEN = "the port is open, but the server does not answer"
    ANOTHER_PROGRAM = "the program that listens there is not PostgreSQL"
    NOT_REACHED = "the server cannot be reached"
    # encryption
    NO_TLS = "the server offers no TLS, but sslmode requires it"
    OTHER_HOST = "the certificate of the server is for another host"
    UNTRUSTED = "the certificate of the server is signed by an authority that is not trusted here"
    EXPIRED = "the certificate of the server has expired, or is not valid yet"
    TLS_FAILED = "the TLS handshake failed"
    # the login
    CATALOGUE_LOCKED = "a lock on the server's catalogue blocks all logins"
    LOGIN_SILENT = "no login: the server does not answer in time"
    CREDENTIALS_MISSING = "the server asks for a password, but none was found"
    CREDENTIALS_WRONG = "the server does not accept the password"
    NO_RULE = "no rule of pg_hba.conf allows this role from this host"
    ROLE_CLOSED = "the role does not exist, or may not log in"
    NOT_ALLOWED = "the server does not allow this role from this host"
    NO_DATABASE = "the database does not exist"
    DATABASE_CLOSED = "the database accepts no connections"
    NO_CONNECT = "the role has no CONNECT privilege on the database"
    ROLE_FULL = "the role has reached its own connection limit"
    DATABASE_FULL = "the database has reached its own connection limit"
    SLOTS_FULL = "the server has no free connection slot for this role"
    STARTING = "the server is starting, stopping or in recovery"
    LIBRARY_MISSING = "a library in the settings of the role or the database cannot be loaded"
    FILE_MISSING = "a file of the server is missing"
    NO_SERVICE = "libpq finds no usable definition of the service"
    POOLER_REFUSED = "a pooler refused the login"
    LOGIN_REFUSED = "the server refused the login"
    # after the login
    ENDED = "the server is starting, stopping or was stopped"
    CANCELLED_EARLY = "a statement time-out of the role or the database is shorter than rbkernel's"
    CANCELLED = "the query was cancelled"
    ENDED_BY_TIMEOUT = "a time-out of the role or the database ends rbkernel's sessions"
    LOCKED = "another session holds a lock that the query needs"
    FORBIDDEN = "the role lacks a privilege"
    CLOSED_CATALOGUE = "the catalogue is open to superusers only"
    NO_RESOURCES = "the server is short of memory, disk or another resource"
    LOST = "the connection was lost"
    SILENT = "a query was not answered in time"


_NEXT_STEPS: Mapping[Trouble, str] = {
    Trouble.HOST_UNKNOWN: "check the host name, and the network",
    Trouble.NAME_SERVER_SILENT: "check the network and the name server, or give the address",
    Trouble.NOT_LISTENING: "check that the server runs, and its listen_addresses and port",
    Trouble.HOST_SILENT: "check the address, and firewalls on the way; the host may be down",
    Trouble.NO_ROUTE: "check the address, and the network: a route or a VPN may be missing",
    Trouble.CLOSED_AT_ONCE: "check the port, and whether a proxy or a firewall is in between",
    Trouble.NO_SOCKET: "check that the server runs, and the folder and port of its socket",
    Trouble.SOCKET_FORBIDDEN: "check the permissions of the socket's folder, or give a host name",
    Trouble.FROZEN: "the host may be down, or the server stuck: frozen, out of memory, its"
    " catalogue locked; check it on its own host",
    Trouble.ANOTHER_PROGRAM: "check host and port of this connection; the port of PostgreSQL is"
    " 5432 unless it was changed",
    Trouble.NOT_REACHED: "check that the server runs, and host and port of this connection",
    Trouble.NO_TLS: "turn TLS on at the server (ssl = on, with a certificate), or choose an sslmode"
    " without TLS: data is then sent unencrypted",
    Trouble.OTHER_HOST: "give the host name that the certificate holds, or create one for this"
    " host",
    Trouble.UNTRUSTED: "set sslrootcert to the file of the authority that signed it",
    Trouble.EXPIRED: "have the certificate renewed, and check the clocks of both hosts",
    Trouble.TLS_FAILED: "check the TLS versions and ciphers of both ends, and sslrootcert",
    Trouble.CATALOGUE_LOCKED: "in a session that is open already, find who holds the lock"
    " (pg_locks, pg_blocking_pids) and end that transaction",
    Trouble.LOGIN_SILENT: "the host may be down, the server stuck (frozen, out of memory, its"
    " catalogue locked), or a pooler without a free server: check it on its own host",
    Trouble.CREDENTIALS_MISSING: "name the password source of this connection: password_env,"
    " passfile or password_command",
    Trouble.CREDENTIALS_WRONG: "check the password source of this connection, then the role: the"
    " password may have expired (VALID UNTIL), or the role may not exist; see the server's log",
    Trouble.NO_RULE: "check user and dbname; then have an administrator add a line for them and"
    " for this host to pg_hba.conf, and reload",
    Trouble.ROLE_CLOSED: "check user; else have an administrator run CREATE ROLE or ALTER ROLE …"
    " LOGIN: `rbkernel grant` prints the SQL",
    Trouble.NOT_ALLOWED: "check user, pg_hba.conf and the password source of this connection",
    Trouble.NO_DATABASE: "check dbname of this connection",
    Trouble.DATABASE_CLOSED: "have an administrator run ALTER DATABASE … ALLOW_CONNECTIONS true, or"
    " check dbname",
    Trouble.NO_CONNECT: "have an administrator run GRANT CONNECT ON DATABASE … TO the role;"
    " `rbkernel grant` prints it",
    Trouble.ROLE_FULL: "close other runs of this role, or have an administrator raise its limit"
    " (ALTER ROLE … CONNECTION LIMIT); the server itself may be well",
    Trouble.DATABASE_FULL: "see who is connected to this database, or have an administrator raise"
    " its limit (ALTER DATABASE … CONNECTION LIMIT)",
    Trouble.SLOTS_FULL: "open RUN-001 (pool exhaustion)",
    Trouble.STARTING: "the server is starting, stopping or in recovery: check its state and log,"
    " and try again",
    Trouble.LIBRARY_MISSING: "have an administrator install it at the server, or run ALTER ROLE …"
    " RESET of local_preload_libraries and session_preload_libraries (ALTER DATABASE … where it is"
    " set there); `SELECT * FROM pg_db_role_setting` shows what role and database have set",
    Trouble.FILE_MISSING: "read the server's log: it names the file; a missing data file"
    " is damage: stop writing and find the last backup (RUN-021)",
    Trouble.NO_SERVICE: "check the name: service is a section of ~/.pg_service.conf or of the file"
    " that PGSERVICEFILE names, else of pg_service.conf in PGSYSCONFDIR; or give host and dbname",
    Trouble.POOLER_REFUSED: "read the pooler's message; its users, databases and limits are in"
    " its own configuration; or connect directly to the server",
    Trouble.LOGIN_REFUSED: "read the server's message and its log",
    Trouble.ENDED: "the server is starting, stopping or was stopped: check its state and log",
    Trouble.CANCELLED_EARLY: "have an administrator run ALTER ROLE … SET statement_timeout = '30s';"
    " `SELECT * FROM pg_db_role_setting` shows what role and database have set",
    Trouble.CANCELLED: "the server is slow or blocked: look at active sessions and locks first",
    Trouble.ENDED_BY_TIMEOUT: "have an administrator run ALTER ROLE … RESET of"
    " idle_session_timeout, idle_in_transaction_session_timeout and transaction_timeout;"
    " `SELECT * FROM pg_db_role_setting` shows what role and database have set",
    Trouble.LOCKED: "something holds a lock that this query needs: open RUN-007 (blocking locks)",
    Trouble.FORBIDDEN: "grant the diagnostic role pg_monitor, and SELECT on the tables it should"
    " read",
    Trouble.CLOSED_CATALOGUE: "do not grant access: only superusers may read it; use pg_roles,"
    " pg_settings or another public view",
    Trouble.NO_RESOURCES: "look at memory, disk and the log of the server's host",
    Trouble.LOST: "check that the server runs, and host and port of this connection",
    Trouble.SILENT: "look at the server's load, at locks, and at a pooler in between",
}
# problems for all clients of the server, not only of rbkernel's role, password or address
DOWN = frozenset(
    {
        Trouble.NOT_LISTENING,
        Trouble.HOST_SILENT,
        Trouble.NO_ROUTE,
        Trouble.CLOSED_AT_ONCE,
        Trouble.NO_SOCKET,
        Trouble.FROZEN,
        Trouble.NOT_REACHED,
        Trouble.CATALOGUE_LOCKED,
        Trouble.LOGIN_SILENT,
        Trouble.STARTING,
        Trouble.ENDED,
        Trouble.LOST,
        Trouble.SILENT,
    }
)
# problems after which a second attempt would wait as long, and may leave a waiting backend
FUTILE = frozenset({Trouble.CATALOGUE_LOCKED, Trouble.LOGIN_SILENT, Trouble.HOST_SILENT})
# by SQLSTATE, and by the routine that raised it if the code is ambiguous; the routines
# are those of PostgreSQL 15 to 18 (miscinit.c, postinit.c, auth.c)
_AT_LOGIN: Mapping[str, Trouble] = {
    "28P01": Trouble.CREDENTIALS_WRONG,
    "28000 ClientAuthentication": Trouble.NO_RULE,
    "28000 InitializeSessionUserId": Trouble.ROLE_CLOSED,
    "28": Trouble.NOT_ALLOWED,
    "3D000": Trouble.NO_DATABASE,
    "55000": Trouble.DATABASE_CLOSED,
    "55P03": Trouble.CATALOGUE_LOCKED,
    "42501": Trouble.NO_CONNECT,
    "53300 InitializeSessionUserId": Trouble.ROLE_FULL,
    "53300 CheckMyDatabase": Trouble.DATABASE_FULL,
    "53300": Trouble.SLOTS_FULL,
    "53": Trouble.NO_RESOURCES,
    "57P": Trouble.STARTING,
    # the routine that loads libraries (dfmgr.c); its name is not translated
    "58P01 internal_load_library": Trouble.LIBRARY_MISSING,
    "42501 check_restricted_library_name": Trouble.LIBRARY_MISSING,
    "58P01": Trouble.FILE_MISSING,
    "58": Trouble.NO_RESOURCES,
    "08P01": Trouble.POOLER_REFUSED,
    "08": Trouble.NOT_REACHED,
}
_AFTERWARDS: Mapping[str, Trouble] = {
    "28P01": Trouble.CREDENTIALS_WRONG,
    "28": Trouble.NOT_ALLOWED,
    "3D000": Trouble.NO_DATABASE,
    "42501": Trouble.FORBIDDEN,
    "53300": Trouble.SLOTS_FULL,
    "53": Trouble.NO_RESOURCES,
    "55P03": Trouble.LOCKED,
    "57014": Trouble.CANCELLED,
    "57P05": Trouble.ENDED_BY_TIMEOUT,
    "25P03": Trouble.ENDED_BY_TIMEOUT,
    "25P04": Trouble.ENDED_BY_TIMEOUT,
    "57P": Trouble.ENDED,
    "58P01": Trouble.FILE_MISSING,
    "58": Trouble.NO_RESOURCES,
    "XX": Trouble.NO_RESOURCES,
}


def at_login(sqlstate: str, routine: str = "") -> Trouble:
    """Return the kind of problem because of which a login was refused.

    Parameters
    ----------
    sqlstate
        The code, such as ``53300``; empty when the server sent none.
    routine
        The server's routine that raised it, such as ``CheckMyDatabase``; empty when not known.

    >>> [at_login("53300", routine).name for routine in ("InitializeSessionUserId", "InitProcess")]
    ['ROLE_FULL', 'SLOTS_FULL']
    >>> [at_login("58P01", routine).name for routine in ("internal_load_library", "mdopenfork")]
    ['LIBRARY_MISSING', 'FILE_MISSING']
    >>> at_login("28P01").name, at_login("57P03").name, at_login("22023").name
    ('CREDENTIALS_WRONG', 'STARTING', 'LOGIN_REFUSED')
    """
    return _found(_AT_LOGIN, sqlstate, routine) or Trouble.LOGIN_REFUSED


def afterwards(sqlstate: str) -> Trouble:
    """Return the kind of problem because of which an open session failed, by its SQLSTATE.

    >>> afterwards("57014").name, afterwards("57P05").name, afterwards("").name
    ('CANCELLED', 'ENDED_BY_TIMEOUT', 'LOST')
    """
    return _found(_AFTERWARDS, sqlstate) or Trouble.LOST


def opens(trouble: str) -> str:
    """Return the runbook to open for a problem of the whole server; empty for other problems.

    >>> opens(Trouble.LOCKED), opens(Trouble.SLOTS_FULL)
    ('RUN-007', 'RUN-001')
    >>> opens(Trouble.FROZEN), opens(Trouble.CREDENTIALS_WRONG)
    ('RUN-010', '')
    """
    if trouble == Trouble.LOCKED:
        return "RUN-007"
    if trouble in {Trouble.SLOTS_FULL, Trouble.DATABASE_FULL}:
        return "RUN-001"
    return "RUN-010" if trouble in DOWN else ""


def error(
    trouble: Trouble, what: str = "", *, where: str = "", next_step: str = "", sqlstate: str = ""
) -> DatabaseError:
    """Return the `DatabaseError` for a kind of problem, by default with the problem's text and next
    step.

    >>> found = error(Trouble.LOCKED, where="connection db")
    >>> found.what, found.opens
    ('another session holds a lock that the query needs', 'RUN-007')
    """
    return DatabaseError(
        what or trouble.value,
        where=where,
        next_step=next_step or _NEXT_STEPS[trouble],
        sqlstate=sqlstate,
        trouble=trouble,
        opens=opens(trouble),
    )


def next_step(trouble: Trouble) -> str:
    """Return the next step for a kind of problem, as text.

    >>> next_step(Trouble.NO_DATABASE)
    'check dbname of this connection'
    """
    return _NEXT_STEPS[trouble]


def _found(table: Mapping[str, Trouble], sqlstate: str, routine: str = "") -> Trouble | None:
    keys = (f"{sqlstate} {routine}", sqlstate, sqlstate[:3], sqlstate[:2])
    return next((table[key] for key in keys if key in table), None)
