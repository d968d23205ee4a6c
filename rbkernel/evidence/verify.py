"""Are these files the sealed ones? For a run, an incident or a whole evidence folder.

Nothing here trusts a file: each may be damaged, gone, a folder, a link, a pipe, or made by
somebody who wants a crash. Whatever is wrong becomes a `Problem`; an empty list is a proof as
good as `HEADS` is: whoever may rewrite all files may rewrite `HEADS`, too, and only a head that
was published elsewhere tells.

Order: what `HEADS` says of the manifests, what each manifest of an incident says of all below it
(only the newest speaks of `incident.jsonl`, which grows), what `SHA256SUMS` says of a run's files.
A list that was itself changed accuses no file. Last, a notebook that is the sealed one must be
what the sealed journal attests: it may have been edited before the seal.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rbkernel.errors import EvidenceError
from rbkernel.evidence import manifest, store
from rbkernel.evidence.attest import Verification, run_id_of, verify_notebook
from rbkernel.evidence.bundle import EXECUTED, sealed_lines
from rbkernel.evidence.changes import changed_cells, edited_before
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


def has_seals(root: Path) -> bool:
    """Tell whether it is an evidence folder with at least one seal."""
    return (root / manifest.HEADS).exists() or any(root.glob("INC-*/MANIFEST.*"))


def _problems(path: Path) -> Iterator[Problem]:
    if manifest.RUN_FOLDER.fullmatch(path.name) or (path / manifest.SUMS).is_file():
        return _run(path)
    if INCIDENT_ID.fullmatch(path.name) and path.is_dir():
        return _incident(path)
    if has_seals(path):
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
            yield from _Files(folder, heads).incident()
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


def _run(folder: Path) -> Iterator[Problem]:
    heads, problems = _heads(folder.parent.parent)
    yield from problems
    yield from _Files(folder.parent, heads).run(folder)


def _heads(root: Path) -> tuple[list[Head] | None, list[Problem]]:
    """Read the seals above; a copy of one incident or run has none."""
    path = root / manifest.HEADS
    return _read(path, manifest.read_heads) if os.path.lexists(path) else (None, [])


def _incident(folder: Path) -> Iterator[Problem]:
    heads, problems = _heads(folder.parent)
    yield from problems
    yield from _Files(folder, heads).incident()
    yield from (one for one in _chain(folder.parent, heads or []) if one.file.parent == folder)


class _Files:
    """The files of one incident, each hashed once; heads are None where there is no HEADS."""

    def __init__(self, folder: Path, heads: list[Head] | None) -> None:
        self.folder = folder
        mine = [head for head in heads or () if head.incident == folder.name]
        self._heads = None if heads is None else mine
        self._hashes: dict[str, str | None] = {}
        self._generations = self._find_generations()
        self._changed = self._find_changed()
        self._lists = self._read_lists()

    def incident(self) -> Iterator[Problem]:
        """Check all runs and manifests."""
        yield from self._manifests()
        for number, listed in self._lists.items():
            for name, known in listed.items():
                if name != manifest.INCIDENT or number == max(self._generations):
                    yield from self._file(name, known)
        yield from self._missing_manifests()
        yield from self._times()
        yield from self._strays()
        for run in _entries(self.folder):
            if manifest.RUN_FOLDER.fullmatch(run.name):
                yield from self._run(run)

    def run(self, folder: Path) -> Iterator[Problem]:
        """Check one run, and what the manifests above it say of it."""
        yield from self._manifests()
        for listed in self._lists.values():
            for name, known in listed.items():
                if name.startswith(f"{folder.name}/"):
                    yield from self._file(name, known)
        yield from self._run(folder)

    def _find_generations(self) -> dict[int, Path]:
        found = {}
        for path in _entries(self.folder):
            if name := manifest.MANIFEST_NAME.fullmatch(path.name):
                found[int(name[1])] = path
        return dict(sorted(found.items()))

    def _find_changed(self) -> set[int]:
        """Return the generations that are not the ones `HEADS` has."""
        return {
            head.generation
            for head in self._heads or ()
            if self._hash(manifest.manifest_name(head.generation)) not in (None, head.sha256)
        }

    def _read_lists(self) -> dict[int, Mapping[str, str]]:
        """Return what the manifests list that are as they were sealed: only these accuse."""
        lists: dict[int, Mapping[str, str]] = {}
        for number, path in self._generations.items():
            content, _reported = _read(path, manifest.read_manifest)
            if content and number not in self._changed:
                lists[number] = content[1]
        return lists

    def _manifests(self) -> Iterator[Problem]:
        for number, path in self._generations.items():
            if number in self._changed:
                yield Problem(
                    file=path, what="was changed after the seal, or its line in HEADS was"
                )
            else:
                _content, problems = _read(path, manifest.read_manifest)
                yield from problems

    def _missing_manifests(self) -> Iterator[Problem]:
        """Check that `HEADS` and the folder have the same manifests, without a gap."""
        if self._heads is None:
            sealed = list(range(1, max(self._generations, default=0) + 1))
        else:
            sealed = [head.generation for head in self._heads]
            if sealed != list(range(1, len(sealed) + 1)):
                yield Problem(file=self.folder.parent / manifest.HEADS, what="a line is missing")
        for number in sorted({*sealed, *range(1, len(sealed) + 1)} - self._generations.keys()):
            path = self.folder / manifest.manifest_name(number)
            yield Problem(file=path, what="is missing")
        for number in sorted(self._generations.keys() - set(sealed)):
            yield Problem(
                file=self._generations[number],
                what="is not in HEADS: a seal was interrupted (seal the run again), or HEADS"
                " was cut",
            )

    def _times(self) -> Iterator[Problem]:
        """Check the run and the time of each seal against the incident's own record."""
        known = (self._newest_list() or {}).get(manifest.INCIDENT)
        if known not in (None, self._hash(manifest.INCIDENT)):
            return  # the record was changed: `HEADS` is not to blame
        told = _bytes(self.folder / manifest.INCIDENT) or b""
        times = {(str(line.get("run_id")), str(line.get("at"))) for line in sealed_lines(told)}
        for head in self._heads or ():
            if (head.run_id, head.at) not in times:
                yield Problem(
                    file=self.folder.parent / manifest.HEADS,
                    what=f"run and time of the seal of {head.run_id} are not those in"
                    f" {self.folder.name}/{manifest.INCIDENT}",
                )

    def _strays(self) -> Iterator[Problem]:
        """Find what the newest manifest does not list."""
        listed = self._newest_list()
        if listed is None:
            return
        for name in _all_below(self.folder):
            if name not in listed and not manifest.MANIFEST_NAME.fullmatch(name):
                yield Problem(file=self.folder / name, what="is not under seal")

    def _newest_list(self) -> Mapping[str, str] | None:
        """Return what the newest manifest lists; None when it is lost or was changed."""
        numbers = {*self._generations, *(head.generation for head in self._heads or ())}
        return self._lists.get(max(numbers)) if numbers else {}

    def _run(self, run: Path) -> Iterator[Problem]:
        """Check a run's files against its own sums, or against its manifest if these changed."""
        if self._sealed_sums(run) is None:
            _sums, problems = _read(run / manifest.SUMS, manifest.read_sums)
            yield from problems
        known = self._known(run)
        for name, sha256 in known.items():
            yield from self._file(f"{run.name}/{name}", sha256)
        for name in _all_below(run) if known else ():
            if name != manifest.SUMS and name not in known:
                yield Problem(file=run / name, what="is not under seal")
        if {EXECUTED, store.JOURNAL} <= self._intact(run) and _may_be_read(run / store.SNAPSHOT):
            for cell, what in edited_before(run):
                yield Problem(file=run / EXECUTED, cell=cell, what=what)

    def _sealed_sums(self, run: Path) -> Mapping[str, str] | None:
        """Return the manifest that first listed the run's `SHA256SUMS`; None for none."""
        name = f"{run.name}/{manifest.SUMS}"
        return next((listed for listed in self._lists.values() if name in listed), None)

    def _known(self, run: Path) -> Mapping[str, str]:
        """Return the hashes of a run's files as they were sealed, by the list to be trusted."""
        prefix, listed = f"{run.name}/", self._sealed_sums(run)
        own = f"{prefix}{manifest.SUMS}"
        if listed is None or listed[own] == self._hash(own):
            sums, _reported = _read(run / manifest.SUMS, manifest.read_sums)
            return sums or {}
        return {
            name.removeprefix(prefix): sha256
            for name, sha256 in listed.items()
            if name.startswith(prefix) and name != own
        }

    def _intact(self, run: Path) -> set[str]:
        """Return the names of a run's files that are as they were sealed."""
        known = self._known(run).items()
        return {name for name, sha256 in known if self._hash(f"{run.name}/{name}") == sha256}

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
        if not _may_be_read(path.parent / store.SNAPSHOT):
            return None
        return changed_cells(path, self._intact(path.parent))

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


def _may_be_read(path: Path) -> bool:
    """Tell whether nothing bad comes of reading it: it is a plain file, or not there."""
    return _is_plain(path) or not os.path.lexists(path)


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
