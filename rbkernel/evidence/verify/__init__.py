"""Check that files are as they were sealed: of a run, an incident or a whole evidence folder.

Nothing here trusts a file: each may be damaged, gone, a folder, a link, a pipe, or made by
an attacker. Each difference becomes a `Problem`. An empty list proves as much as `HEADS` does: who
can rewrite all files can rewrite `HEADS`, too, and only a head that was published elsewhere
detects that.

Order: what `HEADS` says of the manifests, what each manifest of an incident says of all below it
(of `incident.jsonl`, which grows, how it began), what `SHA256SUMS` says of a run's files. Lines
that follow the last seal are no problem as long as they are lines: `unsealed` counts them.
A list that was itself changed accuses no file. Last, a notebook that is the sealed one must be
what the sealed journal attests: it may have been edited before the seal.
"""

from rbkernel.evidence.verify.folder import has_seals, unsealed, verify_folder
from rbkernel.evidence.verify.problem import Problem

__all__ = ["Problem", "has_seals", "unsealed", "verify_folder"]
