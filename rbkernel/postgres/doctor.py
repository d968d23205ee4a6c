"""What is wrong with a connection, from the file to the role, each with cause and next step.

Ordering: configuration, reach, login, server, role, functions, extensions, time-outs. A step that
fails ends the examination; those after it are ``unknown``. No finding holds a password or a part of
one.
"""

from __future__ import annotations

import socket
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from rbkernel.config import Connection
from rbkernel.errors import ConfigError, DatabaseError, RbkernelError
from rbkernel.model import Finding, Verdict
from rbkernel.postgres import privileges
from rbkernel.postgres.capabilities import OLDEST_SUPPORTED, Server, has, lacking
from rbkernel.postgres.session import Session

_STEPS = {
    "configuration": "a complete connection, whose password can be fetched",
    "reach": "the port accepts connections",
    "login": "the server lets the role in and answers",
    "server": f"PostgreSQL {OLDEST_SUPPORTED // 10000} or later, without a pooler in between",
    "role": "pg_monitor, and nothing that writes, signals or leaves the database",
    "functions": "no function of the database's own that runs with its owner's rights",
    "extensions": "pg_stat_statements",
    "time-outs": "read-only transactions with the configured time-outs",
}
_OURS = """
SELECT current_setting('transaction_read_only') AS read_only,
       extract(epoch FROM current_setting('statement_timeout')::interval)::float8 AS statement_s,
       extract(epoch FROM current_setting('lock_timeout')::interval)::float8 AS lock_s
"""
# What the role may call, that was created here, and runs as somebody else. An extension's own are
# its maker's business.
_DEFINERS = """
SELECT p.oid::regprocedure::text AS function, pg_get_userbyid(p.proowner)::text AS owner
FROM pg_proc p
JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.prosecdef AND p.proowner <> CAST(CAST(current_user AS regrole) AS oid)
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
ORDER BY 1
"""
# longer, and a run waits for a patient that will not answer
_LONG_STATEMENT_S = 60.0


def examine(connection: Connection) -> list[Finding]:
    """Examine one connection, and change nothing.

    Parameters
    ----------
    connection
        The named connection.

    Returns
    -------
    list of Finding
        One a step, in order.
    """
    session = Session(connection, application_name="rbkernel/doctor")
    steps: Sequence[Callable[[], Finding]] = (
        lambda: _configuration(connection),
        lambda: _reach(connection),
        lambda: _login(session),
        lambda: judge_server(session.identify()),
        lambda: judge_role(session.identify(), session.excess()),
        lambda: _functions(session),
        lambda: judge_extensions(session.identify()),
        lambda: _time_outs(session),
    )
    findings: list[Finding] = []
    try:
        for title, step in zip(_STEPS, steps, strict=True):
            findings.append(_taken(title, step, findings))
    finally:
        session.close()
    return findings


def _taken(title: str, step: Callable[[], Finding], before: Sequence[Finding]) -> Finding:
    """Take a step, or say which one before has to succeed first."""
    broken = [f.title for f in before if f.verdict is Verdict.CRITICAL]
    if broken:
        return _finding(title, Verdict.UNKNOWN, "not asked", next_step=f"mend the {broken[0]}")
    try:
        return step()
    except RbkernelError as error:
        known = isinstance(error, ConfigError) or title in {"reach", "login"}
        return _finding(
            title,
            Verdict.CRITICAL if known else Verdict.UNKNOWN,
            error.what,
            cause=error.what,
            next_step=error.next_step,
        )


def judge_server(server: Server) -> Finding:
    """Judge version and surroundings."""
    if server.version_num < OLDEST_SUPPORTED:
        return _finding(
            "server",
            Verdict.CRITICAL,
            str(server),
            cause=f"PostgreSQL {server.version.split()[0]} is older than what the diagnostics know",
            next_step=f"upgrade it to {OLDEST_SUPPORTED // 10000} or later",
        )
    if server.pooler:
        return _finding(
            "server",
            Verdict.WARNING,
            str(server),
            cause="a pooler stands in between: once its pool is exhausted, the patient is hidden",
            next_step="add a connection that goes to the server itself",
        )
    return _finding("server", Verdict.OK, str(server))


def judge_role(server: Server, excess: Sequence[str]) -> Finding:
    """Judge what the role can see, and what it must not be able to do."""
    if excess:
        return _finding(
            "role",
            Verdict.CRITICAL,
            f"{server.role} {'; '.join(excess)}",
            cause=f"the role {server.role} may do more than look, so every diagnostic refuses it",
            next_step=privileges.ADVICE,
        )
    if missing := lacking(server, ["pg_monitor"]):
        return _finding(
            "role",
            Verdict.WARNING,
            f"{server.role}, without pg_monitor",
            cause=missing,
            next_step=f"have an administrator run: GRANT pg_monitor TO {server.role}",
        )
    return _finding(
        "role", Verdict.OK, f"{server.role}, with pg_monitor, reads only in this database"
    )


