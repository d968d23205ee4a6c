"""The commands for runbooks: `rbkernel list`, `show`, `search`, `new` and `schema`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from rbkernel import amounts, config
from rbkernel.cli.output import AsJson, Ending, complain, print_json, print_table, tell
from rbkernel.cli.terminal import completing
from rbkernel.errors import ParameterError


def list_runbooks(as_json: AsJson = False) -> None:
    """List the runbooks of the catalogue, most severe first.

    Exit codes: 0 listed, 3 error.

    Example: rbkernel list --json
    """
    from rbkernel.runbook import catalogue

    known, problems = catalogue.runbooks(config.load().catalogue.paths)
    known = catalogue.by_need(known)
    if as_json:
        print_json([_as_json(runbook) for runbook in known])
    else:
        rows = [(*_row(runbook), runbook.path.name) for runbook in known]
        print_table((*_NAMES, "notebook"), rows)
    for problem in problems:
        complain(problem)


def show(
    runbook: Annotated[
        str,
        typer.Argument(
            help="A runbook's id, or the path of a notebook.", autocompletion=completing.runbooks
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Show a runbook in the terminal: front matter, steps, parameters.

    Exit codes: 0 shown, 3 error.

    Example: rbkernel show RUN-005
    """
    from rbkernel.runbook import catalogue, page

    found = catalogue.find(runbook, config.load().catalogue.paths)
    if as_json:
        steps = [{"heading": one.heading, "text": one.text} for one in page.steps(found)]
        print_json({**_as_json(found), "steps": steps})
    else:
        typer.echo(page.text(found))


def search(
    words: Annotated[
        list[str], typer.Argument(help="Words to search for, an alert's name, or an id.")
    ],
    as_json: AsJson = False,
) -> None:
    """Search the titles, symptoms, alerts and text of runbooks; best match first.

    Exit codes: 0 found, 1 no match, 3 error.

    Example: rbkernel search replication lag
    """
    from rbkernel.runbook import catalogue
    from rbkernel.runbook.search import ranked

    known, problems = catalogue.runbooks(config.load().catalogue.paths)
    found = ranked(" ".join(words), known)
    if as_json:
        print_json(
            [{**_as_json(one.runbook), "score": one.score, "in": one.where} for one in found]
        )
    else:
        rows = [(*_row(one.runbook), one.excerpt) for one in found]
        print_table((*_NAMES, "where"), rows)
    for problem in problems:
        complain(problem)
    if not found:
        complain(
            f"no runbook matches {' '.join(words)!r}. Next: try fewer words, or `rbkernel list`"
        )
    raise Ending(0 if found else 1)


def new(
    template: Annotated[
        str, typer.Argument(help="The template to copy. Default: list all templates.")
    ] = "",
    name: Annotated[str, typer.Argument(help="The new runbook's title.")] = "",
    id: Annotated[str, typer.Option(help="The new id. Default: the next free id.")] = "",  # noqa: A002
    summary: Annotated[
        str, typer.Option(help="The purpose of the runbook, in two or three sentences.")
    ] = "",
    category: Annotated[
        str, typer.Option(help="incident, deployment, maintenance, recovery or escalation.")
    ] = "",
    severity: Annotated[
        str, typer.Option(help="The severity on your team's scale, such as SEV2.")
    ] = "",
    owner: Annotated[str, typer.Option(help="The team that maintains the runbook.")] = "",
    to: Annotated[
        Path | None,
        typer.Option(
            help="The folder to write to. Default: the first of [catalogue] paths, else the working"
            " folder."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create a runbook from a template, or list the templates if none is given.

    On a terminal, it asks for missing values.

    Exit codes: 0 created or listed, 3 error.

    Example: rbkernel new service "Checkout is slow" --severity SEV2
    """
    from rbkernel.runbook import catalogue, scaffold

    if not template:
        known_forms = {key: scaffold.purpose(one) for key, one in scaffold.templates().items()}
        if as_json:
            print_json(known_forms)
        else:
            print_table(("template", "for"), known_forms.items())
        return
    form = scaffold.template(template)
    folders = config.load().catalogue.paths
    given = {"summary": summary, "category": category, "severity": severity, "owner": owner}
    title = name or _asked("title")
    fields = {
        key: value or (_asked(key, optional=True) if key in scaffold.missing(form) else "")
        for key, value in given.items()
    }
    folder = to or next(iter(folders), Path())
    known, _ = catalogue.runbooks([*folders, folder])
    path = scaffold.create(form, folder, id=id, title=title, fields=fields, known=known)
    made = catalogue.read(path)
    left = len(made.placeholders)
    tell(
        f"{made.id} {made.front_matter.title}: {path}",
        f"{amounts.count(left, 'placeholder')} to fill in. Next: edit the notebook in JupyterLab,",
        f"then `rbkernel lint {path}` and `rbkernel run {path}`",
        as_json=as_json,
        id=made.id,
        title=made.front_matter.title,
        path=path,
        placeholders=list(made.placeholders),
    )


def schema() -> None:
    """Print the JSON Schema of the front matter, for an editor.

    Exit codes: 0 printed, 3 error.

    Example: rbkernel schema > front-matter.json
    """
    from rbkernel.runbook import schema as schemas

    print_json(schemas.front_matter())


_NAMES = ("id", "severity", "title", "respond", "tested", "category")


def _row(runbook: Any) -> tuple[str, ...]:
    front = runbook.front_matter
    tested = str(front.last_tested or "never")
    return (
        front.id,
        front.severity,
        front.title,
        front.response_time,
        tested,
        front.category or "",
    )


def _as_json(runbook: Any) -> dict[str, Any]:
    declared = [vars(one) for one in runbook.parameters.values()]
    fields = runbook.front_matter.model_dump(mode="json")
    return {"path": str(runbook.path), **fields, "declared_parameters": declared}


def _asked(field: str, *, optional: bool = False) -> str:
    if not sys.stdin.isatty():
        if optional:
            return ""
        raise ParameterError(
            f"the {field} is missing",
            where="rbkernel new",
            next_step="run `rbkernel new TEMPLATE NAME`, with the title in quotes",
        )
    hint = " (empty: later)" if optional else ""
    answer: str = typer.prompt(
        f"{field}{hint}", default="" if optional else None, show_default=False
    )
    return answer.strip()
