"""Sealed and signed evidence, and what was published of it, for tests that damage a copy."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from rbkernel.evidence import signing
from rbkernel.evidence.bundle import seal
from rbkernel.evidence.incident import append
from rbkernel.evidence.incident.seal import seal_record
from tests.support.journal_builder import other_run, whole_run

INCIDENTS = ("INC-20261120-7f3a", "INC-20261120-0000", "INC-20261121-9c9c")
NAME = "ops@db1.example.org"


@dataclass(frozen=True)
class Published:
    """What lies elsewhere: the heads, and whose signatures are trusted."""

    heads: Path
    signers: Path

    @property
    def last(self) -> str:
        return self.heads.read_text().splitlines()[-1].split()[0]


def signed_root(folder: Path) -> tuple[Path, Published]:
    """Six signed runs, two in each of three incidents, one after another, and a record."""
    root, key = folder / "evidence", folder / "home" / "seal_key"
    signing.keygen(root, key, root / signing.ALLOWED, NAME)
    for number, incident in enumerate((*INCIDENTS[:2], *INCIDENTS[:2], *INCIDENTS[2:] * 2)):
        whole_run(root, other_run(number), incident)
        assert seal(root, other_run(number), key=key).signer == NAME
        if number == 3:
            append(root, incident, "note", by="ann", text="the standby was paused by hand")
            assert seal_record(root, incident, key=key).signer == NAME
    published = Published(folder / "published", folder / "signers")
    shutil.copy(root / "HEADS", published.heads)
    shutil.copy(root / signing.ALLOWED, published.signers)
    return root, published


def copied(root: Path, target: Path) -> Path:
    """Copy the evidence so that it can be damaged."""
    copy = Path(shutil.copytree(root, target))
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return copy
