"""Check an incident's manifests, record and runs, and that it has no other files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rbkernel.evidence import manifest, suspect
from rbkernel.evidence.incident import sealed_lines
from rbkernel.evidence.verify import record, run
from rbkernel.evidence.verify.problem import Problem
from rbkernel.evidence.verify.sealed import SealedFiles


def check(files: SealedFiles) -> Iterator[Problem]:
    """Yield all problems of an incident: in its manifests, its record and its runs."""
    yield from files.manifest_problems
    for number, listing in files.listings.items():
        for name, known in listing.sums.items():
            if name != manifest.INCIDENT or number == max(files.generations):
                yield from files.check(name, known)
    yield from record.begins(files)
    yield from record.gone(files)
    yield from _missing_manifests(files)
    yield from record.times(files)
    yield from _strays(files)
    for folder in _runs(files):
        yield from run.check(files, folder)


def check_run(files: SealedFiles, folder: Path) -> Iterator[Problem]:
    """Yield the problems of one run, also against the incident's manifests."""
    yield from files.manifest_problems
    for listing in files.listings.values():
        for name, known in listing.sums.items():
            if name.startswith(f"{folder.name}/"):
                yield from files.check(name, known)
    yield from run.check(files, folder)


def claims_seals(files: SealedFiles) -> bool:
    """Tell whether anything in an incident's folder, record or `HEADS` shows that it was sealed."""
    seals = sealed_lines(files.record_bytes or b"")
    return bool(files.generations or files.heads or seals or _runs(files))


def _runs(files: SealedFiles) -> list[Path]:
    below = suspect.entries(files.folder)
    return [path for path in below if manifest.RUN_FOLDER.fullmatch(path.name)]


def _missing_manifests(files: SealedFiles) -> Iterator[Problem]:
    """Yield a problem for each manifest missing from `HEADS` or from the incident's folder."""
    if files.heads is None:
        sealed = list(range(1, max(files.generations, default=0) + 1))
    else:
        sealed = [head.generation for head in files.heads]
        if sealed != list(range(1, len(sealed) + 1)):
            yield Problem(file=files.folder.parent / manifest.HEADS, what="a line is missing")
    for number in sorted({*sealed, *range(1, len(sealed) + 1)} - files.generations.keys()):
        yield Problem(file=files.folder / manifest.manifest_name(number), what="is missing")
    for number in sorted(files.generations.keys() - set(sealed)):
        yield Problem(
            file=files.generations[number],
            what="is not in HEADS: a seal was interrupted (seal the run again), or HEADS was cut",
        )


def _strays(files: SealedFiles) -> Iterator[Problem]:
    """Yield a problem for each unlisted file, each empty folder, and an incident that is a link."""
    if files.folder.is_symlink():
        yield Problem(file=files.folder, what="is a symbolic link: its files are elsewhere")
    elif not files.folder.is_dir():
        yield Problem(file=files.folder, what="is not a folder")
    for empty in suspect.empty_folders(files.folder):
        yield Problem(file=empty, what="is an empty folder")
    listed = files.newest
    if listed is None:
        return
    for name in suspect.all_below(files.folder):
        known = name in listed or name == manifest.INCIDENT
        if not known and not manifest.MANIFEST_NAME.fullmatch(name):
            yield Problem(file=files.folder / name, what="is not covered by the seal")
