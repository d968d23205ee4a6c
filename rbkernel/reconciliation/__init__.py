"""Find the rows of two tables that differ permanently, on one server or on two.

A `Question` (module question) describes a comparison. `compare` (module comparison) answers the
question in these steps:

1. *layout* reads both catalogues, and decides which columns are compared, and how.
2. *parts* splits the tables into ranges or slices of keys, each small enough for one statement.
3. *search* finds the suspects in a part: the rows that may differ. If one server holds both tables,
   it uses a full join. Else both servers hash buckets of rows at the same time, and only the
   buckets whose hashes differ are compared row by row.
4. *verdict* reads each suspect on both sides, and finds the columns that differ.
5. After a delay each difference is compared again, to exclude rows that replication had not copied
   yet.

Invariants: a bucket counts as equal only if its whole hash is equal, and *encoding* shows that
equal hashes mean equal values; if something cannot be compared, the result is an error, never
"same"; nothing is written, and every statement has a time-out and a deadline.
"""

from rbkernel.reconciliation.comparison import compare
from rbkernel.reconciliation.outcome import COLUMNS, Difference, Outcome, Progress
from rbkernel.reconciliation.question import Question

__all__ = ["COLUMNS", "Difference", "Outcome", "Progress", "Question", "compare"]
