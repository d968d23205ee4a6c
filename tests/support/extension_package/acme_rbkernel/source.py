"""The warehouse's stock: `rb.ask("warehouse", "low", below=5)`."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rbkernel.errors import QueryError
from rbkernel.sources.source import Table, TableSource


class Stock(TableSource):
    """A file of articles; `[sources.NAME]` has `kind = "stock"` and `file`."""

    def parameters(self, question: str) -> Sequence[str]:
        """Return the values that the one question takes."""
        return ["below"]

    def ask(self, question: str, values: Mapping[str, Any]) -> Table:
        """Return the articles that are low."""
        if question != "low":
            raise QueryError(f"stock has no question {question!r}", next_step='ask "low"')
        with Path(self.configured.options["file"]).open(encoding="utf-8") as file:
            rows = [(row["article"], int(row["pieces"])) for row in csv.DictReader(file)]
        low = [row for row in rows if row[1] < values.get("below", 10)]
        return Table(columns={"article": str, "pieces": int}, rows=low)
