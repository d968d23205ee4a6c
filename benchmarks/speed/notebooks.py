"""The two notebooks that are measured: a runbook, and the same work in plain Python."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

QUERIES = (
    "SELECT state, count(*) AS sessions FROM pg_stat_activity GROUP BY state",
    "SELECT usename, count(*) AS sessions FROM pg_stat_activity GROUP BY usename",
    "SELECT mode, count(*) AS locks FROM pg_locks GROUP BY mode",
    "SELECT relname, n_live_tup FROM pg_stat_user_tables ORDER BY 2 DESC LIMIT 20",
    "SELECT pid, state, now() - xact_start AS age FROM pg_stat_activity WHERE pid <> 0",
    "SELECT name, setting FROM pg_settings WHERE source <> 'default'",
)
DRAWN = 4
_IMPORTS = """\
import pandas as pd
import plotly.graph_objects as go
import sqlalchemy as sa

engine = sa.create_engine("{url}")"""
_FIGURE = "go.Figure(go.Bar(x=frame.iloc[:, 0].astype(str), y=frame.iloc[:, 1]))"


def plain(url: str) -> NotebookNode:
    """Return a notebook of 12 cells: imports, six queries, four figures, a table."""
    cells = [_IMPORTS.format(url=url)]
    for number, query in enumerate(QUERIES):
        cells.append(f"frame = pd.read_sql(sa.text({query!r}), engine)\nframe")
        cells += [_FIGURE] if number < DRAWN else []
    return _notebook([*cells, "frame.describe()"])


def prints(cells: int) -> NotebookNode:
    """Return a notebook with so many cells that print a line."""
    return _notebook([f"print({number})" for number in range(cells)])


def write(notebook: NotebookNode, path: Path) -> Path:
    """Write a notebook; return its path."""
    nbformat.write(notebook, path)
    return path


def _notebook(cells: list[str]) -> NotebookNode:
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new_notebook(cells=[*map(new_code_cell, cells)], metadata={"kernelspec": kernel})
