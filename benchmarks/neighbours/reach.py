"""What an adapter says of a server that refused the connection. Used by the adapters only."""

from __future__ import annotations

import json
import os
import re

SERVERS = {
    "primary": os.environ.get("DRILL_PRIMARY", ""),
    "standby": os.environ.get("DRILL_STANDBY", ""),
}
# within libpq, also for a login that hangs
PATIENCE_S = 10
_LOGIN = re.compile(r'authentication failed for user "([^"]+)"')
_DOWN = re.compile("Connection refused|starting up|shutting down|not yet accepting")


def refused(server: str, message: str) -> dict[str, list[str]]:
    """Return the culprit that the message of libpq names: the server, the login, or nobody."""
    login = _LOGIN.search(message)
    culprits = [f"role:{login[1]}"] if login else []
    if _DOWN.search(message):
        culprits.append(f"server:{server}")
    return {"culprits": culprits, "says": [f"{server}: {' '.join(message.split())}"]}


def answer(tool: str, culprits: list[str], says: list[str], *, detected: bool) -> str:
    """Return the answer of a tool that recommends no step, as JSON."""
    return json.dumps(
        {
            "tool": tool,
            "detected": detected,
            "culprits": list(dict.fromkeys(culprits)),
            "says": "; ".join(says)[:500],
        }
    )
