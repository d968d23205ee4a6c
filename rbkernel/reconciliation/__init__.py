"""Find the rows of two tables that differ permanently, on one server or on two.

A question is a `Question` (module question). `compare` (module comparison) answers it:

1. *layout* reads both catalogues: which columns are compared, and how their types are.
2. *parts* splits the tables into ranges or slices of keys, each small enough for one statement.
3. *search* finds suspects in a part: a full join where one server holds both tables, else hashes of
   buckets of rows, on both servers at once, and only the bad buckets row by row.
4. *verdict* looks each suspect up on both sides, and says which columns differ.
5. After a delay each suspect is compared again: rows in flight are not drift.

Invariants: a bucket counts as equal only if its whole hash is equal, and *encoding* shows that
equal hashes mean equal values; anything that could not be compared ends in an error, never in
"same"; nothing is written, and every statement has a time-out and a deadline.
"""

from rbkernel.reconciliation.comparison import compare
from rbkernel.reconciliation.outcome import COLUMNS, Difference, Outcome, Progress
from rbkernel.reconciliation.question import Question

__all__ = ["COLUMNS", "Difference", "Outcome", "Progress", "Question", "compare"]
