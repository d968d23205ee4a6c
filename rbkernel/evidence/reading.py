"""Read a journal into one frozen `Record`.

A killed kernel may leave a last line without a line feed; that line is ignored. Every other line
must be JSON of a known form with the next sequence number, because one process writes a journal
under one lock, without gaps. Any other line is skipped and listed in `Record.unreadable`; the
remaining lines are still read.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from rbkernel import strictjson
from rbkernel.errors import EvidenceError
from rbkernel.evidence import formats, store
from rbkernel.evidence.outputs import OutputArea
from rbkernel.evidence.unreadable import Unreadable, in_rows
from rbkernel.model import RUN_ID, Decision, Finding, Run, Verdict

DONE, FAILED, INTERRUPTED, NOT_RUN = "done", "failed", "interrupted", "not run"
# errors that a line of a wrong form raises
_UNFIT = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
_Value = TypeVar("_Value")


@dataclass(frozen=True, kw_only=True)
class CellRun:
    """One execution of a cell; times are UTC, ISO 8601; empty if it did not start or end."""

    msg_id: str
    code: str
    cell_id: str | None
    status: str
    execution_count: int | None
    started_at: str
    ended_at: str
    outputs: tuple[Mapping[str, Any], ...]

    @property
    def error(self) -> str:
        """The error that ended the cell, as its output shows it; empty if there was none."""
        shown = (one for one in self.outputs if one.get("output_type") == "error")
        return next((f"{one.get('ename')}: {one.get('evalue')}" for one in shown), "")


@dataclass(frozen=True, kw_only=True)
class Event:
    """An event that a cell recorded in the journal, such as a query, a finding or a decision."""

    kind: str
    at: str
    parent: str | None
    data: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Record:
    """The content of one run's journal.

    ``complete`` means that every requested cell has a reply, and that the runbook reached its
    end: `rb.summary` ran, or the kernel ended normally after every code cell of the document had
    run.
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
    unreadable: tuple[Unreadable, ...] = ()

    @property
    def incident(self) -> str:
        """The id of the run's incident; empty if neither `rb.start` nor the caller named one."""
        return self.run.incident if self.run else str(self.kernel.get("incident") or "")

    @property
    def runbook(self) -> str:
        """The id of the run's runbook; empty if neither `rb.start` nor the caller named one."""
        return self.run.runbook if self.run else str(self.kernel.get("runbook") or "")

    @property
    def lost(self) -> tuple[Unreadable, ...]:
        """The lines that could not be read at all; their content is missing from this record."""
        return tuple(one for one in self.unreadable if one.lost)

    def of_kind(self, kind: str) -> tuple[Event, ...]:
        """Return the journal's events of one kind, in order."""
        return tuple(event for event in self.events if event.kind == kind)

    @property
    def verdict(self) -> Verdict:
        """The verdict of the run's worst finding.

        It is at least unknown when the run is incomplete, a cell failed, or a line of the journal
        is lost.
        """
        verdicts = [finding.verdict for finding in self.findings]
        ran = all(run.status == DONE for run in latest(self.cells))
        whole = self.complete and ran and not self.lost
        return Verdict.worst(verdicts if whole else [*verdicts, Verdict.UNKNOWN])


def latest(runs: Iterable[CellRun]) -> tuple[CellRun, ...]:
    """Return the last execution of each cell (by cell id, else by source)."""
    return tuple({run.cell_id or run.code: run for run in runs}.values())


def read(folder: Path, *, outputs: bool = True) -> Record:
    """Read the record of a run from its folder; without ``outputs``, six times as fast.

    Raises
    ------
    EvidenceError
        There is no journal, or no line of it can be read.
    NewerEvidence
        A later version of rbkernel wrote the journal, in a format that is not supported here.
    """
    path = folder / store.JOURNAL
    try:
        with path.open("rb") as journal:
            return _read(journal, folder, outputs=outputs)
    except OSError as error:
        raise EvidenceError(
            f"no journal to read: {error.strerror}",
            where=str(path),
            next_step="`rbkernel evidence list` lists all runs",
        ) from error


def snapshot_of(record: Record) -> bytes | None:
    """Return the snapshot of a run's document; None if the snapshot is missing or changed."""
    try:
        data = (record.folder / store.SNAPSHOT).read_bytes()
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == record.snapshot_sha256 else None


def _read(journal: Iterable[bytes], folder: Path, *, outputs: bool) -> Record:
    """Read the record of a run line by line; ``folder`` holds the snapshot."""
    reader = _Reader(outputs=outputs)
    # text after the last line feed is a line that was cut off, or that is being written
    lines = itertools.takewhile(lambda line: line.endswith(b"\n"), journal)
    line = next(lines, None)
    for number in itertools.count(1):
        if line is None:
            break
        following = next(lines, None)
        reader.read(number, line, last=following is None)
        line = following
    formats.refuse_newer(reader.kernel, str(folder / store.JOURNAL))
    if reader.unreadable and not reader.any_read:
        raise EvidenceError(
            f"no line of the journal can be read: {reader.unreadable[0].what}",
            where=str(folder / store.JOURNAL),
            next_step="the journal was damaged or edited: compare the file with a copy of the"
            " journal",
        )
    return reader.record(folder)


