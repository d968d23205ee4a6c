"""Write the SQL for a team's database roles, and the section of a connection in `rbkernel.toml`.

Pure: the functions take and return texts. They do not connect, write files, or handle passwords.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from rbkernel.config import Connection
from rbkernel.errors import ConfigError
from rbkernel.sources.postgres.connection.driver import quote_identifier, quote_literal

Field = str | int | Sequence[str]

_GRANT = """\
-- {roles} of rbkernel for one database, PostgreSQL 15 or later.
-- Run it in that database as a superuser (or the administrator of a managed service), with psql;
-- running it again changes nothing. It holds no password: set one afterwards, with \\password.
BEGIN;

-- Diagnostic: sees sessions and statistics; cannot write, cannot signal sessions.
{create_diagnostic}
ALTER ROLE {diagnostic} LOGIN INHERIT CONNECTION LIMIT 10;
-- No settings on the role: they would override those of the server. rbkernel starts every
-- transaction read-only, with timeouts. Earlier versions set these four; they are removed.
ALTER ROLE {diagnostic} RESET default_transaction_read_only;
ALTER ROLE {diagnostic} RESET statement_timeout;
ALTER ROLE {diagnostic} RESET lock_timeout;
ALTER ROLE {diagnostic} RESET idle_in_transaction_session_timeout;
GRANT pg_monitor TO {diagnostic};
GRANT CONNECT ON DATABASE {database} TO {diagnostic};
DO $$ BEGIN
    -- from 16 on it can connect when ordinary slots are full, if reserved_connections is set
    IF current_setting('server_version_num')::int >= 160000 THEN
        GRANT pg_use_reserved_connections TO {diagnostic};
        -- also where it was granted to a role without INHERIT before
        EXECUTE $grant$GRANT pg_monitor TO {diagnostic} WITH INHERIT TRUE$grant$;
    END IF;
END $$;
{reads}{actions}
COMMIT;
"""
_ACTION = """\
-- Action: executes approved plans, only in the gateway: terminates sessions, cancels queries,
-- resumes replay.
{create_action}
ALTER ROLE {action} LOGIN CONNECTION LIMIT 5;
GRANT pg_signal_backend, pg_read_all_stats TO {action};
GRANT CONNECT ON DATABASE {database} TO {action};
DO $$ BEGIN
    GRANT EXECUTE ON FUNCTION pg_wal_replay_pause(), pg_wal_replay_resume() TO {action};
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'this service does not grant the replay functions';
END $$;
-- Plans that repair rows need more, table by table, such as:
-- GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO {action};
"""
_NO_ACTION = """\
-- No action role: plans are run by hand. `rbkernel grant … --action NAME` prints its SQL.
"""
_CREATE = """\
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {literal}) THEN
        CREATE ROLE {role};
    ELSIF EXISTS (SELECT FROM pg_roles WHERE rolname = {literal} AND (rolsuper OR rolcreaterole
                  OR rolcreatedb OR rolreplication OR rolbypassrls)) THEN
        RAISE EXCEPTION 'the role % exists and has more privileges: choose another name', {literal};
    END IF;
END $$;"""
_READ = """\
GRANT USAGE ON SCHEMA {schema} TO {diagnostic};
GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {diagnostic};
GRANT SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {diagnostic};
-- Tables that are created later: default privileges belong to the role that creates a table, so
-- they are set for every role that owns one in this schema or may create one there. A role that
-- gets that right later needs them too: run this again; `rbkernel doctor` says when.
DO $rbkernel$ DECLARE creator name; kind text; BEGIN
    FOR creator, kind IN
        SELECT r.rolname, k FROM unnest(ARRAY['TABLES', 'SEQUENCES']) k, pg_roles r
        JOIN pg_namespace n ON n.nspname = {schema_literal}
        WHERE r.rolname !~ '^pg_' AND r.rolname <> {diagnostic_literal}
          AND (has_schema_privilege(r.oid, n.oid, 'CREATE')
               OR EXISTS (SELECT FROM pg_class c
                          WHERE c.relnamespace = n.oid AND c.relowner = r.oid))
    LOOP
        BEGIN
            EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I GRANT SELECT ON %s'
                           ' TO %I', creator, {schema_literal}, kind, {diagnostic_literal});
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE NOTICE 'tables that % creates later will not be readable: run this as a member'
                         ' of that role', creator;
        END;
    END LOOP;
