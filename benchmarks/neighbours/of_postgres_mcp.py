"""What the health check of postgres-mcp says: run with the Python that has it.

The check is what its MCP tool `analyze_db_health` runs, with all parts, on both servers. Its text
is read as an on-call engineer would: problems of the present count. Not counted is what
it says of healthy servers, too: its advice on unused and duplicate indexes, bloat and buffer hit
rates, and that a standby "is not actively replicating", which it says if no other standby follows.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import typing
from importlib.metadata import version
from pathlib import Path

# postgres-mcp asks for Python 3.12, but only for this decorator, which does nothing
if not hasattr(typing, "override"):
    typing.override = lambda method: method

from postgres_mcp.database_health import DatabaseHealthTool
from postgres_mcp.sql import DbConnPool, SqlDriver

sys.path.insert(0, str(Path(__file__).parent))
import reach

_LATE_S = 2.0
# a problem in the text, and the kind of object that its group names
_PROBLEMS = (
    (r"(\S+) on \S+ is invalid\.", "index"),
    (r"Constraint '(\S+)' on table \S+ (?:referencing \S+ )?is invalid", "constraint"),
    (r"Sequence '(\S+?)' used for .* has used", "sequence"),
    (r"Table '(\S+)' has [\d,]+ transactions remaining", "table"),
    (r"High number of connections.*", ""),
    (r"No active replicas connected", "server:standby"),
)


def problems(server: str, text: str) -> tuple[list[str], list[str]]:
    """Return the culprits and the sentences of what is wrong in the text of the check."""
    culprits: list[str] = []
    says: list[str] = []
    for pattern, kind in _PROBLEMS:
        for found in re.finditer(pattern, text):
            says.append(f"{server}: {found[0]}")
            culprits += [kind if ":" in kind else f"{kind}:{found[1]}"] if kind else []
    lag = re.search(r"Replication lag: ([\d.]+) seconds", text)
    if lag and float(lag[1]) > _LATE_S:
        says.append(f"{server}: {lag[0]}")
        culprits.append("server:standby")
    _, _, inactive = text.partition("Inactive replication slots:")
    for slot in re.findall(r"^- (\S+) \(database", inactive, re.MULTILINE):
        says.append(f"{server}: inactive replication slot {slot}")
        culprits.append(f"slot:{slot}")
    return culprits, says


async def main() -> None:
    """Print the answer."""
    logging.disable()
    culprits: list[str] = []
    says: list[str] = []
    for server, dsn in reach.SERVERS.items():
        pool = DbConnPool(f"{dsn} connect_timeout={reach.PATIENCE_S}")
        try:
            await pool.pool_connect()  # tries for 30 s
            text = await DatabaseHealthTool(SqlDriver(conn=pool)).health("all")
        except ValueError as error:
            found = reach.refused(server, str(error))
            culprits += found["culprits"]
            says += found["says"]
            continue
        finally:
            await pool.close()
        named, said = problems(server, text)
        culprits += named
        says += said
    tool = f"postgres-mcp {version('postgres-mcp')}"
    print(reach.answer(tool, culprits, says, detected=bool(says)))


if __name__ == "__main__":
    asyncio.run(main())
