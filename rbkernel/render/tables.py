"""Show sections of a runbook's front matter as tables, with empty placeholders highlighted."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from IPython.display import display

from rbkernel.displaytext import escape
from rbkernel.model import Verdict
from rbkernel.render import cards
from rbkernel.runbook.digest import Table
from rbkernel.runbook.placeholders import PLACEHOLDER

# each cell sets text and background colour, because a dark JupyterLab colours the rows of tables
_CELL = (
    "padding: 3px 8px; border: 1px solid #d0d7de; text-align: left; vertical-align: top;"
    " color: #1f2328; background-color: #ffffff"
)
_LOUD = "background-color: #ffe08a; color: #1f2328"


def show(table: Table, *, kind: str = "table", remark: str = "") -> None:
    """Show a table of the front matter, or a note that the front matter lacks it.

    Parameters
    ----------
    table
        The table; a cell with a verdict gets its badge.
    kind
        The kind in the MIME type of the JSON.
    remark
        A line under the table.
    """
    note = remark
    if not table.rows:
        note = f"the front matter has no `{table.heading.replace(' ', '_')}`"
    data = {"heading": table.heading, "names": table.names, "rows": table.rows, "remark": note}
    card = cards.frame(
        _html(table) + (f"<div style='margin: 6px 10px'>{loud(note)}</div>" if note else "")
    )
    display(cards.bundle(kind, data, card, text(table, note)), raw=True)


def text(table: Table, remark: str = "") -> str:
    """Return a table as plain text, one line per row.

    >>> print(text(Table(heading="links", names=("title", "url"), rows=(("Logs", "http://l"),))))
    LINKS
      title: Logs · url: http://l
    """
    lines = [table.heading.upper(), *(f"  {_line(table.names, row)}" for row in table.rows)]
    return "\n".join([*lines, remark] if remark else lines)


def loud(words: str) -> str:
    """Return a text as HTML, with its placeholders highlighted.

    >>> loud("<b> ‹PLACEHOLDER: who›")  # doctest: +ELLIPSIS
    "&lt;b&gt; <mark style='...'>‹PLACEHOLDER: who›</mark>"
    """
    return PLACEHOLDER.sub(rf"<mark style='{_LOUD}'>\g<0></mark>", escape(words))


def _line(names: Sequence[str], row: Sequence[str]) -> str:
    if not names:
        return f"- {row[0]}"
    return " · ".join(
        f"{name}: {cell}" if name else cell for name, cell in zip(names, row, strict=True) if cell
    )


def _html(table: Table) -> str:
    if not table.rows:
        return ""
    head = "".join(f"<th style='{_CELL}'>{escape(name)}</th>" for name in table.names)
    rows = "".join(
        "<tr>" + "".join(f"<td style='{_CELL}'>{_cell(cell)}</td>" for cell in row) + "</tr>"
        for row in table.rows
    )
    top = f"<tr>{head}</tr>" if any(table.names) else ""
    return (
        f"<div style='margin: 6px 10px; font-weight: bold'>{escape(_titled(table.heading))}"
        "</div><div style='overflow: auto; margin: 6px 10px'><table style='font-size: 13px;"
        f" margin: 0'>{top}{rows}</table></div>"
    )


def _titled(heading: str) -> str:
    """Return a heading with a capital first letter.

    >>> _titled("kill switches"), _titled("slo")
    ('Kill switches', 'SLO')
    """
    return heading.upper() if heading == "slo" else heading[:1].upper() + heading[1:]


def _cell(words: str) -> str:
    if words in set(Verdict):
        return cards.badge(words, words)
    linked = re.fullmatch(r"https?://[^\s'\"<>]+", words)
    return f"<a href='{html.escape(words)}'>{escape(words)}</a>" if linked else loud(words)
