"""Are these files the sealed ones? For a run, an incident or a whole evidence folder.

Nothing here trusts a file: each may be damaged, gone, a folder, a link, a pipe, or made by
somebody who wants a crash. Whatever is wrong becomes a `Problem`; an empty list is a proof as
good as `HEADS` is: whoever may rewrite all files may rewrite `HEADS`, too, and only a head that
was published elsewhere tells.

Order: what `HEADS` says of the manifests, what each manifest of an incident says of all below it
(of `incident.jsonl`, which grows, how it began), what `SHA256SUMS` says of a run's files. Lines
that follow the last seal are no problem as long as they are lines: `unsealed` counts them.
A list that was itself changed accuses no file. Last, a notebook that is the sealed one must be
what the sealed journal attests: it may have been edited before the seal.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from rbkernel.errors import EvidenceError
from rbkernel.evidence import manifest, signing, store, suspect
from rbkernel.evidence.attest import Verification, run_id_of, verify_notebook
from rbkernel.evidence.changes import changed_cells, edited_before
from rbkernel.evidence.content import EXECUTED
from rbkernel.evidence.incident import parse, sealed_lines
from rbkernel.evidence.manifest import Head, Listing, Prefix
from rbkernel.model import INCIDENT_ID

T = TypeVar("T")
# what lies in an evidence folder besides its incidents
_OURS = frozenset({manifest.HEADS, store.LOCK, "open", signing.ALLOWED})
_Look = Callable[[Path, "list[Head] | None", "Path | None"], "Iterator[Problem]"]

__all__ = ["Problem", "Verification", "run_id_of", "unsealed", "verify_folder", "verify_notebook"]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is not as it was sealed; ``cell`` names a notebook's cell where known."""

    file: Path
    what: str
    cell: str | None = None

    def __str__(self) -> str:
        place = f", {self.cell}" if self.cell else ""
        return f"{self.file}{place}: {self.what}"


def verify_folder(
    path: Path, *, signers: Path | None = None, published: Collection[str] = ()
) -> tuple[Problem, ...]:
    """Check a sealed run folder, an incident folder, or a whole evidence folder.

    A run is checked against the manifests of its incident and these against `HEADS`, as far as
    they lie above it. Open runs are not sealed yet and are not looked at.

    Parameters
    ----------
    path
        The folder.
    signers
        The list of those whose signatures are trusted; None for the one in the evidence folder,
        which whoever can write there can change.
    published
        Heads that were published: each must still be in `HEADS`.

    Raises
    ------
    EvidenceError
        The path is none of the three, or an incident of which nothing is sealed.
    """
    try:
        found = _problems(path.absolute(), signers, published)
        return tuple(dict.fromkeys(found))
    except OSError as error:
        raise EvidenceError(
            f"cannot be read: {error.strerror}", where=str(path), next_step="give read permission"
        ) from error


def unsealed(path: Path) -> dict[str, int]:
    """Return how many lines of each incident's record no seal covers yet, where there are any.

    Parameters
    ----------
    path
        An incident's folder, or an evidence folder.
    """
    folders = [path] if INCIDENT_ID.fullmatch(path.name) else sorted(path.glob("INC-*"))
    counts = {folder.name: _Files(folder, None, None).unsealed() for folder in folders}
    return {name: count for name, count in counts.items() if count}


def has_seals(root: Path) -> bool:
    """Tell whether it is an evidence folder with at least one seal."""
    return (root / manifest.HEADS).exists() or any(root.glob("INC-*/MANIFEST.*"))


def _problems(path: Path, signers: Path | None, published: Collection[str]) -> Iterator[Problem]:
    root, look = _kind(path)
    heads, problems = _heads(root, needed=look is _root or bool(published))
    yield from problems
    yield from _missing_heads(root, heads or [], published)
    yield from look(path, heads, signers)


def _kind(path: Path) -> tuple[Path, _Look]:
    """Return the evidence folder that a folder lies in, and how to look at it."""
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