def _functions(session: Session) -> Finding:
    found = session.look(_DEFINERS)
    if found.empty:
        return _finding("functions", Verdict.OK, "none that runs with its owner's rights")
    names = ", ".join(found["function"].head(3)) + (", …" if len(found) > 3 else "")
    return _finding(
        "functions",
        Verdict.WARNING,
        f"{len(found)} of SECURITY DEFINER: {names}",
        cause="behind an operator, a cast or a view the guard cannot see such a function, and it"
        f" does whatever {', '.join(sorted(set(found['owner'])))} may do",
        next_step="REVOKE EXECUTE ON FUNCTION … FROM PUBLIC, and grant it to who needs it",
    )


def judge_extensions(server: Server) -> Finding:
    """Judge what has to be created for some diagnostics."""
    if has(server, "pg_stat_statements"):
        return _finding("extensions", Verdict.OK, "pg_stat_statements")
    return _finding(
        "extensions",
        Verdict.WARNING,
        "no pg_stat_statements",
        cause=lacking(server, ["pg_stat_statements"]),
        next_step="create it, or do without the diagnostics of top queries",
    )


def _configuration(connection: Connection) -> Finding:
    if not (connection.host or connection.service):
        return _finding(
            "configuration",
            Verdict.WARNING,
            "neither host nor service",
            cause="libpq then takes whatever server its environment names",
            next_step="name the host",
        )
    for path in (connection.passfile, connection.sslrootcert):
        if path is not None and not path.is_file():
            raise ConfigError(f"there is no file {path}", next_step="create it, or name another")
    connection.password()
    if connection.passfile and _is_open(connection.passfile):
        raise ConfigError(
            f"others may read {connection.passfile}, so libpq ignores it",
            next_step=f"chmod 600 {connection.passfile}",
        )
    return _finding("configuration", Verdict.OK, f"password from {_password_source(connection)}")


def _is_open(passfile: Path) -> bool:
    return bool(passfile.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def _password_source(connection: Connection) -> str:
    if connection.password_env:
        return f"the variable {connection.password_env}"
    if connection.password_command:
        return f"the command {connection.password_command[0]}"
    return str(connection.passfile or connection.service or "libpq's own files, or none")


def _reach(connection: Connection) -> Finding:
    host = connection.host
    if connection.service or not host or host.startswith("/"):
        return _finding("reach", Verdict.OK, "left to libpq")
    place = f"{host}:{connection.port}"
    try:
        with socket.create_connection((host, connection.port), connection.connect_timeout_s):
            return _finding("reach", Verdict.OK, place)
    except TimeoutError:
        reason = f"{place} does not answer within {connection.connect_timeout_s} s"
        advice = "check the address, and firewalls on the way; the host may be down"
    except ConnectionRefusedError:
        reason = f"nothing listens at {place}"
        advice = "check that the server runs, and its listen_addresses and port"
    except (OSError, UnicodeError) as error:
        reason = f"{host} cannot be reached: {getattr(error, 'strerror', None) or 'no such name'}"
        advice = "check the host name, and the network"
    raise DatabaseError(reason, next_step=advice)


def _login(session: Session) -> Finding:
    try:
        server = session.identify()
    except DatabaseError as error:
        if "timeout" not in error.what:
            raise
        raise DatabaseError(
            f"the port is open, but nobody answered in {session.connection.connect_timeout_s} s",
            next_step="check that PostgreSQL listens there, and whether it is frozen",
        ) from error
    return _finding("login", Verdict.OK, f"as {server.role}")


def _time_outs(session: Session) -> Finding:
    connection = session.connection
    found = session.look(_OURS).iloc[0]
    told = (
        f"statement {connection.statement_timeout_s:g} s, lock {connection.lock_timeout_s:g} s,"
        f" first answer {connection.connect_timeout_s} s"
    )
    wanted = ("on", connection.statement_timeout_s, connection.lock_timeout_s)
    if (found["read_only"], found["statement_s"], found["lock_s"]) != wanted:
        return _finding(
            "time-outs",
            Verdict.CRITICAL,
            f"statement {found['statement_s']:g} s, lock {found['lock_s']:g} s",
            cause="something between us and the server changes our settings",
            next_step="connect to the server itself",
        )
    if connection.statement_timeout_s > _LONG_STATEMENT_S:
        cause = f"a diagnostic may take {connection.statement_timeout_s:g} s"
        advice = "set statement_timeout_s to 10, and longer only where a query needs it"
    elif connection.lock_timeout_s >= connection.statement_timeout_s:
        cause = "a query waits for locks until its statement time-out, and adds to the queue"
        advice = "set lock_timeout_s to 0.5"
    else:
        return _finding("time-outs", Verdict.OK, told)
    return _finding("time-outs", Verdict.WARNING, told, cause=cause, next_step=advice)


def _finding(
    title: str, verdict: Verdict, actual: str, *, cause: str = "", next_step: str = ""
) -> Finding:
    return Finding(
        title=title,
        verdict=verdict,
        expected=_STEPS[title],
        actual=actual,
        cause=cause,
        next_step=next_step,
    )
