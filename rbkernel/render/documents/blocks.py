"""Convert the outputs of cells to blocks of a report, whatever the outputs contain. Pure.

Each block has a plain text, for Markdown and for browsers without scripts. If something cannot be
shown, the block has a note instead; the executed notebook still contains the output.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar

from rbkernel import amounts
from rbkernel.evidence.normal import JSON_MIMETYPE, resolve_overwriting, text
from rbkernel.render.documents import figures, tables
from rbkernel.render.documents.markdown import markdown_html
from rbkernel.render.documents.sanitize import (
    clean_html,
    has_colours,
    has_live_parts,
    plain,
)
from rbkernel.render.documents.svg import clean_svg
from rbkernel.render.documents.tables import Table
from rbkernel.render.documents.widgets import WIDGET_VIEW, widget_text

_CARD = re.compile(r"application/vnd\.rbkernel\.([a-z]+)\+json", re.ASCII)
_VERDICTS = ("critical", "unknown", "warning", "ok")
_PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
# limit for the text of an output, so that the report of a run with much output can be opened
_SHOWN_CHARACTERS = 20_000
# errors from an output of an unexpected form; the other outputs are shown all the same
_UNFIT = (ValueError, TypeError, LookupError, AttributeError, RecursionError, ArithmeticError)
_LEFT_OUT = "parts that could run or load something were left out; the executed notebook has them"
_NO_SVG = "not shown here, because it is not well-formed SVG; the executed notebook has it"


@dataclass(frozen=True, kw_only=True)
class Text:
    """A block of plain text; ``label`` is its kind, such as the name of the stream."""

    kind: ClassVar = "text"
    text: str
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class Error:
    """A block about an exception: its last line, and the collapsed traceback."""

    kind: ClassVar = "error"
    text: str
    traceback: str


@dataclass(frozen=True, kw_only=True)
class Html:
    """A block of sanitized HTML in which long tables are cut; it also holds the complete tables."""

    kind: ClassVar = "html"
    markup: str
    text: str
    tables: tuple[Table, ...] = ()
    note: str = ""

    @property
    def coloured(self) -> bool:
        """Whether the HTML sets its own colours, so that it needs a white background."""
        return has_colours(self.markup)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A block with a plotly figure; ``drawn`` is None if it cannot be drawn; ``note`` says why."""

    kind: ClassVar = "figure"
    number: int
    text: str
    drawn: Mapping[str, Any] | None
    note: str = ""

    @property
    def height(self) -> int:
        """The height of the figure in pixels."""
        return round(self.drawn["layout"]["height"]) if self.drawn else 0

    @property
    def script(self) -> str:
        """The figure as JSON for a script element of the page."""
        return figures.for_script(self.drawn)


@dataclass(frozen=True, kw_only=True)
class Image:
    """A block with an image as bytes."""

    kind: ClassVar = "image"
    number: int
    text: str
    mimetype: str
    data: bytes

    @property
    def url(self) -> str:
        """The image as a data URL, for use inside the page."""
        return f"data:{self.mimetype};base64,{base64.b64encode(self.data).decode('ascii')}"


@dataclass(frozen=True, kw_only=True)
class Card:
    """A block about a finding, decision, plan, note or overview, with its fields as text."""

    kind: ClassVar = "card"
    name: str
    verdict: str
    lines: tuple[str, ...]
    text: str


Block = Text | Error | Html | Figure | Image | Card


