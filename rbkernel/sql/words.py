"""Decide by its words whether text that contains SQL changes something or only reads. Pure.

This is used for text that rbkernel does not send to a database; the guard checks all SQL that is
sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rbkernel.sql import guard

_CHANGING = re.compile(
    r"\b(?:(?:commit|rollback)\s+prepared|prepare\s+transaction|insert\s+into|update\s+(?:only\s+)?\S+\s+(?:(?:as\s+)?\w+\s+)?set|delete\s+from"
    r"|merge\s+into|truncate|drop|alter|create|grant|revoke|vacuum|reindex|cluster"
    r"|refresh\s+materialized|copy\s[^;]*\b(?:from|program)\b"
    r"|setval|nextval|lo_\w+(?=\s*\()|dblink_exec"
    r"|pg_(?:terminate_backend|cancel_backend|promote|wal_replay_(?:pause|resume)|reload_conf"
    r"|rotate_logfile|switch_wal|drop_replication_slot|create_\w+|replication_slot_advance"
    r"|stat_reset\w*|stat_statements_reset|backup_(?:start|stop)|advisory_\w+))\b",
    re.IGNORECASE,
)
_HIDDEN = re.compile(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/", re.DOTALL)
_READING = re.compile(
    r"^(?:select|show|explain|with|values|table|begin|commit|rollback|end|use|describe|desc)\b"
    r"|^\\(?:d\w*\+?|l\+?|z|x|conninfo|timing|pset|q|h|\?)(?:\s|$)",
    re.IGNORECASE,
)
# a table that is made, and rows that are locked
_INTO = re.compile(
    r"\binto\b|\bfor\s+(?:no\s+key\s+update|update|share|key\s+share)\b", re.IGNORECASE
)


def changing_sql(text: str) -> str:
    """Return the first SQL word in a text that changes something; empty if there is none.

    >>> changing_sql("SELECT 1"), changing_sql("update t set a = 1")
    ('', 'UPDATE')
    >>> changing_sql("COPY t TO PROGRAM 'sh'"), changing_sql("SELECT pg_reload_conf()")
    ('COPY', 'pg_reload_conf')
    """
    found = _CHANGING.search(re.sub(r"--[^\n]*|/\*.*?\*/", " ", text, flags=re.DOTALL))
    word = found[0].split()[0] if found else ""
    return word if word.startswith("pg_") else word.upper()


def only_reads(text: str) -> bool:
    r"""Tell whether every SQL statement in a text begins with a command that reads.

    The result is False for an empty text.

    >>> only_reads("SELECT ';'; SHOW all;"), only_reads("CALL clean()"), only_reads("\\dt+ app.*")
    (True, False, True)
    """
    pieces = [piece.strip() for piece in _HIDDEN.sub("''", text).split(";")]
    said = [piece for piece in pieces if piece and piece != "''"]
    reads = all(_READING.search(piece) and not _INTO.search(piece) for piece in said)
    return bool(said) and reads and not changing_sql(text)


_CALL = re.compile(
    r"(?<![\w.])(?:pg_catalog\.)?([A-Za-z_]\w*)\s*\(|([A-Za-z_]\w*\.[A-Za-z_]\w*)\s*\("
)


def unknown_calls(text: str) -> Iterator[str]:
    """Yield the functions that SQL calls and that are not known to only read.

    >>> list(unknown_calls("SELECT count(*), tidy_up() FROM t WHERE x IN (1) AND s.f(1)"))
    ['tidy_up', 's.f']
    """
    for plain, qualified in _CALL.findall(_HIDDEN.sub("''", text)):
        if qualified or not guard.calls_only_read(plain):
            yield qualified or plain
