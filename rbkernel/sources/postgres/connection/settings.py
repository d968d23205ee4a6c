"""The settings that the first statement of each transaction sets for the session. Pure.

A role or database can have its own settings (``ALTER … SET``), and the owner of a database need not
be its administrator. With a search path that the owner has set, the owner's functions, operators
and tables would replace PostgreSQL's and run as the diagnostic role. So the first statement of each
transaction qualifies every name, and from then on only ``pg_catalog`` is searched. ``pg_temp`` is
the last entry, because temporary tables come first if the path does not contain ``pg_temp``.

All settings are for the transaction only, since a pooler hands a session on to other clients.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rbkernel.errors import DatabaseError

# settings that fix the format of values and the meaning of SQL for every role and database
_TEXT: Mapping[str, str] = {
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "xmlbinary": "base64",
    "xmloption": "content",
    "quote_all_identifiers": "off",
    "standard_conforming_strings": "on",
    "backslash_quote": "safe_encoding",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "gin_fuzzy_search_limit": "0",
    "stats_fetch_consistency": "cache",
    "client_min_messages": "warning",
    "exit_on_error": "off",
    "cursor_tuple_fraction": "1.0",
}
# For rbkernel's own queries. row_security off: the server raises an error instead of applying
# policies, which hide rows and run functions of the table's owner. constraint_exclusion off: the
# planner does not evaluate functions of the table's owner.
_OWN: Mapping[str, str] = {
    "row_security": "off",
    "constraint_exclusion": "off",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "join_collapse_limit": "8",
    "from_collapse_limit": "8",
    **{
        f"enable_{way}": "on"
        for way in ("seqscan", "indexscan", "bitmapscan", "hashjoin", "mergejoin", "nestloop")
    },
    **{f"enable_{way}": "on" for way in ("sort", "hashagg", "material")},
}
# settings that rbkernel does not set, but that change what a session sees or may do
_REPORTED: Mapping[str, str] = {
    "role": "none",
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "client_encoding": "UTF8",
    "search_path": "pg_catalog",
}
_TEAM: Mapping[str, str] = {"row_security": "on"}
# server encodings for which Python has no codec: non-ASCII bytes are escaped
_WITHOUT_CODEC = frozenset({"EUC_TW", "MULE_INTERNAL"})
_READ_ONLY = "transaction_read_only"
# a setting that lists the settings sent at login, whose server values the session cannot see
AT_LOGIN = "rbkernel.set_at_login"


@dataclass(frozen=True, kw_only=True)
class Override:
    """A setting that a role or a database overrides for its sessions."""

    name: str
    value: str
    scope: str

    def __str__(self) -> str:
        return f"{self.name} = {self.value} (set for the {self.scope})"


@dataclass(frozen=True)
class Begun:
    """The answer to the first statement of a transaction: the schemas of the role's search path."""

    own_path: tuple[str, ...]


def client_encoding(server_encoding: str) -> str:
    """Return the client encoding, which is the server's own, so that the server converts nothing.

    With a conversion, or with UTF8 on a database in SQL_ASCII, the whole query would fail if one
    byte is not valid.

    >>> [client_encoding(name) for name in ("UTF8", "LATIN1", "SQL_ASCII", "EUC_TW")]
    ['UTF8', 'LATIN1', 'SQL_ASCII', 'SQL_ASCII']
    """
    return "SQL_ASCII" if server_encoding in _WITHOUT_CODEC else server_encoding


def for_own_sql() -> dict[str, str]:
    """Return the settings for rbkernel's SQL: only ``pg_catalog`` is searched."""
    return {"search_path": path(()), **_TEXT, **_OWN}


def for_team_sql(own_path: Sequence[str]) -> dict[str, str]:
    """Return the settings for a team's SQL: the role's search path follows ``pg_catalog``."""
    return {"search_path": path(own_path), **_TEXT, **_TEAM}


def path(schemas: Iterable[str]) -> str:
    """Return a quoted search path of these schemas, with pg_catalog first and pg_temp last.

    >>> path(["shop", 'a"b', "pg_temp_3", "pg_catalog"])
    'pg_catalog, "shop", "a""b", pg_temp'
    """
    quoted = ('"{}"'.format(name.replace('"', '""')) for name in schemas if name[:3] != "pg_")
    return ", ".join(["pg_catalog", *quoted, "pg_temp"])


def statement(settings: Mapping[str, str]) -> str:
    """Return the first statement of a transaction, which sets the settings; all its names are
    qualified.

    >>> print(statement({"jit": "off"}))
    SELECT pg_catalog.current_schemas(false), pg_catalog.set_config('jit', %(jit)s, true), \
pg_catalog.current_setting('transaction_read_only')
    """
    sets = (f"pg_catalog.set_config('{name}', %({name})s, true)" for name in settings)
    asked = (
        "pg_catalog.current_schemas(false)",
        *sets,
        f"pg_catalog.current_setting('{_READ_ONLY}')",
    )
    return f"SELECT {', '.join(asked)}"


def begun(row: Sequence[object], connection: str) -> Begun:
    """Read the row that the SQL of `statement` returns, and check that the transaction is
    read-only.

    Raises
    ------
    DatabaseError
        The transaction may write.
    """
    if row[-1] != "on":
        raise DatabaseError(
            f"the transaction is not read-only: {_READ_ONLY} is {row[-1]}",
            where=f"connection {connection}",
            next_step="connect directly to the server: a pooler or proxy changes the settings",
        )
    schemas = row[0] if isinstance(row[0], list) else []
    return Begun(tuple(str(name) for name in schemas))


def overrides(stored: Iterable[str]) -> tuple[Override, ...]:
    """Return the settings of a role and a database that differ from rbkernel's.

    Parameters
    ----------
    stored
        Texts such as ``database:search_path=shop, public``.

    >>> [str(one) for one in overrides(["role:timezone=UTC", "database:jit=on", "role:a.b=c"])]
    ['jit = on (set for the database)']
    """
    expected = {name.lower(): value for name, value in {**_REPORTED, **_TEXT, **_OWN}.items()}
    found = []
    for text in stored:
        scope, _, setting = text.partition(":")
        name, _, value = setting.partition("=")
        wanted = expected.get(name.lower())
        if wanted is not None and value.lower() != wanted.lower():
            found.append(Override(name=name, value=value, scope=scope))
    return tuple(found)
