"""SQL statements that several scenarios run."""

from __future__ import annotations

from rbkernel.sandbox.service import FIRST_ID

# changes no value, because a comparison of the tables must find them equal
CHANGE_ROW = f"UPDATE orders SET status = status WHERE id = {FIRST_ID}"
LOCK_ROW = f"SELECT status FROM orders WHERE id = {FIRST_ID} FOR UPDATE"
# the shop's traffic does not use this table
READ_TABLE = "SELECT count(*) FROM reconciliation_diffs"
CHANGE_TABLE = "UPDATE reconciliation_diffs SET kind = kind WHERE id = 1"
