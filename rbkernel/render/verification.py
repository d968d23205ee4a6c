"""Verify or seal a notebook, a run, an incident or all evidence, and return the results as text."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from rbkernel.errors import EvidenceError
from rbkernel.evidence import manifest, runs
from rbkernel.evidence import notebook as documents
from rbkernel.evidence.attest import ATTESTED, Verification, verify_notebook
from rbkernel.evidence.bundle import SealedRun
from rbkernel.evidence.content import EXECUTED
from rbkernel.evidence.reading import read, snapshot_of
from rbkernel.evidence.seals import read_heads
from rbkernel.evidence.verify import has_seals, unsealed, verify_folder
from rbkernel.model import INCIDENT_ID, RUN_ID

# maximum number of incidents that are named one by one
_NAMED = 3


def verify(
    root: Path, what: str = "", *, signers: Path | None = None, published: Collection[str] = ()
) -> tuple[list[str], bool]:
    """Verify evidence, and return the results in words.

    Parameters
    ----------
    root
        The evidence folder.
    what
        A saved notebook, a run id, an incident id, or a sealed folder; empty for all sealed
        evidence.
    signers
        The list of trusted signers; None for the list in the evidence folder.
    published
        Published heads (hashes of seals), which `HEADS` must still contain.

    Returns
    -------
    tuple
        Lines to print, and whether everything is unchanged.

    Raises
    ------
    EvidenceError
        There is no such run, incident, notebook or folder, or nothing is sealed yet.
    """
    _check_heads(published)
    path = _path(root, what)
    if path.is_file() and manifest.RUN_FOLDER.fullmatch(path.absolute().parent.name):
        path = path.absolute().parent  # a sealed file is verified with its seal
    if path.absolute() == root.absolute() and not has_seals(root):
        if published:
            return [
                f"the file {root / manifest.HEADS} is missing, and so is all sealed evidence"
            ], False
        raise _nothing_sealed(root, runs.list_runs(root))
    if path.is_dir() and path.parent == root / "open":
        return [
            f"{path}: this run is not sealed yet; `rbkernel evidence seal {path.name}` seals it"
        ], False
    if path.is_dir():
        problems = verify_folder(path, signers=signers, published=published)
        if problems:
            return [str(problem) for problem in problems], False
        return [f"verified {path}", *_signers(path), *_unsealed(path)], True
    if published:
        raise EvidenceError(
            "--head cannot be used with a notebook, because a head belongs to a seal",
            where=str(path),
            next_step="use --head with the run or the incident of this notebook",
        )
    return _notebook(root, path, signers)


def sealed(run: SealedRun) -> list[str]:
    """Return lines that describe a new or earlier seal, and where cells differ from the journal."""
    lines = [f"sealed {run.folder}", f"head   {run.head}"]
    lines += [f"  {line}" for line in signed(run)]
    if not run.is_new:
        lines.append(f"  the run was already sealed, at {run.sealed_at}: nothing was changed")
    if run.other_notebook:
        lines.append(
            f"  the given notebook was not sealed; the sealed one is {run.folder / EXECUTED}"
        )
    lines += [f"  cannot be read: {one}" for one in run.verification.unreadable]
    return lines + [
        f"  sealed, although it differs from the journal: {cell}"
        for cell in run.verification.problems
    ]


def signed(run: SealedRun) -> list[str]:
    """Return lines that say who signed a seal, and which parts of the seal are missing."""
    return [*([f"signed by {run.signer}"] if run.signer else []), *run.missing]


def _check_heads(published: Collection[str]) -> None:
    for head in published:
        if not manifest.is_head(head):
            raise EvidenceError(
                f"{head!r} is not a head",
                next_step="pass the 64 hexadecimal digits that `seal` or `rbkernel run` printed"
                " after the word head",
            )


def _signers(path: Path) -> list[str]:
    """Return lines that say, per signer, how many runs and records of a folder were verified."""
    signers = Counter(
        (
            manifest.read_listing(sums.read_bytes(), str(sums)).signer,
            "record" if manifest.is_record(sums.parent.name) else "run",
        )
        for sums in path.absolute().rglob(manifest.SUMS)
    )
    return [
        f"{f'signed by {name}' if name else 'unsigned'}: {count} {what}{'' if count == 1 else 's'}"
        for (name, what), count in sorted(signers.items(), reverse=True)
    ]


def _unsealed(path: Path) -> list[str]:
    """Return lines about the incidents whose record has lines after the last seal."""
    if manifest.RUN_FOLDER.fullmatch(path.absolute().name):
        return []
    counts = unsealed(path.absolute())
    named = [
        f"not sealed yet: {count} {'line' if count == 1 else 'lines'} of the record of"
        f" {incident}: `rbkernel incident close {incident}` seals them"
        for incident, count in list(counts.items())[-_NAMED:]
    ]
    others = len(counts) - _NAMED
    more = f"and the records of {others} other incidents: `rbkernel incident list`"
    return [*named, *([more] if others > 0 else [])]


def _path(root: Path, what: str) -> Path:
    if RUN_ID.fullmatch(what):
        return runs.find(root, what)
    if INCIDENT_ID.fullmatch(what) and not Path(what).exists():
        return _incident(root, what)
    return Path(what) if what else root


def _incident(root: Path, incident: str) -> Path:
    if (root / incident).is_dir():
        return root / incident
    if any(head.incident == incident for head in read_heads(root)):
        raise EvidenceError(
            f"the folder of {incident} is missing, although HEADS lists its seals",
            where=str(root),
            next_step="restore the folder from a copy, then verify again",
        )
    of_it = [run for run in runs.list_runs(root) if run.incident == incident]
    raise _nothing_sealed(root, of_it, f" of {incident}")


def _nothing_sealed(root: Path, waiting: list[runs.RunEntry], of: str = "") -> EvidenceError:
    if waiting:
        step = f"`rbkernel evidence seal {waiting[-1].run_id}` seals the newest run"
    else:
        step = "`rbkernel evidence list` lists all runs; RBKERNEL_EVIDENCE sets the folder"
    return EvidenceError(f"nothing{of} is sealed yet", where=str(root), next_step=step)


def _notebook(root: Path, path: Path, signers: Path | None) -> tuple[list[str], bool]:
    folder = runs.find(root, path)
    record = read(folder)
    notebook = documents.parse(path.read_bytes(), where=str(path))
    found = verify_notebook(notebook, record, snapshot_of(record))
    verdict = "verified" if found.ok else "DIFFERENT from the record"
    lines = [*_cells(found), f"{verdict}: {path} is of run {found.run_id}"]
    if folder.parent != root / "open":
        problems = verify_folder(folder, signers=signers)
        return lines + [
            f"in the sealed run: {problem}" for problem in problems
        ], found.ok and not problems
    # once an edited notebook is sealed, the original cannot be sealed any more
    hint = f": `rbkernel evidence seal {shlex.quote(str(path))}`" if found.ok else ""
    return [*lines, f"the run is not sealed yet{hint}"], found.ok


def _cells(found: Verification) -> list[str]:
    lines = [str(cell) for cell in found.cells if cell.state != ATTESTED or cell.corrects]
    lines += [f"cannot be read: {one}" for one in found.unreadable]
    return [*lines, found.count, *([found.partial] if found.partial else [])]
