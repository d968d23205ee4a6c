"""Turn the notebook of a run into a working copy, in which the run can be continued. Pure.

The copy holds the parameters and the incident of its run, so that running it repeats the same
checks. That is a new run, which `continues` the first. The outputs of the first run stay readable,
and each states its age. Content that could be mistaken for a current result is removed: execution
counts, typed findings, widgets.
"""

from __future__ import annotations

import ast
import re
from datetime import datetime
from typing import Any

from nbformat import NotebookNode

from rbkernel import amounts
from rbkernel.errors import RunbookError
from rbkernel.evidence import notebook as documents
from rbkernel.evidence import rebuild
from rbkernel.evidence.reading import Record
from rbkernel.render.cards import message_card
from rbkernel.render.documents.widgets import WIDGET_VIEW, states, widget_text
from rbkernel.render.documents.wording import clock
from rbkernel.runbook import parameters

_TAG = "rbkernel-working-copy"
_OF_THE_RUN = ("papermill", "execution", "rbkernel")
_TYPED = re.compile(r"application/vnd\.rbkernel\..*")


def working_notebook(
    notebook: NotebookNode,
    record: Record,
    incident: str,
    made_at: datetime,
    *,
    alive: bool = False,
) -> NotebookNode:
    """Return a working copy of a run's notebook, with its outputs marked as old.

    Parameters
    ----------
    notebook
        The executed notebook, or a notebook rebuilt from the journal.
    record
        The record read from the run's journal.
    incident
        The incident that the run belongs to; empty for none.
    made_at
        The time of the copy, in UTC; the ages of old outputs are relative to it.
    alive
        Whether the run is still going on.

    Raises
    ------
    ParameterError
        The journal has a parameter that the runbook does not accept.
    """
    copy = rebuild.annotate(notebook, record)
    known = states(copy.metadata)
    gone = {_TAG, rebuild.PAPERMILL_ERROR}
    copy.cells = [cell for cell in copy.cells if not gone & set(rebuild.tags(cell))]
    for cell in copy.cells:
        if cell.cell_type == "code":
            _make_old(cell, known, made_at)
        for name in _OF_THE_RUN:
            cell.metadata.pop(name, None)
    for name in (*_OF_THE_RUN, "widgets"):
        copy.metadata.pop(name, None)
    copy.metadata["rbkernel"] = {"continues": record.run_id, "incident": incident}
    _inject(copy, record, incident)
    introduction = _introduction(record, incident, made_at, alive=alive)
    cell = _cell(copy, "markdown", "working-copy", introduction, _TAG)
    copy.cells.insert(_after_front_matter(copy), cell)
    return copy


def _make_old(cell: NotebookNode, widgets: Any, made_at: datetime) -> None:
    """Mark a cell's output as old; running the cell replaces the output and the mark."""
    cell.execution_count = None
    if not cell.outputs:
        return
    recorded = cell.metadata.get("rbkernel", {})
    at = str(recorded.get("ended_at") or recorded.get("started_at") or "")
    said = f"{clock(at)}, {_age(at, made_at)}" if at else "at an unknown time"
    said += ". Run the cell to refresh."
    mark = {
        "output_type": "display_data",
        "metadata": {},
        "data": {"text/html": message_card("old", said), "text/plain": f"OLD: {said}"},
    }
    shown = (_readable(one, widgets) for one in cell.outputs)
    cell.outputs = [documents.node(mark), *(one for one in shown if one is not None)]


def _age(at: str, made_at: datetime) -> str:
    """Return a text that says how old an output was when the copy was made.

    >>> _age("2026-11-20T23:45:35Z", datetime.fromisoformat("2026-11-21T00:02:40Z"))
    '17 min 5 s old when this copy was made'
    """
    passed = made_at - datetime.fromisoformat(at)
    return f"{amounts.duration(passed.total_seconds())} old when this copy was made"


def _readable(output: NotebookNode, widgets: Any) -> NotebookNode | None:
    """Return an old output as something to read, without widgets and typed data; None if empty.

    Buttons would not work in the copy. A widget without text is dropped: it would show only
    Python's name for the object.
    """
    if output.output_type == "execute_result":
        output.execution_count = None
    data = output.get("data", {})
    view = data.pop(WIDGET_VIEW, None)
    if view is not None:
        data["text/plain"] = widget_text(view, widgets)
        if not data["text/plain"]:
            return None
    for name in [name for name in data if _TYPED.fullmatch(name)]:
        del data[name]
    return output


def _inject(copy: NotebookNode, record: Record, incident: str) -> None:
    """Insert a cell with the run's parameters into the copy, as papermill does.

    Nothing is inserted if somebody replaced the declarations in the parameters cell by other code:
    the copy then keeps the code that ran.
    """
    try:
        declared = parameters.declared(copy, f"run {record.run_id}")
        before = _injected(copy)
    except (RunbookError, SyntaxError, ValueError):
        return
    recorded = record.run.parameters if record.run else {}
    given = {name: one.default for name, one in declared.items()} | before | dict(recorded)
    given |= {"incident": incident} if incident else {}
    values = {
        name: given[name]
        for name, one in declared.items()
        if name in before or given[name] != one.default
    }
    values = parameters.validate(values, declared, f"run {record.run_id}")
    source = "\n".join(["# Parameters", *(f"{name} = {value!r}" for name, value in values.items())])
    if (place := _tagged(copy, rebuild.INJECTED)) is not None:
        copy.cells[place].source = source
    elif values and (place := _tagged(copy, rebuild.PARAMETERS)) is not None:
        cell = _cell(copy, "code", rebuild.INJECTED, source, rebuild.INJECTED)
        copy.cells.insert(place + 1, cell)


def _injected(copy: NotebookNode) -> dict[str, Any]:
    """Return the parameters' values in the cell that papermill or an earlier copy injected.

    Raises
    ------
    SyntaxError, ValueError
        The cell holds something other than ``name = literal``.
    """
    place = _tagged(copy, rebuild.INJECTED)
    nodes = [] if place is None else ast.parse(copy.cells[place].source).body
    found = {}
    for node in nodes:
        if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)):
            raise ValueError(  # noqa: TRY004  # the text of the cell is wrong, not a type
                f"`{ast.unparse(node)}` does not set a parameter to a value"
            )
        found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


def _tagged(copy: NotebookNode, tag: str) -> int | None:
    return next((i for i, cell in enumerate(copy.cells) if tag in rebuild.tags(cell)), None)


def _after_front_matter(copy: NotebookNode) -> int:
    return 1 if copy.cells and copy.cells[0].cell_type == "raw" else 0


def _introduction(record: Record, incident: str, made_at: datetime, *, alive: bool) -> str:
    going_on = " The run had not finished when this copy was made." if alive else ""
    of = " of ".join(filter(None, [record.runbook, incident]))
    return (
        f"**A working copy** of run `{record.run_id}` ({of}), made {clock(made_at.isoformat())}."
        f"{going_on} Outputs of that run are marked **old**. Nothing that you do here changes the"
        " sealed evidence.\n\n"
        "**To refresh:** *Run > Run All Cells*. That is a new recorded run, which continues the"
        " first one in the same incident with the same parameters."
    )


def _cell(copy: NotebookNode, kind: str, wanted: str, source: str, tag: str) -> NotebookNode:
    taken = {cell.id for cell in copy.cells}
    cell: dict[str, Any] = {
        "cell_type": kind,
        "id": documents.free_id(wanted, taken),
        "metadata": {"tags": [tag]},
        "source": source,
    }
    if kind == "code":
        cell |= {"execution_count": None, "outputs": []}
    return documents.node(cell)
