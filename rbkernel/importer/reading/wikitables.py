"""Read the tables of HTML and of Confluence as the Markdown tables that they stand for. Pure."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

_ROW = re.compile(r"<tr\b[^>]*>(.*?)(?=</tr>|<tr\b|</table>|\Z)", re.IGNORECASE | re.DOTALL)
_CELL = re.compile(r"<t[hd]\b[^>]*>(.*?)(?=</t[hd]>|<t[hd]\b|</tr>|\Z)", re.IGNORECASE | re.DOTALL)
_CODE = re.compile(r"<(code|samp|kbd|tt)\b[^>]*>(.*?)</\1>", re.IGNORECASE | re.DOTALL)
_WIKI_CELL = re.compile(r"(?<!\\)\|\|?")


def is_table(text: str) -> bool:
    """Tell whether a text is a table of HTML or of Confluence, with a header and a row.

    >>> is_table("||Check||OK if||\\n|`uptime`|any|"), is_table("<p>none</p>"), is_table("a || b")
    (True, False, False)
    """
    return len(_rows(text)) > 1


def as_markdown(text: str) -> str:
    """Return the Markdown of a table of HTML or Confluence; other texts stay as they are.

    >>> print(as_markdown("<table><tr><th>A</th></tr><tr><td><code>ls</code></td></tr></table>"))
    | A |
    |---|
    | `ls` |
    """
    rows = _rows(text)
    if len(rows) < 2:
        return text
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join([lines[0], f"|{'---|' * len(rows[0])}", *lines[1:]])


def _rows(text: str) -> Sequence[Sequence[str]]:
    if re.search(r"<tr\b", text, re.IGNORECASE):
        return [
            cells
            for row in _ROW.findall(text)
            if (cells := [_of_html(cell) for cell in _CELL.findall(row)])
        ]
    lines = [line.strip() for line in text.strip().splitlines()]
    if not lines or not re.match(r"\|\|.+\|\|$", lines[0]):
        return []
    if not all(line.startswith("|") and line.endswith("|") for line in lines):
        return []
    return [[cell.strip() for cell in _WIKI_CELL.split(line.strip("|"))] for line in lines]


def _of_html(cell: str) -> str:
    """Return the content of a cell as Markdown, in one line."""
    cell = _CODE.sub(lambda found: f"`{found[2]}`", re.sub(r"<br\s*/?>", " ", cell))
    words = html.unescape(re.sub(r"</?[A-Za-z][^>]*>", " ", cell))
    return " ".join(words.split()).replace("|", "\\|")
