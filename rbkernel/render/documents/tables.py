"""Cut long tables in sanitized HTML, and return the complete tables for CSV files. Pure.

Sanitized HTML is well-formed: each start tag has an end tag, and each row is a `tr`. So it is
enough to read the HTML once, tag by tag, without a library that repairs HTML and would slow down a
seal.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from html.parser import HTMLParser

# rows of a table that a report shows; `rb.query` shows 20
SHOWN_ROWS = 30
# from this number of columns on, a table is printed in small letters
WIDE_COLUMNS = 7


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a report, rows × columns as text; ``name`` is its CSV file, empty if it is not
    cut.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    name: str = ""

    @property
    def wide(self) -> bool:
        """Whether the table has too many columns for a printed page with letters of normal size."""
        return len(self.header) >= WIDE_COLUMNS

    @property
    def shown(self) -> tuple[tuple[str, ...], ...]:
        """The rows of the table that a report shows."""
        return self.rows[:SHOWN_ROWS]

    @property
    def note(self) -> str:
        """A note that rows of the table are not shown, and where to find them; empty if all are
        shown.
        """
        if not self.name:
            return ""
        return f"{SHOWN_ROWS} of {len(self.rows)} rows are shown; all of them are in {self.name}"

    @property
    def csv(self) -> bytes:
        """The complete table as CSV; a spreadsheet should import the values as text to keep them
        exact.
        """
        file = io.StringIO()
        writer = csv.writer(file)
        writer.writerows([self.header, *self.rows] if self.header else self.rows)
        return file.getvalue().encode(errors="replace")


def cut(markup: str, names: Iterator[str]) -> tuple[str, tuple[Table, ...]]:
    """Cut the long tables in sanitized HTML; return the HTML and the complete tables.

    Parameters
    ----------
    markup
        From `clean_html`.
    names
        The names of CSV files, one for each cut table.

    Returns
    -------
    tuple
        The HTML with at most `SHOWN_ROWS` rows per table and a note under each cut table; and all
        tables that are not inside another table.

    >>> cut("<table><tr><th>a</th></tr><tr><td>1 &amp; 2</td></tr></table>", iter(()))[1]
    (Table(header=('a',), rows=(('1 & 2',),), name=''),)
    """
    if "<table" not in markup:
        return markup, ()
    reader = _Reader(names)
    reader.feed(markup)
    reader.close()
    return "".join(reader.kept), tuple(reader.tables)


class _Reader(HTMLParser):
    """Copies HTML without table rows beyond the limit, and collects the cells of outer tables."""

    def __init__(self, names: Iterator[str]) -> None:
        super().__init__(convert_charrefs=True)
        self.kept: list[str] = []
        self.tables: list[Table] = []
        self._names = names
        self._depth = 0
        self._start = 0  # index in `kept` at which the outer table begins
        self._header: tuple[str, ...] = ()
        self._rows: list[tuple[str, ...]] = []
        self._cells: list[str] = []
        self._heads = True  # whether the row has header cells only
        self._row_start = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        outer = self._depth == 1
        if tag == "table":
            self._depth += 1
            if self._depth == 1:
                self._start, self._header, self._rows = len(self.kept), (), []
        elif tag == "tr" and outer:
            self._cells, self._heads, self._row_start = [], True, len(self.kept)
        elif tag in {"td", "th"} and outer:
            self._cells.append("")
            self._heads = self._heads and tag == "th"
        self.kept.append(self.get_starttag_text() or "")

    def handle_endtag(self, tag: str) -> None:
        self.kept.append(f"</{tag}>")
        if tag == "tr" and self._depth == 1:
            self._end_row()
        elif tag == "table":
            self._depth -= 1
            if self._depth == 0:
                self._end_table()

    def handle_data(self, data: str) -> None:
        self.kept.append(escape(data, quote=False))
        if self._depth and self._cells:
            self._cells[-1] += data

    def _end_row(self) -> None:
        row = tuple(cell.strip() for cell in self._cells)
        self._cells = []
        if self._heads and not self._header and not self._rows:
            self._header = row
            return
        self._rows.append(row)
        if len(self._rows) > SHOWN_ROWS:
            del self.kept[self._row_start :]

    def _end_table(self) -> None:
        name = next(self._names) if len(self._rows) > SHOWN_ROWS else ""
        table = Table(header=self._header, rows=tuple(self._rows), name=name)
        self.tables.append(table)
        if table.wide:
            self.kept[self._start] = '<table class="wide">'
        if table.note:
            self.kept.append(f"<p>{escape(table.note)}</p>")
