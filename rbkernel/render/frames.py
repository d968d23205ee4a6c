"""Render the rows of an answer as an HTML table: text on the left, numbers on the right. Pure.

The table sets no colours, so the light or dark colours of the page apply.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Number
from typing import Any

import pandas as pd

from rbkernel.displaytext import escape

_LONGEST = 120
_CELL = "padding: 2px 8px; vertical-align: top; text-align"


def table(frame: pd.DataFrame) -> str:
    """Return a frame as an HTML table; columns without any value are only named below it.

    >>> shown = table(pd.DataFrame({"query": ["a\\n  b"], "wait_s": [1.5], "pid": [None]}))
    >>> "text-align: left'>a b</td>" in shown, "text-align: right'>1.500</td>" in shown
    (True, True)
    >>> "no value in: pid" in shown
    True
    """
    # by place: SQL may give two columns the same name
    columns = [frame.iloc[:, at] for at in range(frame.shape[1])]
    empty = [str(one.name) for one in columns if one.isna().all()]
    shown = [one for one in columns if not one.isna().all()]
    sides = ["right" if _is_number(one) else "left" for one in shown]
    head = _row("th", [str(one.name) for one in shown], sides)
    # by column: a row of a frame would turn whole numbers into floats
    rows = zip(*([_words(value) for value in one] for one in shown), strict=True)
    body = "".join(_row("td", row, sides) for row in rows)
    note = f"<div>no value in: {escape(', '.join(empty))}</div>" if empty else ""
    return (
        "<div style='overflow: auto' class='tex2jax_ignore mathjax_ignore'>"
        f"<table class='dataframe'><thead>{head}</thead><tbody>{body}</tbody></table>{note}</div>"
    )


def _row(tag: str, words: Iterable[str], sides: Sequence[str]) -> str:
    scope = " scope='col'" if tag == "th" else ""
    cells = (
        f"<{tag}{scope} style='{_CELL}: {side}'>{escape(word)}</{tag}>"
        for word, side in zip(words, sides, strict=True)
    )
    return f"<tr>{''.join(cells)}</tr>"


def _is_number(column: pd.Series) -> bool:
    values = column.dropna()
    return all(isinstance(one, Number) and not isinstance(one, bool) for one in values)


def _words(value: Any) -> str:
    """Return a value as one line of text.

    >>> _words("SELECT 1\\n  FROM t"), _words(2.0), _words(None), _words(True)
    ('SELECT 1 FROM t', '2.000', '', 'True')
    """
    if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    words = " ".join(str(value).split())
    return words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…"
