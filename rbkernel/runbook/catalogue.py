"""The catalogue: every runbook in the configured folders, then rbkernel's own runbooks.

The team's folders come first, so a team's runbook replaces a bundled runbook with the same id. Of
two documents with the same id the first is used, ordered by folder, then by path. An unreadable
document keeps its id, so that no other document silently replaces it. Executed notebooks, working
copies, checkpoints and evidence are never entries.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rbkernel import notebookformat
from rbkernel.errors import ExecutedNotebook, RbkernelError, RunbookError, UnknownRunbook
from rbkernel.model import INCIDENT_ID, RUN_ID, Severity
from rbkernel.runbook import connections, frontmatter, gist, parameters
from rbkernel.runbook.frontmatter import FrontMatter
from rbkernel.runbook.frontmatter_sections import Trigger
from rbkernel.runbook.parameters import Parameter
from rbkernel.runbook.placeholders import hints

if TYPE_CHECKING:
    from nbformat import NotebookNode

POSTMORTEM = "POSTMORTEM"
# a file may change twice within the resolution of its times
_SETTLED_S = 2.0
# what `look` has read, with the state of the file
_read: dict[Path, tuple[tuple[int, ...], Runbook | Unreadable | None]] = {}
_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Runbook:
    """A runbook that could be read: its path, its bytes, its front matter and its parameters.

    ``cells`` are (kind, source), in order. For a working copy of a run, ``continues`` is the id of
    that run and ``incident`` the id of its incident. ``source`` is the Markdown file that an
    import made it from.
    """

    path: Path
    document: bytes
    front_matter: FrontMatter
    parameters: dict[str, Parameter]
    cells: tuple[tuple[str, str], ...] = ()
    continues: str = ""
    incident: str = ""
    source: str = ""

    @property
    def id(self) -> str:
        """The runbook's id, such as ``RUN-005``."""
        return self.front_matter.id

    @cached_property
    def used_connections(self) -> set[str]:
        """The names that the code uses as connections, including those not in `connections`."""
        return connections.used(self.cells) & {*self.parameters}

    @property
    def is_one_to_run(self) -> bool:
        """Whether the document is neither a working copy nor a postmortem.

        A working copy must not replace its runbook in the catalogue.
        """
        return not self.continues and self.id != POSTMORTEM

    @property
    def placeholders(self) -> list[str]:
        """The unfilled placeholders anywhere in the document, in order."""
        return [hint for _, source in self.cells for hint in hints(source)]

    @property
    def prose(self) -> list[str]:
        """The Markdown cells, in order."""
        return [source for kind, source in self.cells if kind == "markdown"]


def packaged(kind: str) -> Path:
    """Return the folder of rbkernel's own ``notebooks`` or ``templates``.

    The folder is in the checkout, if there is one, else in the installed package.
    """
    checkout = _PACKAGE.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / kind).is_dir():
        return checkout / kind
    return _PACKAGE / "_packaged" / kind


def read(path: Path) -> Runbook:
    """Read a runbook from its file.

    Raises
    ------
    RunbookError
        The file is missing, is not a notebook, or has no valid front matter or parameters.
    """
    return _runbook(path, *_opened(path))


def _opened(path: Path) -> tuple[bytes, NotebookNode]:
    try:
        document = path.read_bytes()
        plain = notebookformat.plain(notebookformat.load(document))
        return document, cast("NotebookNode", plain) if plain else parse(document)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RunbookError(
            f"the runbook cannot be read: {reason}",
            where=str(path),
            next_step="check the path, and open the file in JupyterLab",
        ) from error


def _runbook(path: Path, document: bytes, notebook: NotebookNode) -> Runbook:
    where = str(path)
    return Runbook(
        path=path,
        document=document,
        front_matter=frontmatter.of_notebook(notebook, where),
        parameters=parameters.declared(notebook, where),
        cells=tuple((cell.cell_type, cell.source) for cell in notebook.cells),
        continues=_told(notebook, "continues", RUN_ID),
        incident=_told(notebook, "incident", INCIDENT_ID),
        source=_source(notebook),
    )


def _source(notebook: NotebookNode) -> str:
    own = notebook.metadata.get("rbkernel")
    made = own.get("import") if isinstance(own, Mapping) else None
    return str(made.get("source", "")) if isinstance(made, Mapping) else ""


def _told(notebook: NotebookNode, name: str, form: re.Pattern[str]) -> str:
    """Return a text field of a notebook's rbkernel metadata; empty unless it matches ``form``."""
    own = notebook.metadata.get("rbkernel")
    said = str(own.get(name, "")) if isinstance(own, Mapping) else ""
    return said if form.fullmatch(said) else ""


