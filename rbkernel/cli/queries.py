"""`rbkernel query`: one diagnostic on a terminal, judged by its own rules."""

from __future__ import annotations

import dataclasses
import json
from contextlib import closing
from typing import Annotated

import pandas as pd
import typer

from rbkernel import config
from rbkernel.cli.output import AsJson, Ending, name_and_value, print_json, print_table
from rbkernel.errors import ParameterError
from rbkernel.model import Finding, Verdict
from rbkernel.postgres import diagnostics, overview, rules
from rbkernel.postgres.session import Session, provenance
from rbkernel.runbook import catalogue
from rbkernel.triage.cards import finding_text

OVERVIEW = "overview"


def query(
    name: Annotated[
        str, typer.Argument(help="A diagnostic, or overview; nothing lists those there are.")
    ] = "",
    db: Annotated[str, typer.Argument(help="The connection to ask.")] = "",
    parameter: Annotated[
        list[str], typer.Option("--parameter", "-p", help="A parameter, as name=value; repeat it.")
    ] = [],  # noqa: B006  # typer reads the default, nobody changes it
    as_json: AsJson = False,
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL, and ask nothing.")] = False,
) -> None:
    """Ask one diagnostic, or everything at once (overview), and judge the answer."""
    if not name:
        _list(as_json=as_json)
        return
    if sql and name == OVERVIEW:
        raise ParameterError(
            f"{OVERVIEW} is many queries",
            where="--sql",
            next_step=f"name one of {', '.join(overview.TOPICS)}",
        )
    if sql:
        typer.echo(diagnostics.get(name).sql)
        return
    if not db:
        raise ParameterError(
            f"which database should be asked {name}?",
            where="rbkernel query",
            next_step=f"run `rbkernel query {name} DB` with the name of a connection",
        )
    values = dict(name_and_value(text) for text in parameter)
    settings = config.load()
    connection = settings.connection(db)
    with closing(Session(connection, application_name=f"rbkernel/query/{name}")) as session:
        if name == OVERVIEW:
            frame, findings = pd.DataFrame(), _overview(session, values)
        else:
            frame = diagnostics.run(session, name, **diagnostics.typed(name, values))
            findings = [rules.apply(rule, frame) for rule in diagnostics.get(name).rules]
    known = catalogue.ids(settings.catalogue.paths)
    findings = [finding.that_can_open(known) for finding in findings]
    _print(frame, findings, as_json=as_json)
    raise Ending(Verdict.worst(finding.verdict for finding in findings).exit_code)


def _overview(session: Session, values: dict[str, str]) -> list[Finding]:
    if unknown := sorted(values.keys() - {"standby_name"}):
        raise ParameterError(
            f"{OVERVIEW} does not take {', '.join(unknown)}",
            where="-p",
            next_step="give it standby_name, the application_name of the standby, or nothing",
        )
    return list(overview.look(session, **values))


def _list(*, as_json: bool) -> None:
    known = [diagnostics.get(name) for name in diagnostics.names()]
    if as_json:
        print_json([{"name": one.name, "purpose": one.purpose} for one in known])
        return
    print_table(("diagnostic", "asks"), [(one.name, one.purpose) for one in known])
    typer.echo(f"{OVERVIEW}: everything that goes wrong often, at once")


def _print(frame: pd.DataFrame, findings: list[Finding], *, as_json: bool) -> None:
    told = provenance(frame)
    if as_json:
        rows = json.loads(frame.to_json(orient="records", date_format="iso"))
        origin = dataclasses.asdict(told) if told else None
        found = [dataclasses.asdict(finding) for finding in findings]
        print_json({"rows": rows, "provenance": origin, "findings": found})
        return
    if len(frame):
        shown = frame.to_string(index=False, max_colwidth=60, na_rep="")
        typer.echo(shown)
    for finding in sorted(findings, key=lambda finding: -finding.verdict.rank):
        typer.echo(finding_text(finding))
