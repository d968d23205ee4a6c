"""Verify the folder of a run, an incident or all evidence: find out its kind, and check it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from rbkernel.errors import EvidenceError, NewerEvidence
from rbkernel.evidence import manifest, signing, store, suspect
from rbkernel.evidence.manifest import Head
from rbkernel.evidence.verify import heads as seals
from rbkernel.evidence.verify import incident, record
from rbkernel.evidence.verify.problem import Problem
from rbkernel.evidence.verify.sealed import SealedFiles
from rbkernel.model import INCIDENT_ID

# entries of an evidence folder that are not incidents
_OURS = frozenset({manifest.HEADS, store.LOCK, "open", signing.ALLOWED, manifest.MAINTENANCE})
_Look = Callable[[Path, "list[Head] | None", "Path | None"], "Iterator[Problem]"]


def verify_folder(
    path: Path, *, signers: Path | None = None, published: Collection[str] = ()
) -> tuple[Problem, ...]:
    """Check a sealed run folder, an incident folder, or a whole evidence folder.

    A run is checked against the manifests of its incident, and the manifests against `HEADS`, if
    these files exist above the run. Open runs are not sealed yet and are not checked.

    Parameters
    ----------
    path
        The folder.
    signers
        The list of trusted signers. None means the list in the evidence folder, which anyone with
        write access to that folder can change.
    published
        Published heads; each of them must still be in `HEADS`.

    Raises
    ------
    EvidenceError
        The path is none of the three, or is an incident without any seal.
    NewerEvidence
        A later version of rbkernel wrote a part of the evidence, and no problem was found.
    """
    found: list[Problem] = []
    try:
        for problem in _problems(path.absolute(), signers, published):
            found.append(problem)  # noqa: PERF402  # kept even if the next step raises
    except NewerEvidence:
        if not found:
            raise
    except OSError as error:
        raise EvidenceError(
            f"cannot be read: {error.strerror}", where=str(path), next_step="give read permission"
        ) from error
    return tuple(dict.fromkeys(found))


def unsealed(path: Path) -> dict[str, int]:
    """Return the number of lines that no seal covers yet, for each incident with such lines.

    Parameters
    ----------
    path
        An incident's folder, or an evidence folder.
    """
    folders = [path] if INCIDENT_ID.fullmatch(path.name) else sorted(path.glob("INC-*"))
    counts = {one.name: record.unsealed_lines(SealedFiles(one, None, None)) for one in folders}
    return {name: count for name, count in counts.items() if count}


def has_seals(root: Path) -> bool:
    """Tell whether a folder is an evidence folder with at least one seal."""
    return (root / manifest.HEADS).exists() or any(root.glob("INC-*/MANIFEST.*"))


def _problems(path: Path, signers: Path | None, published: Collection[str]) -> Iterator[Problem]:
    root, look = _kind(path)
    heads, problems = seals.read_heads(root, needed=look is _root or bool(published))
    yield from problems
    yield from seals.missing(root, heads or [], published)
    yield from look(path, heads, signers)


def _kind(path: Path) -> tuple[Path, _Look]:
    """Return the evidence folder around a folder, and the function that checks such a folder."""
    if manifest.RUN_FOLDER.fullmatch(path.name) or (path / manifest.SUMS).is_file():
        return path.parent.parent, _run
    if INCIDENT_ID.fullmatch(path.name) and path.is_dir():
        return path.parent, _incident
    if has_seals(path):
        return path, _root
    raise EvidenceError(
        "neither a sealed run, nor an incident, nor an evidence folder with a seal",
        where=str(path),
        next_step="`rbkernel evidence list` shows the folders of the runs",
    )


def _root(root: Path, heads: list[Head] | None, signers: Path | None) -> Iterator[Problem]:
    for head in {head.incident: head for head in heads or ()}.values():
        if not (root / head.incident).is_dir():
            yield Problem(
                file=root / head.incident, what="is missing, although HEADS lists its seals"
            )
    for path in suspect.entries(root):
        if INCIDENT_ID.fullmatch(path.name):
            yield from incident.check(SealedFiles(path, heads, signers))
        elif path.name not in _OURS:
            yield Problem(file=path, what="is not covered by the seal")
    yield from seals.chain(root, heads or [])


def _incident(folder: Path, heads: list[Head] | None, signers: Path | None) -> Iterator[Problem]:
    files = SealedFiles(folder, heads, signers)
    if not incident.claims_seals(files):
        raise EvidenceError(
            f"nothing of {folder.name} is sealed yet",
            where=str(folder),
            next_step=f"`rbkernel incident close {folder.name}` seals it",
        )
    yield from incident.check(files)
    yield from (one for one in seals.chain(folder.parent, heads or []) if one.file.parent == folder)


def _run(folder: Path, heads: list[Head] | None, signers: Path | None) -> Iterator[Problem]:
    yield from incident.check_run(SealedFiles(folder.parent, heads, signers), folder)
