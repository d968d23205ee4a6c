"""List the runs in an evidence folder, and find the folder of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rbkernel.errors import EvidenceError
from rbkernel.evidence import manifest, store
from rbkernel.evidence import notebook as documents
from rbkernel.evidence.attest import run_id_of
from rbkernel.evidence.incident import look, sealed_lines
from rbkernel.evidence.questions import about
from rbkernel.evidence.reading import Record, read
from rbkernel.evidence.seals import read_heads, sealed_folder
from rbkernel.model import RUN_ID, RUN_ID_LENGTH, Verdict

LIVE, OPEN, SEALED = "open (live)", "open", "sealed"


@dataclass(frozen=True, kw_only=True)
class RunEntry:
    """The entry of one run in a list of runs.

    ``problem`` describes the unreadable parts of its journal; it is empty if there are none.
    ``is_readable`` is false if the whole journal is unreadable. ``update_every_s`` is how often its
    runbook asks for status updates; 0 if it does not say, or if only the list was read. ``about``
    is a hash of runbook and parameters; empty if it is not known.
    """

    run_id: str
    incident: str
    runbook: str
    title: str
    state: str
    verdict: Verdict
    started_at: str
    folder: Path
    problem: str = ""
    is_readable: bool = True
    update_every_s: float = 0.0
    about: str = ""

    @property
    def is_beginning(self) -> bool:
        """Whether the run is still in progress and has no verdict yet."""
        return self.state == LIVE and self.verdict is Verdict.UNKNOWN


def open_entry(folder: Path) -> RunEntry:
    """Return the list entry of an open run; read its whole journal."""
    state = LIVE if store.kernel_is_alive(folder) else OPEN
    return _read_entry(folder, folder.name, state, "")


def list_runs(root: Path, open_entry: Callable[[Path], RunEntry] = open_entry) -> list[RunEntry]:
    """Return all runs in an evidence folder, open and sealed, in the order of their start.

    Parameters
    ----------
    root
        The evidence folder.
    open_entry
        Reads an open run; pass a cached reader when listing repeatedly.

    Raises
    ------
    EvidenceError
        `HEADS` is damaged, so it is unknown which runs are sealed.
    """
    sealed = {head.run_id for head in read_heads(root)}
    waiting = [
        folder
        for folder in (root / "open").glob("*")
        if RUN_ID.fullmatch(folder.name) and folder.name not in sealed
    ]
    entries = [*_sealed_entries(root, sealed), *map(open_entry, waiting)]
    return sorted(entries, key=lambda entry: entry.run_id)


def of_incident(root: Path, incident: str) -> list[RunEntry]:
    """Return an incident's runs, also of incidents merged into it, in the order of their start.

    Raises
    ------
    EvidenceError
        The incident's record cannot be read, or `HEADS` is damaged.
    """
    parts = look(root, incident).parts
    return [run for run in list_runs(root) if run.incident in parts]


def find(root: Path, run: str | Path) -> Path:
    """Return the folder of a run, open or sealed.

    Parameters
    ----------
    root
        The evidence folder.
    run
        A run id, a run's folder, or a notebook that contains the run's id.

    Raises
    ------
    EvidenceError
        There is no such run, or the notebook contains no run id.
    """
    if RUN_ID.fullmatch(str(run)):
        return _folder_of(root, str(run))
    path = Path(run)
    if (path / store.JOURNAL).is_file():
        return path
    try:
        notebook = documents.parse(path.read_bytes(), where=str(path))
    except OSError as error:
        raise EvidenceError(
            f"neither a run id nor a notebook: {error.strerror}",
            where=str(run),
            next_step="`rbkernel evidence list` lists all runs",
        ) from error
    run_id = run_id_of(notebook)
    if run_id is None:
        raise EvidenceError(
            "the notebook has no run id",
            where=str(path),
            next_step="run it with a cell that calls `rb.start`, or give the run id",
        )
    return _folder_of(root, run_id)


def _folder_of(root: Path, run_id: str) -> Path:
    sealed, waiting = sealed_folder(root, run_id), store.open_folder(root, run_id)
    folder = sealed or waiting
    if not folder.is_dir():
        raise EvidenceError(
            f"there is no run {run_id}",
            where=str(root),
            next_step="`rbkernel evidence list` lists all runs; RBKERNEL_EVIDENCE sets"
            " the evidence folder",
        )
    return folder


def update_every_s(entries: Sequence[RunEntry]) -> float:
    """Return how often status updates are due: the shortest interval of the runbooks that ran.

    Each runbook counts with its newest run; 0 if none of them says how often.
    """
    newest = {entry.runbook: entry for entry in entries}.values()
    read_ = (
        _read_entry(one.folder, one.run_id, SEALED, one.incident) if one.state == SEALED else one
        for one in newest
    )
    return min((one.update_every_s for one in read_ if one.update_every_s > 0), default=0.0)


def _sealed_entries(root: Path, sealed: set[str]) -> list[RunEntry]:
    seals: dict[str, dict[str, str]] = {}
    for incident in root.glob(f"INC-*/{manifest.INCIDENT}"):
        if incident.is_file():
            lines = sealed_lines(incident.read_bytes())
            seals |= {line["run_id"]: line for line in lines if "run_id" in line}
    # the folders are listed once: a storm leaves hundreds of incidents with hundreds of runs
    folders = {
        folder.name[-RUN_ID_LENGTH:]: folder
        for folder in sorted(root.glob("INC-*/*-*"), reverse=True)
    }
    return [
        _sealed_entry(run_id, folders[run_id], seals.get(run_id, {}))
        for run_id in sealed
        if run_id in folders and not manifest.is_record(folders[run_id].name)
    ]


def _sealed_entry(run_id: str, folder: Path, line: dict[str, str]) -> RunEntry:
    if line.get("folder") != folder.name:  # the incident's record is damaged: read the journal
        return _read_entry(folder, run_id, SEALED, folder.parent.name)
    return RunEntry(
        run_id=run_id,
        incident=folder.parent.name,
        runbook=str(line.get("runbook", "")),
        title=str(line.get("title", "")),
        state=SEALED,
        verdict=_verdict(line.get("verdict")),
        started_at=str(line.get("started_at", "")),
        about=str(line.get("about", "")),
        folder=folder,
    )


def _verdict(word: object) -> Verdict:
    return Verdict(str(word)) if word in list(Verdict) else Verdict.UNKNOWN


def _read_entry(folder: Path, run_id: str, state: str, incident: str) -> RunEntry:
    record: Record | None = None
    problem = ""
    try:
        record = read(folder)
        problem = "; ".join(map(str, record.lost))
    except EvidenceError as error:
        problem = str(error)
    run = record.run if record else None
    kernel_start = str(record.kernel.get("at", "")) if record else ""
    return RunEntry(
        run_id=run_id,
        incident=(record.incident if record else "") or incident,
        runbook=record.runbook if record else "",
        title=run.title if run else "",
        state=state,
        verdict=record.verdict if record else Verdict.UNKNOWN,
        started_at=run.started_at if run else kernel_start,
        folder=folder,
        problem=problem,
        is_readable=record is not None,
        update_every_s=run.update_every_s if run else 0.0,
        about=about(record) if record else "",
    )
