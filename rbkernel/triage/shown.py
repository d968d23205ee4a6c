"""A frame that a call has shown is not shown again as the last value of the same cell."""

from __future__ import annotations

import pandas as pd
from IPython.core.getipython import get_ipython
from IPython.display import display


class ShownFrame(pd.DataFrame):
    """The result of a call that has shown it. What is derived from it is a plain frame."""

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def _ipython_display_(self) -> None:
        """Show nothing in the cell of the call; a later cell shows the frame as usual."""
        if self.__dict__.get("_cell") != _cell():
            display(pd.DataFrame(self))


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame as one that this cell has shown; its provenance is kept."""
    made = ShownFrame(frame)
    made.attrs = frame.attrs
    object.__setattr__(made, "_cell", _cell())
    return made


def _cell() -> int:
    """Return the number of the running cell; 0 outside a notebook."""
    shell = get_ipython()
    return int(shell.execution_count) if shell is not None else 0
