"""Examine a connection, from the configuration to the role; each finding has a next step.

Ordering: configuration, reach, login, server, role, settings, functions, extensions, tables,
time-outs. A step that fails ends the examination; later steps are ``unknown``. Errors are
recognized by SQLSTATE, error number and other codes (module troubles), never by the words of a
message, which the server may translate. No finding holds a password or a part of one.
"""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from rbkernel import amounts
from rbkernel.config import Connection
from rbkernel.errors import ConfigError, DatabaseError, RbkernelError
from rbkernel.model import Finding, Verdict
from rbkernel.sources.postgres import setup
from rbkernel.sources.postgres.connection import driver, privileges, reach, troubles
from rbkernel.sources.postgres.connection.capabilities import (
    OLDEST_SUPPORTED,
    Server,
    grant,
    has,
    lacking,
)
from rbkernel.sources.postgres.connection.privileges import Tables
from rbkernel.sources.postgres.connection.session import Session
from rbkernel.sources.postgres.connection.troubles import Trouble

_STEPS = {
    "configuration": "a complete connection with an available password",
    "reach": "the port accepts connections",
    "login": "the role can log in and the server answers",
    "server": f"PostgreSQL {OLDEST_SUPPORTED // 10000} or later, without a pooler in front",
    "role": "pg_monitor, and no privilege to write, to signal sessions or to reach files, programs"
    " or other servers",
    "settings": "settings of the role and the database do not affect rbkernel's sessions",
    "functions": "no user-defined SECURITY DEFINER function that the role may call",
    "extensions": "pg_stat_statements",
    "tables": "the role can read every table of its schemas, including future ones",
    "time-outs": "read-only transactions with the configured timeouts",
}
_SESSION = """
SELECT current_setting('transaction_read_only') AS read_only,
       extract(epoch FROM current_setting('statement_timeout')::interval)::float8 AS statement_s,
       extract(epoch FROM current_setting('lock_timeout')::interval)::float8 AS lock_s
"""
# Functions that were created in this database, that the role may call, and that run as another
# role; functions of extensions are left out.
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
# settings of role and database for this session, the most specific first
_SETTINGS = (
    "role",
    "statement_timeout",
    "lock_timeout",
    "idle_session_timeout",
    "idle_in_transaction_session_timeout",
    "transaction_timeout",
    "search_path",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "default_transaction_deferrable",
)
_STORED_SETTINGS = """
SELECT s.setting, session_user::text AS login, current_user::text AS acting
FROM pg_db_role_setting d, unnest(d.setconfig) s (setting)
WHERE d.setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = session_user))
  AND d.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
  AND split_part(s.setting, '=', 1) = ANY (:names)
ORDER BY d.setrole DESC, d.setdatabase DESC, 1
"""
_CANCELLED = "57014"
# maximum of the connect time-out, so that a run does not wait too long for a silent server
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
        One per step, in order.
    """
    session = Session(connection, application_name="rbkernel/doctor")
    steps: Sequence[Callable[[], Finding]] = (
        lambda: _configuration(connection),
        lambda: _reach(connection),
        lambda: _login(session),
        lambda: judge_server(session.identify()),
        lambda: judge_role(session.identify(), session.excess()),
        lambda: _settings(session),
        lambda: _functions(session),
        lambda: judge_extensions(session.identify()),
        lambda: _tables(session),
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
    """Run one step of the examination, or return an unknown finding that names an earlier failed
    step.
    """
    broken = [f.title for f in before if f.verdict is Verdict.CRITICAL]
    if broken:
        return _finding(title, Verdict.UNKNOWN, "not checked", next_step=f"fix {broken[0]} first")
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
    """Return the finding on the server's version and on a pooler in front of the server."""
    if server.version_num < OLDEST_SUPPORTED:
        return _finding(
            "server",
            Verdict.CRITICAL,
            str(server),
            cause=f"PostgreSQL {server.version.split()[0]} is not supported by the diagnostics",
            next_step=f"upgrade it to {OLDEST_SUPPORTED // 10000} or later",
        )
    if server.pooler:
        return _finding(
            "server",
            Verdict.WARNING,
            str(server),
            cause="a pooler is in front of the server: a full pool hides the server",
            next_step="add a connection that goes directly to the server",
        )
    return _finding("server", Verdict.OK, str(server))