def _heads(root: Path, *, needed: bool) -> tuple[list[Head] | None, list[Problem]]:
    """Read the seals above; a copy of one incident or run has none."""
    path = root / manifest.HEADS
    there = needed or os.path.lexists(path)
    return _read(path, manifest.read_heads) if there else (None, [])


def _missing_heads(root: Path, heads: list[Head], published: Collection[str]) -> Iterator[Problem]:
    for sha256 in sorted(set(published) - {head.sha256 for head in heads}):
        yield Problem(
            file=root / manifest.HEADS,
            what=f"has not the published head {sha256}: seals were removed or rewritten",
        )


def _root(root: Path, heads: list[Head] | None, signers: Path | None) -> Iterator[Problem]:
    for head in {head.incident: head for head in heads or ()}.values():
        if not (root / head.incident).is_dir():
            yield Problem(file=root / head.incident, what="is gone, yet HEADS has its seals")
    for path in suspect.entries(root):
        if INCIDENT_ID.fullmatch(path.name):
            yield from _Files(path, heads, signers).incident()
        elif path.name not in _OURS:
            yield Problem(file=path, what="is not under seal")
    yield from _chain(root, heads or [])


def _run(folder: Path, heads: list[Head] | None, signers: Path | None) -> Iterator[Problem]:
    yield from _Files(folder.parent, heads, signers).run(folder)


def _incident(folder: Path, heads: list[Head] | None, signers: Path | None) -> Iterator[Problem]:
    files = _Files(folder, heads, signers)
    if not files.claims_seals():
        raise EvidenceError(
            f"nothing of {folder.name} is sealed yet",
            where=str(folder),
            next_step=f"`rbkernel incident close {folder.name}` seals what it has",
        )
    yield from files.incident()
    yield from (one for one in _chain(folder.parent, heads or []) if one.file.parent == folder)


def _chain(root: Path, heads: list[Head]) -> Iterator[Problem]:
    """Check that each manifest names the one before it."""
    previous = manifest.NO_PREVIOUS
    for head in heads:
        path = root / head.incident / manifest.manifest_name(head.generation)
        content, _reported = _read(path, manifest.read_listing)
        if content and content.previous != previous:
            yield Problem(file=path, what="does not name the manifest before it in HEADS")
        previous = head.sha256