END $rbkernel$;
"""
_READ_ALL = """\
-- Reads every table, view and sequence of every schema, also those that are created later.
GRANT pg_read_all_data TO {diagnostic};
"""
_NO_READ = """\
-- Tables that runbooks should read, one by one, or `rbkernel grant … --read SCHEMA`, or all of
-- them (`--read-all`):
-- GRANT SELECT ON orders TO {diagnostic};
"""


def grant_sql(
    diagnostic: str,
    *,
    dbname: str | None,
    action: str = "",
    read: Sequence[str] = (),
    read_all: bool = False,
) -> str:
    """Return the SQL that creates or updates the diagnostic role and the action role.

    Parameters
    ----------
    diagnostic
        Name of the diagnostic role.
    dbname
        The database that the roles connect to.
    action
        Name of the role for changes (the action role); empty for none.
    read
        Schemas whose tables the diagnostic role may read, including future tables.
    read_all
        Whether the diagnostic role may read every table of every schema.

    Raises
    ------
    ConfigError
        Both roles have the same name, or a name contains special characters.
    """
    for name in (diagnostic, action, *read):
        if "$" in name or not name.isprintable() or not (name or name is action):
            raise ConfigError(
                f"{name!r} cannot be used as a name: it is empty, or contains $ or an invisible"
                " character",
                next_step="choose another name",
            )
    if diagnostic == action:
        raise ConfigError(
            f"{diagnostic} cannot be both roles", next_step="give --diagnostic and --action"
        )
    role = quote_identifier(diagnostic)
    database = quote_identifier(dbname or diagnostic)  # like libpq, the user's name by default
    return _GRANT.format(
        roles="The two roles" if action else "The diagnostic role",
        database=database,
        diagnostic=role,
        create_diagnostic=_create(diagnostic),
        reads=_reads(diagnostic, read, read_all=read_all),
        actions=_ACTION.format(
            action=quote_identifier(action), create_action=_create(action), database=database
        )
        if action
        else _NO_ACTION,
    )


def read_sql(schemas: Iterable[str], creators: Iterable[tuple[str, str]], role: str) -> str:
    """Return the SQL that lets a role read all tables of schemas, including future tables.

    Parameters
    ----------
    schemas
        Schemas with tables that the role cannot read.
    creators
        Schema and role of each role that creates tables in a schema without having set default
        privileges for the diagnostic role.
    role
        The diagnostic role.

    >>> print(read_sql([], [("shop", "app")], "diag"))
    ALTER DEFAULT PRIVILEGES FOR ROLE "app" IN SCHEMA "shop" GRANT SELECT ON TABLES TO "diag";
    """
    to = quote_identifier(role)
    named = [quote_identifier(schema) for schema in dict.fromkeys(schemas)]
    made = [(quote_identifier(schema), quote_identifier(creator)) for schema, creator in creators]
    return " ".join(
        [
            *(f"GRANT USAGE ON SCHEMA {schema} TO {to};" for schema in named),
            *(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {to};" for schema in named),
            *(
                f"ALTER DEFAULT PRIVILEGES FOR ROLE {creator} IN SCHEMA {schema}"
                f" GRANT SELECT ON TABLES TO {to};"
                for schema, creator in made
            ),
        ]
    )


def _reads(diagnostic: str, schemas: Sequence[str], *, read_all: bool) -> str:
    role = quote_identifier(diagnostic)
    if read_all:
        return _READ_ALL.format(diagnostic=role)
    parts = [
        _READ.format(
            schema=quote_identifier(schema),
            schema_literal=quote_literal(schema),
            diagnostic=role,
            diagnostic_literal=quote_literal(diagnostic),
        )
        for schema in schemas
    ]
    return "".join(parts) or _NO_READ.format(diagnostic=role)


def _create(role: str) -> str:
    return _CREATE.format(role=quote_identifier(role), literal=quote_literal(role))


def password_source(words: str) -> dict[str, Field]:
    """Parse the text that says where the password of a connection comes from.

    >>> password_source("env DB_PASSWORD"), password_source("command pass show db")
    ({'password_env': 'DB_PASSWORD'}, {'password_command': ['pass', 'show', 'db']})
    """
    try:
        kind, *rest = shlex.split(words) or ["nothing"]
    except ValueError:
        kind, rest = "", []
    if kind == "nothing" and not rest:
        return {}
    if kind == "env" and len(rest) == 1 and rest[0].isidentifier():
        return {"password_env": rest[0]}
    if kind == "file" and len(rest) == 1:
        return {"passfile": str(Path(rest[0]).expanduser().absolute())}
    if kind == "command" and rest:
        return {"password_command": rest}
    # the input may be the password itself, so the message does not repeat it
    raise ConfigError(
        "this is not a password source", next_step="write env NAME, file PATH or command …"
    )


def connection(name: str, fields: Mapping[str, Field]) -> Connection:
    """Build a connection from the answers to the set-up questions.

    Raises
    ------
    ConfigError
        A field is not valid.
    """
    try:
        return Connection.model_validate({"name": name, **fields})
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        raise ConfigError(
            f"{problem['loc'][0] if problem['loc'] else name}: {problem['msg']}",
            next_step="give another value",
        ) from None


def with_connection(text: str, name: str, fields: Mapping[str, Field]) -> str:
    """Add a connection to the text of an `rbkernel.toml`; the other lines stay unchanged.

    Raises
    ------
    ConfigError
        There is already a connection with this name, or a section cannot be appended.

    >>> print(with_connection("# ours", "db", {"host": "h", "port": 5433}))
    # ours
    <BLANKLINE>
    [connections.db]
    host = "h"
    port = 5433
    <BLANKLINE>
    """
    if name in _connections(text):
        raise ConfigError(
            f"the connection {name} already exists",
            next_step="choose another name, or edit the existing connection",
        )
    # a JSON string, number or list of strings is also valid TOML
    lines = [f"{key} = {json.dumps(value)}" for key, value in fields.items()]
    before = f"{text.rstrip()}\n\n" if text.strip() else ""
    key = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)
    extended = before + "\n".join([f"[connections.{key}]", *lines, ""])
    if name not in _connections(extended):
        raise ConfigError(
            "the section cannot be added to this file", next_step="add the section by hand"
        )
    return extended


def _connections(text: str) -> Mapping[str, object]:
    try:
        found = tomllib.loads(text).get("connections", {})
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"cannot be read: {error}", next_step="correct the file by hand"
        ) from error
    return found if isinstance(found, dict) else {}
