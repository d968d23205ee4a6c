"""Results of drills: what a run lacks that its drill asks for, and what is recorded of it."""

from __future__ import annotations

import hashlib
import json
import stat
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path

import nbformat
from pydantic import TypeAdapter

import rbkernel
from rbkernel import __version__, amounts
from rbkernel.errors import SandboxError
from rbkernel.evidence import store
from rbkernel.evidence.reading import Record
from rbkernel.model import Finding, Verdict
from rbkernel.runbook import frontmatter_text
from rbkernel.runbook.catalogue import Runbook
from rbkernel.runbook.frontmatter_sections import HEALTHY, Drill
from rbkernel.sandbox.faults.catalogue import FAULTS

_PACKAGE = Path(rbkernel.__file__).parent


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a runbook said of one state of the sandbox.

    ``fault`` is the injected fault, or "healthy". ``harmless`` tells that nothing is wrong, so that
    each finding must be ok. ``values`` are the parameters of the run. ``seconds`` is the time from
    the start of the run to its first finding that is not ok; None if there is no such finding.
    ``problems`` says what differs from the drill; it is empty if the runbook passed.
    """

    notebook: Path
    runbook: str
    fault: str
    harmless: bool
    values: Mapping[str, object] = field(default_factory=dict)
    server_version: str
    verdict: Verdict
    found: str = ""
    recommended: str = ""
    seconds: float | None = None
    problems: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """The fault, with the parameters of the run if there are any.

        >>> one = Result(notebook=Path("x"), runbook="RUN-030", fault="primary-lost",
        ...              harmless=False, values={"fenced": True}, server_version="18.1",
        ...              verdict=Verdict.CRITICAL)
        >>> one.state
        'primary-lost (fenced: True)'
        """
        said = ", ".join(f"{name}: {value}" for name, value in self.values.items())
        return f"{self.fault} ({said})" if said else self.fault

    @property
    def passed(self) -> bool:
        """Whether the runbook said all that the drill asks for."""
        return not self.problems


_RESULT = TypeAdapter(Result)


def problems(drill: Drill, record: Record, failure: str = "") -> Iterator[str]:
    """Yield what a run lacks that the drill asks for. Pure.

    Parameters
    ----------
    drill
        What the run must say.
    record
        The record of the run.
    failure
        Why the run did not finish; empty if it did.
    """
    if failure:
        yield f"the run did not finish: {failure}"
    wrong = [one for one in record.findings if one.verdict is not Verdict.OK]
    if drill.harmless:
        yield from (f"false alarm: {one.headline}" for one in wrong)
    else:
        yield from _undetected(drill, wrong)
    for option in drill.wanted:
        if (said := recommended(record, instead_of=option)) != option:
            yield f"recommended “{said or 'nothing'}” instead of “{option}”"


def _undetected(drill: Drill, wrong: Sequence[Finding]) -> Iterator[str]:
    named = [one for one in wrong if drill.finds in ("", one.title)]
    if not wrong:
        yield "the fault was not detected"
    elif not named:
        yield f"no finding “{drill.finds}” that is not ok"
    elif drill.names and not any(drill.names in _text(one) for one in named):
        yield f"“{drill.names}” is not named"


def _text(finding: Finding) -> str:
    return " ".join((finding.headline, finding.cause, finding.which))


def recommended(record: Record, *, instead_of: str = "") -> str:
    """Return the option that a run recommends last; empty if it recommends none.

    A runbook may ask twice, such as before a deployment and after it: the last answer is what the
    person is to do now. With ``instead_of``, only the questions that have this option count, if
    there are any: that of how a login is contained has nothing to do with who is told.
    """
    asked = [one for one in record.decisions if instead_of in one.options] or record.decisions
    found = [one.recommended for one in asked if one.recommended]
    return found[-1] if found else ""


def summary(results: Sequence[Result]) -> str:
    """Return the results of one runbook in one line, for its front matter.

    >>> one = Result(notebook=Path("x"), runbook="RUN-005", fault="replay-paused", harmless=False,
    ...              server_version="18.1", verdict=Verdict.CRITICAL, seconds=2.5)
    >>> print(summary([one]).rpartition(", rbkernel")[0])
    1 of 1 fault found, first finding after 2.5 s (median); PostgreSQL 18.1
    """
    wrong = [one for one in results if not one.harmless and one.fault != HEALTHY]
    faults = {one.fault for one in wrong}
    passed = faults - {one.fault for one in wrong if not one.passed}
    times = [one.seconds for one in wrong if one.passed and one.seconds is not None]
    after = f", first finding after {statistics.median(times):.1f} s (median)" if times else ""
    versions = ", ".join(dict.fromkeys(one.server_version for one in results))
    return (
        f"{len(passed)} of {amounts.count(len(faults), 'fault')} found{after};"
        f" PostgreSQL {versions}, rbkernel {__version__}"
    )


class Kept:
    """Results in a file, one JSON object a line, so that interrupted drills can be continued.

    A result that passed counts as long as the notebook and rbkernel are the same, byte for byte.
    """

    def __init__(self, path: Path) -> None:
        """Read the results that are there.

        Raises
        ------
        SandboxError
            The file does not hold results of drills.
        """
        self._path = path
        self._passed: dict[str, Result] = {}
        try:
            for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
                said = json.loads(line)
                result = _RESULT.validate_python(said["result"])
                if result.passed:
                    self._passed[said["drill"]] = result
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise SandboxError(
                "the results of earlier drills cannot be read",
                where=str(path),
                next_step="name a file that `rbkernel drill --continue` wrote, or a new one",
            ) from error

    def known(self, runbook: Runbook, drill: Drill) -> Result | None:
        """Return the result of a drill that passed before; None if there is none."""
        return self._passed.get(_key(runbook, drill))

    def add(self, result: Result, runbook: Runbook, drill: Drill) -> None:
        """Write a result at the end of the file.

        Raises
        ------
        SandboxError
            The file cannot be written.
        """
        said = {"drill": _key(runbook, drill), "result": _RESULT.dump_python(result, mode="json")}
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(said, ensure_ascii=False) + "\n")
        except OSError as error:
            raise SandboxError(
                f"the result cannot be kept: {error.strerror}",
                where=str(self._path),
                next_step="name a file that can be written",
            ) from error


def _key(runbook: Runbook, drill: Drill) -> str:
    asked = drill.model_dump_json().encode()
    return hashlib.sha256(b"\0".join([_code(_PACKAGE), runbook.document, asked])).hexdigest()


@cache
def _code(package: Path) -> bytes:
    """Return a digest of the files of a package: causes, queries, rules and faults are there."""
    made = hashlib.sha256()
    for file in sorted(package.rglob("*")):
        if file.is_file() and file.suffix != ".pyc":
            made.update(f"{file.relative_to(package)}\0".encode())
            made.update(hashlib.sha256(file.read_bytes()).digest())
    return made.digest()


def totals(results: Sequence[Result]) -> tuple[str, ...]:
    """Return what the results say as a whole, in a line for each kind of state. Pure.

    A look-alike is a fault that harms nothing, or that looks like another one. What is not ok on a
    healthy sandbox is a false alarm, unless a drill says otherwise.

    >>> one = Result(notebook=Path("x"), runbook="RUN-005", fault="replay-paused", harmless=False,
    ...              server_version="18.1", verdict=Verdict.CRITICAL, seconds=2.5)
    >>> totals([one])
    ('Faults with the right cause and next step: 1 of 1 run',)
    """
    alike = {name for name, fault in FAULTS.items() if fault.look_alike_of}
    kinds: dict[str, list[Result]] = {
        "Faults with the right cause and next step": [],
        "Look-alikes not mistaken": [],
        "Healthy, without a false alarm": [],
    }
    faults, look_alikes, healthy = kinds.values()
    for one in results:
        if one.fault == HEALTHY:
            healthy.append(one)
        elif not one.harmless:
            faults.append(one)
        if one.fault != HEALTHY and (one.harmless or one.fault in alike):
            look_alikes.append(one)
    return tuple(
        f"{name}: {sum(one.passed for one in of_it)} of {amounts.count(len(of_it), 'run')}"
        for name, of_it in kinds.items()
        if of_it
    )


def record_passed(results: Sequence[Result], runbooks: Iterable[Runbook], on: date) -> None:
    """Write date and results into the front matter of each runbook that passed all its drills.

    Raises
    ------
    SandboxError
        A notebook was changed while the drills ran.
    EvidenceError
        A notebook cannot be written.
    """
    for runbook in runbooks:
        own = [one for one in results if one.notebook == runbook.path]
        if own and all(one.passed for one in own):
            record_result(runbook, summary(own), on)


def record_result(runbook: Runbook, result: str, on: date) -> None:
    """Write the date and the result of passed drills into the front matter of a runbook.

    Raises
    ------
    SandboxError
        The notebook was changed while the drills ran.
    EvidenceError
        The notebook cannot be written.
    """
    if runbook.path.read_bytes() != runbook.document:
        raise SandboxError(
            "the notebook was changed while the drills ran",
            where=str(runbook.path),
            next_step="run the drills again: the result would be that of the notebook before",
        )
    notebook = nbformat.reads(runbook.document.decode("utf-8-sig"), as_version=4)
    cell = notebook.cells[0]
    cell.source = frontmatter_text.edit(cell.source, {"last_tested": on, "drill_result": result})
    written = (nbformat.writes(notebook).rstrip("\n") + "\n").encode()
    mode = stat.S_IMODE(runbook.path.stat().st_mode)
    store.write_atomically(runbook.path, written, mode=mode)
