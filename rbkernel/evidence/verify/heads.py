"""Read `HEADS`, and check that each manifest names the previous one."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from rbkernel.evidence import manifest
from rbkernel.evidence.manifest import Head
from rbkernel.evidence.verify.problem import Problem, read


def read_heads(root: Path, *, needed: bool) -> tuple[list[Head] | None, list[Problem]]:
    """Return the seals in `HEADS` (None if there is no `HEADS`, as in a copy), and problems."""
    path = root / manifest.HEADS
    there = needed or os.path.lexists(path)
    return read(path, manifest.read_heads) if there else (None, [])


def missing(root: Path, heads: list[Head], published: Collection[str]) -> Iterator[Problem]:
    """Yield a problem for each published seal hash that is missing from `HEADS`."""
    for sha256 in sorted(set(published) - {head.sha256 for head in heads}):
        yield Problem(
            file=root / manifest.HEADS,
            what=f"does not have the published head {sha256}: seals were removed or rewritten",
        )


def chain(root: Path, heads: list[Head]) -> Iterator[Problem]:
    """Yield a problem for each manifest that does not name the hash of the previous manifest."""
    previous = manifest.NO_PREVIOUS
    for head in heads:
        path = root / head.incident / manifest.manifest_name(head.generation)
        content, _reported = read(path, manifest.read_listing)
        if content and content.previous != previous:
            yield Problem(
                file=path, what="does not contain the hash of the previous manifest in HEADS"
            )
        previous = head.sha256
