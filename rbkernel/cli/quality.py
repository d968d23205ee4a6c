"""The commands `rbkernel lint` and `coverage`: check runbooks; find alerts without a runbook.

Both commands have exit codes for CI.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rbkernel import config
from rbkernel.cli.output import AsJson, Ending, complain, print_json, print_table
from rbkernel.errors import AlertRulesError, RunbookError
from rbkernel.model import Verdict

if TYPE_CHECKING:
    from rbkernel.lint import Document, Level
    from rbkernel.runbook.coverage.comparison import Row


class Format(StrEnum):
    """The output formats of `rbkernel lint`."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


def lint(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Notebooks, diagnostics (.sql) or folders. Default: the catalogue."),
    ] = [],  # noqa: B006  # typer reads the default, nobody changes it
    fix: Annotated[bool, typer.Option("--fix", help="Fix simple problems in the files.")] = False,
    format: Annotated[  # noqa: A002  # the name of the option
        Format,
        typer.Option(help="For people (text), programs (json), or GitHub pull requests (github)."),
    ] = Format.TEXT,
    explain: Annotated[str, typer.Option(help="Explain a rule, such as RB403.")] = "",
    rules: Annotated[bool, typer.Option("--rules", help="List the rules.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check runbooks and diagnostics against the lint rules.

    Exit codes: 0 no problems, 1 warnings, 2 errors, 3 unreadable.

    Example: rbkernel lint runbooks/
    """
    from rbkernel.lint import check, diagnostics, load_extensions, reading, report
    from rbkernel.sandbox.faults.catalogue import FAULTS
    from rbkernel.triage.surroundings import surroundings

    if problems_of_extensions := load_extensions():
        raise problems_of_extensions[0]
    if rules or explain:
        _explain(explain)
        return
    settings = config.load()
    folders = [one for one in reading.catalogue_folders(settings.catalogue.paths) if one.is_dir()]
    own = [one for one in settings.catalogue.diagnostics if one.is_dir()]
    documents, unread = reading.documents(reading.notebooks(paths or folders))
    sql_files = reading.diagnostics(paths or own, own)
    around = surroundings(settings, documents, faults=list(FAULTS))
    if fix:
        documents = [_mended(document, around.levels) for document in documents]
    problems = [problem for document in documents for problem in check(document, around)]
    problems += [problem for one in sql_files for problem in diagnostics.check(one, around)]
    if as_json or format is Format.JSON:
        typer.echo(report.dumps(report.as_json(problems, unread)))
    elif format is Format.GITHUB:
        for line in report.github(problems, unread, documents):
            typer.echo(line)
    else:
        for line in report.text(problems, unread, len(documents), len(sql_files)):
            typer.echo(line)
    raise Ending(report.exit_code(problems, unread))


def coverage(
    files: Annotated[
        list[Path], typer.Argument(help="More rule files, for example alerts/*.yml.")
    ] = [],  # noqa: B006  # typer reads the default, nobody changes it
    rules: Annotated[
        list[Path],
        typer.Option(help="Prometheus' rules, or Grafana's export: files, folders, globs."),
    ] = [],  # noqa: B006  # as above
    figure: Annotated[
        Path | None, typer.Option(help="Write a heat map to this file, .html or .png.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find alerting rules without a runbook.

    Exit codes: 0 no gaps, 1 gaps, 2 a critical alert has no runbook, 3 unreadable.

    Example: rbkernel coverage --rules 'alerts/*.yml'
    """
    from rbkernel.lint import reading
    from rbkernel.runbook import alerts, catalogue, registry
    from rbkernel.runbook.coverage import report
    from rbkernel.runbook.coverage.comparison import compare

    if not (given := [*rules, *files]):
        raise AlertRulesError(
            "no rules are given",
            where="--rules",
            next_step="run `rbkernel coverage --rules alerts/*.yml`",
        )
    settings = config.load()
    found, broken = alerts.read_all(alerts.files(given))
    runbooks, unread = catalogue.runbooks(settings.catalogue.paths)
    covered = compare(
        found,
        runbooks,
        folders=reading.catalogue_folders(settings.catalogue.paths),
        registry=registry.read(settings.catalogue.paths),
        not_needed=settings.coverage.not_needed,
        bundled=catalogue.packaged("notebooks").absolute(),
    )
    for problem in (*broken, *unread):
        complain(problem)
    if figure:
        _draw(covered.rows, figure)
    if as_json:
        print_json(report.as_json(covered))
    else:
        print_table(report.COLUMNS, report.table(covered))
        for line in report.rest(covered):
            typer.echo(line)
    raise Ending(Verdict.UNKNOWN.exit_code if unread or broken else covered.verdict.exit_code)


def _draw(rows: Sequence[Row], path: Path) -> None:
    from rbkernel.runbook.coverage import figure

    figure.write(figure.heat_map(rows), path)
    typer.echo(f"wrote {path}", err=True)


def _explain(code: str) -> None:
    from rbkernel.lint import RULES, pages

    if not code:
        rows = [(r.code, r.level.value, r.criterion, r.title) for _, r in sorted(RULES.items())]
        print_table(("code", "level", "quality", "finds"), rows)
        return
    if code.upper() not in RULES:
        raise RunbookError(
            f"no rule has the code {code}",
            where="--explain",
            next_step="see `rbkernel lint --rules`",
        )
    typer.echo(pages.page(RULES[code.upper()]).rstrip())


def _mended(document: Document, levels: Mapping[str, Level]) -> Document:
    from rbkernel.evidence import store
    from rbkernel.lint.fix import fix

    mended, done = fix(document, levels)
    if done:
        mode = document.path.stat().st_mode & 0o777
        store.write_atomically(document.path.absolute(), mended.raw, mode=mode)
        for what in done:
            typer.echo(f"{document.path}: {what}", err=True)
    return mended
