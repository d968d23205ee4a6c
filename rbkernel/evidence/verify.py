"""Are these files the sealed ones? For a run, an incident or a whole evidence folder.

Nothing here trusts a file: each may be damaged, gone, a folder, a link, a pipe, or made by
somebody who wants a crash. Whatever is wrong becomes a `Problem`; an empty list is a proof as
good as `HEADS` is: whoever may rewrite all files may rewrite `HEADS`, too, and only a head that
was published elsewhere tells.

Order: what `SHA256SUMS` says of a run's files, what each manifest of an incident says of all
below it (only the newest speaks of `incident.jsonl`, which grows), what `HEADS` says of the
manifests.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rbkernel.errors import EvidenceError
from rbkernel.evidence import manifest, store
from rbkernel.evidence.attest import Verification, run_id_of, verify_notebook
from rbkernel.evidence.bundle import EXECUTED, sealed_lines
from rbkernel.evidence.changes import changed_cells
from rbkernel.evidence.manifest import Head
from rbkernel.model import INCIDENT_ID

T = TypeVar("T")

__all__ = ["Problem", "Verification", "run_id_of", "verify_folder", "verify_notebook"]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is not as it was sealed; ``cell`` names a notebook's cell where known."""

    file: Path
    what: str
    cell: str | None = None

    def __str__(self) -> str:
        place = f", {self.cell}" if self.cell else ""
        return f"{self.file}{place}: {self.what}"


def verify_folder(path: Path) -> tuple[Problem, ...]:
    """Check a sealed run folder, an incident folder, or a whole evidence folder.

    A run is checked against the manifests of its incident and these against `HEADS`, as far as
    they lie above it. Open runs are not sealed yet and are not looked at.

    Raises
    ------
    EvidenceError
        The path is none of the three.
    """
    try:
        return tuple(dict.fromkeys(_problems(path.absolute())))
    except OSError as error:
        raise EvidenceError(
            f"cannot be read: {error.strerror}", where=str(path), next_step="give read permission"
        ) from error


def _problems(path: Path) -> Iterator[Problem]:
    if manifest.RUN_FOLDER.fullmatch(path.name) or (path / manifest.SUMS).is_file():
        return _Files(path.parent).run(path)
    if INCIDENT_ID.fullmatch(path.name) and path.is_dir():
        return _incident(path)
    if (path / manifest.HEADS).exists() or any(path.glob("INC-*/MANIFEST.*")):
        return _root(path)
    raise EvidenceError(
        "neither a sealed run, nor an incident, nor an evidence folder with a seal",
        where=str(path),
        next_step="`rbkernel evidence list` shows the folders of the runs",
    )


def _root(root: Path) -> Iterator[Problem]:
    heads, problems = _read(root / manifest.HEADS, manifest.read_heads)
    yield from problems
    for head in {head.incident: head for head in heads or ()}.values():
        if not (root / head.incident).is_dir():
            yield Problem(file=root / head.incident, what="is gone, yet HEADS has its seals")
    for folder in sorted(root.glob("INC-*")):
        if INCIDENT_ID.fullmatch(folder.name):
            yield from _Files(folder).incident(heads)
    yield from _chain(root, heads or [])


def _chain(root: Path, heads: list[Head]) -> Iterator[Problem]:
    """Check that each manifest names the one before it."""
    previous = manifest.NO_PREVIOUS
    for head in heads:
        path = root / head.incident / manifest.manifest_name(head.generation)
        content, _reported = _read(path, manifest.read_manifest)
        if content and content[0] != previous:
            yield Problem(file=path, what="does not name the manifest before it in HEADS")
        previous = head.sha256


def _incident(folder: Path) -> Iterator[Problem]:
    path = folder.parent / manifest.HEADS
    if not path.exists():  # a copy of one incident
        yield from _Files(folder).incident(None)
        return
    heads, problems = _read(path, manifest.read_heads)
    yield from problems
    yield from _Files(folder).incident(heads)
    yield from (one for one in _chain(folder.parent, heads or []) if one.file.parent == folder)


