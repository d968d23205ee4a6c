"""Describe Jupyter widgets as text, because a widget does not work without its kernel. Pure."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from typing import Any

from rbkernel.render.documents.sanitize import plain

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
_REFERENCE = "IPY_MODEL_"
_TAG = re.compile(r"<[^>]*>")


def states(metadata: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the state of each widget by the widget's id, from a notebook's metadata."""
    kept: Any = metadata.get("widgets")
    kept = kept.get(WIDGET_STATE) if isinstance(kept, Mapping) else None
    kept = kept.get("state") if isinstance(kept, Mapping) else None
    if not isinstance(kept, Mapping):
        return {}
    found = {key: one.get("state") for key, one in kept.items() if isinstance(one, Mapping)}
    return {str(key): state for key, state in found.items() if isinstance(state, Mapping)}


def widget_text(view: object, known: Mapping[str, Any]) -> str:
    """Return the text of a widget: one line for each part with a description or value.

    >>> box = {"a": {"children": ["IPY_MODEL_b"]}, "b": {"description": "Rows", "value": 5}}
    >>> widget_text({"model_id": "a"}, box)
    'Rows: 5'
    """
    wanted = str(view.get("model_id")) if isinstance(view, Mapping) else ""
    return "\n".join(_lines(wanted, known, set()))


def _lines(wanted: str, known: Mapping[str, Any], seen: set[str]) -> Iterator[str]:
    state = known.get(wanted)
    if wanted in seen or not isinstance(state, Mapping):
        return
    seen.add(wanted)
    parts = [_words(state.get("description")), _words(state.get("value"))]
    if line := ": ".join(part for part in parts if part):
        yield line
    children = state.get("children")
    for child in children if isinstance(children, list) else ():
        if isinstance(child, str) and child.startswith(_REFERENCE):
            yield from _lines(child.removeprefix(_REFERENCE), known, seen)


def _words(value: object) -> str:
    if isinstance(value, str):
        return plain(html.unescape(_TAG.sub(" ", value))).strip()
    return str(value) if isinstance(value, int | float) else ""
