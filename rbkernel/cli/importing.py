"""The command `rbkernel import`: convert a Markdown runbook to a notebook."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rbkernel import amounts, config
from rbkernel.cli.output import AsJson, print_json
from rbkernel.errors import RbkernelError, RunbookError
from rbkernel.runbook.placeholders import PLACEHOLDER, hints

if TYPE_CHECKING:
    from rbkernel.importer.notebook import Imported
    from rbkernel.importer.report import Report

# the most blocks kept as text that a terminal shows; --report lists all
_TOLD = 12
_ROTATE = (
    "the secret is still in the Markdown file; remove it there, and rotate it if others have seen"
    " the file"
)


def import_runbook(
    source: Annotated[Path, typer.Argument(help="The Markdown file.", metavar="RUNBOOK.md")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The notebook to write, or a folder for it."),
    ] = None,
    split: Annotated[
        bool, typer.Option("--split", help="Create one notebook per runbook in the file.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write a report of each block (.md or .json).")
    ] = None,
    db: Annotated[
        str,
        typer.Option(
            help="The connection for the queries of the notebook. Default: the default connection."
        ),
    ] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite notebooks that were edited or run.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Convert a Markdown runbook to a notebook; nothing is lost, nothing is executed.

    Exit codes: 0 written, 3 error.

    Example: rbkernel import RUNBOOK.md -o runbooks/
    """
    from rbkernel.importer import report as reports

    if report and not report.absolute().parent.is_dir():
        raise RunbookError(
            "the folder of the report does not exist; nothing was written",
            where=str(report.parent),
            next_step="create the folder, or give --report a file in another folder",
        )
    made = _convert(source, output, split=split, db=db)
    paths = _paths(source, output, made)
    written = _write(made, paths, force=force)
    named = [(path.name, one.report) for path, one in zip(paths, made, strict=True)]
    if report:
        _save_report(report, source.name, named)
    for secret in [secret for one in made for secret in one.report.secrets]:
        typer.echo(f"warning: {source}: {secret}: {_ROTATE}", err=True)
    if as_json:
        print_json(
            [
                {"notebook": str(path), "id": one.id, "title": one.title, "written": new}
                | one.report.as_data()
                for path, one, new in zip(paths, made, written, strict=True)
            ]
        )
        return
    for path, one, new in zip(paths, made, written, strict=True):
        typer.echo(f"{path}: {one.id} {one.title}" + ("" if new else " (unchanged)"))
        counts = ", ".join(f"{count} {fate}" for fate, count in one.report.counts.items())
        typer.echo(f"  blocks: {counts}; {_left_open(one)}")
        kept = [reports.line_of(entry) for entry in one.report.kept]
        for line in [
            *kept[:_TOLD],
            *([f"and {more} more"] if (more := len(kept) - _TOLD) > 0 else []),
        ]:
            typer.echo(f"  kept as text: {line}")


def _left_open(one: Imported) -> str:
    holes = sum(len(hints(cell.source)) for cell in one.notebook.cells)
    return (
        f"{amounts.count(holes, 'placeholder')} to fill in"
        if holes
        else "no placeholder to fill in"
    )


def _convert(source: Path, output: Path | None, *, split: bool, db: str) -> list[Imported]:
    from rbkernel.importer import notebook
    from rbkernel.importer.convert import convert
    from rbkernel.importer.reading import source as sources
    from rbkernel.runbook import catalogue
    from rbkernel.sql import guard

    try:
        document = source.read_bytes()
    except OSError as error:
        raise RunbookError(
            f"the Markdown file cannot be read: {error.strerror}",
            where=str(source),
            next_step="check the path",
        ) from error

    if not document.strip():
        raise RunbookError("the file is empty", where=str(source), next_step="check the path")

    def refuses(sql: str) -> str:
        try:
            guard.check(sql)
        except RbkernelError as error:
            return error.what.removeprefix("refused: ")
        return ""

    known, _ = catalogue.runbooks(config.load().catalogue.paths)
    ours = catalogue.packaged("notebooks")  # a team's runbook with the same id takes precedence
    there = _there(source, output)
    named = sources.name_of(str(source.absolute()))
    earlier = dict(filter(None, (notebook.identity(one, named) for one in there)))
    taken = {one.id for one in known if one.path.parent != ours} | {
        one for one in map(notebook.id_of, there) if one
    }
    taken -= set(earlier.values())
    return convert(
        document,
        name=named,
        refuses=refuses,
        taken=taken,
        split=split,
        db=db,
        earlier=earlier,
    )


def _there(source: Path, output: Path | None) -> list[bytes]:
    """Return the contents of all notebooks in the folder to which the import will write."""
    folder = _folder(source, output)
    files = sorted(folder.glob("*.ipynb")) if folder.is_dir() else []
    return [file.read_bytes() for file in files if file.is_file()]


def _folder(source: Path, output: Path | None) -> Path:
    if output is None:
        return source.parent
    return output.parent if output.suffix == ".ipynb" else output


def _paths(source: Path, output: Path | None, made: Sequence[Imported]) -> list[Path]:
    if output and output.suffix == ".ipynb":
        if len(made) > 1:
            raise RunbookError(
                f"the file has {len(made)} runbooks, but {output} is one notebook",
                where=str(source),
                next_step="use a folder with -o, or omit --split",
            )
        return [output]
    from rbkernel.importer.reading import source as sources

    folder = _folder(source, output)
    if len(made) == 1:
        return [folder / _name(sources.notebook_stem(str(source.absolute())))]
    return [folder / _name(f"{one.id} {one.title}") for one in made]


def _name(title: str) -> str:
    from rbkernel.runbook.scaffold import file_name

    return file_name(PLACEHOLDER.sub(r"\g<hint>", title))


def _write(made: Sequence[Imported], paths: Sequence[Path], *, force: bool) -> list[bool]:
    """Write the imported notebooks that are new or changed; return for each if it was written.

    If one existing notebook was edited or run, and ``force`` is false, nothing is written.
    """
    from rbkernel.evidence import store

    present = [path.read_bytes() if path.exists() else None for path in paths]
    new = [one.document != there for one, there in zip(made, present, strict=True)]
    for path, there, changed in zip(paths, present, new, strict=True):
        if changed and there is not None and not force and not _is_ours(there):
            raise RunbookError(
                "the notebook was edited or run since its import, or was not imported",
                where=str(path),
                next_step="choose another path with -o, or overwrite it with --force",
            )
    for one, path, changed in zip(made, paths, new, strict=True):
        if changed:
            path.absolute().parent.mkdir(parents=True, exist_ok=True)
            store.write_atomically(path.absolute(), one.document, mode=0o644)
    return new


def _is_ours(document: bytes) -> bool:
    from rbkernel.importer import notebook
    from rbkernel.runbook import catalogue

    try:
        return notebook.untouched(catalogue.parse(document))
    except ValueError:
        return False


def _save_report(path: Path, title: str, named: Sequence[tuple[str, Report]]) -> None:
    from rbkernel.evidence import store
    from rbkernel.importer import report as reports

    if path.suffix == ".json":
        data = {name: report.as_data() for name, report in named}
        text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    else:
        text = reports.as_markdown(title, named)
    store.write_atomically(path.absolute(), text.encode(), mode=0o644)