class _Files:
    """The files of one incident, each hashed once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._hashes: dict[str, str | None] = {}

    def incident(self, heads: list[Head] | None) -> Iterator[Problem]:
        """Check all runs and manifests; heads are None where there are none to compare with."""
        mine = None if heads is None else [one for one in heads if one.incident == self.folder.name]
        generations = self._generations()
        for number, path in generations.items():
            yield from self._generation(path, newest=number == max(generations))
        yield from self._sealed(generations, mine)
        yield from self._strays(generations)
        for run in self._run_folders():
            yield from self._sums(run)

    def run(self, folder: Path) -> Iterator[Problem]:
        """Check one run, and what the manifests above it say of it."""
        yield from self._sums(folder)
        for path in self._generations().values():
            content, _other = _read(path, manifest.read_manifest)
            for name, known in (content[1] if content else {}).items():
                if name.startswith(f"{folder.name}/"):
                    yield from self._file(name, known)

    def _generations(self) -> dict[int, Path]:
        found = {}
        for path in _entries(self.folder):
            if name := manifest.MANIFEST_NAME.fullmatch(path.name):
                found[int(name[1])] = path
        return dict(sorted(found.items()))

    def _run_folders(self) -> list[Path]:
        return [path for path in _entries(self.folder) if manifest.RUN_FOLDER.fullmatch(path.name)]

    def _generation(self, path: Path, *, newest: bool) -> Iterator[Problem]:
        content, problems = _read(path, manifest.read_manifest)
        yield from problems
        for name, known in (content[1] if content else {}).items():
            if newest or name != manifest.INCIDENT:
                yield from self._file(name, known)

    def _sealed(
        self, generations: Mapping[int, Path], heads: list[Head] | None
    ) -> Iterator[Problem]:
        """Check the manifests against their seals in `HEADS`, and that none is missing."""
        if heads is None:
            wanted: Iterable[int] = range(1, max(generations, default=0) + 1)
        else:
            wanted = range(1, len(heads) + 1)
            if [head.generation for head in heads] != list(wanted):
                yield Problem(file=self.folder.parent / manifest.HEADS, what="a line is missing")
            yield from self._heads(heads)
        for number in sorted({*wanted} | {head.generation for head in heads or ()}):
            if number not in generations:
                path = self.folder / manifest.manifest_name(number)
                yield Problem(file=path, what="is missing")
        for number in generations if heads is not None else ():
            if number not in {head.generation for head in heads or ()}:
                yield Problem(
                    file=generations[number],
                    what="is not in HEADS: a seal was interrupted (seal the run again), or HEADS"
                    " was cut",
                )

    def _heads(self, heads: list[Head]) -> Iterator[Problem]:
        told = _bytes(self.folder / manifest.INCIDENT) or b""
        times = {(str(line.get("run_id")), str(line.get("at"))) for line in sealed_lines(told)}
        path = self.folder.parent / manifest.HEADS
        for head in heads:
            name = manifest.manifest_name(head.generation)
            if self._hash(name) not in (None, head.sha256):
                yield Problem(file=self.folder / name, what="was changed after the seal")
            if (head.run_id, head.at) not in times:
                yield Problem(
                    file=path,
                    what=f"run and time of the seal of {head.run_id} are not those in"
                    f" {self.folder.name}/{manifest.INCIDENT}",
                )

    def _strays(self, generations: Mapping[int, Path]) -> Iterator[Problem]:
        """Find what the newest manifest does not list."""
        content = None
        if generations:
            content, _reported = _read(generations[max(generations)], manifest.read_manifest)
        listed = content[1] if content else {}
        for name in _all_below(self.folder):
            if name not in listed and not manifest.MANIFEST_NAME.fullmatch(name):
                yield Problem(file=self.folder / name, what="is not under seal")

    def _sums(self, run: Path) -> Iterator[Problem]:
        path = run / manifest.SUMS
        sums, problems = _read(path, manifest.read_sums)
        yield from problems
        for name, known in (sums or {}).items():
            yield from self._file(f"{run.name}/{name}", known)
        for name in _all_below(run):
            if name != manifest.SUMS and sums is not None and name not in sums:
                yield Problem(file=run / name, what="is not under seal")

    def _file(self, name: str, known: str) -> Iterator[Problem]:
        path = self.folder / name
        found = self._hash(name)
        if found == known:
            return
        if found is None:
            yield Problem(file=path, what=_why_unreadable(path))
            return
        cells = self._cells(path)
        if cells is None:
            yield Problem(file=path, what="was changed after the seal")
            return
        for cell, what in cells or [("", "was changed after the seal, but in no cell")]:
            yield Problem(file=path, cell=cell or None, what=what)

    def _cells(self, path: Path) -> list[tuple[str, str]] | None:
        """Return which cells of a changed notebook changed; None where nothing can tell."""
        if path.name not in (EXECUTED, store.SNAPSHOT):
            return None
        sums, _reported = _read(path.parent / manifest.SUMS, manifest.read_sums)
        intact = {
            name
            for name, known in (sums or {}).items()
            if self._hash(f"{path.parent.name}/{name}") == known
        }
        return changed_cells(path, intact)

    def _hash(self, name: str) -> str | None:
        if name not in self._hashes:
            path = self.folder / name
            self._hashes[name] = store.sha256(path) if _is_plain(path) else None
        return self._hashes[name]


def _read(path: Path, parse: Callable[[bytes, str], T]) -> tuple[T | None, list[Problem]]:
    data = _bytes(path)
    if data is None:
        return None, [Problem(file=path, what=_why_unreadable(path))]
    try:
        return parse(data, str(path)), []
    except EvidenceError as error:
        return None, [Problem(file=path, what=error.what)]


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if _is_plain(path) else None


def _is_plain(path: Path) -> bool:
    """Tell whether it is a regular file that can be read: opening a pipe would wait for ever."""
    try:
        return stat.S_ISREG(path.lstat().st_mode) and os.access(path, os.R_OK)
    except OSError:
        return False


def _why_unreadable(path: Path) -> str:
    if not os.path.lexists(path):
        return "is missing"
    return "cannot be read" if path.is_file() else "is no regular file"


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _all_below(folder: Path) -> Iterator[str]:
    """Yield the relative names of all files, and of all links to folders, below a folder."""
    for where, folders, names in os.walk(folder):
        links = [name for name in folders if Path(where, name).is_symlink()]
        for name in sorted([*names, *links]):
            path = Path(where, name).relative_to(folder).as_posix()
            yield path.encode(errors="backslashreplace").decode()
