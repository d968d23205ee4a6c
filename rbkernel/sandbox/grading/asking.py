"""Ask a tool: create a scenario, run the tool's command, read its answer, and undo the scenario."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from pydantic import ValidationError

from rbkernel.config import Settings
from rbkernel.errors import DatabaseError, RbkernelError, SandboxError
from rbkernel.sandbox import control, drill
from rbkernel.sandbox.access import DATABASE, HOST, Access, Role, Server, passfile
from rbkernel.sandbox.faults.scenarios import SCENARIOS
from rbkernel.sandbox.faults.stage import Stage
from rbkernel.sandbox.grading.answers import Answer, Filed, Sheet, first_error
from rbkernel.sandbox.grading.truths import TASKS, Task
from rbkernel.sandbox.home import Home
from rbkernel.sources.postgres.connection import driver
from rbkernel.spelling import did_you_mean

TIMEOUT_S = 60.0
# s after which a fault has become an older one: a queue has grown, a query has run for minutes
_SAME_S = 30.0
_ROLE: Role = "rb_diag"
_SERVERS: tuple[Server, ...] = ("primary", "standby")
_NAMES = b"SELECT pid, application_name FROM pg_stat_activity"


def tasks(names: Sequence[str]) -> list[Task]:
    """Return the scenarios with these names; without any, all.

    Raises
    ------
    SandboxError
        There is no such scenario.
    """
    for name in names:
        if name not in TASKS:
            raise SandboxError(
                f"no scenario is called {name!r}{did_you_mean(name, TASKS)}",
                next_step="`rbkernel drill --scenarios` lists them",
            )
    return [TASKS[name] for name in names or TASKS]


def ask(
    commands: Sequence[str],
    asked: Sequence[Task],
    settings: Settings,
    report: Callable[[str], None] = control.silent,
    *,
    complain: Callable[[RbkernelError], None],
    keep: Callable[[list[Sheet]], None] = lambda _: None,
    seed: int = 1,
) -> list[Sheet]:
    """Ask each tool about each scenario, and return their answers.

    The tools are asked one after the other about the same instance of a scenario. After 30 s it is
    created anew, so that a slow tool does not change what the next one sees.

    Parameters
    ----------
    commands
        The command of each tool. It finds the servers in its environment, see `variables`, and
        prints an `Answer` as JSON.
    asked
        The scenarios, see `tasks`.
    settings
        The user's configuration; no connection of it is used.
    report
        Called with a text at the beginning of each step.
    complain
        Called if a scenario could not be created; it is then missing in the answers.
    keep
        Called after each scenario with all answers until then, so that an interruption loses none.
    seed
        Seed of the scenarios.

    Raises
    ------
    SandboxError
        A command does not exist; the sandbox has faults already, or does not start; a scenario
        could not be undone.
    """
    for command in commands:
        _check(command)
    answers: dict[str, list[Filed]] = {command: [] for command in commands}
    with drill.on_the_sandbox(settings, report):
        version = control.status().server_version or ""
        for task in asked:
            report(f"scenario {task.name}")
            try:
                for command, filed in _answers(commands, task, seed):
                    answers[command].append(filed)
            except RbkernelError as error:
                complain(error)
                left = control.status()
                if left.state != "up" or left.faults:  # no later answer would count
                    raise
            keep(_sheets(answers, version))
    return _sheets(answers, version)


def _answers(commands: Sequence[str], task: Task, seed: int) -> Iterator[tuple[str, Filed]]:
    """Yield the answer of each tool; after a slow one, the scenario is created anew."""
    waiting = list(commands)
    while waiting:
        with created(task, seed) as access:
            time.sleep(task.after_s)
            taken = 0.0
            while waiting and taken < _SAME_S:
                command = waiting.pop(0)
                filed = _filed(command, task, seed, access)
                taken += filed.seconds or 0.0
                yield command, filed


def _sheets(answers: Mapping[str, Sequence[Filed]], version: str) -> list[Sheet]:
    return [
        Sheet(
            tool=next((one.tool for one in found if one.tool), command),
            server_version=version,
            answers=tuple(one.model_copy(update={"tool": ""}) for one in found),
        )
        for command, found in answers.items()
    ]


def _check(command: str) -> None:
    try:
        program = next(iter(shlex.split(command)), "")
    except ValueError as error:
        raise SandboxError(f"{command!r} cannot be split: {error}", where="--exec") from error
    if not shutil.which(program):
        raise SandboxError(f"there is no program to run {command!r}", where="--exec")


@contextmanager
def created(task: Task, seed: int) -> Iterator[Access]:
    """Create a scenario in the sandbox, and undo it afterwards.

    Raises
    ------
    SandboxError
        The scenario cannot be created.
    """
    known = control.status()
    assert known.primary_port
    assert known.standby_port
    access = Access(
        home=Home.configured(), primary_port=known.primary_port, standby_port=known.standby_port
    )
    if task.made == "stage":
        with Stage(access, seed=seed) as stage:
            try:
                SCENARIOS[task.name].inject(stage)
            except driver.RawConnection.Error as error:
                raise SandboxError(f"the scenario {task.name} was not created: {error}") from error
            yield access
        return
    try:
        if task.made == "fault":
            control.inject(task.name, seed)
        yield access
    finally:
        control.heal()


def variables(access: Access) -> dict[str, str]:
    """Return what a tool is told: the servers, as a role that may read statistics and tables.

    ``PG…`` lead to the primary, as libpq reads them; ``DRILL_PRIMARY`` and ``DRILL_STANDBY`` are
    connection strings.
    """
    return {
        "PGHOST": HOST,
        "PGPORT": str(access.primary_port),
        "PGDATABASE": DATABASE,
        "PGUSER": _ROLE,
        "PGPASSFILE": str(passfile(access.home, _ROLE)),
        "DRILL_PRIMARY": _text(access, "primary"),
        "DRILL_STANDBY": _text(access, "standby"),
    }


def _text(access: Access, server: Server) -> str:
    file = driver.quote_literal(str(passfile(access.home, _ROLE)))
    where = f"host={HOST} port={access.port(server)}"
    return f"{where} dbname={DATABASE} user={_ROLE} passfile={file}"


def _filed(command: str, task: Task, seed: int, access: Access) -> Filed:
    """Run the command of a tool, and return its answer; without one, why there is none."""
    started = time.monotonic()
    said, failed = _said(command, {**os.environ, **variables(access)})
    seconds = round(time.monotonic() - started, 2)
    answer = said or Answer(detected=False)
    names = _names(access) if any("pid:" in one for one in _named(answer)) else {}
    fields = dict(answer) | {
        "culprits": tuple(dict.fromkeys(names.get(one, one) for one in answer.culprits)),
        "targets": tuple(dict.fromkeys(names.get(one, one) for one in answer.targets)),
    }
    return Filed(**fields, scenario=task.name, seed=seed, seconds=seconds, failed=failed)


def _said(command: str, environment: Mapping[str, str]) -> tuple[Answer | None, str]:
    """Return what the tool said, or why it said nothing that can be read."""
    with subprocess.Popen(
        shlex.split(command),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            out, complaint = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return None, f"no answer within {TIMEOUT_S:.0f} s"
        finally:
            with suppress(ProcessLookupError):  # the tool, and what it has started
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        last = (complaint.strip().splitlines() or ["it printed no error"])[-1]
        return None, f"exit code {process.returncode}: {last}"
    try:
        return Answer.model_validate_json(out, strict=True), ""
    except ValidationError as error:
        return None, f"standard output, {first_error(error)}"


def _named(answer: Answer) -> tuple[str, ...]:
    return (*answer.culprits, *answer.targets)


def _names(access: Access) -> dict[str, str]:
    """Return the lasting identities of the processes of both servers, as far as they answer."""
    found: dict[str, str] = {}
    for server in _SERVERS:
        with (
            suppress(DatabaseError, driver.RawConnection.Error),
            access.connect("postgres", server) as raw,
        ):
            rows = raw.execute(_NAMES).fetchall()
            found |= {f"pid:{pid}": f"session:{name or 'unnamed'}" for pid, name in rows}
    return found
