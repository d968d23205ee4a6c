"""Drills: inject a fault into the sandbox, run a runbook on it, and judge what the runbook says.

Each runbook is also run on the healthy sandbox, where it must find nothing unless its front matter
says otherwise. The runs have a configuration of their own, in which the sandbox is the only
database, so that a drill never reaches a database of the user.
"""

from __future__ import annotations

import json
import os
import re
import stat
import statistics
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import nbformat

from rbkernel import __version__, amounts, config
from rbkernel.config import Settings
from rbkernel.errors import RbkernelError, SandboxError
from rbkernel.evidence import store
from rbkernel.evidence.reading import Record
from rbkernel.model import Finding, Verdict, leading
from rbkernel.run import runner
from rbkernel.run.stopping import Stop
from rbkernel.runbook import catalogue, frontmatter_text
from rbkernel.runbook.catalogue import Runbook
from rbkernel.runbook.frontmatter_sections import HEALTHY, Drill
from rbkernel.sandbox import control
from rbkernel.sandbox.faults.catalogue import FAULTS

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a runbook said of one state of the sandbox.

    ``fault`` is the injected fault, or "healthy". ``seconds`` is the time from the start of the
    run to its first finding that is not ok; None if there is no such finding. ``problems`` says
    what differs from the drill; it is empty if the runbook passed.
    """

    notebook: Path
    runbook: str
    fault: str
    verdict: Verdict
    found: str = ""
    recommended: str = ""
    seconds: float | None = None
    problems: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the runbook said all that the drill asks for."""
        return not self.problems


def drills_of(runbook: Runbook) -> list[Drill]:
    """Return the drills of a runbook that a program can run: those that name a fault.

    Raises
    ------
    SandboxError
        A drill names an unknown fault.
    """
    found = [one for one in runbook.front_matter.drill if not _is_by_hand(one)]
    for one in found:
        if one.fault not in {HEALTHY, *FAULTS}:
            raise SandboxError(
                f"the sandbox has no fault {one.fault}",
                where=f"{runbook.path}, front matter, drill",
                next_step=f"name one of {', '.join(FAULTS)}",
            )
    return found


def _is_by_hand(drill: Drill) -> bool:
    """Tell whether a drill is described in words, so that no program can run it."""
    return drill.fault not in {HEALTHY, *FAULTS} and not _NAME.fullmatch(drill.fault)


def run(
    runbooks: Iterable[Runbook],
    settings: Settings,
    report: Callable[[str], None] = control.silent,
) -> Generator[Result]:
    """Run each runbook on the healthy sandbox and on the faults that its front matter names.

    Parameters
    ----------
    runbooks
        The runbooks; those without a drill are left out.
    settings
        The user's configuration, of which only the catalogue is used.
    report
        Called with a text at the beginning of each step.

    Raises
    ------
    SandboxError
        The sandbox has faults already, or does not start; or a drill names an unknown fault.
    KeyboardInterrupt
        A signal asked to stop.
    """
    planned = [(one, drills) for one in runbooks if (drills := drills_of(one))]
    with (
        tempfile.TemporaryDirectory(prefix="rbkernel-drill-") as folder,
        _sandbox(report),
        _only_the_sandbox(settings, Path(folder)) as own,
    ):
        for runbook, drills in planned:
            for drill in _with_control(drills):
                report(f"{runbook.id} on {drill.fault}")
                yield _result(runbook, drill, own)


def _result(runbook: Runbook, drill: Drill, settings: Settings) -> Result:
    try:
        if drill.fault != HEALTHY:
            control.inject(drill.fault)
        started = datetime.now(UTC)
        with Stop(settings.queue.run_timeout_s) as stop:
            outcome = runner.run(str(runbook.path), drill.values, settings, stop=stop)
    except RbkernelError as error:
        return Result(
            notebook=runbook.path,
            runbook=runbook.id,
            fault=drill.fault,
            verdict=Verdict.UNKNOWN,
            problems=(str(error),),
        )
    finally:
        control.heal()
    if stop.was_asked:
        raise KeyboardInterrupt(stop.reason)
    record = outcome.record
    first = next((one for one in record.of_kind("finding") if one.data["verdict"] != "ok"), None)
    return Result(
        notebook=runbook.path,
        runbook=runbook.id,
        fault=drill.fault,
        verdict=outcome.verdict,
        found="; ".join(dict.fromkeys(one.headline for one in leading(record.findings))),
        recommended=_recommended(record),
        seconds=(datetime.fromisoformat(first.at) - started).total_seconds() if first else None,
        problems=tuple(problems(drill, record, outcome.failure)),
    )


