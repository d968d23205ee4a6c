"""The state of a sandbox that is stored between two commands.

Process ids are not stored. The module `processes` finds a process by its command line, which
contains the sandbox's folder. So a killed command cannot leave behind an unknown process.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from rbkernel.errors import SandboxError
from rbkernel.sandbox.home import Home


@dataclass(frozen=True, kw_only=True)
class Injected:
    """An active fault of the sandbox, and the result that a runbook must find.

    ``truth`` is empty while the fault is being injected.
    """

    fault: str
    seed: int
    injected_at: str
    truth: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class State:
    """The stored state of a sandbox; ``complete`` is set last, after `up` has built everything.

    ``service_ports`` has the port of each part of the service side; empty if there is none.
    """

    primary_port: int
    standby_port: int
    server_version: str
    complete: bool = False
    faults: tuple[Injected, ...] = ()
    service_ports: Mapping[str, int] = field(default_factory=dict)

    def with_fault(self, injected: Injected) -> State:
        """Return the state with this fault added, in place of an entry of the same name."""
        return replace(self, faults=(*self.without_fault(injected.fault).faults, injected))

    def without_fault(self, name: str) -> State:
        """Return the state without the fault of this name."""
        return replace(self, faults=tuple(item for item in self.faults if item.fault != name))

    def save(self, home: Home) -> None:
        """Write the state of the sandbox to its file, atomically."""
        home.write(home.state_file, json.dumps(asdict(self), indent=2) + "\n")


def load(home: Home) -> State | None:
    """Return the stored state of a sandbox; None if there is no sandbox.

    Raises
    ------
    SandboxError
        The file is unreadable or has an unknown format.
    """
    try:
        data = json.loads(home.state_file.read_text(encoding="utf-8"))
        faults = tuple(Injected(**item) for item in data.pop("faults"))
        return State(**data, faults=faults)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise SandboxError(
            f"the sandbox's state cannot be read: {error}",
            where=str(home.state_file),
            next_step="run `rbkernel sandbox down`, then `rbkernel sandbox up`",
        ) from error
