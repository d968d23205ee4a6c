"""Pure: tables inside clean markup, cut to what a person reads, and whole as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass

from bs4 import BeautifulSoup, Tag

# more rows than these nobody reads in a report; `rb.query` itself shows 20
SHOWN_ROWS = 30
# so many are printed in small letters
_WIDE_COLUMNS = 9


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table, rows × columns as text; ``name`` is the CSV's, empty when nothing was cut."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    name: str = ""

    @property
    def shown(self) -> tuple[tuple[str, ...], ...]:
        """The rows that a report shows."""
        return self.rows[:SHOWN_ROWS]

    @property
    def note(self) -> str:
        """That rows are missing, and where they are; empty when all are shown."""
        if not self.name:
            return ""
        return f"{SHOWN_ROWS} of {len(self.rows)} rows are shown; all of them are in {self.name}"

    @property
    def csv(self) -> bytes:
        """The whole table; the values are exact, so a spreadsheet should import them as text."""
        file = io.StringIO()
        writer = csv.writer(file)
        writer.writerows([self.header, *self.rows] if self.header else self.rows)
        return file.getvalue().encode(errors="replace")


def cut(markup: str, names: Iterator[str]) -> tuple[str, tuple[Table, ...]]:
    """Cut the tables in clean markup, and return them whole.

    Parameters
    ----------
    markup
        From `clean_html`.
    names
        What the CSV of the next cut table is called.

    Returns
    -------
    tuple
        The markup with at most `SHOWN_ROWS` rows a table and a note under each that was cut, and
        all tables that are not inside another one.

    >>> cut("<table><tr><th>a</th></tr><tr><td>1</td></tr></table>", iter(()))[1]
    (Table(header=('a',), rows=(('1',),), name=''),)
    """
    if "<table" not in markup:
        return markup, ()
    soup = BeautifulSoup(markup, "html.parser")
    outer = [table for table in soup.find_all("table") if table.find_parent("table") is None]
    tables = tuple(_cut(soup, table, names) for table in outer)
    return str(soup), tables


def _cut(soup: BeautifulSoup, table: Tag, names: Iterator[str]) -> Table:
    lines = [row for row in table.find_all("tr") if row.find_parent("table") is table]
    heads = [row for row in lines if row.find("td", recursive=False) is None]
    body = [row for row in lines if row not in heads[:1]]
    whole = Table(
        header=_texts(heads[0]) if heads else (),
        rows=tuple(map(_texts, body)),
        name=next(names) if len(body) > SHOWN_ROWS else "",
    )
    if len(whole.header) >= _WIDE_COLUMNS:
        table["class"] = "wide"
    if whole.name:
        for row in body[SHOWN_ROWS:]:
            row.decompose()
        note = soup.new_tag("p")
        note.string = whole.note
        table.insert_after(note)
    return whole


def _texts(row: Tag) -> tuple[str, ...]:
    cells = row.find_all(["td", "th"], recursive=False)
    return tuple(cell.get_text().strip() for cell in cells)
