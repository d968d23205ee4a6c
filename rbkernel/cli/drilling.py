"""The command `rbkernel drill`: test runbooks on the faults that their front matter names."""

from __future__ import annotations

import contextlib
import dataclasses
from datetime import UTC, datetime
from itertools import groupby
from typing import Annotated

import typer

from rbkernel import amounts, config
from rbkernel.cli.output import AsJson, Ending, complain, print_json, print_table, progress


def drill(
    runbooks: Annotated[
        list[str] | None,
        typer.Argument(help="Ids or paths of runbooks. Default: all that have a drill."),
    ] = None,
    record: Annotated[
        bool,
        typer.Option(
            "--record", help="Write date and result into the runbooks that passed (last_tested)."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Test runbooks in the sandbox: on the faults that they name, and on a healthy database.

    No configured database is used. A sandbox that is not up is started and removed again.

    Exit codes: 0 all passed, 1 a runbook did not pass, 3 error.

    Example: rbkernel drill RUN-005
    """
    from rbkernel.runbook import catalogue
    from rbkernel.sandbox import control
    from rbkernel.sandbox import drill as drills

    settings = config.load()
    chosen = {one.path: one for one in drills.chosen(runbooks or (), settings)}
    results = []
    version = ""
    with contextlib.closing(drills.run(chosen.values(), settings, progress)) as found:
        for result in found:
            results.append(result)
            version = version or control.status().server_version or ""
    if as_json:
        print_json([{**dataclasses.asdict(one), "passed": one.passed} for one in results])
    else:
        rows = [
            (
                *(one.runbook, one.fault, one.verdict.value, _seconds(one.seconds)),
                *(one.found, one.recommended, "; ".join(one.problems) or "passed"),
            )
            for one in results
        ]
        print_table(("runbook", "fault", "verdict", "s", "found", "recommended", "result"), rows)
        passed = sum(one.passed for one in results)
        typer.echo(f"{passed} of {amounts.count(len(results), 'run')} passed")
    for path, of_one in groupby(results, key=lambda one: one.notebook):
        own = list(of_one)
        if record and all(one.passed for one in own):
            drills.record_result(
                chosen[path], drills.summary(own, version), datetime.now(UTC).date()
            )
    for problem in () if runbooks else catalogue.look(settings.catalogue.paths).problems:
        complain(problem)
    raise Ending(0 if all(one.passed for one in results) else 1)


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
