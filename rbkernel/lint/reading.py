"""Find and read the notebooks that lint checks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rbkernel.errors import RunbookError
from rbkernel.lint.diagnostics import files
from rbkernel.lint.document import Document
from rbkernel.lint.rule import DiagnosticFile
from rbkernel.runbook import catalogue


def notebooks(paths: Iterable[Path]) -> list[Path]:
    """Return the notebooks at the given paths: each file, and all notebooks below a folder.

    Raises
    ------
    RunbookError
        A path does not exist.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            below = sorted(path.glob("**/*.ipynb"))
            found += [one for one in below if ".ipynb_checkpoints" not in one.parts]
        elif path.exists():
            found += [path] if path.suffix != ".sql" else []
        else:
            raise RunbookError(
                "the file or folder does not exist", where=str(path), next_step="check the path"
            )
    return list({catalogue.real_path(path): _short(path) for path in found}.values())


def diagnostics(paths: Iterable[Path], folders: Sequence[Path]) -> list[DiagnosticFile]:
    """Return the team's diagnostics at the given paths: each file, and those below a folder."""
    wanted = {catalogue.real_path(path) for path in paths}
    homes = {file.parent.parent for file in wanted if file.suffix == ".sql"}
    homes |= {catalogue.real_path(folder) for folder in folders}
    known = ((one, catalogue.real_path(one.path)) for one in files(map(_short, sorted(homes))))
    return [one for one, path in known if wanted & {path, *path.parents}]


def _short(path: Path) -> Path:
    """Return a path relative to the working folder, if the file lies below that folder."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def documents(paths: Iterable[Path]) -> tuple[list[Document], list[RunbookError]]:
    """Read several notebooks for lint.

    Returns
    -------
    tuple
        The documents, and an error for each file that cannot be read as a notebook.
    """
    read: list[Document] = []
    unread: list[RunbookError] = []
    for path in paths:
        try:
            read.append(Document.read(path))
        except RunbookError as error:
            unread.append(error)
    return read, unread


def ids(read: Iterable[Document], folders: Sequence[Path]) -> dict[str, tuple[Path, ...]]:
    """Return the files by runbook id, of the read documents and the catalogue."""
    given = {catalogue.real_path(document.path): document for document in read}
    known = notebooks(folder for folder in folders if folder.is_dir())
    others = documents(path for path in known if catalogue.real_path(path) not in given)[0]
    found: dict[str, tuple[Path, ...]] = {}
    for path, document in [
        *given.items(),
        *((catalogue.real_path(one.path), one) for one in others),
    ]:
        if document.front is not None and not document.is_template:
            found[document.front.id] = (*found.get(document.front.id, ()), path)
    return found


def catalogue_folders(paths: Sequence[Path]) -> list[Path]:
    """Return the folders of the catalogue: the team's, then the bundled one."""
    return [*paths, catalogue.packaged("notebooks")]
