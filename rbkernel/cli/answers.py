"""Run the diagnostic of `rbkernel query`, and print its findings.

This is a separate module because it imports pandas, for which no other command should wait.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from contextlib import closing

import pandas as pd
import typer

from rbkernel import config
from rbkernel.checks import rules
from rbkernel.checks.answer import provenance
from rbkernel.cli.output import Ending, print_findings, print_json, print_table
from rbkernel.cli.parameters import name_and_value
from rbkernel.errors import ParameterError, QueryError
from rbkernel.model import Finding, Verdict, explained
from rbkernel.runbook import catalogue
from rbkernel.sources.postgres import diagnostics, overview
from rbkernel.sources.postgres.connection.session import Session

OVERVIEW = "overview"


def answer(name: str, db: str, given: Iterable[str], *, as_json: bool, sql: bool) -> None:
    """Run a diagnostic, print its findings, and exit with the exit code of the verdict."""
    settings = config.load()
    diagnostics.use(settings.catalogue.diagnostics)
    if not name:
        _list(as_json=as_json)
        return
    if sql and name == OVERVIEW:
        raise ParameterError(
            f"{OVERVIEW} runs many queries, so it has no single SQL text",
            where="--sql",
            next_step=f"name one of its diagnostics: {', '.join(overview.TOPICS)}",
        )
    if sql:
        typer.echo(diagnostics.get(name).shown_sql)
        return
    if not db:
        raise ParameterError(
            f"no connection was given for {name}",
            where="rbkernel query",
            next_step=f"run `rbkernel query {name} DB` with the name of a connection",
        )
    values = dict(name_and_value(text) for text in given)
    connection = settings.connection(db)
    with closing(Session(connection, application_name=f"rbkernel/query/{name}")) as session:
        if name == OVERVIEW:
            frame, findings = pd.DataFrame(), _overview(session, values)
        else:
            frame = diagnostics.run(session, name, **diagnostics.typed(name, values))
            findings = [rules.apply(rule, frame) for rule in diagnostics.get(name).rules]
    findings = [explained(finding, finding.opens, findings) for finding in findings]
    known = catalogue.ids(settings.catalogue.paths)
    findings = [finding.that_can_open(known) for finding in findings]
    _print(frame, findings, as_json=as_json)
    raise Ending(Verdict.worst(finding.verdict for finding in findings).exit_code)


def _overview(session: Session, values: dict[str, str]) -> list[Finding]:
    if unknown := sorted(values.keys() - {"standby_name", "housekeeping"}):
        raise ParameterError(
            f"{OVERVIEW} does not take {', '.join(unknown)}",
            where="-p",
            next_step="use standby_name (the application_name of the standby)"
            " or housekeeping=true (also checks what is not urgent)",
        )
    housekeeping = values.get("housekeeping", "false").lower()
    if housekeeping not in {"true", "false"}:
        raise ParameterError(
            f"housekeeping={housekeeping} must be true or false",
            where="-p",
            next_step="use true or false",
        )
    return list(
        overview.survey(
            session,
            standby_name=values.get("standby_name", ""),
            housekeeping=housekeeping == "true",
        )
    )


def _list(*, as_json: bool) -> None:
    known = [(name, _purpose(name)) for name in diagnostics.names()]
    if as_json:
        print_json([{"name": name, "purpose": purpose} for name, purpose in known])
        return
    print_table(("diagnostic", "purpose"), known)
    typer.echo(f"{OVERVIEW}: the most common problems, in one call")


def _purpose(name: str) -> str:
    try:
        return diagnostics.get(name).purpose
    except QueryError as error:
        return str(error)


def _print(frame: pd.DataFrame, findings: list[Finding], *, as_json: bool) -> None:
    facts = provenance(frame)
    if as_json:
        rows = json.loads(frame.to_json(orient="records", date_format="iso"))
        origin = dataclasses.asdict(facts) if facts else None
        found = [dataclasses.asdict(finding) for finding in findings]
        print_json({"rows": rows, "provenance": origin, "findings": found})
        return
    if len(frame):
        shown = frame.to_string(index=False, max_colwidth=60, na_rep="")
        typer.echo(shown)
    print_findings(findings)
