"""Prevent a frame that a call has shown from being shown again as the cell's last value."""

from __future__ import annotations

import pandas as pd
from IPython.core.getipython import get_ipython
from IPython.display import display


class ShownFrame(pd.DataFrame):
    """A frame that the function that returned it has already shown.

    Frames derived from it are plain frames.
    """

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def _ipython_display_(self) -> None:
        """Show nothing in the cell that has shown the frame; a later cell shows it as usual."""
        if self.__dict__.get("_cell") != _cell():
            display(pd.DataFrame(self))


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame marked as shown by this cell; its provenance is kept."""
    made = ShownFrame(frame)
    made.attrs = frame.attrs
    object.__setattr__(made, "_cell", _cell())
    return made


def _cell() -> int:
    """Return the number of the cell that is being executed; 0 outside a notebook."""
    shell = get_ipython()
    return int(shell.execution_count) if shell is not None else 0
