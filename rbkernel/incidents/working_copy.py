"""Make working copies of runs: people edit copies, never sealed files.

An existing copy is never overwritten, because somebody may have worked in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nbformat import NotebookNode

from rbkernel.config import Settings
from rbkernel.errors import EvidenceError
from rbkernel.evidence import content, lineage, reading, rebuild, runs, store
from rbkernel.evidence import notebook as documents
from rbkernel.evidence.reading import Record
from rbkernel.evidence.runs import RunEntry
from rbkernel.incidents.working_notebook import working_notebook
from rbkernel.model import INCIDENT_ID
from rbkernel.runbook.catalogue import POSTMORTEM

FOLDER = "runs"


@dataclass(frozen=True, kw_only=True)
class WorkingCopy:
    """A copy of a run's notebook in which a person continues the run.

    ``is_new`` is false for a copy that already existed, possibly with changes. ``others`` are the
    other runs of the incident that nobody has continued, the most urgent first.
    """

    path: Path
    root: Path
    run_id: str
    runbook: str
    incident: str
    is_new: bool
    others: tuple[RunEntry, ...] = ()

    @property
    def name(self) -> str:
        """The path of the copy, relative to Jupyter's root, as in a JupyterLab address."""
        return self.path.relative_to(self.root).as_posix()


def make(settings: Settings, what: str, root: Path) -> WorkingCopy:
    """Make the working copy of a run, or find the existing copy.

    Parameters
    ----------
    settings
        The configuration.
    what
        A run id, or an incident id. An incident id stands for its most urgent run that nobody has
        continued; of several, for the latest.
    root
        Jupyter's root folder; the copy is in ``runs/INC-…/`` below it.

    Raises
    ------
    EvidenceError
        There is no such run or incident; its evidence cannot be read; or the root is no folder, is
        in the evidence folder, or cannot be written.
    ParameterError
        The journal has a parameter that the runbook does not accept.
    """
    root = _checked(root, settings.evidence_root)
    entry, *others = _by_urgency(settings.evidence_root, what)
    record = reading.read(entry.folder)
    incident = record.incident or entry.incident
    path = _where_it_ran(record, root) or _place(root, record, incident)
    is_new = not path.exists()
    if is_new:
        alive = store.kernel_is_alive(entry.folder)
        copy = working_notebook(_notebook(record), record, incident, datetime.now(UTC), alive=alive)
        _write(path, documents.dump(copy))
    return WorkingCopy(
        path=path,
        root=root,
        run_id=record.run_id,
        runbook=record.runbook,
        incident=incident,
        is_new=is_new,
        others=tuple(others),
    )


def _checked(root: Path, evidence: Path) -> Path:
    """Return Jupyter's root folder, resolved; raise an error if copies may not be made there."""
    resolved = root.resolve()
    if not resolved.is_dir():
        raise EvidenceError(
            "Jupyter's root is not a folder",
            where=str(root),
            next_step="create the folder, or choose another folder with --root",
        )
    if resolved.is_relative_to(evidence.resolve()):
        raise EvidenceError(
            "a working copy cannot be in the evidence folder: it is not evidence",
            where=str(root),
            next_step="name another folder with --root",
        )
    return resolved


def _by_urgency(evidence: Path, what: str) -> list[RunEntry]:
    """Return the given run, or an incident's runs that nobody has continued, worst first."""
    known = runs.list_runs(evidence)
    if not INCIDENT_ID.fullmatch(what):
        folder = runs.find(evidence, what).resolve()
        found = [entry for entry in known if entry.folder.resolve() == folder]
    else:
        of_it = [
            entry
            for entry in known
            if entry.incident == what and entry.runbook != POSTMORTEM and entry.is_readable
        ]
        last = lineage.last_of_each(reading.read(entry.folder) for entry in of_it)
        last_ids = {record.run_id for record in last}
        found = [entry for entry in of_it if entry.run_id in last_ids]
    if not found:
        raise EvidenceError(
            f"{what} has no run to continue",
            where=str(evidence),
            next_step="`rbkernel evidence list` lists all runs; `rbkernel run RUNBOOK"
            " --incident INC` starts one",
        )
    return sorted(found, key=lambda entry: (entry.verdict.rank, entry.run_id), reverse=True)


def _where_it_ran(record: Record, root: Path) -> Path | None:
    """Return the path of the working copy in which a run was made; None if it is gone."""
    if not (record.run and record.run.continues) or record.run.headless:
        return None
    for event in reversed(record.of_kind("snapshot")):
        path = Path(str(event.data.get("path", "")))
        if path.is_file() and path.resolve().is_relative_to(root):
            return path.resolve()
    return None


def _place(root: Path, record: Record, incident: str) -> Path:
    folder = root / FOLDER
    if INCIDENT_ID.fullmatch(incident):
        folder /= incident
    name = re.sub(r"[^A-Za-z0-9._-]", "_", record.runbook)[:80] or "notebook"
    return folder / f"{name}-{record.run_id}.ipynb"


def _notebook(record: Record) -> NotebookNode:
    """Return a run's sealed notebook; before the seal, one rebuilt from the journal."""
    sealed = record.folder / content.EXECUTED
    if sealed.is_file():
        return documents.parse(sealed.read_bytes(), where=str(sealed))
    return rebuild.rebuild(record, reading.snapshot_of(record))


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EvidenceError(
            f"the working copy cannot be written: {error.strerror}",
            where=str(path),
            next_step="free disk space or correct the permissions of the folder, or name another"
            " folder"
            " with --root",
        ) from error
    store.write_atomically(path, data)
