"""The format version of evidence files: journal, incident record, manifest and `SHA256SUMS`.

Each file begins with its format version and the version of rbkernel that wrote it. A file without
a version has version 1. The layout of this beginning, and all of `HEADS`, is the same in every
version, so that a file of a later version is recognized and not reported as changed. New fields
and new kinds of lines that earlier versions may ignore do not need a new version.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from rbkernel.errors import NewerEvidence

VERSION = 1
_RBKERNEL = version("rbkernel")


def written() -> dict[str, Any]:
    """Return the version fields with which a new file begins."""
    return {"format": VERSION, "rbkernel": _RBKERNEL}


def refuse_newer(beginning: Mapping[str, Any], where: str) -> None:
    """Raise an error if the first fields of a file name a version newer than this rbkernel
    supports.

    Raises
    ------
    NewerEvidence
        The version is not supported: the file can be neither read nor verified here.

    >>> refuse_newer({}, "")
    >>> try:
    ...     refuse_newer({"format": 2, "rbkernel": "3.7.1"}, "journal.jsonl")
    ... except NewerEvidence as error:
    ...     print(error.what.split(";")[0])
    this evidence has format 2 and needs rbkernel 3.7.1 or later
    """
    found = beginning.get("format")
    if isinstance(found, int) and found > VERSION:
        needed = f"rbkernel {beginning.get('rbkernel')} or later"
        raise NewerEvidence(
            f"this evidence has format {found} and needs {needed}; this is rbkernel {_RBKERNEL},"
            f" which knows format {VERSION}. That does not mean that it was changed",
            where=where,
            next_step=f"read and verify it with {needed}",
        )