def _entry(line: bytes) -> dict[str, Any]:
    entry = strictjson.loads(line)
    if not isinstance(entry, dict):
        raise TypeError("it is not a JSON object")
    return entry


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it has no {error}"
    if isinstance(error, ValidationError):
        wrong = error.errors(include_url=False, include_input=False)[0]
        return f"its field {'.'.join(map(str, wrong['loc']))} is wrong: {wrong['msg']}"
    return str(error) or type(error).__name__


class _Reader:
    """Collects the lines of a journal; `record` builds the result from all of them."""

    def __init__(self, *, outputs: bool) -> None:
        self._outputs = outputs
        self.unreadable: list[Unreadable] = []
        self._due = 1  # the sequence number of the next line
        self._seen: set[int] = set()
        self.kernel: dict[str, Any] = {}
        self.requests: dict[str, dict[str, Any]] = {}
        self.replies: dict[str, dict[str, Any]] = {}
        self.inputs: dict[str, dict[str, Any]] = {}
        self.last_seen: dict[str, str] = {}
        self.errors: dict[str, str] = {}
        self.area = OutputArea()
        self.events: list[Event] = []
        self.ended = False

    def read(self, number: int, line: bytes, *, last: bool) -> None:
        """Read one line of the journal; if it is unreadable, note why.

        A truncated last line is ignored: a power loss may leave one.
        """
        try:
            entry = _entry(line)
            self._count(number, entry["seq"])
        except _UNFIT as error:
            self._due += 1
            if not (last and isinstance(error, json.JSONDecodeError | UnicodeDecodeError)):
                self._note(number, _reason(error))
            return
        try:
            self._take({**entry, "at": self._time(number, entry["at"])})
        except _UNFIT as error:
            self._note(number, _reason(error))

    @property
    def any_read(self) -> bool:
        """Whether at least one line could be read."""
        return bool(self._seen)

    def _note(self, number: int, what: str, *, lost: bool = True) -> None:
        self.unreadable.append(Unreadable(first=number, last=number, what=what, lost=lost))

    def _count(self, number: int, sequence: object) -> None:
        """Note an unexpected sequence number; raise an error if a line with it was already read."""
        if not isinstance(sequence, int) or sequence in self._seen:
            raise ValueError(f"its sequence number is {sequence}, not {self._due}")
        if sequence != self._due:
            self._note(number, f"its sequence number is {sequence}, not {self._due}")
        self._seen.add(sequence)
        self._due = sequence + 1

    def _time(self, number: int, at: object) -> str:
        """Return a line's time; empty if the time is invalid."""
        try:
            datetime.fromisoformat(str(at))
            return str(at)
        except ValueError:
            self._note(number, "its time cannot be read", lost=False)
            return ""

    def _take(self, entry: dict[str, Any]) -> None:
        kind, at = str(entry["kind"]), str(entry["at"])
        if kind == "kernel":
            self.kernel = entry
        elif kind == "request":
            _ = entry["code"]
            self.requests.setdefault(str(entry["msg_id"]), entry)
        elif kind == "reply":
            _ = entry["status"]
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
        if self._outputs:
            self.area.receive(entry["type"], parent, entry["content"], entry.get("buffers") or ())

    def _event(self, event: Event) -> None:
        if not isinstance(event.data, dict):
            raise TypeError("its data is not a JSON object")
        known = {"finding": _finding, "decision": _decision, "run": run_of}.get(event.kind)
        if known:
            known(event)  # an invalid event raises here, where the line number is known
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
            run=run_of(of_kind["run"][-1]) if of_kind["run"] else None,
            findings=tuple(findings.values()),
            decisions=tuple(decisions.values()),
            snapshot_sha256=snapshots[-1] if snapshots else None,
            widgets=self.area.widget_state(),
            ended=self.ended,
            complete=self._complete(cells, folder, summed_up=bool(of_kind["summary"])),
            unreadable=in_rows(self.unreadable),
        )

    def _run_id(self, folder: Path) -> str:
        """Return the run id from the journal; if the journal has none, from the folder's name."""
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
            # a cell that was queued when the kernel died has no start in the journal
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
    """Tell whether the document has a code cell that was not executed in this run."""
    done = [run for run in cells if run.status != NOT_RUN]
    ran = {run.code for run in done} | {run.cell_id for run in done if run.cell_id}
    try:
        document = json.loads(snapshot.read_bytes())
        code_cells = [cell for cell in document["cells"] if cell["cell_type"] == "code"]
        sources = [(cell.get("id"), "".join(cell["source"])) for cell in code_cells]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return False  # without a document, only the journal counts
    return any(source.strip() and not ran & {cell_id, source} for cell_id, source in sources)


def _finding(event: Event) -> Finding:
    return _value(Finding, event)


def _decision(event: Event) -> Decision:
    return _value(Decision, event)


def run_of(event: Event) -> Run:
    """Return the `Run` that an event of `rb.start` describes."""
    run = _value(Run, event)
    if not RUN_ID.fullmatch(run.id):
        raise ValueError(f"{run.id!r} is not a run id")
    return run


def _value(kind: type[_Value], event: Event) -> _Value:
    """Build a value of the given class from an event's data; check the type of each field.

    Unknown fields are ignored, because a later version may record more. Numbers in normal form
    are converted back to numbers.
    """
    found: _Value = _ADAPTERS[kind].validate_python(event.data)
    return found


_ADAPTERS: Mapping[type, TypeAdapter[Any]] = {
    kind: TypeAdapter(kind) for kind in (Finding, Decision, Run)
}
