"""Write the elements of an SVG picture, with colours by name. Pure.

Each element has the colour for light grounds as an attribute and a class, by which the picture's
own style sheet changes it on dark screens. Where style sheets are removed, the picture stays light.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from html import escape

from rbkernel.displaytext import one_line
from rbkernel.render.figures.palette import COLOURS, style

#: px; a picture is drawn for a phone, and larger screens do not enlarge it
WIDTH = 480
SMALL, NORMAL, TITLE = 12, 13, 15
# bold text is up to so much wider than `width_of` says; measured in DejaVu Sans, a wide font
_BOLD = 1.1
_CLASS = re.compile(r'class="(?:f-([a-z0-9-]+))?(?: ?s-([a-z0-9-]+))?"')
# not between a number and its unit
_SPACE = re.compile(r"(?<!\d)\s+|\s+(?![^\W\d_]{1,3}\b)")
_NARROW, _BROAD = frozenset("iljtfrI.,:;|'!()[] -"), frozenset("mwMWQOGD@%…—")
_MARKS = ("circle", "square", "diamond", "triangle")


def number(value: float) -> str:
    """Return a coordinate with at most one decimal.

    >>> [number(one) for one in (3, 3.04, 3.26)]
    ['3', '3', '3.3']
    """
    return f"{value:.1f}".removesuffix(".0")


def width_of(words: str, size: int = NORMAL) -> float:
    """Return about how wide a text is, in px; fonts differ, and this is of a wide one.

    >>> width_of("WAL", 10) > width_of("ill", 10), width_of("数据", 10)
    (True, 20)
    """
    return size * sum(map(_width, words))


def _width(character: str) -> float:
    if unicodedata.combining(character):
        return 0
    if unicodedata.east_asian_width(character) in "WF":
        return 1
    if character in _NARROW:
        return 0.39
    if character in _BROAD:
        return 0.9
    return 0.7 if character.isupper() else 0.62


def cut(words: str, room: float, size: int = NORMAL) -> str:
    """Return a text that fits into so many px, cut with an ellipsis.

    >>> cut("a very long name", 60), cut("short", 60)
    ('a very…', 'short')
    """
    words = one_line(words[:400])
    if width_of(words, size) <= room:
        return words
    left = room - width_of("…", size)
    kept = 0
    for kept, character in enumerate(words):  # noqa: B007 - its last value is used
        left -= size * _width(character)
        if left < 0:
            break
    return f"{words[:kept].rstrip()}…"


def wrap(words: str, room: float, size: int = NORMAL, most: int = 3) -> list[str]:
    """Return a text as lines that fit into so many px; the last of the most lines is cut.

    A number and its unit stay on one line.

    >>> wrap("one two three", 60), wrap("one two three four", 60, most=2)
    (['one two', 'three'], ['one two', 'three f…'])
    >>> wrap("held 35.4 MB", 70)
    ['held', '35.4 MB']
    """
    lines: list[str] = [""]
    for word in _SPACE.split(one_line(words).strip()):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and width_of(longer, size) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    if len(lines) > most:
        lines = [*lines[: most - 1], f"{lines[most - 1]} {lines[most]}…"]
        lines[-1] = cut(lines[-1], room, size)
    return [cut(line, room, size) for line in lines]


def text(
    x: float,
    y: float,
    words: str,
    *,
    size: int = NORMAL,
    tone: str = "ink",
    anchor: str = "start",
    bold: bool = False,
) -> str:
    """Return a text whose base line begins, ends or has its middle at a place."""
    more = "" if anchor == "start" else f' text-anchor="{anchor}"'
    more += ' font-weight="600"' if bold else ""
    more += "" if size == NORMAL else f' font-size="{size}"'
    shown = escape(one_line(words))
    return f'<text x="{number(x)}" y="{number(y)}"{more} {_filled(tone)}>{shown}</text>'


def label(
    x: float, y: float, words: str, *, ground: str, tone: str = "ink", anchor: str = "start",
    size: int = SMALL, bold: bool = False,
) -> str:  # fmt: skip
    """Return a text on a ground of its own, so that lines below do not cross it."""
    width = width_of(words, size) * (_BOLD if bold else 1)
    left = x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
    under = rect(left - 3, y - size + 1, width + 6, size + 3, ground)
    return under + text(x, y, words, size=size, tone=tone, anchor=anchor, bold=bold)


def rect(
    x: float,
    y: float,
    width: float,
    height: float,
    tone: str,
    *,
    round_px: float = 0,
    hint: str = "",
) -> str:
    """Return a filled rectangle; ``hint`` is shown where a browser shows such texts."""
    more = f' rx="{number(round_px)}"' if round_px else ""
    size = f'width="{number(max(0, width))}" height="{number(max(0, height))}"'
    said = f"<title>{escape(one_line(hint))}</title>" if hint else ""
    return f'<rect x="{number(x)}" y="{number(y)}" {size}{more} {_filled(tone)}>{said}</rect>'


def box(x: float, y: float, width: float, height: float, tone: str, *, thick: float = 1) -> str:
    """Return an outlined rectangle on the shade of the paper."""
    size = f'width="{number(width)}" height="{number(height)}" rx="5"'
    return (
        f'<rect x="{number(x)}" y="{number(y)}" {size} stroke-width="{number(thick)}"'
        f' fill="{COLOURS["shade"][0]}" stroke="{COLOURS[tone][0]}" class="f-shade s-{tone}"/>'
    )


def path(
    places: Sequence[tuple[float, float]], tone: str, *, dash: str = "", thick: float = 1
) -> str:
    """Return a line through places."""
    drawn = "L".join(f"{number(x)} {number(y)}" for x, y in places)
    more = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path d="M{drawn}" stroke-width="{number(thick)}"{more} {_stroked(tone)}/>'


def mark(x: float, y: float, index: int, tone: str, *, size: float = 3.5) -> str:
    """Return the mark of a series: a shape by its index."""
    shape = _MARKS[index % len(_MARKS)]
    if shape == "circle":
        return f'<circle cx="{number(x)}" cy="{number(y)}" r="{number(size)}" {_filled(tone)}/>'
    around = {
        "square": ((-1, -1), (1, -1), (1, 1), (-1, 1)),
        "diamond": ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
        "triangle": ((0, -1.2), (1.2, 1), (-1.2, 1)),
    }[shape]
    points = " ".join(f"{number(x + size * dx)},{number(y + size * dy)}" for dx, dy in around)
    return f'<polygon points="{points}" {_filled(tone)}/>'


def picture(parts: Iterable[str], *, height: float, title: str, words: str) -> str:
    """Return the SVG of a picture on paper, with its title, and what it shows in words."""
    drawn = "".join(parts)
    used = {("fill", "paper")}
    for filled, stroked in _CLASS.findall(drawn):
        used |= {("fill", filled)} if filled else set()
        used |= {("stroke", stroked)} if stroked else set()
    size = f'width="{WIDTH}" height="{number(height)}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {WIDTH} {number(height)}"'
        ' class="rb" role="img" font-family="system-ui, sans-serif"'
        f' font-size="{NORMAL}"><title>{escape(one_line(title))}</title>'
        f"<desc>{escape(one_line(words))}</desc><style>{style(used)}</style>"
        f"{rect(0, 0, WIDTH, height, 'paper')}{drawn}</svg>"
    )


def headline(title: str) -> tuple[list[str], float]:
    """Return a title at the top of a picture, and the height that it takes, in px."""
    lines = wrap(title, (WIDTH - 20) / _BOLD, TITLE)
    drawn = [text(10, 22 + 19 * at, line, size=TITLE, bold=True) for at, line in enumerate(lines)]
    return drawn, 12.0 + 19 * len(lines)


def notes(words: str, top: float, *, tone: str = "faint") -> tuple[list[str], float]:
    """Return small text over the width of a picture, and the height that it takes, in px."""
    lines = wrap(words, WIDTH - 20, SMALL, most=3) if words else []
    drawn = [
        text(10, top + 14 + 16 * at, one, size=SMALL, tone=tone) for at, one in enumerate(lines)
    ]
    return drawn, 16.0 * len(lines) + (6 if lines else 0)


def _filled(tone: str) -> str:
    return f'fill="{COLOURS[tone][0]}" class="f-{tone}"'


def _stroked(tone: str) -> str:
    return f'fill="none" stroke="{COLOURS[tone][0]}" class="s-{tone}"'
