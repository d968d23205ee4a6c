"""What pg_activity shows: run with the Python that has it, for `rbkernel drill --exec`.

pg_activity is a `top` for people: it shows, and judges nothing. What counts as its answer is what
a person would see in it, on both servers: the sessions in its view of blocking queries are its
culprits; its view of waiting queries, and a header of 80 % or more of max_connections, are a
problem without a culprit. A row counts from 1 s on, as nobody reads a screen that fast.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import psycopg
from pgactivity.data import Data

sys.path.insert(0, str(Path(__file__).parent))
import reach

_FULL = 0.8
_SEEN_S = 1.0


def main() -> None:
    """Print the answer."""
    culprits: list[str] = []
    says: list[str] = []
    for server, dsn in reach.SERVERS.items():
        try:
            data = Data.pg_connect(
                _SEEN_S,
                dsn=f"{dsn} connect_timeout={reach.PATIENCE_S}",
                **dict.fromkeys(("host", "port", "user", "database")),
            )
        except psycopg.Error as error:
            found = reach.refused(server, str(error))
            culprits += found["culprits"]
            says += found["says"]
            continue
        blocking, waiting = data.pg_get_blocking(), data.pg_get_waiting()
        culprits += [f"pid:{one.pid}" for one in blocking]
        names = ", ".join(dict.fromkeys(one.application_name for one in blocking))
        says += [f"{server}: blocking queries of {names}"] if blocking else []
        says += [f"{server}: {len(waiting)} waiting queries"] if waiting else []
        info = data.pg_get_server_information(
            prev_server_info=None,
            using_rds=False,
            skip_db_size=True,
            skip_tempfile=True,
            skip_walreceiver=True,
        )
        if info.total >= _FULL * info.max_connections:
            says.append(f"{server}: {info.total} of {info.max_connections} sessions")
    tool = f"pg_activity {version('pg_activity')}"
    print(reach.answer(tool, culprits, says, detected=bool(says)))


if __name__ == "__main__":
    main()