class _Files:
    """The files of one incident, each hashed once; heads are None where there is no HEADS."""

    def __init__(self, folder: Path, heads: list[Head] | None, signers: Path | None) -> None:
        self.folder = folder
        self._signers = signers or folder.parent / signing.ALLOWED
        self._before = None if heads is None else {head.sha256 for head in heads}
        mine = [head for head in heads or () if head.incident == folder.name]
        self._heads = None if heads is None else mine
        self._hashes: dict[str, str | None] = {}
        self._generations = self._find_generations()
        self._changed = self._find_changed()
        self._listings = self._read_listings()
        self._lists = {number: listing.sums for number, listing in self._listings.items()}

    def incident(self) -> Iterator[Problem]:
        """Check all runs and manifests."""
        yield from self._manifests()
        for number, listed in self._lists.items():
            for name, known in listed.items():
                if name != manifest.INCIDENT or number == max(self._generations):
                    yield from self._file(name, known)
        yield from self._record()
        yield from self._gone()
        yield from self._missing_manifests()
        yield from self._times()
        yield from self._strays()
        for run in suspect.entries(self.folder):
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

    def claims_seals(self) -> bool:
        """Tell whether anything says that something is sealed here."""
        return bool(self._generations or self._heads or sealed_lines(self._told or b"")) or any(
            manifest.RUN_FOLDER.fullmatch(path.name) for path in suspect.entries(self.folder)
        )

    def _find_generations(self) -> dict[int, Path]:
        found = {}
        for path in suspect.entries(self.folder):
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

    def _read_listings(self) -> dict[int, Listing]:
        """Return the manifests that are as they were sealed: only these accuse."""
        listings: dict[int, Listing] = {}
        for number, path in self._generations.items():
            content, _reported = _read(path, manifest.read_listing)
            if content and number not in self._changed:
                listings[number] = content
        return listings

    def unsealed(self) -> int:
        """Return how many lines follow the last seal."""
        told = self._told or b""
        return len(parse(told[self._sealed_bytes(told) :])[0])

    @cached_property
    def _told(self) -> bytes | None:
        """The incident's record; None when it cannot be read."""
        return suspect.read_bytes(self.folder / manifest.INCIDENT)

    def _prefixes(self) -> dict[int, Prefix]:
        """Return how the record began at each seal."""
        return {n: one.record for n, one in self._listings.items() if one.record}

    def _sealed_bytes(self, told: bytes) -> int:
        """Return how much of the record is under seal; an old manifest lists the whole file."""
        if manifest.INCIDENT in (self._newest_list() or {}):
            return len(told)
        return max((prefix.size_bytes for prefix in self._prefixes().values()), default=0)

    def _record(self) -> Iterator[Problem]:
        """Check that the record begins as each seal has it, and goes on in lines."""
        path = self.folder / manifest.INCIDENT
        told, prefixes = self._told, self._prefixes()
        if told is None:
            if prefixes or os.path.lexists(path):
                yield Problem(file=path, what=suspect.why_unreadable(path))
            return
        for number, prefix in prefixes.items():
            if not prefix.begins(told):
                name = manifest.manifest_name(number)
                what = f"was changed after the seal: it does not begin as {name} has it"
                yield Problem(file=path, what=what)
                return
        sealed = self._sealed_bytes(told)
        before = told.count(b"\n", 0, sealed)
        for damage in parse(told[sealed:])[1]:
            what = f"line {before + damage.number}, after the last seal, {damage.what}"
            yield Problem(file=path, what=what)

    def _gone(self) -> Iterator[Problem]:
        """Check that what the record calls sealed is there.

        The line of a record's seal is written before its folder: one that died is made good by a
        later one.
        """
        path = self.folder / manifest.INCIDENT
        made_good = False
        for line in reversed(sealed_lines(self._told or b"")):
            name = str(line.get("folder"))
            there = manifest.is_sealable(name) and (self.folder / name).is_dir()
            if not there and not (made_good and line.get("record")):
                what = f"says that {name} is sealed, which is not there"
                died = ": it was removed, or its seal died (`rbkernel incident close` ends it)"
                yield Problem(file=path, what=what + (died if line.get("record") else ""))
            made_good = made_good or there

    def _manifests(self) -> Iterator[Problem]:
        for number, path in self._generations.items():
            if number in self._changed:
                yield Problem(
                    file=path, what="was changed after the seal, or its line in HEADS was"
                )
            else:
                _content, problems = _read(path, manifest.read_listing)
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
        told = self._told or b""
        intact = all(prefix.begins(told) for prefix in self._prefixes().values())
        if known not in (None, self._hash(manifest.INCIDENT)) or not intact:
            return  # the record was changed: `HEADS` is not to blame
        times = {
            (str(line.get("run_id") or line.get("record")), str(line.get("at")))
            for line in sealed_lines(told)
        }
        for head in self._heads or ():
            if (head.run_id, head.at) not in times:
                yield Problem(
                    file=self.folder.parent / manifest.HEADS,
                    what=f"run and time of the seal of {head.run_id} are not those in"
                    f" {self.folder.name}/{manifest.INCIDENT}",
                )

    def _strays(self) -> Iterator[Problem]:
        """Find what the newest manifest does not list, folders that hold nothing, and links."""
        if self.folder.is_symlink():
            yield Problem(file=self.folder, what="is a link: its files lie elsewhere")
        elif not self.folder.is_dir():
            yield Problem(file=self.folder, what="is no folder")
        for empty in suspect.empty_folders(self.folder):
            yield Problem(file=empty, what="is an empty folder")
        listed = self._newest_list()
        if listed is None:
            return
        for name in suspect.all_below(self.folder):
            known = name in listed or name == manifest.INCIDENT
            if not known and not manifest.MANIFEST_NAME.fullmatch(name):
                yield Problem(file=self.folder / name, what="is not under seal")

    def _newest_list(self) -> Mapping[str, str] | None:
        """Return what the newest manifest lists; None when it is lost or was changed."""
        numbers = {*self._generations, *(head.generation for head in self._heads or ())}
        return self._lists.get(max(numbers)) if numbers else {}

    def _run(self, run: Path) -> Iterator[Problem]:
        """Check a run's files against its own sums, or against its manifest if these changed."""
        if self._sealed_sums(run) is None:
            _listing, problems = _read(run / manifest.SUMS, manifest.read_listing)
            yield from problems
        known = self._known(run)
        for name, sha256 in known.items():
            yield from self._file(f"{run.name}/{name}", sha256)
        for name in suspect.all_below(run) if known else ():
            if name not in known and name not in (manifest.SUMS, manifest.SIGNATURE):
                yield Problem(file=run / name, what="is not under seal")
        yield from self._signature(run)
        if {EXECUTED, store.JOURNAL} <= self._intact(run) and suspect.may_be_read(
            run / store.SNAPSHOT
        ):
            for cell, what in edited_before(run):
                yield Problem(file=run / EXECUTED, cell=cell, what=what)

    def _signature(self, run: Path) -> Iterator[Problem]:
        """Check who signed `SHA256SUMS`, and that what came before it is still there."""
        path, signed = run / manifest.SUMS, run / manifest.SIGNATURE
        known = (self._sealed_sums(run) or {}).get(f"{run.name}/{manifest.SUMS}")
        listing, _reported = _read(path, manifest.read_listing)
        if listing is None or known not in (None, self._hash(f"{run.name}/{manifest.SUMS}")):
            return  # it was accused already
        if listing.signer:
            why = signing.refusal(path, signed, listing.signer, self._signers)
            if why:
                yield Problem(file=signed, what=why)
        elif os.path.lexists(signed):
            yield Problem(file=signed, what="is not under seal")
        before = None if self._before is None else {manifest.NO_PREVIOUS, *self._before}
        if before is not None and listing.previous not in before:
            yield Problem(file=path, what="names a seal before it that is gone from HEADS")

    def _sealed_sums(self, run: Path) -> Mapping[str, str] | None:
        """Return the manifest that first listed the run's `SHA256SUMS`; None for none."""
        name = f"{run.name}/{manifest.SUMS}"
        return next((listed for listed in self._lists.values() if name in listed), None)

    def _known(self, run: Path) -> Mapping[str, str]:
        """Return the hashes of a run's files as they were sealed, by the list to be trusted."""
        prefix, listed = f"{run.name}/", self._sealed_sums(run)
        own = f"{prefix}{manifest.SUMS}"
        if listed is None or listed[own] == self._hash(own):
            listing, _reported = _read(run / manifest.SUMS, manifest.read_listing)
            return listing.sums if listing else {}
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
            yield Problem(file=path, what=suspect.why_unreadable(path))
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
        if not suspect.may_be_read(path.parent / store.SNAPSHOT):
            return None
        return changed_cells(path, self._intact(path.parent))

    def _hash(self, name: str) -> str | None:
        if name not in self._hashes:
            path = self.folder / name
            self._hashes[name] = store.sha256(path) if suspect.is_plain(path) else None
        return self._hashes[name]


def _read(path: Path, parse: Callable[[bytes, str], T]) -> tuple[T | None, list[Problem]]:
    data = suspect.read_bytes(path)
    if data is None:
        return None, [Problem(file=path, what=suspect.why_unreadable(path))]
    try:
        return parse(data, str(path)), []
    except EvidenceError as error:
        return None, [Problem(file=path, what=error.what)]
