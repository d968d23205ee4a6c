"""Collect the outputs of all cells from a kernel's messages, as a frontend does.

Rules, the same in JupyterLab and nbclient: a message belongs to the cell whose request is its
parent, unless an Output widget captures that parent; a display with an id that was seen before
rewrites every earlier output with that id, in any cell; `clear_output(wait=True)` clears when
the next output arrives; consecutive streams of the same name are one output.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from rbkernel.evidence.normal import join_streams, normal_bundle

_WIDGET_TARGET = "jupyter.widget"
_OUTPUT_WIDGET = "OutputModel"


class OutputArea:
    """Builds the current outputs of each cell from a kernel's IOPub messages, received in order.

    ``widgets`` maps each widget's id to its state after the last message.
    """

    def __init__(self) -> None:
        self.widgets: dict[str, dict[str, Any]] = {}
        self._buffers: dict[str, dict[tuple[str | int, ...], str]] = defaultdict(dict)
        self._shown: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._displays: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._clear_next: set[str] = set()
        self._captured_by: dict[str, list[str]] = defaultdict(list)  # parent → widgets, last wins

    def receive(
        self, kind: str, parent: str, content: Mapping[str, Any], buffers: Sequence[str] = ()
    ) -> None:
        """Apply one IOPub message to the outputs.

        Raises
        ------
        KeyError, TypeError, AttributeError
            The message lacks fields that the messaging protocol requires for its type.
        """
        if kind in ("comm_open", "comm_msg"):
            self._comm(content, buffers, opened=kind == "comm_open")
        elif kind == "clear_output":
            self._clear(self._place(parent), wait=bool(content.get("wait")))
        elif kind in ("stream", "error", "display_data", "execute_result", "update_display_data"):
            self._output(kind, parent, content)

    def outputs(self, parent: str) -> tuple[dict[str, Any], ...]:
        """Return the current outputs of the cell that a request executed, in nbformat's form."""
        return tuple(join_streams(self._shown.get(parent, ())))

    def widget_state(self) -> dict[str, Any]:
        """Return the state of all widgets, in the form of a notebook's `metadata.widgets`."""
        return {comm_id: self._widget(comm_id) for comm_id in self.widgets}

    def _output(self, kind: str, parent: str, content: Mapping[str, Any]) -> None:
        display_id = (content.get("transient") or {}).get("display_id")
        output = _from_message(kind, content)
        if display_id:
            for earlier in self._displays[display_id]:
                earlier["data"] = copy.deepcopy(output["data"])
                earlier["metadata"] = copy.deepcopy(output["metadata"])
        if kind == "update_display_data":
            return
        place = self._place(parent)
        if place in self._clear_next:
            self._clear(place, wait=False)
        self._shown[place].append(output)
        if display_id:
            self._displays[display_id].append(output)

    def _clear(self, place: str, *, wait: bool) -> None:
        if wait:
            self._clear_next.add(place)
        else:
            self._clear_next.discard(place)
            self._shown[place].clear()

    def _place(self, parent: str) -> str:
        capturing = self._captured_by.get(parent)
        return capturing[-1] if capturing else parent

    def _comm(self, content: Mapping[str, Any], buffers: Sequence[str], *, opened: bool) -> None:
        comm_id, data = content["comm_id"], content.get("data") or {}
        known = content.get("target_name") == _WIDGET_TARGET if opened else comm_id in self.widgets
        state = data.get("state") if isinstance(data, dict) else None
        if not known or not isinstance(state, dict):
            return
        self.widgets.setdefault(comm_id, {}).update(state)
        paths = data.get("buffer_paths") or ()
        self._buffers[comm_id].update(
            {tuple(path): part for path, part in zip(paths, buffers, strict=False)}
        )
        if self.widgets[comm_id].get("_model_name") == _OUTPUT_WIDGET:
            self._output_widget(comm_id, state)

    def _output_widget(self, comm_id: str, state: Mapping[str, Any]) -> None:
        if isinstance(state.get("outputs"), list):
            self._shown[comm_id] = [dict(output) for output in state["outputs"]]
        if "msg_id" not in state:
            return
        for capturing in self._captured_by.values():
            if comm_id in capturing:
                capturing.remove(comm_id)
        if state["msg_id"]:
            self._captured_by[state["msg_id"]].append(comm_id)

    def _widget(self, comm_id: str) -> dict[str, Any]:
        state = self.widgets[comm_id]
        if state.get("_model_name") == _OUTPUT_WIDGET:
            state = {**state, "msg_id": "", "outputs": list(self.outputs(comm_id))}
        widget = {
            "model_name": state.get("_model_name"),
            "model_module": state.get("_model_module"),
            "model_module_version": state.get("_model_module_version"),
            "state": state,
        }
        if buffers := self._buffers.get(comm_id):
            widget["buffers"] = [
                {"path": list(path), "encoding": "base64", "data": part}
                for path, part in buffers.items()
            ]
        return widget


def _from_message(kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    if kind == "stream":
        return {"output_type": kind, "name": str(content["name"]), "text": str(content["text"])}
    if kind == "error":
        facts = {key: str(content[key]) for key in ("ename", "evalue")}
        traceback = [str(line) for line in content["traceback"]]
        return {"output_type": kind, **facts, "traceback": traceback}
    output: dict[str, Any] = {
        "output_type": kind,
        "data": normal_bundle(content["data"]),
        "metadata": dict(content.get("metadata") or {}),
    }
    if kind == "execute_result":
        count = content["execution_count"]
        if not isinstance(count, int | None):
            raise TypeError(f"its execution count is {count!r}")
        output["execution_count"] = count
    return output
