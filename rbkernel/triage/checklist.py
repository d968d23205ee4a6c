"""`rb.checklist`: a list of items for a human to tick; every tick is recorded.

In a headless run nobody can tick an item. The list then stays open, and its finding is ``unknown``,
never ok.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
from IPython.display import DisplayHandle, display

from rbkernel.arguments import checked
from rbkernel.errors import ParameterError
from rbkernel.evidence import current
from rbkernel.model import now
from rbkernel.render import cards
from rbkernel.triage import undone
from rbkernel.triage.context import headless, triage


class Checklist:
    """A checklist on the screen.

    Parameters
    ----------
    title
        The purpose of the list.
    items
        The items to tick.
    """

    def __init__(self, title: str, items: Sequence[str]) -> None:
        self.title = title
        self.items = dict.fromkeys(items, False)
        self._card: DisplayHandle | None = None

    @property
    def complete(self) -> bool:
        """Whether every item of the checklist is ticked."""
        return all(self.items.values())

    def tick(self, item: str, *, done: bool = True) -> None:
        """Tick an item or clear its tick, as a click on the item's box does.

        Raises
        ------
        ValueError
            There is no such item.
        """
        if item not in self.items:
            raise ValueError(f"{item!r} is not an item: {', '.join(self.items)}")
        self.items[item] = done
        current().event("tick", checklist=self.title, item=item, done=done, at=now())
        self.show()

    def _ipython_display_(self) -> None:
        """Show nothing as the last value of a cell: `rb.checklist` has shown the list."""

    def show(self) -> None:
        """Replace the displayed checklist with its current state."""
        undone.note(
            undone.CHECKLISTS,
            {f"{self.title}: {item}": done for item, done in self.items.items()},
        )
        items = self.items.items()
        hint = (
            ""
            if self.complete
            else "Tick the boxes in JupyterLab; running the cell again clears them."
        )
        bundle = cards.bundle(
            "checklist",
            {"title": self.title, "items": self.items},
            cards.checklist_card(self.title, items, hint=hint),
            cards.checklist_text(self.title, items),
        )
        if self._card is None:
            self._card = display(bundle, raw=True, display_id=f"rbkernel-list-{id(self)}")
        else:
            self._card.update(bundle, raw=True)


@checked
def checklist(title: str, items: Sequence[str]) -> Checklist:
    """Show a list of items for a human to tick.

    In JupyterLab each item has a box, and every tick is recorded with its time. A headless run
    shows the list without ticks.

    Parameters
    ----------
    title
        The purpose of the list. A second list with the same title replaces the first one's finding.
    items
        The items to tick, in words.

    Returns
    -------
    Checklist
        ``.complete`` is true if all items are ticked.
    """
    triage()  # raises before any output if rb.start has not run
    if not items or len(set(items)) < len(items):
        raise ParameterError(
            "a checklist needs items, and no item twice",
            where="rb.checklist",
            next_step="give a list of different texts",
        )
    shown = Checklist(title, items)
    shown.show()
    if not headless():
        boxes = [_box(shown, item) for item in shown.items]
        display(widgets.VBox(boxes))
    return shown


def _box(shown: Checklist, item: str) -> widgets.Checkbox:
    box = widgets.Checkbox(
        value=False, description=item, indent=False, layout=widgets.Layout(width="auto")
    )

    def ticked(change: dict[str, Any]) -> None:
        shown.tick(item, done=change["new"])

    box.observe(ticked, names="value")
    return box
