"""A drawn figure as Jupyter shows it: SVG, a caption in words, and data for plotly.js."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from rbkernel.checks.answer import provenance
from rbkernel.displaytext import visible
from rbkernel.errors import ParameterError
from rbkernel.render.figures import shapes

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: so many of what is not drawn are named
NAMED = 5
_CONFIG = {"displaylogo": False, "showSendToCloud": False}


class Picture:
    """A figure; Jupyter shows it if it is the last value of a cell.

    Parameters
    ----------
    svg
        The picture, which needs no script and loads nothing.
    caption
        What it shows in words, for mail, diffs and screen readers.
    interactive
        Data and layout for plotly.js, which JupyterLab prefers; None if the picture has no
        interactive form. Then an image in HTML shows it, because JupyterLab shows SVG of a
        trusted notebook only.
    """

    def __init__(
        self, svg: str, caption: str, interactive: Mapping[str, Any] | None = None
    ) -> None:
        self.svg = svg
        self.caption = caption
        self.interactive = interactive

    @property
    def figure(self) -> go.Figure:
        """The figure for plotly, which is imported only now.

        Raises
        ------
        ParameterError
            The picture has no interactive form.
        """
        if self.interactive is None:
            raise ParameterError(
                "this picture has no interactive form",
                where="Picture.figure",
                next_step="use .svg, the text of the picture",
            )
        import plotly.graph_objects as go

        return go.Figure(self.interactive)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        bundle: dict[str, Any] = {"image/svg+xml": self.svg, "text/plain": self.caption}
        if self.interactive is not None:
            # not "responsive": plotly.js would then lose the height when the window changes
            bundle["application/vnd.plotly.v1+json"] = {**self.interactive, "config": _CONFIG}
        else:
            bundle["text/html"] = self._image
        return bundle

    @property
    def _image(self) -> str:
        data = base64.b64encode(self.svg.encode(errors="replace")).decode("ascii")
        alt = escape(visible(self.caption))
        return f'<img src="data:image/svg+xml;base64,{data}" alt="{alt}">'


def nothing(title: str, frame: pd.DataFrame, column: str) -> Picture | None:
    """Return a picture that says why there is nothing to draw; None if there is something."""
    if column in frame and frame[column].notna().any():
        return None
    source = provenance(frame)
    reason = source.reason if source and source.reason else "no rows"
    said = f"nothing to draw: {reason}"
    parts, top = shapes.headline(title)
    words, height = shapes.notes(said, top)
    svg = shapes.picture([*parts, *words], height=top + height + 6, title=title, words=said)
    return Picture(svg, said)


def others(left: Sequence[str]) -> str:
    """Return a text that names some of what is not drawn; empty if all is drawn.

    >>> others([f"q{n}" for n in range(2988)])
    'and 2,988 more: q0, q1, q2, q3, q4, …'
    """
    shown = [*(name[:60] for name in left[:NAMED]), *(["…"] if len(left) > NAMED else [])]
    return f"and {len(left):,} more: {', '.join(shown)}" if left else ""


def moments(column: pd.Series[Any]) -> list[float]:
    """Return times in s since 1970, numbers unchanged, and NaN for what is neither."""
    if pd.api.types.is_numeric_dtype(column):
        return [float(one) for one in column]
    moments = pd.to_datetime(column, utc=True, errors="coerce")
    return [one.timestamp() if pd.notna(one) else math.nan for one in moments]
