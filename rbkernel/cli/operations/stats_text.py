"""Format the statistics of `rbkernel stats` as text for a terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import typer

from rbkernel import amounts
from rbkernel.cli.output import print_table
from rbkernel.displaytext import short_line as line
from rbkernel.incidents.statistics import Criterion, Figures, Statistics, Time, is_candidate

NO_ID = "(no id)"
_SIGNS = {True: "yes", False: "no", None: "unknown"}
# a narrower terminal would break the cells of a table into pieces
_TABLE_COLUMNS = 110
_MOST_STEPS = 10
Judged = Sequence[tuple[Figures, tuple[Criterion, ...]]]


def show(found: Statistics, judged: Judged, root: Path) -> None:
    """Print the figures of all runbooks and their criteria, as tables or, if narrow, as lists."""
    if not found.runbooks and not found.total.alerted:
        typer.echo(f"no runs and no alerts since {_day(found)} in {root}{_left_out(found)}")
        return
    if sys.stdout.isatty() and shutil.get_terminal_size().columns < _TABLE_COLUMNS:
        for one, criteria in judged:
            for text in details(one, criteria, steps=0):
                typer.echo(text)
    else:
        _tables(found, judged)
    for text in _ending(found, judged, root):
        typer.echo(text)


def _tables(found: Statistics, judged: Judged) -> None:
    every = [*found.runbooks, found.total]
    names = ("runbook", "runs", "occasions", "run time", "detect", "acknowledge", "resolve")
    print_table(names, [_row(one, is_total=one is found.total) for one in every])
    if judged:
        typer.echo("\nCriteria for automation")
        criteria = [one.name for one in judged[0][1]]
        rows = [
            (
                one.runbook or NO_ID,
                *(f"{_SIGNS[c.met]}: {line(c.why, 60)}" for c in judgments),
            )
            for one, judgments in judged
        ]
        print_table(("runbook", *criteria), rows)


def _row(one: Figures, *, is_total: bool) -> tuple[str, ...]:
    return (
        "all" if is_total else line(one.runbook or NO_ID, 20),
        str(one.runs),
        str(one.occasions),
        _time(one.run, seconds=True),
        *map(_time, (one.detect, one.acknowledge, one.resolve)),
    )


def _time(time: Time, *, seconds: bool = False) -> str:
    """Return a median with the number of cases that it rests on.

    >>> _time(Time(median_s=245.2, counted=3, cases=3)), _time(Time.of([]))
    ('4 min 5 s (3)', '-')
    >>> _time(Time(median_s=4.26, counted=3, cases=20), seconds=True), _time(Time.of([None]))
    ('4.3 s (3 of 20)', '- (0 of 1)')
    """
    count = f"{time.counted} of {time.cases}" if time.counted < time.cases else str(time.counted)
    if time.median_s is None:
        return f"- ({count})" if time.cases else "-"
    short = seconds and time.median_s < 60
    words = f"{time.median_s:.1f} s" if short else amounts.duration(time.median_s)
    return f"{words} ({count})"


def details(
    one: Figures, criteria: Sequence[Criterion], *, steps: int = _MOST_STEPS
) -> Iterator[str]:
    """Yield the lines about one runbook; without its steps and incidents if ``steps`` is 0."""
    yield f"{line(one.runbook or NO_ID)} {line(one.title, 80)}".rstrip()
    verdicts = ", ".join(f"{number} {verdict}" for verdict, number in one.verdicts.items())
    occasions = amounts.count(one.occasions, "occasion")
    yield f"  runs         {one.runs} on {occasions}: {verdicts}"
    yield f"  run time     {_time(one.run, seconds=True)}"
    for name in ("detect", "acknowledge", "resolve"):
        yield f"  {name:12} {_time(getattr(one, name))}"
    for question in one.questions:
        given = ", ".join(f"{line(c, 60)} {n}×" for c, n in question.choices.items())
        alike = ", always alike" if question.always_alike else ""
        yield f"  question     {line(question.question, 80)} {given}{alike}"
    for title, number in list(one.by_hand.items())[:steps]:
        yield f"  by hand      {number}× {line(title, 80)}"
    for step in one.steps[:steps]:
        failed = f", failed in {step.failed}" if step.failed else ""
        yield f"  step         {line(step.step, 80)}: {amounts.count(step.runs, 'run')}{failed}"
    if steps and one.incidents:
        yield f"  incidents    {', '.join(one.incidents)}"
    yield f"  automation   {'a candidate' if is_candidate(criteria) else 'not a candidate yet'}"
    for criterion in criteria:
        yield f"    {_SIGNS[criterion.met]:8} {criterion.name} ({line(criterion.why)})"


def _ending(found: Statistics, judged: Judged, root: Path) -> Iterator[str]:
    candidates = [one.runbook for one, criteria in judged if is_candidate(criteria)]
    alike = [(one.runbook, q) for one in found.runbooks for q in one.questions if q.always_alike]
    yield ""
    for runbook, question in alike:
        answer = next(iter(question.choices))
        yield (
            f"Always answered alike: {runbook} {line(question.question, 60)} {line(answer, 60)}"
            f" ({question.answers}×)"
        )
    if candidates:
        yield f"Candidates for automation: {', '.join(candidates)}"
    if found.total.broken_glass:
        number = amounts.count(found.total.broken_glass, "action")
        yield f"Break-glass: {number} approved by one person alone"
    runs, alerted = found.total.runs, found.total.alerted
    yield (
        f"{amounts.count(runs, 'run')}, {amounts.count(alerted, 'incident')} with an alert, since"
        f" {_day(found)} in {root}{_left_out(found)}. Medians from the start of the alert; in"
        " brackets: how many incidents have such a time, and of how many."
    )


def _day(found: Statistics) -> str:
    return f"{found.since:%Y-%m-%d %H:%M} UTC"


def _left_out(found: Statistics) -> str:
    runs = amounts.count(found.drills, "run")
    silenced = amounts.count(found.silenced, "incident")
    drills = f"; {runs} on the sandbox not counted" if found.drills else ""
    return drills + (f"; {silenced} in maintenance windows not counted" if found.silenced else "")
