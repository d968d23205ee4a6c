"""The command `rbkernel stats`: what the evidence says about runs, incidents and automation."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rbkernel import config
from rbkernel.cli.operations import stats_text
from rbkernel.cli.operations.periods import length_of
from rbkernel.cli.output import AsJson, Ending, complain, print_json
from rbkernel.errors import ParameterError

if TYPE_CHECKING:
    from rbkernel.incidents.statistics import Criterion, Figures, Statistics
    from rbkernel.runbook.catalogue import Runbook

# the rules of lint about the last criterion: steps without an expected result, and no check
_CLEAR_RULES = frozenset({"RB202", "RB312"})
Judged = list[tuple["Figures", tuple["Criterion", ...]]]


def stats(
    runbook: Annotated[
        str, typer.Argument(help="The id of a runbook, to show its details. Default: all.")
    ] = "",
    since: Annotated[
        str, typer.Option(help="The length of the period until now, such as 30d, 12h or 4 weeks.")
    ] = "30d",
    figure: Annotated[
        Path | None, typer.Option(help="Write a figure of the criteria to this file, .svg.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how often runbooks run, how long incidents take, and what could be automated.

    Times are medians from the start of the alert, with the number of incidents: until a run found
    something, until a person responded, until it was over. Runs on the sandbox are left out, and
    incidents that a maintenance window silenced.

    Exit codes: 0 shown, 1 shown without evidence that is damaged, 3 error.

    Example: rbkernel stats --since 90d
    """
    from rbkernel.incidents.statistics import gather, statistics_of
    from rbkernel.sandbox.access import PUBLISHED

    settings, now = config.load(), datetime.now(UTC)
    root = settings.evidence_root
    if figure and figure.suffix != ".svg":
        raise ParameterError(
            "a figure is written as SVG, but the file name does not end in .svg",
            where=str(figure),
            next_step="name a file such as --figure stats.svg",
        )
    found = statistics_of(gather(root, now - length_of(since, "--since"), now, PUBLISHED))
    judged = _judged(found, _catalogue(settings.catalogue.paths))
    if runbook:
        judged = [one for one in judged if one[0].runbook == runbook]
        if not judged:
            complain(f"{runbook} did not run since {found.since:%Y-%m-%d %H:%M} UTC")
    if figure:
        _draw(judged, found, figure)
    if as_json:
        print_json(_as_json(found, judged))
    elif runbook:
        for line in (line for one in judged for line in stats_text.details(*one)):
            typer.echo(line)
    else:
        stats_text.show(found, judged, root)
    for problem in found.skipped:
        complain(problem)
    raise Ending(1 if found.skipped else 0)


def _catalogue(folders: Sequence[Path]) -> dict[str, Runbook]:
    from rbkernel.runbook import catalogue

    known, problems = catalogue.runbooks(folders)
    for problem in problems:
        complain(problem)
    return {one.id: one for one in known}


def _judged(found: Statistics, known: dict[str, Runbook]) -> Judged:
    from rbkernel.incidents.statistics import criteria

    return [
        (one, criteria(one, found.days, _unclear(known.get(one.runbook)))) for one in found.runbooks
    ]


def _unclear(runbook: Runbook | None) -> list[str] | None:
    """Return what lint says about a runbook's criteria of success and failure; None without one."""
    from rbkernel.errors import RunbookError
    from rbkernel.lint import RULES, Document, Level, Surroundings, check

    if runbook is None:
        return None
    levels = {code: Level.OFF for code in RULES if code not in _CLEAR_RULES}
    around = Surroundings(today=datetime.now(UTC).date(), levels=levels)
    try:
        document = Document.read(runbook.path)
    except RunbookError:
        return None
    return [f"{one.code} {one.message}" for one in check(document, around)]


def _draw(judged: Judged, found: Statistics, path: Path) -> None:
    from rbkernel.evidence import store
    from rbkernel.render import grid

    rows = [
        grid.Row(
            name=f"{one.runbook or stats_text.NO_ID} {one.title}".strip(),
            number=one.occasions,
            fields=[(criterion.met, criterion.why) for criterion in criteria],
        )
        for one, criteria in judged
    ]
    columns = [criterion.name for _, criteria in judged[:1] for criterion in criteria]
    title = f"Criteria for automation, {found.since:%Y-%m-%d} to {found.until:%Y-%m-%d}"
    drawn = grid.svg(title, "occasions", columns, rows)
    store.write_atomically(path.absolute(), drawn.encode(), mode=0o644)
    typer.echo(f"wrote {path}", err=True)


def _as_json(found: Statistics, judged: Judged) -> dict[str, Any]:
    from rbkernel.incidents.statistics import is_candidate

    return {
        "since": found.since.isoformat(),
        "until": found.until.isoformat(),
        "total": dataclasses.asdict(found.total),
        "runbooks": [
            {
                **dataclasses.asdict(one),
                "criteria": [dataclasses.asdict(criterion) for criterion in criteria],
                "automation_candidate": is_candidate(criteria),
                "always_answered_alike": [q.question for q in one.questions if q.always_alike],
            }
            for one, criteria in judged
        ],
        "drills_left_out": found.drills,
        "silenced_left_out": found.silenced,
        "skipped": list(found.skipped),
    }
