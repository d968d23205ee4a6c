"""Drills: inject a fault into the sandbox, run a runbook on it, and judge what the runbook says.

Each runbook is also run on the healthy sandbox, where it must find nothing unless its front matter
says otherwise. A fault is injected once, for all runbooks that name it. The runs have a
configuration of their own, in which the sandbox is the only database, so that a drill never reaches
a database of the user.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from rbkernel import config
from rbkernel.config import Settings
from rbkernel.errors import RbkernelError, SandboxError
from rbkernel.model import Verdict, leading
from rbkernel.run import runner
from rbkernel.run.stopping import Stop
from rbkernel.runbook import catalogue
from rbkernel.runbook.catalogue import Runbook
from rbkernel.runbook.frontmatter_sections import HEALTHY, Drill
from rbkernel.sandbox import control
from rbkernel.sandbox.drill_results import Kept, Result, problems, recommended
from rbkernel.sandbox.faults.catalogue import FAULTS

#: A runbook, and the drill that it is to pass.
Asked = tuple[Runbook, Drill]


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A runbook and its drills that a program can run, at least one."""

    runbook: Runbook
    drills: tuple[Drill, ...]


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The runbooks to test, and what keeps others of the catalogue from being tested.

    ``left_out`` is the number of drills that need the service side and were not asked for.
    """

    planned: tuple[Planned, ...]
    problems: tuple[RbkernelError, ...] = ()
    left_out: int = 0


def chosen(ids: Sequence[str], settings: Settings, *, with_service: bool = True) -> Chosen:
    """Return the runbooks with these ids or paths; without any, all that have a drill.

    Without ``with_service``, the drills of all that need the service side are left out.

    Raises
    ------
    RbkernelError
        There is no runbook with one of the ids, it has no drill that a program can run, or a drill
        of it names an unknown fault.
    """
    if not ids:
        return _all(settings, with_service=with_service)
    found = [catalogue.find(one, settings.catalogue.paths) for one in ids]
    planned = [one for runbook in found if (one := _planned(runbook))]
    for runbook in found:
        if not any(one.runbook is runbook for one in planned):
            raise RbkernelError(
                f"{runbook.id} has no drill with a fault of the sandbox",
                where=f"{runbook.path}, front matter",
                next_step="add one, such as `drill: [{fault: replay-paused}]`",
            )
    return Chosen(planned=tuple(planned))


def _all(settings: Settings, *, with_service: bool) -> Chosen:
    known, problems = catalogue.runbooks(settings.catalogue.paths)
    planned: list[Planned] = []
    for runbook in known:
        try:
            planned += filter(None, [_planned(runbook)])
        except SandboxError as error:  # an unknown fault keeps no other runbook from its drills
            problems.append(error)
    if with_service:
        return Chosen(planned=tuple(planned), problems=tuple(problems))
    # a runbook that is also about the service is tested only on what it says of both
    without = tuple(one for one in planned if not _needs_service(one.drills))
    left_out = sum(len(one.drills) for one in planned) - sum(len(one.drills) for one in without)
    return Chosen(planned=without, problems=tuple(problems), left_out=left_out)


def _needs_service(drills: Iterable[Drill]) -> bool:
    return any(one.fault != HEALTHY and FAULTS[one.fault].with_service for one in drills)


def _planned(runbook: Runbook) -> Planned | None:
    """Return the drills of a runbook that a program can run; None if it has none.

    Raises
    ------
    SandboxError
        A drill names an unknown fault.
    """
    found = [one for one in runbook.front_matter.drill if not one.by_hand]
    for one in found:
        if one.fault not in {HEALTHY, *FAULTS}:
            raise SandboxError(
                f"the sandbox has no fault {one.fault}",
                where=f"{runbook.path}, front matter, drill",
                next_step=f"name one of {', '.join(FAULTS)}; or describe the drill in a sentence",
            )
    return Planned(runbook=runbook, drills=tuple(found)) if found else None


def run(
    planned: Sequence[Planned],
    settings: Settings,
    report: Callable[[str], None] = control.silent,
    kept: Kept | None = None,
) -> Generator[Result]:
    """Run each runbook on the healthy sandbox and on the faults that its front matter names.

    The results come fault by fault: first those on the healthy sandbox, and of what is harmless.

    Parameters
    ----------
    planned
        The runbooks with their drills, see `chosen`.
    settings
        The user's configuration, of which only the catalogue is used.
    report
        Called with a text at the beginning of each step.
    kept
        Where results are kept; drills that passed there are not repeated.

    Raises
    ------
    SandboxError
        The sandbox has faults already, or does not start.
    KeyboardInterrupt
        A signal asked to stop.
    """
    asked = [(one.runbook, drill) for one in planned for drill in _with_control(one.drills)]
    of_fault: dict[str, list[Asked]] = {}
    harm = {drill.fault for _, drill in asked if not drill.harmless}
    # the healthy sandbox first, then what only looks like a fault: figures of the last minutes
    # would still show an earlier fault
    for runbook, drill in sorted(
        asked, key=lambda one: (one[1].fault != HEALTHY, one[1].fault in harm)
    ):
        if kept and (earlier := kept.known(runbook, drill)):
            yield earlier
        else:
            of_fault.setdefault(drill.fault, []).append((runbook, drill))
    if not of_fault:
        return
    with_service = _needs_service(drill for of_it in of_fault.values() for _, drill in of_it)
    with on_the_sandbox(settings, report, with_service=with_service) as own:
        for fault, of_it in of_fault.items():
            with closing(_on_fault(fault, of_it, own, report)) as found:
                for one, result in found:
                    if kept:
                        kept.add(result, *one)
                    yield result


@contextmanager
def on_the_sandbox(
    settings: Settings, report: Callable[[str], None], *, with_service: bool = False
) -> Iterator[Settings]:
    """Yield a configuration of which the only database is a sandbox that is up and well.

    ``with_service`` says whether it needs the service side.

    Raises
    ------
    SandboxError
        The sandbox has faults already, or does not start.
    """
    with (
        tempfile.TemporaryDirectory(prefix="rbkernel-drill-") as folder,
        _sandbox(report, with_service=with_service),
        _only_the_sandbox(settings, Path(folder)) as own,
    ):
        yield own


def result_of(
    runbook: Runbook,
    drill: Drill,
    settings: Settings,
    *,
    meanwhile: Callable[[], object] = lambda: None,
) -> Result:
    """Inject the fault of a drill, run the runbook on it, heal the fault, and judge the run.

    ``settings`` is what `on_the_sandbox` yields; ``meanwhile`` is called when the fault is active.
    """
    [(_, result)] = _on_fault(drill.fault, [(runbook, drill)], settings, meanwhile=meanwhile)
    return result


def _on_fault(
    fault: str,
    asked: Sequence[Asked],
    settings: Settings,
    report: Callable[[str], None] = control.silent,
    *,
    meanwhile: Callable[[], object] = lambda: None,
) -> Generator[tuple[Asked, Result]]:
    """Inject a fault, run these runbooks on it, and heal it; yield what each of them says."""
    try:
        try:
            truth = {} if fault == HEALTHY else control.inject(fault).truth
        except RbkernelError as error:
            yield from ((one, _unknown(one, error)) for one in asked)
            return
        active = time.monotonic()
        for one in sorted(asked, key=lambda one: one[1].after_s):
            time.sleep(max(0.0, active + one[1].after_s - time.monotonic()))
            meanwhile()
            report(f"{one[0].id} on {fault}")
            try:
                result = _judged((one[0], one[1].filled(truth)), settings)
            except RbkernelError as error:
                result = _unknown(one, error)
            yield one, result
    finally:
        if fault != HEALTHY:
            control.heal()


def _judged(asked: Asked, settings: Settings) -> Result:
    runbook, drill = asked
    started = datetime.now(UTC)
    with Stop(settings.queue.run_timeout_s) as stop:
        outcome = runner.run(str(runbook.path), drill.values, settings, stop=stop)
    if stop.was_asked:
        raise KeyboardInterrupt(stop.reason)
    record = outcome.record
    first = next((one for one in record.of_kind("finding") if one.data["verdict"] != "ok"), None)
    return replace(
        _result(asked),
        verdict=outcome.verdict,
        found="; ".join(dict.fromkeys(one.headline for one in leading(record.findings))),
        recommended=recommended(record),
        seconds=(datetime.fromisoformat(first.at) - started).total_seconds() if first else None,
        problems=tuple(problems(drill, record, outcome.failure)),
    )


def _unknown(asked: Asked, error: RbkernelError) -> Result:
    return replace(_result(asked), problems=(str(error),))


def _result(asked: Asked) -> Result:
    runbook, drill = asked
    return Result(
        notebook=runbook.path,
        runbook=runbook.id,
        fault=drill.fault,
        harmless=drill.harmless,
        values=drill.values,
        server_version=control.status().server_version or "",
        verdict=Verdict.UNKNOWN,
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
        for name, value in first.fixed_values.items()
        if all(other.values.get(name) == value for other in others)
    }
    return [Drill(fault=HEALTHY, harmless=True, values=values), *drills]


@contextmanager
def _sandbox(report: Callable[[str], None], *, with_service: bool) -> Iterator[None]:
    """Use a sandbox that is up and has no fault; else build one, and remove it afterwards."""
    status = control.status()
    if status.faults:
        raise SandboxError(
            f"the sandbox has faults already: {', '.join(one.fault for one in status.faults)}",
            where=status.home,
            next_step="run `rbkernel sandbox heal` first",
        )
    was_up = status.state == "up"
    if was_up and with_service and not status.service_ports:
        raise SandboxError(
            "the sandbox is up without its service side, which a drill needs",
            where=status.home,
            next_step="run `rbkernel sandbox down` first",
        )
    if not was_up:
        control.up(with_service=with_service, report=report)
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
