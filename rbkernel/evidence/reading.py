"""A journal → what happened, as one frozen `Record`.

A last line without its line feed is what a killed kernel leaves: it is ignored. Every other line
must be JSON with the next sequence number; a line that is not names itself in the error, because
a journal is written by one process under one lock and never has a gap.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from rbkernel.errors import EvidenceError
from rbkernel.evidence import store
from rbkernel.evidence.outputs import OutputArea
from rbkernel.model import RUN_ID, Decision, Finding, Run, Verdict

DONE, FAILED, INTERRUPTED, NOT_RUN = "done", "failed", "interrupted", "not run"


@dataclass(frozen=True, kw_only=True)
class CellRun:
    """One execution of a cell; times are UTC, ISO 8601, empty when it did not happen."""

    msg_id: str
    code: str
    cell_id: str | None
    status: str
    execution_count: int | None
    started_at: str
    ended_at: str
    outputs: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class Event:
    """What a cell concluded: a query, a finding, a decision, a plan …"""

    kind: str
    at: str
    parent: str | None
    data: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Record:
    """All that the journal of one kernel tells.

    ``complete`` means that every cell that was asked for has its reply, and that the runbook
    reached its end: it gave its summary, or the kernel ended in order after every code cell of
    the document had run.
    """

    folder: Path
    run_id: str
    kernel: Mapping[str, Any]
    cells: tuple[CellRun, ...]
    events: tuple[Event, ...]
    run: Run | None
    findings: tuple[Finding, ...]
    decisions: tuple[Decision, ...]
    snapshot_sha256: str | None
    widgets: Mapping[str, Any]
    ended: bool
    complete: bool

    def of_kind(self, kind: str) -> tuple[Event, ...]:
        """Return the events of one kind, in order."""
        return tuple(event for event in self.events if event.kind == kind)

    @property
    def verdict(self) -> Verdict:
        """The worst finding; not below unknown when the run is incomplete or a cell failed."""
        verdicts = [finding.verdict for finding in self.findings]
        whole = self.complete and all(run.status == DONE for run in latest(self.cells))
        return Verdict.worst(verdicts if whole else [*verdicts, Verdict.UNKNOWN])


def latest(runs: Iterable[CellRun]) -> tuple[CellRun, ...]:
    """Return the last execution of each cell (by cell id, else by source)."""
    return tuple({run.cell_id or run.code: run for run in runs}.values())


def read(folder: Path) -> Record:
    """Read what happened from an open or a sealed run folder.

    Raises
    ------
    EvidenceError
        There is no journal, or a line other than a cut last one cannot be understood.
    """
    path = folder / store.JOURNAL
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EvidenceError(
            f"no journal to read: {error.strerror}",
            where=str(path),
            next_step="`rbkernel evidence list` shows the runs there are",
        ) from error
    return read_journal(data, folder)


def snapshot_of(record: Record) -> bytes | None:
    """Return the document as it was at `rb.start`; None when it is gone or not that one."""
    try:
        data = (record.folder / store.SNAPSHOT).read_bytes()
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == record.snapshot_sha256 else None


def read_journal(data: bytes, folder: Path) -> Record:
    """Read what happened from the bytes of a journal; the folder holds its snapshot."""
    reader = _Reader()
    # what follows the last line feed is a line that a kill cut
    for number, line in enumerate(data.split(b"\n")[:-1], 1):
        try:
            reader.take(_entry(line, number))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            if _is_cut(data, number, error):
                break
            raise EvidenceError(
                f"line {number} of the journal cannot be understood: {_reason(error)}",
                where=str(folder / store.JOURNAL),
                next_step="the journal was damaged or edited: compare it with a copy of it",
            ) from error
    return reader.record(folder)


def _is_cut(data: bytes, number: int, error: Exception) -> bool:
    """Tell whether a bad line is the last one and no JSON: a power loss may cut inside it."""
    last = number == data.count(b"\n") and data.endswith(b"\n")
    return last and isinstance(error, json.JSONDecodeError | UnicodeDecodeError)


def _entry(line: bytes, number: int) -> dict[str, Any]:
    entry = json.loads(line.decode("utf-8"))
    if not isinstance(entry, dict):
        raise TypeError("it is no JSON object")
    if entry["seq"] != number:
        raise ValueError(f"its sequence number is {entry['seq']}, not {number}")
    return entry


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it has no {error}"
    return str(error) or type(error).__name__


class _Reader:
    """Gathers the lines; `record` looks at them as a whole."""

    def __init__(self) -> None:
        self.kernel: dict[str, Any] = {}
        self.requests: dict[str, dict[str, Any]] = {}
        self.replies: dict[str, dict[str, Any]] = {}
        self.inputs: dict[str, dict[str, Any]] = {}
        self.last_seen: dict[str, str] = {}
        self.errors: dict[str, str] = {}
        self.area = OutputArea()
        self.events: list[Event] = []
        self.ended = False

    def take(self, entry: dict[str, Any]) -> None:
        kind, at = str(entry["kind"]), str(entry["at"])
        if kind == "kernel":
            self.kernel = entry
        elif kind == "request":
            self.requests.setdefault(str(entry["msg_id"]), entry)
        elif kind == "reply":
            self.replies[str(entry["parent"])] = entry
        elif kind == "iopub":
            self._iopub(entry, str(entry["parent"]), at)
        elif kind == "end":
            self.ended = True
        else:
            self._event(Event(kind=kind, at=at, parent=entry.get("parent"), data=entry["data"]))

    def _iopub(self, entry: dict[str, Any], parent: str, at: str) -> None:
        self.last_seen[parent] = at
        if entry["type"] == "execute_input":
            self.inputs[parent] = entry
        elif entry["type"] == "error":
            self.errors[parent] = str(entry["content"]["ename"])
        self.area.receive(entry["type"], parent, entry["content"], entry.get("buffers") or ())

    def _event(self, event: Event) -> None:
        if not isinstance(event.data, dict):
            raise TypeError("its data is no JSON object")
        known = {"finding": _finding, "decision": _decision, "run": _run}.get(event.kind)
        if known:
            known(event)  # raises here, where the line number is known
        self.events.append(event)

    def record(self, folder: Path) -> Record:
        of_kind: dict[str, list[Event]] = defaultdict(list)
        for event in self.events:
            of_kind[event.kind].append(event)
        cells = tuple(
            self._cell(msg_id, request)
            for msg_id, request in self.requests.items()
            if not request.get("silent")
        )
        findings = {one.title: one for one in map(_finding, of_kind["finding"])}
        decisions = {one.id: one for one in map(_decision, of_kind["decision"])}
        snapshots = [event.data.get("sha256") for event in of_kind["snapshot"]]
        return Record(
            folder=folder,
            run_id=self._run_id(folder),
            kernel=self.kernel,
            cells=cells,
            events=tuple(self.events),
            run=_run(of_kind["run"][-1]) if of_kind["run"] else None,
            findings=tuple(findings.values()),
            decisions=tuple(decisions.values()),
            snapshot_sha256=snapshots[-1] if snapshots else None,
            widgets=self.area.widget_state(),
            ended=self.ended,
            complete=self._complete(cells, folder, summed_up=bool(of_kind["summary"])),
        )

    def _run_id(self, folder: Path) -> str:
        """Return the journal's own id; a kernel killed in its first line left only the folder's."""
        return str(self.kernel.get("run_id") or folder.name)

    def _cell(self, msg_id: str, request: dict[str, Any]) -> CellRun:
        reply, shown = self.replies.get(msg_id), self.inputs.get(msg_id, {})
        status = self._status(msg_id)
        ran = status != NOT_RUN
        count = (reply or {}).get("execution_count") or shown.get("content", {}).get(
            "execution_count"
        )
        return CellRun(
            msg_id=msg_id,
            code=str(request["code"]),
            cell_id=request.get("cell_id") or None,
            status=status,
            execution_count=count if ran and isinstance(count, int) else None,
            started_at=(shown.get("at") or request["at"]) if ran else "",
            ended_at=(reply["at"] if reply else self.last_seen[msg_id]) if ran else "",
            outputs=self.area.outputs(msg_id),
        )

    def _status(self, msg_id: str) -> str:
        reply = self.replies.get(msg_id)
        if reply is None:
            # a cell that waited in the queue when the kernel died left no trace of a beginning
            return INTERRUPTED if msg_id in self.last_seen else NOT_RUN
        if reply["status"] == "ok":
            return DONE
        if reply["status"] == "aborted":
            return NOT_RUN
        name = reply.get("ename") or self.errors.get(msg_id)
        return INTERRUPTED if name == "KeyboardInterrupt" else FAILED

    def _complete(self, cells: tuple[CellRun, ...], folder: Path, *, summed_up: bool) -> bool:
        answered = bool(cells) and all(run.msg_id in self.replies for run in cells)
        if summed_up or not answered:
            return answered
        return self.ended and not _left_out(folder / store.SNAPSHOT, cells)


def _left_out(snapshot: Path, cells: tuple[CellRun, ...]) -> bool:
    """Tell whether the document has a code cell that was never run."""
    done = [run for run in cells if run.status != NOT_RUN]
    ran = {run.code for run in done} | {run.cell_id for run in done if run.cell_id}
    try:
        document = json.loads(snapshot.read_bytes())
        code_cells = [cell for cell in document["cells"] if cell["cell_type"] == "code"]
        sources = [(cell.get("id"), "".join(cell["source"])) for cell in code_cells]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return False  # no document to compare with: the journal is all there is
    return any(source.strip() and not ran & {cell_id, source} for cell_id, source in sources)


def _finding(event: Event) -> Finding:
    known = _known(Finding, event.data)
    return Finding(**{**known, "verdict": Verdict(known["verdict"])})


def _decision(event: Event) -> Decision:
    known = _known(Decision, event.data)
    return Decision(**{**known, "options": tuple(known["options"])})


def _run(event: Event) -> Run:
    run = Run(**_known(Run, event.data))
    if not RUN_ID.fullmatch(run.id):
        raise ValueError(f"{run.id!r} is no run id")
    return run


def _known(kind: type[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that the value has; a later version may record more."""
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in data.items() if name in names}
