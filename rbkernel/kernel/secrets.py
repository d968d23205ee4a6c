"""Find the secrets in a kernel's connections and environment, so that they can be redacted.

The kernel gathers them once, at its start, and adds each password that it fetches later.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from rbkernel import config
from rbkernel.config import Connection, Settings
from rbkernel.config.connections import Owner
from rbkernel.redact import Redactor
from rbkernel.redact.names import is_login_variable, is_secret

_URL_PASSWORD = re.compile(r"://[^\s/:@]*:([^\s/@]+)@")
# variables whose names look like a secret's but hold none, or hold only the address of one
_ADDRESSES = re.compile(r"(?:_FILE|_PATH|_DIR|_COUNT|_ENV|_NAME|_ID|_URL|_TTL)$", re.IGNORECASE)


class Secret(NamedTuple):
    """A value to redact, and its name; ``public`` are words that are always shown."""

    name: str
    value: str
    public: frozenset[str] = frozenset()


def gather(settings: Settings, environment: Mapping[str, str]) -> Iterator[Secret]:
    """Yield all configured secrets that can be read without a prompt or a command."""
    public = _public(settings, environment)
    for secret in _gathered(settings, environment):
        yield secret._replace(public=secret.public | public)


def redactor(
    settings: Settings, environment: Mapping[str, str], *, later: bool = False
) -> Redactor:
    """Return a redactor of all known secrets and, with ``later``, of passwords fetched later."""
    made = Redactor()
    for name, value, public in gather(settings, environment):
        made.learn(name, value, public=public)
    if later:
        config.tell_passwords_to(partial(_learn, made))
    return made


def _learn(redactor: Redactor, owner: Owner, password: str) -> None:
    name, value, public = of_owner(owner, password)
    redactor.learn(name, value, public=public)


# libpq and system variables with values that the evidence shows anyway
_PUBLIC = (
    "PGUSER",
    "PGHOST",
    "PGHOSTADDR",
    "PGDATABASE",
    "PGSERVICE",
    "USER",
    "LOGNAME",
    "HOSTNAME",
)


def _public(settings: Settings, environment: Mapping[str, str]) -> frozenset[str]:
    """Return the names of connections, users, databases and hosts, which are no secrets."""
    owners: tuple[Owner, ...] = (*settings.connections.values(), *settings.sources.values())
    of_variables = frozenset(filter(None, map(environment.get, _PUBLIC)))
    return of_variables.union(*(one.public for one in owners))


def _gathered(settings: Settings, environment: Mapping[str, str]) -> Iterator[Secret]:
    for connection in settings.connections.values():
        yield from _of_connection(connection, environment)
    for source in settings.sources.values():
        if value := environment.get(source.secret_variable):
            yield of_owner(source, value)
    for name in sorted(variables_of_actions(settings)):
        if value := environment.get(name):
            yield Secret(f"environment {_plain(name)}", value)
    for path in _passfiles(settings, environment):
        yield from _of_passfile(path)
    for path in _service_files(environment):
        yield from _of_service_file(path)
    named = {*settings.redaction.environment, settings.redaction.hash_key_env}
    for name, value in environment.items():
        if name in named:
            yield Secret(f"environment {_plain(name)}", value)
        yield from _of_variable(name, value)


def of_owner(owner: Owner, password: str) -> Secret:
    """Return the password or token of a connection or source as a secret to redact."""
    return Secret(f"password of {_plain(owner.name)}", password, owner.public)


def _of_connection(connection: Connection, environment: Mapping[str, str]) -> Iterator[Secret]:
    for name in filter(None, (connection.password_env, action_variable(connection))):
        if value := environment.get(name):
            yield of_owner(connection, value)


def action_variable(connection: Connection) -> str:
    """Return the variable with the password of a connection's role for actions; empty if none."""
    return (connection.action.password_env or "") if connection.action else ""


def variables_of_actions(settings: Settings) -> set[str]:
    """Return the variables with the secrets of commands and requests that are actions."""
    passed = {name for one in settings.actions.commands.values() for name in one.environment}
    named = {*settings.redaction.environment}
    headers = (one.headers.values() for one in settings.actions.requests.values())
    sent = {one.env for some in headers for one in some if one.env}
    return sent | {name for name in passed if name in named or is_secret(name)}


def without_action_passwords(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the secrets with which actions are executed, for a kernel.

    A variable that a diagnostic role or a source uses as well is kept.
    """
    needed = {one.password_env for one in settings.connections.values()}
    needed |= {one.secret_variable for one in settings.sources.values()}
    hidden = {action_variable(one) for one in settings.connections.values()}
    hidden = (hidden | variables_of_actions(settings)) - needed
    return {name: value for name, value in environment.items() if name not in hidden}


def _of_variable(name: str, value: str) -> Iterator[Secret]:
    """Yield the secrets in an environment variable: its value, or passwords in URLs."""
    named = is_secret(name) or is_login_variable(name, value)
    if named and not _ADDRESSES.search(name) and not Path(value[:4096]).exists():
        yield Secret(f"environment {_plain(name)}", value)
    for match in _URL_PASSWORD.finditer(value):
        for form in {match[1], unquote(match[1])}:
            yield Secret(f"environment {_plain(name)}", form)


def _passfiles(settings: Settings, environment: Mapping[str, str]) -> set[Path]:
    own = environment.get("PGPASSFILE") or "~/.pgpass"
    roles = [role for one in settings.connections.values() for role in (one, one.action) if role]
    named = {role.passfile for role in roles if role.passfile}
    return {Path(own).expanduser(), *named}


def _of_passfile(path: Path) -> Iterator[Secret]:
    """Yield the passwords in a libpq password file, with escapes decoded."""
    for line in _lines(path):
        fields = re.split(r"(?<!\\):", line.strip(), maxsplit=4)
        if len(fields) == 5 and not line.startswith("#"):
            password = re.sub(r"\\([:\\])", r"\1", fields[4])
            yield Secret("passfile", password, frozenset({fields[2], fields[3]}))


def _service_files(environment: Mapping[str, str]) -> set[Path]:
    own = environment.get("PGSERVICEFILE") or "~/.pg_service.conf"
    folder = environment.get("PGSYSCONFDIR")
    files = {Path(own).expanduser()}
    return files | {Path(folder) / "pg_service.conf"} if folder else files


def _of_service_file(path: Path) -> Iterator[Secret]:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string("\n".join(_lines(path)))
    except configparser.Error:
        return  # libpq reports the error itself
    for section in parser.sections():
        if value := parser.get(section, "password", fallback=""):
            yield Secret(f"service {_plain(section)}", value)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _plain(name: str) -> str:
    """Return a name in a form that the mask ``[redacted:…]`` can contain.

    >>> _plain("orders[1]")
    'orders-1-'
    """
    return re.sub(r"[^\w .-]", "-", name)[:80]
