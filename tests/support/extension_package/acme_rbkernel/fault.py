"""The fault `closed-door`: a role may open no session."""

from typing import Any

from rbkernel.sandbox.access import Access
from rbkernel.sandbox.faults.catalogue import Fault


def start(access: Access, seed: int) -> dict[str, Any]:
    """Inject the fault, and return the result that a runbook must find."""
    with access.connect("postgres") as raw:
        raw.execute(b"ALTER ROLE rb_nobody CONNECTION LIMIT 0")
    return {"role": "rb_nobody", "seed": seed}


def stop(access: Access, seed: int) -> None:
    """Undo it, also where `start` was killed half way."""
    with access.connect("postgres") as raw:
        raw.execute(b"ALTER ROLE rb_nobody CONNECTION LIMIT -1")


CLOSED = Fault(name="closed-door", summary="a role may open no session", start=start, stop=stop)
