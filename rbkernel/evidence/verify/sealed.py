"""The files of one incident as they are now, and the hashes that they had when sealed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from rbkernel.evidence import manifest, signing, store, suspect
from rbkernel.evidence.content import EXECUTED
from rbkernel.evidence.manifest import Head, Listing
from rbkernel.evidence.verify.changes import changed_cells
from rbkernel.evidence.verify.problem import Problem, read


class SealedFiles:
    """The files of one incident, each hashed once.

    ``heads`` are the seals of this incident; ``before`` are the hashes that a seal may name as
    its predecessor. Both are None if there is no `HEADS`. ``generations`` are all manifests by
    number. ``listings`` are the unchanged manifests; only these are used to check files.
    """

    def __init__(self, folder: Path, heads: list[Head] | None, signers: Path | None) -> None:
        self.folder = folder
        self.signers = signers or folder.parent / signing.ALLOWED
        self.heads: list[Head] | None = None
        self.before: set[str] | None = None
        if heads is not None:
            self.heads = [head for head in heads if head.incident == folder.name]
            self.before = {manifest.NO_PREVIOUS, *(head.sha256 for head in heads)}
        self._hashes: dict[str, str | None] = {}
        self.generations = self._find_generations()
        self.listings, self.manifest_problems = self._read_manifests()

    def _find_generations(self) -> dict[int, Path]:
        found = {}
        for path in suspect.entries(self.folder):
            if name := manifest.MANIFEST_NAME.fullmatch(path.name):
                found[int(name[1])] = path
        return dict(sorted(found.items()))

    def _read_manifests(self) -> tuple[dict[int, Listing], list[Problem]]:
        """Return the unchanged manifests, and the problems of the changed manifests."""
        changed = {
            head.generation
            for head in self.heads or ()
            if self.hash(manifest.manifest_name(head.generation)) not in (None, head.sha256)
        }
        what = "was changed after the seal, or its line in HEADS was changed"
        listings, problems = {}, []
        for number, path in self.generations.items():
            if number in changed:
                problems.append(Problem(file=path, what=what))
                continue
            listing, found = read(path, manifest.read_listing)
            problems += found
            if listing:
                listings[number] = listing
        return listings, problems

    def hash(self, name: str) -> str | None:
        """Return the current hash of a file; None when the file cannot be read."""
        if name not in self._hashes:
            path = self.folder / name
            self._hashes[name] = store.sha256(path) if suspect.is_plain(path) else None
        return self._hashes[name]

    @cached_property
    def record_bytes(self) -> bytes | None:
        """The bytes of the incident's record; None when it cannot be read."""
        return suspect.read_bytes(self.folder / manifest.INCIDENT)

    @property
    def newest(self) -> Mapping[str, str] | None:
        """The file hashes in the newest manifest; None if that manifest is missing or changed."""
        numbers = {*self.generations, *(head.generation for head in self.heads or ())}
        listing = self.listings.get(max(numbers)) if numbers else None
        return listing.sums if listing else None if numbers else {}

    def manifest_of(self, run: Path) -> Mapping[str, str] | None:
        """Return the hashes of the first manifest that lists the run's `SHA256SUMS`, or None."""
        name = f"{run.name}/{manifest.SUMS}"
        return next((one.sums for one in self.listings.values() if name in one.sums), None)

    def sums(self, run: Path) -> Mapping[str, str]:
        """Return the hashes that a run's files had when sealed, from an unchanged list."""
        prefix, listed = f"{run.name}/", self.manifest_of(run)
        own = f"{prefix}{manifest.SUMS}"
        if listed is None or listed[own] == self.hash(own):
            listing, _reported = read(run / manifest.SUMS, manifest.read_listing)
            return listing.sums if listing else {}
        return {
            name.removeprefix(prefix): sha256
            for name, sha256 in listed.items()
            if name.startswith(prefix) and name != own
        }

    def intact(self, run: Path) -> set[str]:
        """Return the names of a run's files that are unchanged since the seal."""
        sums = self.sums(run).items()
        return {name for name, sha256 in sums if self.hash(f"{run.name}/{name}") == sha256}

    def check(self, name: str, known: str) -> Iterator[Problem]:
        """Yield problems if a file differs from its sealed hash; for a notebook, one per cell."""
        path = self.folder / name
        found = self.hash(name)
        if found == known:
            return
        if found is None:
            yield Problem(file=path, what=suspect.why_unreadable(path))
            return
        cells = self._cells(path)
        if cells is None:
            yield Problem(file=path, what="was changed after the seal")
            return
        for cell, what in cells or [
            ("", "was changed after the seal, but its cells are unchanged")
        ]:
            yield Problem(file=path, cell=cell or None, what=what)

    def _cells(self, path: Path) -> list[tuple[str, str]] | None:
        """Return a notebook's changed cells; None if no intact file is left to compare with."""
        if path.name not in (EXECUTED, store.SNAPSHOT):
            return None
        if not suspect.may_be_read(path.parent / store.SNAPSHOT):
            return None
        return changed_cells(path, self.intact(path.parent))
