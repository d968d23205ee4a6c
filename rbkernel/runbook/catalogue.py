"""The catalogue: every runbook in the configured folders, then our own.

A team keeps runbooks next to its code, so its folders come first, and an id of theirs hides ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from rbkernel import notebookformat
from rbkernel.errors import RbkernelError, RunbookError, UnknownRunbook
from rbkernel.model import INCIDENT_ID, RUN_ID, Severity
from rbkernel.runbook import frontmatter, parameters
from rbkernel.runbook.frontmatter import FrontMatter
from rbkernel.runbook.parameters import Parameter
from rbkernel.runbook.placeholders import hints

POSTMORTEM = "POSTMORTEM"
_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Runbook:
    """A readable runbook: where it lies, its bytes, and what it declares.

    ``cells`` are (kind, source), in order. A working copy of a run says which run it
    ``continues``, and in which ``incident``.
    """

    path: Path
    document: bytes
    front_matter: FrontMatter
    parameters: dict[str, Parameter]
    cells: tuple[tuple[str, str], ...] = ()
    continues: str = ""
    incident: str = ""

    @property
    def id(self) -> str:
        """The runbook's id, such as ``RUN-005``."""
        return self.front_matter.id

    @property
    def is_one_to_run(self) -> bool:
        """Whether it is no working copy, which must not hide its runbook, and no postmortem."""
        return not self.continues and self.id != POSTMORTEM

    @property
    def placeholders(self) -> list[str]:
        """What is still to be filled in, anywhere in the document, in order."""
        return [hint for _, source in self.cells for hint in hints(source)]

    @property
    def prose(self) -> list[str]:
        """The Markdown cells, in order."""
        return [source for kind, source in self.cells if kind == "markdown"]


def packaged(kind: str) -> Path:
    """Return the folder of our own ``notebooks`` or ``templates``: the checkout's, if there is
    one, else the installed copy.
    """
    checkout = _PACKAGE.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / kind).is_dir():
        return checkout / kind
    return _PACKAGE / "_packaged" / kind


def read(path: Path) -> Runbook:
    """Read one runbook.

    Raises
    ------
    RunbookError
        The file is missing, no notebook, or has no valid front matter or parameters.
    """
    where = str(path)
    try:
        document = path.read_bytes()
        notebook = parse(document)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RunbookError(
            f"the runbook cannot be read: {reason}",
            where=where,
            next_step="check the path, and open the file in JupyterLab",
        ) from error
    return Runbook(
        path=path,
        document=document,
        front_matter=frontmatter.of_notebook(notebook, where),
        parameters=parameters.declared(notebook, where),
        cells=tuple((cell.cell_type, cell.source) for cell in notebook.cells),
        continues=_told(notebook, "continues", RUN_ID),
        incident=_told(notebook, "incident", INCIDENT_ID),
    )


def _told(notebook: NotebookNode, name: str, form: re.Pattern[str]) -> str:
    """Return what a working copy says of itself; empty where it is not of that form."""
    own = notebook.metadata.get("rbkernel")
    said = str(own.get(name, "")) if isinstance(own, Mapping) else ""
    return said if form.fullmatch(said) else ""


def parse(document: bytes) -> NotebookNode:
    """Read a notebook from bytes, in the current format.

    Raises
    ------
    ValueError
        The bytes are no notebook.
    """
    notebookformat.load(document)
    try:
        notebook: NotebookNode = nbformat.reads(document.decode("utf-8-sig"), as_version=4)
        nbformat.validate(notebook)
    except (nbformat.ValidationError, AttributeError, TypeError, KeyError) as error:
        raise ValueError("it is not a valid notebook") from error
    return notebook


def runbooks(folders: Sequence[Path]) -> tuple[list[Runbook], list[RbkernelError]]:
    """Read all runbooks of the folders and of our own catalogue.

    Returns
    -------
    tuple
        The runbooks by id, the first of each id, that are to be run; and what could not be read.
    """
    found: dict[str, Runbook] = {}
    problems: list[RbkernelError] = []
    for folder in [*folders, packaged("notebooks")]:
        for path in sorted(folder.glob("**/*.ipynb")):
            if ".ipynb_checkpoints" in path.parts:
                continue
            try:
                runbook = read(path)
            except RbkernelError as error:
                problems.append(error)
            else:
                if runbook.is_one_to_run:
                    found.setdefault(runbook.id, runbook)
    return sorted(found.values(), key=lambda runbook: runbook.id), problems


def ids(folders: Sequence[Path]) -> frozenset[str]:
    """Return the ids of all runbooks that can be opened."""
    return frozenset(runbook.id for runbook in runbooks(folders)[0])


def by_need(runbooks: Iterable[Runbook]) -> list[Runbook]:
    """Sort as an engineer on call needs them: the most severe, incidents first, then by id."""

    def need(runbook: Runbook) -> tuple[int, bool, str]:
        severity = runbook.front_matter.internal_severity
        rank = list(Severity).index(severity) if severity else len(Severity)
        return rank, runbook.front_matter.category != "incident", runbook.id

    return sorted(runbooks, key=need)


def find(id_or_path: str, folders: Sequence[Path]) -> Runbook:
    """Return one runbook, by id or by path.

    Raises
    ------
    UnknownRunbook
        The catalogue holds no such id, and there is no such file.
    RunbookError
        The file is there and is no runbook.
    """
    if id_or_path.endswith(".ipynb"):
        return read(Path(id_or_path))
    known, problems = runbooks(folders)
    wanted = id_or_path.upper()
    for runbook in known:
        if runbook.id == wanted:
            return runbook
    unread = f" ({len(problems)} notebooks could not be read)" if problems else ""
    raise UnknownRunbook(
        f"no runbook has the id {id_or_path!r}{unread}",
        where=", ".join(str(folder) for folder in [*folders, packaged("notebooks")]),
        next_step="see `rbkernel list` for the ids there are",
    )
