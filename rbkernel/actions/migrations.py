"""Plan to run the SQL of a migration: what a person saves as a file and gives to psql. Pure."""

from __future__ import annotations

import re

from rbkernel.actions.plans import planned
from rbkernel.arguments import checked
from rbkernel.model import ActionPlan
from rbkernel.sql import ddl

# these are refused in a transaction, and wait for old transactions: a time-out for locks would stop
# them half-way
_ALONE = re.compile(r'^vacuum\b|(?<!")\bconcurrently\b(?!")')
_OWN_TRANSACTION = re.compile(r"(?:begin|start transaction|commit|end)\b")
_IN_FILE = "Save it as a file, and run psql -X -f FILE: at a prompt, psql goes on after an error."


@checked
def migration(db: str, statements: str, *, undo: str = "") -> ActionPlan:
    """Plan to run the SQL of a migration, so that it stops at the first error.

    Several statements are put into one transaction, with a lock_timeout, unless they have one of
    their own. CONCURRENTLY and VACUUM run without either. If there are statements of both kinds,
    the plan has no SQL: they have to be run one after the other.

    Parameters
    ----------
    db
        Connection name of the primary.
    statements
        The SQL of the migration. If it is empty, there is nothing to do.
    undo
        The SQL that undoes exactly these statements; empty if there is none.

    >>> print(migration("orders", "ALTER TABLE a ADD b int; ALTER TABLE c ADD d int").sql)
    \\set ON_ERROR_STOP on
    SET lock_timeout = '2s';
    BEGIN;
    ALTER TABLE a ADD b int; ALTER TABLE c ADD d int;
    COMMIT;
    >>> print(migration("orders", "CREATE INDEX CONCURRENTLY a ON t (b)").sql)
    \\set ON_ERROR_STOP on
    SET lock_timeout = 0;
    CREATE INDEX CONCURRENTLY a ON t (b);
    >>> migration("orders", "CREATE INDEX CONCURRENTLY a ON t (b); ALTER TABLE t ADD c int").sql
    ''
    """
    found = [one.statement for one in ddl.effects(statements)]
    alone = [bool(_ALONE.search(one)) for one in found]
    text = statements.strip()
    text = text if text.endswith(";") else f"{text}\n;" if "--" in text else f"{text};"
    lock = "SET lock_timeout = '2s';"
    if not found or len(set(alone)) > 1:
        text, stays = "", "CONCURRENTLY and VACUUM cannot run with other statements: split them."
    elif alone[0]:
        lock = "SET lock_timeout = 0;"
        stays = (
            "It waits for old transactions, however long. After an error, what ran before stays,"
            " and what is half built, too: drop what is invalid first, then run it again."
        )
    elif any(_OWN_TRANSACTION.match(one) for one in found):
        stays = "After an error, what was committed before it stays: continue there."
    else:
        stays = "After an error, nothing of it stays."
        text = f"BEGIN;\n{text}\nCOMMIT;" if len(found) > 1 else text
    return planned(
        title="Run the migration",
        connection=db,
        sql=f"\\set ON_ERROR_STOP on\n{lock}\n{text}" if text else "",
        undo=undo or "No SQL was given that undoes it.",
        risk=f"{stays} {_IN_FILE}" if text else stays if found else "",
    )
