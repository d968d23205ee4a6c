"""The buttons of a question: one for each option, or *Decide again* once it is answered.

A button does nothing without its kernel, as in a saved notebook. So the text beside the buttons
says how to answer otherwise, and the saved form of the buttons is that text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
from IPython.display import DisplayHandle, display

from rbkernel.errors import AlreadyDecided, RbkernelError
from rbkernel.render import cards
from rbkernel.triage.context import triage

if TYPE_CHECKING:
    from rbkernel.triage.decide import OpenDecision

AGAIN = "Decide again"


def show(decision: OpenDecision) -> None:
    """Show the buttons of a question, and replace them whenever its state changes."""
    handle = display(
        _buttons(decision), raw=True, display_id=f"rbkernel-buttons-{decision.record.id}"
    )
    hint = display(_hint(), raw=True, display_id=True)

    def renew() -> None:
        _replace(handle, _buttons(decision))
        _replace(hint, _hint())

    decision.listen(renew)


def _replace(handle: DisplayHandle, bundle: dict[str, Any]) -> None:
    handle.update(bundle, raw=True)


def _buttons(decision: OpenDecision) -> dict[str, Any]:
    """Return the buttons as they are displayed, with a text for readers without a kernel."""
    record = decision.record
    if record.choice is None:
        made = [_option(decision, option) for option in record.options]
    else:
        made = [_button(AGAIN, "ask this question again", decision, decision.ask_again)]
    row = widgets.Box(made, layout=widgets.Layout(flex_flow="row wrap"))
    shown: dict[str, Any] = row._repr_mimebundle_()
    names = " | ".join(button.description for button in made)
    return {**shown, "text/plain": f"[ {names} ] {without_kernel()}"}


def _option(decision: OpenDecision, option: str) -> widgets.Button:
    recommended = option == decision.record.recommended
    button = _button(
        option,
        "recommended" if recommended else option,
        decision,
        lambda: decision.choose(option),
    )
    button.button_style = "primary" if recommended else ""
    return button


def _button(
    text: str, tooltip: str, decision: OpenDecision, press: Callable[[], None]
) -> widgets.Button:
    button = widgets.Button(description=text, tooltip=tooltip, layout=widgets.Layout(width="auto"))

    def pressed(_: widgets.Button) -> None:
        try:
            press()
        except AlreadyDecided as error:
            decision.remark(str(error))
        except RbkernelError as error:
            decision.remark(f"Not recorded: {error}")

    button.on_click(pressed)
    return button


def _hint() -> dict[str, Any]:
    text = without_kernel()
    return {"text/html": cards.hint(text), "text/plain": text}


def without_kernel() -> str:
    """Return what to do if the buttons are missing or do nothing."""
    run = triage().run
    return (
        "Buttons need the running kernel. If they are missing or do nothing: run all cells again"
        f" (an answer is kept), or `rbkernel decide {run.id}` in a terminal."
    )
