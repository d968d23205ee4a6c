"""The options `--scenarios`, `--exec` and `--grade` of `rbkernel drill`: grade any tool."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rbkernel import config
from rbkernel.cli.output import Ending, complain, print_json, print_table, progress

if TYPE_CHECKING:
    from rbkernel.errors import RbkernelError
    from rbkernel.sandbox.grading.answers import Sheet


def list_scenarios(*, as_json: bool) -> None:
    """Print the scenarios that any tool can be tested on, and what each does."""
    from rbkernel.sandbox.grading.truths import TASKS

    rows = [(task.name, task.summary) for task in TASKS.values()]
    if as_json:
        print_json([{"scenario": name, "summary": summary} for name, summary in rows])
    else:
        print_table(("scenario", "what happens (the tool is not told)"), rows)


def ask(
    commands: Sequence[str], names: Sequence[str], answers: Path | None, *, seed: int, as_json: bool
) -> None:
    """Ask tools about scenarios, and print their grades."""
    from rbkernel.sandbox.grading import asking
    from rbkernel.sandbox.grading.answers import write

    missing: list[RbkernelError] = []

    def lacks(error: RbkernelError) -> None:
        complain(error)
        missing.append(error)

    def keep(sheets: Sequence[Sheet]) -> None:
        if answers:
            write(sheets, answers)

    asked, settings = asking.tasks(names), config.load()
    keep([])  # a file that cannot be written is an error before the first scenario
    sheets = asking.ask(commands, asked, settings, progress, complain=lacks, keep=keep, seed=seed)
    _print(sheets, as_json=as_json)
    raise Ending(3 if missing else 0)


def print_graded(paths: Sequence[Path], *, as_json: bool) -> None:
    """Print the grades of the answers in these files."""
    from rbkernel.sandbox.grading.answers import read

    _print(read(paths), as_json=as_json)


def _print(sheets: Sequence[Sheet], *, as_json: bool) -> None:
    from rbkernel.sandbox.grading import grades

    graded = [grades.grades(sheet) for sheet in sheets]
    counted = [grades.totals(*both) for both in zip(sheets, graded, strict=True)]
    if as_json:
        print_json(
            [
                {**dataclasses.asdict(total), "grades": [dataclasses.asdict(one) for one in its]}
                for total, its in zip(counted, graded, strict=True)
            ]
        )
        return
    names = [f"{one.tool} (PostgreSQL {one.server_version or 'unknown'})" for one in counted]
    print_table(("", *names), grades.figures(counted))
    typer.echo()
    scenarios = dict.fromkeys((one.scenario, one.seed) for its in graded for one in its)
    by_name = [{(one.scenario, one.seed): one for one in its} for its in graded]
    rows = [
        (key[0], *(grades.in_words(its[key]) if key in its else "not asked" for its in by_name))
        for key in scenarios
    ]
    print_table(("scenario", *names), rows)
