"""A text box with a button, for a remark that a person makes now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from rbkernel.errors import RbkernelError

_NOTHING = "Nothing was recorded: the text is empty."


def note_box(label: str, button: str, record: Callable[[str], str]) -> widgets.VBox:
    """Return a text box with a button, and a line below that says what was recorded.

    Parameters
    ----------
    label
        What to write; screen readers read it with the box.
    button
        The word on the button, a verb or *Done*.
    record
        Records the text, and returns what to say about it.
    """
    area = widgets.Textarea(
        description=label,
        placeholder="what you did, and what the server answered",
        style={"description_width": "initial"},
        layout=widgets.Layout(width="95%", height="4.5em"),
    )
    press = widgets.Button(description=button, button_style="primary")
    said = widgets.Label(value="")

    def pressed(_: widgets.Button) -> None:
        text = area.value.strip()
        try:
            said.value = record(text) if text else _NOTHING
        except RbkernelError as error:
            said.value = f"Not recorded: {error}"
            return
        if text:
            area.value = ""

    press.on_click(pressed)
    return widgets.VBox([area, widgets.HBox([press, said])])


def with_text(shown: widgets.Widget, text: str) -> dict[str, Any]:
    """Return a widget as it is displayed, with a text for readers without its kernel."""
    bundle: dict[str, Any] = shown._repr_mimebundle_()
    return {**bundle, "text/plain": text}
