"""Create a new runbook from a template, with an id, a title, and placeholders for the rest.

The template is copied unchanged, including comments and cell ids; only the given fields are filled
in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import nbformat

from rbkernel.errors import RunbookError, UnknownRunbook
from rbkernel.runbook import catalogue, frontmatter, frontmatter_text
from rbkernel.runbook.catalogue import Runbook
from rbkernel.runbook.placeholders import PLACEHOLDER, unfilled

# lower ids are reserved for rbkernel's runbooks, see docs/reference/configuration.md
_FIRST_OF_YOURS = 100


def templates() -> dict[str, Runbook]:
    """Return the templates by name, as `rbkernel new` takes them."""
    found = (
        catalogue.read(path) for path in sorted(catalogue.packaged("templates").glob("*.ipynb"))
    )
    return {runbook.path.stem: runbook for runbook in found}


def template(name: str) -> Runbook:
    """Return a template by its name.

    Raises
    ------
    UnknownRunbook
        There is no such template; the message lists the existing templates.
    """
    known = templates()
    wanted = name.lower().replace("-", "_").removesuffix(".ipynb")
    if wanted not in known:
        raise UnknownRunbook(
            f"there is no template {name!r}",
            where=str(catalogue.packaged("templates")),
            next_step=f"use one of {', '.join(known)}",
        )
    return known[wanted]


def purpose(form: Runbook) -> str:
    """Return the purpose of a template, in the template's own words."""
    about = json.loads(form.document)["metadata"].get("rbkernel", {})
    return str(about.get("purpose", ""))


def next_free_id(taken: Iterable[str]) -> str:
    """Return the lowest unused id from RUN-100 on.

    >>> next_free_id(["RUN-001", "RUN-100", "RUN-102"])
    'RUN-101'
    """
    numbers = {int(found[0]) for one in taken if (found := re.search(r"\d+$", one))}
    number = next(n for n in range(_FIRST_OF_YOURS, 10**9) if n not in numbers)
    return f"RUN-{number:03}"


def file_name(title: str) -> str:
    """Return a file name made from a title.

    >>> file_name("Outbox backlog: 5 min"), file_name("Überlauf der Queue"), file_name("…")
    ('outbox_backlog_5_min.ipynb', 'überlauf_der_queue.ipynb', 'runbook.ipynb')
    """
    stem = "_".join(re.findall(r"\w+", title.lower()))[:80].strip("_")
    return f"{stem or 'runbook'}.ipynb"


def filled_in(form: Runbook, *, id: str, title: str, fields: Mapping[str, str]) -> bytes:  # noqa: A002
    """Return a new runbook: a template with an id, a title and other fields filled in.

    Parameters
    ----------
    form
        The template.
    id
        The new runbook's id.
    title
        The new runbook's title; it also replaces the placeholder of the title in the text.
    fields
        Further fields of the front matter; an empty field keeps its placeholder.

    Returns
    -------
    bytes
        The notebook.

    Raises
    ------
    RunbookError
        A field is invalid.
    """
    notebook = catalogue.parse(form.document)
    hole = PLACEHOLDER.search(form.front_matter.title)
    said = {name: value for name, value in fields.items() if value}
    named = form.front_matter.title.replace(hole[0], title) if hole else title
    head = notebook.cells[0]
    head.source = frontmatter_text.edit(head.source, {"id": id, "title": named, **said})
    for cell in notebook.cells[1:]:
        if cell.cell_type == "markdown" and hole:
            cell.source = cell.source.replace(hole[0], title)
        if cell.cell_type == "code":
            cell.source = cell.source.replace(f'"{form.id}"', f'"{id}"')
    _, problems = frontmatter.examine(notebook)
    if problems or id.startswith("TEMPLATE"):
        summary = "; ".join(f"{one.field}: {one.message}" for one in problems)
        raise RunbookError(
            summary or "the id is a template's",
            where="rbkernel new",
            next_step="give another value; nothing has been written",
        )
    notebook.metadata.pop("rbkernel", None)
    written: str = nbformat.writes(notebook)
    return f"{written}\n".encode()


def create(
    form: Runbook,
    folder: Path,
    *,
    id: str,  # noqa: A002
    title: str,
    fields: Mapping[str, str],
    known: Iterable[Runbook],
) -> Path:
    """Write a new runbook.

    Parameters
    ----------
    form
        The template.
    folder
        The folder of the new file, which is created if missing.
    id
        The new runbook's id; if empty, the next free id.
    title, fields
        As for `filled_in`.
    known
        The existing runbooks.

    Returns
    -------
    Path
        The new file.

    Raises
    ------
    RunbookError
        The id is in use, the file exists or cannot be written, or a field is invalid.
    """
    taken = {runbook.id: runbook.path for runbook in known}
    wanted = id or next_free_id(taken)
    if wanted in taken:
        raise RunbookError(
            f"the id {wanted} is taken",
            where=str(taken[wanted]),
            next_step=f"leave --id out, or take {next_free_id(taken)}",
        )
    path = folder / file_name(title)
    document = filled_in(form, id=wanted, title=title, fields=fields)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(document)
    except FileExistsError as error:
        raise RunbookError(
            "a file of that name is there already",
            where=str(path),
            next_step="choose another name, or another folder with --to",
        ) from error
    except OSError as error:
        raise RunbookError(
            f"the runbook cannot be written: {error.strerror}",
            where=str(path),
            next_step="choose another folder with --to",
        ) from error
    return path


def missing(form: Runbook) -> list[str]:
    """Return the empty fields of a template that `rbkernel new` asks for."""
    front = form.front_matter
    asked = {
        "summary": front.summary,
        "category": front.category,
        "severity": front.severity,
        "owner": front.owner,
    }
    return [name for name, value in asked.items() if value is None or unfilled(value)]
