"""Repeat the statement of a fault: ``python -m rbkernel.sandbox.queries HOME FAULT SEED``.

One process, which ends when a server ends its session.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path

from rbkernel.errors import DatabaseError
from rbkernel.sandbox import state
from rbkernel.sandbox.access import Access
from rbkernel.sandbox.faults import readers, slow
from rbkernel.sandbox.home import Home
from rbkernel.sources.postgres.connection import driver

# s between two calls: so many calls that even the short ones keep a few percent of a session busy
_PAUSE_S = 0.002


def main(arguments: list[str]) -> int:
    """Repeat the statement on the sandbox in the given folder."""
    folder, fault, _seed = arguments
    home = Home(Path(folder))
    known = state.load(home)
    if known is None:
        return 1
    access = Access(home=home, primary_port=known.primary_port, standby_port=known.standby_port)
    try:
        if fault in readers.KINDS:
            readers.repeat(readers.KINDS[fault], access)
        raw = access.connect("shop_app", application_name=slow.CLIENT)
        slow.repeat(raw, fault, partial(time.sleep, _PAUSE_S))
    except (DatabaseError, driver.RawConnection.Error) as error:
        sys.stderr.write(f"{error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
