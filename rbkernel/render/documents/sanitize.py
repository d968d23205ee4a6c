"""Pure: markup from anybody → markup that runs nothing, loads nothing, and covers nothing.

A report is opened by people who trust it, in browsers that keep its sessions. So what comes from
outputs, Markdown and front matter passes an allowlist here (`nh3`, html5ever's parser), and the
page's Content-Security-Policy is the second lock, not the first.
"""

from __future__ import annotations

import re
from html import escape

import mistune
import nh3

from rbkernel.displaytext import visible

_TEXT = "a abbr b blockquote br caption cite code dd del details dfn div dl dt em h1 h2 h3 h4 h5 h6"
_MORE = "bdi hr i img ins kbd li mark ol p pre q s samp small span strong sub summary sup"
_TABLE = "table tbody td tfoot th thead tr u ul var"
_TAGS = set(f"{_TEXT} {_MORE} {_TABLE}".split())
_ATTRIBUTES = {
    "*": {"style", "title"},
    "a": {"href"},
    "details": {"open"},
    "img": {"alt", "height", "src", "width"},
    "ol": {"start"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan"},
}
# none that takes an address, and none that could move a text over another
_STYLES = {
    *("background-color", "color", "font-family", "font-size", "font-style", "font-weight"),
    *("border", "border-bottom", "border-left", "border-right", "border-top", "border-color"),
    *("border-collapse", "padding", "text-align", "text-decoration", "vertical-align"),
    *("overflow-wrap", "white-space"),
}
_PICTURE = re.compile(r"data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]*", re.ASCII)
_LIVE = re.compile(
    r"<(script|style|iframe|object|embed|form|input|button|svg|math|video|audio|canvas|link|meta"
    r"|base)\b|<img\b(?![^>]*\bsrc\s*=\s*[\"']?data:)",
    re.IGNORECASE,
)
# ESC [ … letter, as terminals read colours and movements; then what else is no text
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)", re.DOTALL)

_markdown = mistune.create_markdown(escape=False, plugins=["strikethrough", "table", "task_lists"])


def clean_html(markup: str) -> str:
    r"""Return markup without anything that runs, loads, hides, moves or turns round.

    >>> clean_html('<b onclick="x()">a</b><script>x()</script><img src=http://x alt=b>')
    '<b>a</b><img alt="b">'
    >>> clean_html("<a href='javascript:x()'>a</a> <p style='position: fixed; color: red'>b</p>")
    '<a rel="noopener noreferrer">a</a> <p style="color:red">b</p>'
    >>> clean_html("a &#x202e;b")
    'a \\u202eb'
    """
    # before, since nh3 takes no half of a surrogate pair; after, since it reads `&#x202e;`
    return visible(
        nh3.clean(
            visible(markup),
            tags=_TAGS,
            attributes=_ATTRIBUTES,
            attribute_filter=_attribute,
            url_schemes={"http", "https", "mailto", "data"},
            filter_style_properties=_STYLES,
        )
    )


def _attribute(_tag: str, name: str, value: str) -> str | None:
    if name == "src":
        return value if _PICTURE.fullmatch(value) else None
    if name == "href":
        # a relative address would lead somewhere else for every reader
        return value if re.match(r"(https?|mailto):", value, re.IGNORECASE) else None
    if name == "style" and "url(" in value.lower().replace(" ", ""):
        return None
    return value


def has_live_parts(markup: str) -> bool:
    """Tell whether markup holds elements that a report leaves out and a reader may miss.

    >>> has_live_parts("<p><script>x()</script>"), has_live_parts("<p>a < script</p>")
    (True, False)
    """
    return bool(_LIVE.search(markup))


def has_colours(markup: str) -> bool:
    """Tell whether clean markup sets colours of its own, so that it needs its own paper."""
    return bool(re.search(r'style="[^"]*color:', markup))


def markdown_html(source: str) -> str:
    """Return Markdown as clean markup; formulas stay as they were written.

    >>> markdown_html("# Lag\\n[x](javascript:x) <img src=x onerror=y>").split("\\n")[:1]
    ['<h1>Lag</h1>']
    """
    try:
        return clean_html(str(_markdown(source)))
    except RecursionError:  # quotes in quotes in quotes
        return f"<pre>{escape(source)}</pre>"


def plain(text: str) -> str:
    r"""Return what a cell printed, without colours and with invisible characters as escapes.

    >>> plain("\x1b[31mred\x1b[0m\x07 \u202eabc")
    'red\\x07 \\u202eabc'
    """
    return visible(_ANSI.sub("", text))