def judge_role(server: Server, excess: Sequence[str]) -> Finding:
    """Return the finding on whether the role has the needed privileges and no further ones."""
    if excess:
        return _finding(
            "role",
            Verdict.CRITICAL,
            f"{server.role} {'; '.join(excess)}",
            cause=f"the role {server.role} may do more than read, so every diagnostic refuses it",
            next_step=privileges.ADVICE,
        )
    if missing := lacking(server, ["pg_monitor"]):
        return _finding(
            "role",
            Verdict.WARNING,
            f"{server.role}, without pg_monitor",
            cause=missing,
            next_step=f"have an administrator run: {grant(server, 'pg_monitor')}",
        )
    return _finding(
        "role", Verdict.OK, f"{server.role}, with pg_monitor, reads only in this database"
    )


def _functions(session: Session) -> Finding:
    found = session.look(_DEFINERS)
    if found.empty:
        return _finding("functions", Verdict.OK, "no SECURITY DEFINER function")
    names = ", ".join(found["function"].head(3)) + (", …" if len(found) > 3 else "")
    return _finding(
        "functions",
        Verdict.WARNING,
        f"{amounts.count(len(found), 'SECURITY DEFINER function')}: {names}",
        cause="the guard cannot see such a function behind an operator, a cast or a view; it"
        f" runs with the privileges of {', '.join(sorted(set(found['owner'])))}",
        next_step="REVOKE EXECUTE ON FUNCTION … FROM PUBLIC; grant it to the roles that need it",
    )


def judge_extensions(server: Server) -> Finding:
    """Return the finding on the extensions that some diagnostics need."""
    if has(server, "pg_stat_statements"):
        return _finding("extensions", Verdict.OK, "pg_stat_statements")
    return _finding(
        "extensions",
        Verdict.WARNING,
        "no pg_stat_statements",
        cause=lacking(server, ["pg_stat_statements"]),
        next_step="create the extension; without it, the diagnostics of top queries do not work",
    )


def _configuration(connection: Connection) -> Finding:
    if not (connection.host or connection.service):
        return _finding(
            "configuration",
            Verdict.WARNING,
            "neither host nor service is set",
            cause="libpq then uses the server that its environment names",
            next_step="set host of this connection",
        )
    for path in (connection.passfile, connection.sslrootcert):
        if path is not None and not _is_file(path):
            what = f"{path} is not a file" if path.exists() else f"there is no file {path}"
            advice = (
                "name a file in this folder"
                if path.is_dir()
                else "create the file, or name another"
            )
            raise ConfigError(f"{what}{', but a folder' * path.is_dir()}", next_step=advice)
    connection.password()
    if connection.passfile and _is_open(connection.passfile):
        raise ConfigError(
            f"others may read {connection.passfile}, so libpq ignores it",
            next_step=f"chmod 600 {connection.passfile}",
        )
    return _finding("configuration", Verdict.OK, f"password from {_password_source(connection)}")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError) as error:  # the folder is not readable, or the name contains a NUL
        raise ConfigError(
            f"{path} cannot be read: {error}",
            next_step="check the permissions of the file and of its folder",
        ) from error