class Reader:
    """Converts outputs to blocks, and numbers images and cut tables throughout the report."""

    def __init__(self) -> None:
        self._pictures = count(1)
        self._tables = (f"table-{n:02d}.csv" for n in count(1))

    def blocks(
        self, outputs: list[Mapping[str, Any]], widgets: Mapping[str, Any]
    ) -> Iterator[Block]:
        """Yield a block for each output of a cell; empty outputs are left out.

        Parameters
        ----------
        outputs
            The outputs, as in nbformat.
        widgets
            The state of each widget by its id, as in the notebook's metadata.
        """
        for output in outputs:
            try:
                block = self._block(output, widgets)
            except _UNFIT as error:
                why = plain(f"{type(error).__name__}: {error}")
                said = f"this output cannot be shown here ({why}); the executed notebook has it"
                block = Text(text=said, label="left out")
            if block:
                yield block

    def _block(self, output: Mapping[str, Any], widgets: Mapping[str, Any]) -> Block | None:
        kind = output.get("output_type")
        if kind == "stream":
            shown = _shortened(plain(resolve_overwriting(text(output.get("text")))))
            return Text(text=shown, label=str(output.get("name", "")))
        if kind == "error":
            return _error(output)
        data = output.get("data")
        return self._display(data, widgets) if isinstance(data, Mapping) and data else None

    def table(self, header: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> Table:
        """Return a table block; if the table is too long to be shown, it names a CSV file."""
        name = next(self._tables) if len(rows) > tables.SHOWN_ROWS else ""
        return Table(header=header, rows=rows, name=name)

    def html(self, markup: str, said: str = "") -> Html:
        """Return the block for a cell's output of untrusted HTML."""
        clean, found = tables.cut(clean_html(markup), self._tables)
        note = _LEFT_OUT if has_live_parts(markup) else ""
        return Html(markup=clean, text=said, tables=found, note=note)

    def _display(self, data: Mapping[str, Any], widgets: Mapping[str, Any]) -> Block:
        said = _shortened(plain(text(data.get("text/plain"))))
        if card := _card(data, said):
            return card
        # SVG needs no script, so it is taken where a figure has both
        if figures.PLOTLY_MIMETYPE in data and not _drawn(data):
            drawn, note = figures.readable(data[figures.PLOTLY_MIMETYPE])
            return Figure(number=next(self._pictures), text=said, drawn=drawn, note=note)
        if WIDGET_VIEW in data:
            return Text(text=widget_text(data[WIDGET_VIEW], widgets) or said, label="widget")
        return self._picture(data, said) or self._words(data, said)

    def _picture(self, data: Mapping[str, Any], said: str) -> Image | Text | None:
        alt = said if not said.startswith("<") else "a picture"
        if "image/svg+xml" in data and "image/png" not in data:
            drawn = clean_svg(text(data["image/svg+xml"]))
            if drawn is None:
                return Text(text=f"{alt}: {_NO_SVG}", label="left out")
            number, kind = next(self._pictures), "image/svg+xml"
            return Image(
                number=number, text=alt, mimetype=kind, data=drawn.encode(errors="replace")
            )
        mimetype = next((name for name in _PICTURES if name in data), None)
        if mimetype is None:
            return None
        try:
            source = base64.b64decode("".join(text(data[mimetype]).split()), validate=True)
        except ValueError:
            return None
        return Image(number=next(self._pictures), text=alt, mimetype=mimetype, data=source)

    def _words(self, data: Mapping[str, Any], said: str) -> Block:
        if "text/html" in data:
            return self.html(text(data["text/html"]), said)
        if "text/markdown" in data:
            source = text(data["text/markdown"])
            return self.html(markdown_html(source), plain(source))
        if said:
            return Text(text=said)
        if "text/latex" in data:
            return Text(text=_shortened(plain(text(data["text/latex"]))), label="latex")
        json_type = next((name for name in data if JSON_MIMETYPE.fullmatch(str(name))), None)
        if json_type:
            return Text(text=_shortened(json.dumps(data[json_type], indent=1)), label="JSON")
        names = ", ".join(sorted(plain(str(name)) for name in data))
        return Text(text=f"not shown here: {names}; the executed notebook has it", label="left out")


def _drawn(data: Mapping[str, Any]) -> bool:
    """Tell whether an output has a picture of its own, as `rb.figure` draws."""
    return "image/svg+xml" in data and clean_svg(text(data["image/svg+xml"])) is not None


def _error(output: Mapping[str, Any]) -> Error:
    name, value = (plain(text(output.get(part))) for part in ("ename", "evalue"))
    lines = output.get("traceback")
    lines_joined = "\n".join(text(line) for line in lines) if isinstance(lines, list) else ""
    return Error(text=_shortened(f"{name}: {value}"), traceback=_shortened(plain(lines_joined)))


def _card(data: Mapping[str, Any], said: str) -> Card | None:
    """Return the block for a finding, plan or similar output; None for other outputs."""
    for mimetype, value in data.items():
        found = _CARD.fullmatch(str(mimetype))
        if found and isinstance(value, Mapping):
            verdict = str(value.get("verdict") or value.get("state") or "")
            lines = tuple(line for line in said.splitlines() if line.strip())
            return Card(name=found[1], verdict=verdict, lines=lines, text=said)
    return None


def _shortened(said: str) -> str:
    """Return a text with its middle replaced by a note if it is long, else unchanged.

    >>> _shortened("abc"), len(_shortened("a" * 30_000)) < 21_000
    ('abc', True)
    """
    left_out = len(said) - _SHOWN_CHARACTERS
    if left_out <= 0:
        return said
    half = _SHOWN_CHARACTERS // 2
    note = f"[… {amounts.count(left_out, 'character')} left out; see the executed notebook …]"
    return f"{said[:half]}\n{note}\n{said[-half:]}"