def parse(document: bytes) -> NotebookNode:
    """Read a notebook from bytes, in the current format.

    Raises
    ------
    ValueError
        The bytes are not a notebook.
    """
    import nbformat  # slow

    notebookformat.load(document)
    try:
        notebook: NotebookNode = nbformat.reads(document.decode("utf-8-sig"), as_version=4)
        nbformat.validate(notebook)
    except (nbformat.ValidationError, AttributeError, TypeError, KeyError) as error:
        raise ValueError("the file is not a valid notebook") from error
    return notebook


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """A notebook that is meant to be a runbook but cannot be read as one.

    ``id`` is empty if the id is unknown. ``triggers`` is None if the triggers are unknown.
    """

    path: Path
    error: RunbookError
    id: str
    triggers: tuple[Trigger, ...] | None

    @property
    def name(self) -> str:
        """The id of the document; its file name if the id is unknown."""
        return self.id or self.path.name

    @property
    def reason(self) -> str:
        """The reason of the error: file, line and field."""
        where = self.error.where or self.path
        return f"runbook {self.name} is unreadable: {where}, {self.error.what}"

    @property
    def problem(self) -> RunbookError:
        """The error, with the runbook's name."""
        return RunbookError(
            f"runbook {self.name} is unreadable: {self.error.what}",
            where=self.error.where,
            next_step=self.error.next_step,
        )


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """The content of all folders: runbooks sorted by id, and the documents that are not used.

    ``unreadable`` are the documents that cannot be read as runbooks. ``doubles`` are the errors
    about documents that are not used because an earlier document has the same id.
    ``missing`` are the errors about folders that do not exist.
    """

    runbooks: tuple[Runbook, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    doubles: tuple[RunbookError, ...] = ()
    missing: tuple[RunbookError, ...] = ()

    @property
    def problems(self) -> list[RbkernelError]:
        """The errors about unreadable documents, duplicate ids and missing folders."""
        return [*self.missing, *(one.problem for one in self.unreadable), *self.doubles]

    def broken(self, id: str) -> Unreadable | None:  # noqa: A002
        """Return the unreadable document that has this id, if there is one."""
        return next((one for one in self.unreadable if one.id == id), None)


def look(folders: Sequence[Path]) -> Catalogue:
    """Read all notebooks of these folders and of rbkernel's own catalogue."""
    known: dict[str, Runbook | Unreadable] = {}
    nameless: list[Unreadable] = []
    executed: list[Unreadable] = []
    doubles: list[RunbookError] = []
    for path in files(folders):
        document = _examined(path)
        if document is None:
            continue
        if isinstance(document, Unreadable) and isinstance(document.error, ExecutedNotebook):
            executed.append(document)
        elif isinstance(document, Unreadable) and not document.id:
            nameless.append(document)
        elif (used := known.setdefault(document.id, document)) is not document:
            doubles += _double(document, used)
    # an executed copy beside its runbook is normal; without it, its alerts have no runbook
    alone = {one.id: one for one in executed if one.id and one.id not in known}
    found = [one for one in known.values() if isinstance(one, Runbook)]
    unread = [one for one in known.values() if isinstance(one, Unreadable)]
    return Catalogue(
        runbooks=tuple(sorted(found, key=lambda runbook: runbook.id)),
        unreadable=(*unread, *nameless, *alone.values()),
        doubles=tuple(doubles),
        missing=tuple(_missing(folder) for folder in folders if not folder.is_dir()),
    )


def _missing(folder: Path) -> RunbookError:
    return RunbookError(
        "the runbook folder does not exist",
        where=str(folder),
        next_step="create or mount it, or correct `paths` of [catalogue] in rbkernel.toml",
    )


def runbooks(folders: Sequence[Path]) -> tuple[list[Runbook], list[RbkernelError]]:
    """Read all runbooks of these folders and of rbkernel's own catalogue.

    Returns
    -------
    tuple
        The runbooks that can be run, sorted by id, the first of each id; and the problems.
    """
    found = look(folders)
    return list(found.runbooks), found.problems


def files(folders: Sequence[Path]) -> list[Path]:
    """Return the catalogue's notebooks in order, without checkpoints and evidence."""
    found = [
        path
        for folder in [*folders, packaged("notebooks")]
        for path in sorted(folder.glob("**/*.ipynb"))
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not any(_is_evidence(above) for above in (path.parent, path.parent.parent))
    ]
    return list({real_path(path): path for path in reversed(found)}.values())[::-1]


def real_path(path: Path) -> Path:
    """Resolve the links of a path; return the path itself if its links form a circle."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # RuntimeError before Python 3.13
        return path


def _is_evidence(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("journal.jsonl", "incident.jsonl"))


def _examined(path: Path) -> Runbook | Unreadable | None:
    """Read a notebook of the catalogue, unless it was read before and has not changed since.

    None if the notebook is not meant to be a runbook.
    """
    try:
        found = path.stat()
    except OSError:
        return _examine(path)
    state = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    known = _read.get(path)
    if known is None or known[0] != state:
        known = _read[path] = (state, _examine(path))
    if time.time() - found.st_ctime < _SETTLED_S:
        _read.pop(path, None)
    return known[1]


def _examine(path: Path) -> Runbook | Unreadable | None:
    try:
        document, notebook = _opened(path)
    except RunbookError as error:
        return _unreadable(path, error, _gist_of_file(path))
    if _told(notebook, "continues", RUN_ID):
        return None
    try:
        _refuse_executed(notebook, path)
        runbook = _runbook(path, document, notebook)
    except RunbookError as error:
        return _unreadable(path, error, gist.of_notebook(notebook))
    return runbook if runbook.is_one_to_run else None


def _unreadable(path: Path, error: RunbookError, known: gist.Gist) -> Unreadable:
    return Unreadable(path=path, error=error, id=known.id, triggers=known.triggers)


def id_of(path: Path) -> str:
    """Return the id of a notebook, even if its front matter is invalid; empty if it has none.

    An invalid id is returned in its probable valid form, if that can be recognized.
    """
    try:
        return gist.of_notebook(_opened(path)[1]).id
    except RunbookError:
        return ""


def _gist_of_file(path: Path) -> gist.Gist:
    try:
        return gist.of_bytes(path.read_bytes())
    except OSError:
        return gist.Gist()


def _refuse_executed(notebook: NotebookNode, path: Path) -> None:
    """Refuse an executed notebook: its cells hold the parameters and results of one run."""
    injected = any("injected-parameters" in _tags(cell) for cell in notebook.cells)
    if injected or "papermill" in notebook.metadata or any(map(_outputs, notebook.cells)):
        raise ExecutedNotebook(
            "this is an executed notebook, which is never used as a runbook",
            where=str(path),
            next_step="move it out of the catalogue; if it is the runbook itself, clear its outputs"
            f" with `rbkernel lint --fix {path}`, or take the document from before the run",
        )


def _tags(cell: NotebookNode) -> Sequence[str]:
    tags: Sequence[str] = cell.metadata.get("tags", ())
    return tags


def _outputs(cell: NotebookNode) -> bool:
    return bool(cell.get("outputs"))


def _double(document: Runbook | Unreadable, used: Runbook | Unreadable) -> list[RunbookError]:
    """Return an error about a document that is not used because ``used`` has the same id.

    There is no error if the unused document is a bundled runbook, since a team may replace it.
    """
    if document.path.is_relative_to(packaged("notebooks")):
        return []
    return [
        RunbookError(
            f"{document.id} is the id of two documents: {used.path} is used, because it comes"
            " first in the order of [catalogue] paths and file names",
            where=str(document.path),
            next_step="change the id of one of the two documents, or delete it",
        )
    ]


def ids(folders: Sequence[Path]) -> frozenset[str]:
    """Return the ids of all readable runbooks."""
    return frozenset(runbook.id for runbook in runbooks(folders)[0])


def by_need(runbooks: Iterable[Runbook]) -> list[Runbook]:
    """Sort runbooks for an engineer on call: by severity, incidents before others, then by id."""

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
        There is neither a runbook with this id nor a file with this path.
    RunbookError
        The file exists, but cannot be read as a runbook.
    """
    if id_or_path.endswith(".ipynb"):
        return read(Path(id_or_path))
    known, wanted = look(folders), id_or_path.upper()
    for runbook in known.runbooks:
        if runbook.id == wanted:
            return runbook
    if broken := known.broken(wanted):
        raise broken.problem from broken.error
    count = len(known.unreadable)
    unread = f" ({count} notebook{'s' if count > 1 else ''} cannot be read)" if count else ""
    raise UnknownRunbook(
        f"no runbook has the id {id_or_path!r}{unread}",
        where=", ".join(str(folder) for folder in [*folders, packaged("notebooks")]),
        next_step="see `rbkernel list` for the known ids",
    )
