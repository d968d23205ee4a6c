"""Compare a notebook, cell by cell, with the journal of its run. Pure.

The source and output of each code cell are compared with the cell's last execution. Markdown cells,
raw cells and the order of all cells are compared with the snapshot of the document. Metadata is not
compared, except the status that rbkernel itself wrote. A snapshot that was found in the catalogue
by the runbook's id may not be the file that ran: differences from it are shown, but do not fail the
verification. Whether the files themselves were changed since the seal is checked by
`rbkernel.evidence.verify`.
"""

from rbkernel.evidence.attest.comparison import if_attested, run_id_of, verify_notebook
from rbkernel.evidence.attest.result import ATTESTED, SAVED_EARLY, CellCheck, Verification

__all__ = [
    "ATTESTED",
    "SAVED_EARLY",
    "CellCheck",
    "Verification",
    "if_attested",
    "run_id_of",
    "verify_notebook",
]
