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
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rbkernel.errors import EvidenceError
from rbkernel.evidence import current, incident
from rbkernel.evidence.incident import IncidentState, instant
from rbkernel.model import INCIDENT_ID, RUN_ID, Run
from rbkernel.triage import context

# a run continues the incident of a run that began less than this before
_LASTS = timedelta(hours=12)


@dataclass(frozen=True, kw_only=True)
class Before:
    """The run before, in this kernel or in the kernel that was restarted; empty if there is none.

    ``continues`` is the run that the next run continues; ``began`` is when the run started.
    """

    runbook: str = ""
    incident: str = ""
    continues: str = ""
    began: str = ""


def before(runbook: str) -> Before:
    """Return the run of this runbook before, unless its incident is closed or it is long ago.

    JupyterLab keeps kernels for days, and a routine of tomorrow is another incident.
    """
    earlier = context.run_before()
    if earlier:
        found = Before(
            runbook=earlier.runbook,
            incident=earlier.incident,
            continues=earlier.continues,
            began=earlier.started_at,
        )
    else:
        found = _stored()
    lasts = found.runbook == runbook and _is_recent(found.began) and _is_open(found.incident)
    return found if lasts else Before()


def store(run: Run) -> None:
    """Store the incident of a run for the kernel that a restart would begin."""
    path = _path()
    if path is None:
        return
    said = Before(
        runbook=run.runbook, incident=run.incident, continues=run.id, began=run.started_at
    )
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


def _is_recent(began: str) -> bool:
    return datetime.now(UTC) - instant(began) < _LASTS


def _is_open(name: str) -> bool:
    try:
        return incident.look(current().root, name).state is not IncidentState.CLOSED
    except EvidenceError:
        return True
