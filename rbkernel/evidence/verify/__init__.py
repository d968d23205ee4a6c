"""Check that the files of a run, an incident or an evidence folder are unchanged since the seal.

No file is trusted: each may be damaged, missing, a folder, a link, a pipe, or made by an attacker.
Each difference becomes a `Problem`. An empty list proves no more than `HEADS` itself: an attacker
who can rewrite all files can also rewrite `HEADS`. Only a seal hash that was published
elsewhere detects that.

The checks run in this order: the manifests against `HEADS`; the files of an incident against its
manifests (of `incident.jsonl`, which grows, only the beginning); the files of a run against
`SHA256SUMS`. Valid lines after the last seal are no problem; `unsealed` counts them. A changed
list is not used to check other files. Finally, an unchanged notebook is compared with the sealed
journal, because it may have been edited before the seal.
"""

from rbkernel.evidence.verify.folder import has_seals, unsealed, verify_folder
from rbkernel.evidence.verify.problem import Problem

__all__ = ["Problem", "has_seals", "unsealed", "verify_folder"]