def _is_open(passfile: Path) -> bool:
    return bool(passfile.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def _password_source(connection: Connection) -> str:
    if connection.password_env:
        return f"the variable {connection.password_env}"
    if connection.password_command:
        return f"the command {connection.password_command[0]}"
    return str(connection.passfile or connection.service or "libpq's own files, or none")


def _reach(connection: Connection) -> Finding:
    place = f"{connection.host}:{connection.port}"
    trouble = reach.look(connection)
    if trouble is None:
        known = connection.host and not connection.service
        return _finding(
            "reach", Verdict.OK, place if known else "not checked: libpq chooses the server"
        )
    waited = trouble in {Trouble.FROZEN, Trouble.HOST_SILENT}
    within = f" within {connection.connect_timeout_s} s" if waited else ""
    raise troubles.error(trouble, f"{trouble}{within} ({place})")


def _login(session: Session) -> Finding:
    started = time.monotonic()
    try:
        server = session.identify()
    except DatabaseError as error:
        # cancelled before rbkernel's own time-out, so the role or the database has a shorter
        # time-out
        early = time.monotonic() - started < min(1, session.connection.statement_timeout_s)
        if error.sqlstate != _CANCELLED or not early:
            raise
        raise troubles.error(Trouble.CANCELLED_EARLY) from error
    return _finding("login", Verdict.OK, f"as {server.role}")


def _settings(session: Session) -> Finding:
    """Return the finding on settings of the role and the database; rbkernel overrides all but
    ``role``.
    """
    found = session.look(_STORED_SETTINGS, {"names": list(_SETTINGS)})
    if found.empty:
        return _finding(
            "settings",
            Verdict.OK,
            "neither the role nor the database changes a setting that rbkernel uses",
        )
    texts = list(found["setting"])
    login, acting = found["login"].iloc[0], found["acting"].iloc[0]
    [wanted] = [text.partition("=")[2] for text in texts if text.startswith("role=")][:1] or [""]
    if wanted in {"", "none", login}:
        return _finding("settings", Verdict.OK, f"rbkernel overrides {', '.join(texts)}")
    cause = f"sessions of {login} switch to the role {acting} at login"
    if acting == login:
        cause = (
            f"the setting role = {wanted} has no effect: no such role exists, or {login} may not"
            f" become it; the server warns at every login, and {login} keeps its own role"
        )
    name = driver.quote_identifier(login)
    return _finding(
        "settings",
        Verdict.WARNING,
        ", ".join(texts),
        cause=cause,
        next_step=f"have an administrator run ALTER ROLE {name} RESET role; `SELECT * FROM"
        " pg_db_role_setting` shows where it is set",
    )


def judge_tables(looked: Sequence[Tables], *, role: str, named: bool) -> Finding:
    """Return the finding on the tables that the role can read, present and future ones.

    Parameters
    ----------
    looked
        The tables, by schema and owner.
    role
        The diagnostic role.
    named
        Whether the configuration names the schemas. If not, all schemas with a readable table are
        checked. Future tables are checked if the schema is named or has default privileges.
    """
    known = {one.schema for one in looked if one.readable}
    looked = [one for one in looked if named or one.schema in known]
    unread = [one for one in looked if one.readable < one.tables]
    later = [one for one in looked if not one.later]
    total, seen = sum(one.tables for one in looked), sum(one.readable for one in looked)
    parts = [f"{total - seen} of {total} cannot be read ({_places(unread)})"] if unread else []
    if not parts:
        schemas = ", ".join(sorted({one.schema for one in looked}))
        parts.append(
            f"{amounts.all_of(total, 'table')} in {schemas}"
            if looked
            else "the role can read no table"
        )
    if later:
        parts.append(f"future tables cannot be read ({_places(later)})")
    if not (unread or any(named or one.meant for one in later)):
        return _finding("tables", Verdict.OK, "; ".join(parts))
    sql = setup.read_sql(
        [one.schema for one in unread], [(one.schema, one.owner) for one in later], role
    )
    return _finding(
        "tables",
        Verdict.WARNING,
        "; ".join(parts),
        cause="these tables were created after the grant, or by a role without default privileges"
        f" for {role}",
        next_step=f"have an administrator run: {sql} If the role should not read them, list the"
        " schemas that it should read as read_schemas in rbkernel.toml",
    )


def _places(tables: Iterable[Tables], named: int = 3) -> str:
    places = [f"schema {one.schema}, owner {one.owner}" for one in tables]
    return "; ".join(places[:named]) + ("; …" if len(places) > named else "")


def _tables(session: Session) -> Finding:
    schemas = session.connection.read_schemas
    if schemas is not None and not schemas:
        return _finding("tables", Verdict.OK, "not checked: read_schemas is empty")
    found = session.look(privileges.TABLES, {"schemas": list(schemas or ()), "all": not schemas})
    rows = found.to_dict("records")
    looked = [Tables(**{str(key): value for key, value in row.items()}) for row in rows]
    return judge_tables(looked, role=session.server.role, named=bool(schemas))


def _time_outs(session: Session) -> Finding:
    connection = session.connection
    found = session.look(_SESSION).iloc[0]
    shown = (
        f"statement {connection.statement_timeout_s:g} s, lock {connection.lock_timeout_s:g} s,"
        f" first answer {connection.connect_timeout_s} s"
    )
    wanted = ("on", connection.statement_timeout_s, connection.lock_timeout_s)
    if (found["read_only"], found["statement_s"], found["lock_s"]) != wanted:
        return _finding(
            "time-outs",
            Verdict.CRITICAL,
            f"statement {found['statement_s']:g} s, lock {found['lock_s']:g} s",
            cause="a pooler or proxy between rbkernel and the server changes the settings",
            next_step="connect directly to the server",
        )
    if connection.statement_timeout_s > _LONG_STATEMENT_S:
        cause = f"a diagnostic may take {connection.statement_timeout_s:g} s"
        advice = "set statement_timeout_s to 10, and longer only where a query needs it"
    elif connection.lock_timeout_s >= connection.statement_timeout_s:
        cause = "a query waits for locks until its statement timeout, and makes the queue longer"
        advice = "set lock_timeout_s to 0.5"
    else:
        return _finding("time-outs", Verdict.OK, shown)
    return _finding("time-outs", Verdict.WARNING, shown, cause=cause, next_step=advice)


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
