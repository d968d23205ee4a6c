"""The version of the formats of evidence: journal, record of an incident, manifest, `SHA256SUMS`.

Each file says in its beginning which version it has and which rbkernel wrote it; one that does not
say has version 1. That beginning stays as it is in all versions, and `HEADS` does as a whole: a
file of a later version is then known as such, and not called changed. Fields and kinds of lines
that earlier versions may ignore need no new version.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from rbkernel.errors import NewerEvidence

VERSION = 1
_RBKERNEL = version("rbkernel")


def written() -> dict[str, Any]:
    """Return the fields with which a file begins that is written now."""
    return {"format": VERSION, "rbkernel": _RBKERNEL}


def refuse_newer(beginning: Mapping[str, Any], where: str) -> None:
    """Check that this rbkernel knows the version of a file, by the fields of its beginning.

    Raises
    ------
    NewerEvidence
        It does not: the file can be neither read nor verified here.

    >>> refuse_newer({}, "")
    >>> try:
    ...     refuse_newer({"format": 2, "rbkernel": "3.7.1"}, "journal.jsonl")
    ... except NewerEvidence as error:
    ...     print(error.what.split(";")[0])
    has format 2 and needs rbkernel 3.7.1 or later
    """
    found = beginning.get("format")
    if isinstance(found, int) and found > VERSION:
        needed = f"rbkernel {beginning.get('rbkernel')} or later"
        raise NewerEvidence(
            f"has format {found} and needs {needed}; this is rbkernel {_RBKERNEL},"
            f" which knows format {VERSION}. That does not mean that it was changed",
            where=where,
            next_step=f"read and verify it with {needed}",
        )
