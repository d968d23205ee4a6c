"""Find the rows of two tables that differ permanently, on one server or on two.

A `Question` (module question) describes a comparison. `compare` (module comparison) answers the
question in these steps:

1. *layout* reads both catalogues: which columns are compared, and how values are compared. 2.
*parts* splits the tables into ranges or slices of keys, each small enough for one statement. 3.
*search* finds suspects in a part: a full join where one server holds both tables, else hashes of
   buckets of rows, on both servers at once, and only the bad buckets row by row.
4. *verdict* reads each suspect on both sides, and finds the columns that differ. 5. After a delay
each suspect is compared again, to exclude rows that replication had not copied yet.

Invariants: a bucket counts as equal only if its whole hash is equal, and *encoding* shows that
equal hashes mean equal values; if something cannot be compared, the result is an error, never
"same"; nothing is written, and every statement has a time-out and a deadline.
"""

from rbkernel.reconciliation.comparison import compare
from rbkernel.reconciliation.outcome import COLUMNS, Difference, Outcome, Progress
from rbkernel.reconciliation.question import Question

__all__ = ["COLUMNS", "Difference", "Outcome", "Progress", "Question", "compare"]
