"""The command `rbkernel drill`: test runbooks, people and other tools on faults."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rbkernel import amounts, config
from rbkernel.cli.drills import grading
from rbkernel.cli.output import AsJson, Ending, complain, print_json, print_table, progress
from rbkernel.errors import ParameterError

if TYPE_CHECKING:
    from rbkernel.config import Settings
    from rbkernel.sandbox.drill import Chosen, Planned
    from rbkernel.sandbox.drill_results import Result


def drill(
    runbooks: Annotated[
        list[str] | None,
        typer.Argument(
            help="Ids or paths of runbooks, with --exec names of scenarios. Default: all."
        ),
    ] = None,
    all_of_them: Annotated[
        bool, typer.Option("--all", help="All runbooks; the same as to name none.")
    ] = False,
    extra: Annotated[
        Literal["service"] | None,
        typer.Option(
            "--with",
            help="service: without ids, also the runbooks that are about services.",
        ),
    ] = None,
    kept: Annotated[
        Path | None,
        typer.Option(
            "--continue",
            help="Keep the results in this file, and do not repeat what passed there.",
        ),
    ] = None,
    record: Annotated[
        bool,
        typer.Option(
            "--record", help="Write date and result into the runbooks that passed (last_tested)."
        ),
    ] = False,
    train: Annotated[
        bool,
        typer.Option(
            "--train", help="Training: find a random fault yourself, and compare with the runbook."
        ),
    ] = False,
    scenarios: Annotated[
        bool, typer.Option("--scenarios", help="List the scenarios that any tool can be tested on.")
    ] = False,
    tools: Annotated[
        list[str] | None,
        typer.Option("--exec", help="Test the tool that this command runs; may be repeated."),
    ] = None,
    answers: Annotated[
        Path | None, typer.Option(help="With --exec: also write the answers of the tools here.")
    ] = None,
    grade: Annotated[
        list[Path] | None,
        typer.Option(help="Grade the answers in this file, without a sandbox; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(help="With --exec: seed of the scenarios.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Test runbooks in the sandbox: on the faults that they name, and on a healthy database.

    No configured database is used. A sandbox that is not up is started and removed again.

    A fault is injected once, for all runbooks that name it. --all --with service is all there is:
    about a quarter of an hour.

    With --train, one fault is injected, and you are asked what it is: look at sandbox-primary and
    sandbox-standby with `rbkernel why`, a runbook or psql.

    With --exec or --grade, any tool is tested, with answers in a published format.

    Exit codes: 0 all passed, or all graded; 1 a runbook did not pass, 3 error.

    Example: rbkernel drill RUN-005
    """
    from rbkernel.sandbox import drill as drills

    modes: dict[str, object] = {"--record": record, "--train": train, "--scenarios": scenarios}
    modes |= {"--exec": tools, "--grade": grade}
    modes["--all with names"] = all_of_them and runbooks
    _check_options([name for name, given in modes.items() if given], runbooks, answers)
    if scenarios:
        grading.list_scenarios(as_json=as_json)
    elif grade:
        grading.print_graded(grade, as_json=as_json)
    elif tools:
        grading.ask(tools, runbooks or (), answers, seed=seed, as_json=as_json)
    else:
        settings = config.load()
        chosen = drills.chosen(runbooks or (), settings, with_service=extra == "service")
        if train:
            _train(chosen.planned, settings)
        else:
            _test(chosen, settings, kept, record=record, as_json=as_json)


def _test(
    chosen: Chosen, settings: Settings, kept: Path | None, *, record: bool, as_json: bool
) -> None:
    """Test runbooks on their faults, and print the results."""
    from rbkernel.sandbox import drill as drills
    from rbkernel.sandbox import drill_results

    earlier = drill_results.Kept(kept) if kept else None
    with contextlib.closing(drills.run(chosen.planned, settings, progress, earlier)) as found:
        results = sorted(found, key=lambda one: one.runbook)
    if as_json:
        print_json([{**dataclasses.asdict(one), "passed": one.passed} for one in results])
    else:
        _print(results)
    if record:
        tested = (one.runbook for one in chosen.planned)
        drill_results.record_passed(results, tested, datetime.now(UTC).date())
    if chosen.left_out:
        left_out = amounts.count(chosen.left_out, "drill")
        progress(f"{left_out} of runbooks about services not run; add --with service")
    for problem in chosen.problems:
        complain(problem)
    raise Ending(0 if all(one.passed for one in results) else 1)


def _check_options(modes: Sequence[str], names: Sequence[str] | None, answers: Path | None) -> None:
    """Refuse options that exclude each other.

    Raises
    ------
    ParameterError
        More than one mode is given, or something that does not belong to it.
    """
    if len(modes) > 1:
        problem = f"{' and '.join(modes)} exclude each other"
    elif answers and "--exec" not in modes:
        problem = "--answers is only for --exec"
    elif names and modes in (["--scenarios"], ["--grade"]):
        problem = f"{modes[0]} takes no names"
    else:
        return
    raise ParameterError(
        problem, where="rbkernel drill", next_step="`rbkernel drill --help` explains the options"
    )


def _train(planned: Sequence[Planned], settings: Settings) -> None:
    """Ask the user for a fault that is not named, and print a comparison with the runbook."""
    from rbkernel.sandbox import drill_training

    def ask() -> drill_training.Answer:
        typer.echo("A fault is active. Look at sandbox-primary and sandbox-standby.")
        return drill_training.Answer(
            runbook=typer.prompt("Runbook that you would open, such as RUN-001"),
            culprit=typer.prompt("Cause: who or what"),
            step=typer.prompt("Next step"),
        )

    training = drill_training.train(planned, settings, ask, progress)
    print_table(("", "you", "runbook"), drill_training.comparison(training))


def _print(results: Sequence[Result]) -> None:
    from rbkernel.sandbox import drill_results

    rows = [
        (
            *(one.runbook, one.state, one.verdict.value, _seconds(one.seconds)),
            *(one.found, one.recommended, "; ".join(one.problems) or "passed"),
        )
        for one in results
    ]
    print_table(("runbook", "fault", "verdict", "s", "found", "recommended", "result"), rows)
    for line in drill_results.totals(results):
        typer.echo(line)
    passed = sum(one.passed for one in results)
    typer.echo(f"{passed} of {amounts.count(len(results), 'run')} passed")


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
