"""RB8: a team's diagnostics: header, read-only SQL, columns, units, unique names.

`check` is pure; `files` reads the folders of ``[catalogue] diagnostics``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from rbkernel.errors import QueryError, SqlTextError
from rbkernel.lint.rule import (
    RULES,
    DiagnosticFile,
    Found,
    Level,
    Problem,
    Surroundings,
    diagnostic_rule,
)
from rbkernel.sources.postgres import library
from rbkernel.sql import lexer

# a limit of one row is a choice of a row, and cuts nothing
_LIMIT = re.compile(r"\bLIMIT\s+(?!1\b)\S+", re.IGNORECASE)
_FIGURE_NAMES = re.compile(r".*_(?:s|ms|bytes|pct|mb|gb)")


def files(folders: Iterable[Path]) -> list[DiagnosticFile]:
    """Read the diagnostics in folders; return the readable ones, and the errors of the others."""
    packaged = set(library.Library().names())
    return [
        _file(name, path, others=tuple(one for one in paths if one != path), ours=name in packaged)
        for name, paths in library.team_files(folders).items()
        for path in paths
    ]


def _file(name: str, path: Path, *, others: tuple[Path, ...], ours: bool) -> DiagnosticFile:
    declared, problem = None, ""
    try:
        declared = library.read(name, path)
    except QueryError as error:
        problem = error.what
    paths = (path, *library.variant_files(path).values())
    return DiagnosticFile(
        path=path,
        name=name,
        texts={one: one.read_bytes().decode(errors="replace") for one in paths},
        declared=declared,
        problem=problem,
        others=others,
        ours=ours,
    )


def check(file: DiagnosticFile, around: Surroundings) -> list[Problem]:
    """Apply the rules about diagnostics to one file; pure."""
    return [
        Problem(
            code=rule.code,
            name=rule.name,
            level=level,
            path=file.path,
            cell=0,
            cell_id="",
            line=one.line,
            message=one.message,
            next_step=one.next_step,
        )
        for rule in RULES.values()
        if rule.about == "diagnostic"
        and (level := around.levels.get(rule.code, rule.level)) is not Level.OFF
        for one in rule.check(file, around)
    ]


@diagnostic_rule("RB801", "diagnostic-header", Level.ERROR, "complete")
def header(file: DiagnosticFile, _around: Surroundings) -> Iterator[Found]:
    """A diagnostic cannot be read: its header is missing, is not YAML, or has a wrong field.

    Why: `rb.query` raises an error for this diagnostic, and the run stops.

    Instead: `purpose`, `columns` and `rules` as in the reference, within `/*` and `*/`, then one
    statement.
    """
    if file.declared is None:
        yield Found(0, 1, file.problem, "see docs/how-to/extend.md for the header")


@diagnostic_rule("RB802", "diagnostic-not-reading", Level.ERROR, "safe")
def not_reading(file: DiagnosticFile, around: Surroundings) -> Iterator[Found]:
    """A diagnostic has several statements, or one that may change something; the guard refuses it.

    Why: no query is sent, and every finding of this diagnostic is unknown.

    Instead: write one SELECT. Propose changes in the runbook, with `rb.act`.
    """
    if file.declared is None:
        return
    for sql in (file.declared.sql, *file.declared.variants.values()):
        if reason := around.refuse_sql(file.declared.shown(sql)):
            yield Found(0, 0, reason, "write one SELECT")


@diagnostic_rule("RB803", "diagnostic-not-ascii", Level.ERROR, "maintained")
def not_ascii(file: DiagnosticFile, _around: Surroundings) -> Iterator[Found]:
    """The SQL of a diagnostic holds a character that is not ASCII.

    Why: a database whose encoding lacks this character refuses the whole statement.

    Instead: write the SQL and its comments in ASCII. The header may contain any character, because
    it is not sent to the database.
    """
    for path, text in file.texts.items():
        header = text.partition("*/")[0] if text.lstrip().startswith("/*") else ""
        first = header.count("\n") + 1
        for number, line in enumerate(text[len(header) :].split("\n"), first):
            if odd := next((one for one in line if not one.isascii()), ""):
                named = "" if path == file.path else f" of {path.name}"
                message = f"U+{ord(odd):04X}{named} is not ASCII"
                yield Found(0, number, message, "write this character in ASCII")


@diagnostic_rule("RB804", "diagnostic-limit-not-told", Level.ERROR, "verifiable")
def limit_not_told(file: DiagnosticFile, _around: Surroundings) -> Iterator[Found]:
    """A diagnostic has a LIMIT, but does not return the number of all rows.

    Why: the missing rows look as if they did not exist, and the rules judge only the returned rows.

    Instead: return `count(*) OVER () AS of_all`, or remove the LIMIT and rely on the row cap of the
    connection.
    """
    if file.declared is None or file.declared.batch:
        return
    for sql in (file.declared.sql, *file.declared.variants.values()):
        if _LIMIT.search(_code(sql)) and "of_all" not in sql:
            yield Found(
                0,
                0,
                "the query has a LIMIT but does not return the number of all rows",
                "add count(*) OVER () AS of_all",
            )


@diagnostic_rule("RB805", "diagnostic-name-taken", Level.ERROR, "complete")
def name_taken(file: DiagnosticFile, _around: Surroundings) -> Iterator[Found]:
    """Two diagnostics have the same name.

    Why: a diagnostic of rbkernel takes precedence; of two files of a team, neither is used.

    Instead: rename the file or its folder.
    """
    if file.ours:
        message = f"rbkernel has a diagnostic {file.name}, so this file is not used"
        yield Found(0, 0, message, "rename the file or its folder")
    for other in file.others:
        yield Found(
            0, 0, f"{file.name} has the same name as {other}", "rename one of the two files"
        )


@diagnostic_rule("RB806", "diagnostic-columns", Level.ERROR, "verifiable")
def columns(file: DiagnosticFile, _around: Surroundings) -> Iterator[Found]:
    """A rule or the figure of a diagnostic refers to a column that the header does not declare.

    Why: the result has only the declared columns, so the finding is always unknown.

    Instead: declare the column under `columns`, or correct its name.
    """
    if file.declared is None:
        return
    known = {*file.declared.columns}
    for rule in file.declared.rules:
        for name in sorted({rule.column, rule.by, rule.each, *rule.where} - {""} - known):
            yield Found(
                0, 0, f"{rule.title}: {name} is not a declared column", "declare the column"
            )
    if figure := file.declared.figure:
        for name in sorted({figure.x, figure.y, figure.by} - {""} - known):
            yield Found(0, 0, f"the figure: {name} is not a declared column", "declare the column")


@diagnostic_rule("RB807", "diagnostic-unit", Level.WARNING, "actionable")
def units(file: DiagnosticFile, _around: Surroundings) -> Iterator[Found]:
    """A rule judges a value whose unit is not given.

    Why: the engineer on call cannot tell whether 600 means seconds or milliseconds.

    Instead: write `unit: s` in the rule. A rule that counts rows needs no unit.
    """
    for rule in file.declared.rules if file.declared else ():
        if rule.agg != "rows" and not rule.unit and _FIGURE_NAMES.fullmatch(rule.column):
            yield Found(0, 0, f"{rule.title}: the rule has no unit", "add `unit:` to the rule")


@diagnostic_rule("RB808", "diagnostic-not-judged", Level.WARNING, "actionable")
def not_judged(file: DiagnosticFile, _around: Surroundings) -> Iterator[Found]:
    """A diagnostic has no rule, or a rule lacks its cause, next step or source.

    The source says where the threshold comes from.

    Why: without a verdict, the reader has to judge the rows.

    Instead: declare `rules`, each with `cause`, `next_step` and `source`.
    """
    if file.declared is None:
        return
    if not file.declared.rules:
        yield Found(0, 0, "the diagnostic has no rule", "add one under `rules`")
    for rule in file.declared.rules:
        fields = ("cause", "next_step", "source")
        if missing := [name for name in fields if not getattr(rule, name)]:
            yield Found(
                0,
                0,
                f"{rule.title}: the rule has no {', '.join(missing)}",
                "add what is missing to the rule",
            )


@diagnostic_rule("RB809", "diagnostic-parameters", Level.ERROR, "complete")
def parameters(file: DiagnosticFile, _around: Surroundings) -> Iterator[Found]:
    """The SQL of a diagnostic and its header have different parameters.

    Why: a parameter that the header does not declare cannot be passed, so the query is not sent.

    Instead: declare each `:name` under `parameters`, and remove those that the SQL does not use.
    """
    if file.declared is None:
        return
    declared = file.declared
    asked = {
        *(["after", "batch"] if declared.batch else []),
        *(declared.requires_table.parameters() if declared.requires_table else []),
        *(["every_s"] if declared.twice else []),
    }
    for sql in (declared.sql, *declared.variants.values()):
        try:
            used = {*lexer.parameters(sql)}
        except SqlTextError as error:
            yield Found(0, 0, error.what, error.next_step or "correct the SQL")
            continue
        for name in sorted(used - {*declared.parameters} - asked):
            yield Found(0, 0, f":{name} is not declared", "declare it under `parameters`")
        for name in sorted({*declared.parameters} - used - asked):
            yield Found(0, 0, f"the SQL does not use :{name}", "remove it from `parameters`")


def _code(sql: str) -> str:
    """Return the SQL without comments and string literals."""
    try:
        parts = lexer.tokens(sql)
    except SqlTextError:
        return sql
    hidden = {"string", "escape_string", "dollar"}
    return "".join(" " if kind in hidden or "comment" in kind else text for kind, text in parts)
