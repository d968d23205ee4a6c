"""What check_postgres says (Debian package check-postgres): a battery of its actions.

Each action runs as a Nagios would run it, with its default thresholds where it has some. Where it
has none, or minutes that no fault of the drill lasts, `_ACTIONS` states them. A WARNING or CRITICAL
is a problem; its culprits are what its line names.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import reach

_PROGRAM = "check_postgres"
# the action, its thresholds, and whether it runs on the standby, too
_ACTIONS: tuple[tuple[str, tuple[str, ...], bool], ...] = (
    ("connection", (), True),
    ("backends", (), True),
    ("txn_idle", ("--warning=5 seconds", "--critical=30 seconds"), True),
    ("query_time", ("--warning=60 seconds", "--critical=5 minutes"), True),
    ("locks", ("--warning=waiting=5", "--critical=waiting=10"), True),
    ("prepared_txns", (), False),
    ("replication_slots", ("--warning=1 MB", "--critical=1 GB"), False),
    ("archive_ready", ("--warning=1", "--critical=10"), False),
    ("sequence", (), False),
    ("autovac_freeze", (), False),
    ("txn_wraparound", (), False),
    ("disabled_triggers", (), False),
    ("bloat", (), False),
)
_WRONG = {1, 2}
_NAMES = (
    (re.compile(r"\bPID:(\d+)"), "pid"),
    (re.compile(r"(\w+): [\d.]+ \w+ \(\w+ \S+ inactive\)"), "slot"),
    (re.compile(r"\b(public\.\w+_seq)\b"), "sequence"),
)
_LATE_BYTES = "1048576"


def run(action: str, thresholds: tuple[str, ...], servers: list[dict[str, str]]) -> tuple[int, str]:
    """Run one action on one server, or on two for a comparison; return exit code and line."""
    where = {
        "host": ",".join(one["host"] for one in servers),
        "port": ",".join(one["port"] for one in servers),
        "dbname": servers[0]["dbname"],
        "dbuser": servers[0]["user"],
    }
    done = subprocess.run(
        [
            *(_PROGRAM, f"--action={action}", *thresholds, f"--timeout={reach.PATIENCE_S}"),
            *(f"--{name}={value}" for name, value in where.items()),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, (done.stdout.strip() or done.stderr.strip()).split(" | ")[0]


def _fields(dsn: str) -> dict[str, str]:
    return {
        name: value.strip("'") for name, _, value in (one.partition("=") for one in dsn.split())
    }


def main() -> None:
    """Print the answer."""
    culprits: list[str] = []
    says: list[str] = []
    fields = {server: _fields(dsn) for server, dsn in reach.SERVERS.items()}
    reached = []
    for server, its in fields.items():
        for action, thresholds, also_standby in _ACTIONS:
            if server == "standby" and not also_standby:
                continue
            code, line = run(action, thresholds, [its])
            if action == "connection":
                if code:
                    found = reach.refused(server, line)
                    culprits += found["culprits"]
                    says += found["says"]
                    break
                reached.append(its)
            elif code in _WRONG:
                says.append(f"{server}: {line}")
                for pattern, kind in _NAMES:
                    culprits += [f"{kind}:{name}" for name in pattern.findall(line)]
    if len(reached) > 1:
        late = (f"--warning={_LATE_BYTES}", f"--critical={_LATE_BYTES}0")
        code, line = run("hot_standby_delay", late, reached)
        if code in _WRONG:
            says.append(line)
            culprits.append("server:standby")
    said = subprocess.run([_PROGRAM, "--version"], capture_output=True, text=True, check=False)
    tool = said.stdout.strip().replace(" version", "")
    print(reach.answer(tool, culprits, says, detected=bool(says)))


if __name__ == "__main__":
    main()
