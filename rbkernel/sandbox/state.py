"""What is remembered about a sandbox between two commands.

Process ids are not kept here: a process is found by its command line, which names the sandbox's
folder (module processes). So there is no moment at which a killed command can leave behind a
process that nobody knows of.
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
    """A fault that is declared active, and what a runbook must find.

    ``truth`` is empty while the fault is being injected.
    """

    fault: str
    seed: int
    injected_at: str
    truth: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class State:
    """One sandbox. ``complete`` is set last: without it an `up` did not get to its end."""

    primary_port: int
    standby_port: int
    server_version: str
    complete: bool = False
    faults: tuple[Injected, ...] = ()

    def with_fault(self, injected: Injected) -> State:
        """Return the state with this fault, in place of an entry of the same name."""
        return replace(self, faults=(*self.without_fault(injected.fault).faults, injected))

    def without_fault(self, name: str) -> State:
        """Return the state without the fault of that name."""
        return replace(self, faults=tuple(item for item in self.faults if item.fault != name))

    def save(self, home: Home) -> None:
        """Write the state, whole or not at all."""
        home.write(home.state_file, json.dumps(asdict(self), indent=2) + "\n")


def load(home: Home) -> State | None:
    """Return the state, or None when there is no sandbox.

    Raises
    ------
    SandboxError
        The file is not ours: unreadable, or of another shape.
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
