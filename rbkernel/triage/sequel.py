"""Find the incident of the run that a notebook's next run follows.

*Run All* in the same kernel, and in a restarted one, goes on with the same incident, so that its
decisions stay. A restarted kernel keeps its connection file, so the incident is stored beside that
file. *Shut Down Kernel* ends the sequence: the next kernel has another connection file.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from rbkernel.errors import EvidenceError
from rbkernel.evidence import current, incident
from rbkernel.evidence.incident import IncidentState
from rbkernel.model import INCIDENT_ID, RUN_ID, Run
from rbkernel.triage import context


@dataclass(frozen=True, kw_only=True)
class Before:
    """The run before, in this kernel or in the kernel that was restarted; empty if there is none.

    ``continues`` is the run that the next run continues.
    """

    runbook: str = ""
    incident: str = ""
    continues: str = ""


def before(runbook: str) -> Before:
    """Return the run of this runbook before, unless its incident is closed."""
    earlier = context.run_before()
    if earlier:
        found = Before(
            runbook=earlier.runbook, incident=earlier.incident, continues=earlier.continues
        )
    else:
        found = _stored()
    return found if found.runbook == runbook and _is_open(found.incident) else Before()


def store(run: Run) -> None:
    """Store the incident of a run for the kernel that a restart would begin."""
    path = _path()
    if path is None:
        return
    said = Before(runbook=run.runbook, incident=run.incident, continues=run.id)
    draft = path.with_suffix(f".{os.getpid()}")
    # without the file, a restarted kernel begins a new incident, as any new kernel does
    with contextlib.suppress(OSError):
        draft.write_text(json.dumps(asdict(said)), encoding="utf-8")
        draft.replace(path)


def _stored() -> Before:
    path = _path()
    try:
        said = json.loads(path.read_text(encoding="utf-8")) if path else {}
        found = Before(**{name: str(value) for name, value in said.items()})
    except (OSError, ValueError, TypeError, AttributeError):
        return Before()
    fits = INCIDENT_ID.fullmatch(found.incident) and RUN_ID.fullmatch(found.continues)
    return found if fits else Before()


def _path() -> Path | None:
    connection = current().connection_file
    return connection.with_suffix(".rbkernel") if connection else None


def _is_open(name: str) -> bool:
    try:
        return incident.look(current().root, name).state is not IncidentState.CLOSED
    except EvidenceError:
        return True