def _with_control(drills: Sequence[Drill]) -> list[Drill]:
    """Return the drills, begun by a run on the healthy sandbox if none of them is one.

    That run has the parameters that all drills set alike.
    """
    if any(one.fault == HEALTHY for one in drills):
        return list(drills)
    first, *others = drills
    values = {
        name: value
        for name, value in first.values.items()
        if all(other.values.get(name) == value for other in others)
    }
    return [Drill(fault=HEALTHY, harmless=True, values=values), *drills]


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
    if drill.recommends and (said := _recommended(record)) != drill.recommends:
        yield f"recommended “{said or 'nothing'}” instead of “{drill.recommends}”"


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


def _recommended(record: Record) -> str:
    return next((one.recommended for one in record.decisions if one.recommended), "")


def summary(results: Sequence[Result], server_version: str) -> str:
    """Return the result of a runbook's drills in one line, for its front matter.

    >>> one = Result(notebook=Path("x"), runbook="RUN-005", fault="replay-paused",
    ...              verdict=Verdict.CRITICAL, seconds=2.5)
    >>> print(summary([one], "18.1").rpartition(", rbkernel")[0])
    1 of 1 fault found, first finding after 2.5 s (median); PostgreSQL 18.1
    """
    faults = [one for one in results if one.fault != HEALTHY]
    passed = [one for one in faults if one.passed]
    times = [one.seconds for one in passed if one.seconds is not None]
    after = f", first finding after {statistics.median(times):.1f} s (median)" if times else ""
    return (
        f"{len(passed)} of {amounts.count(len(faults), 'fault')} found{after};"
        f" PostgreSQL {server_version}, rbkernel {__version__}"
    )


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


@contextmanager
def _sandbox(report: Callable[[str], None]) -> Iterator[None]:
    """Use a sandbox that is up and has no fault; else build one, and remove it afterwards."""
    status = control.status()
    if status.faults:
        raise SandboxError(
            f"the sandbox has faults already: {', '.join(one.fault for one in status.faults)}",
            where=status.home,
            next_step="run `rbkernel sandbox heal` first",
        )
    was_up = status.state == "up"
    if not was_up:
        control.up(report=report)
    try:
        yield
    finally:
        if not was_up:
            control.down()


@contextmanager
def _only_the_sandbox(settings: Settings, folder: Path) -> Iterator[Settings]:
    """Configure this process and the kernels that it starts for the sandbox alone."""
    file = folder / "rbkernel.toml"
    folders = settings.catalogue.model_dump(mode="json")
    lines = ["[catalogue]", *(f"{name} = {json.dumps(value)}" for name, value in folders.items())]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    own = {"RBKERNEL_CONFIG": str(file), "RBKERNEL_EVIDENCE": str(folder / "evidence")}
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        yield config.load()
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def chosen(ids: Sequence[str], settings: Settings) -> list[Runbook]:
    """Return the runbooks with these ids or paths; without any, all that have a drill.

    Raises
    ------
    RbkernelError
        There is no such runbook, or it has no drill that a program can run.
    """
    if not ids:
        known, _unreadable = catalogue.runbooks(settings.catalogue.paths)
        return [one for one in known if drills_of(one)]
    found = [catalogue.find(one, settings.catalogue.paths) for one in ids]
    for one in found:
        if not drills_of(one):
            raise RbkernelError(
                f"{one.id} has no drill with a fault of the sandbox",
                where=f"{one.path}, front matter",
                next_step="add one, such as `drill: [{fault: replay-paused}]`",
            )
    return found
