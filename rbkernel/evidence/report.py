"""Verification in words: one function for a notebook, a run, a folder, or everything sealed."""

from __future__ import annotations

from pathlib import Path

from rbkernel.evidence import notebook as documents
from rbkernel.evidence import runs
from rbkernel.evidence.attest import verify_notebook
from rbkernel.evidence.reading import read, snapshot_of
from rbkernel.evidence.verify import verify_folder
from rbkernel.model import RUN_ID


def verify(root: Path, what: str = "") -> tuple[list[str], bool]:
    """Verify, and say what was found.

    Parameters
    ----------
    root
        The evidence folder.
    what
        A saved notebook, a run id, a sealed folder; empty for all that is sealed.

    Returns
    -------
    tuple
        Lines to print, and whether all is as it was recorded.

    Raises
    ------
    EvidenceError
        There is no such run, notebook or folder.
    """
    path = Path(what) if what else root
    if RUN_ID.fullmatch(what):
        path = runs.find(root, what)
    if path.is_dir() and path.parent == root / "open":
        return [f"{path}: not sealed yet: `rbkernel evidence seal {path.name}`"], False
    if path.is_dir():
        problems = verify_folder(path)
        return [str(problem) for problem in problems] or [f"verified {path}"], not problems
    return _notebook(root, path)


def _notebook(root: Path, path: Path) -> tuple[list[str], bool]:
    folder = runs.find(root, path)
    record = read(folder)
    notebook = documents.parse(path.read_bytes(), where=str(path))
    found = verify_notebook(notebook, record, snapshot_of(record))
    lines = [f"{cell.label}: {cell.state} {cell.detail}".rstrip() for cell in found.cells]
    if found.partial:
        lines.append(found.partial)
    if folder.parent != root / "open":
        problems = verify_folder(folder)
        lines += [str(problem) for problem in problems]
    else:
        problems = ()
        lines.append(f"the run is not sealed yet: `rbkernel evidence seal {path}`")
    ok = found.ok and not problems
    lines.append(f"{'verified' if ok else 'NOT as recorded'}: {path} is of run {found.run_id}")
    return lines, ok
