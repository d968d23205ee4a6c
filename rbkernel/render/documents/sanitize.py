"""Sanitize untrusted HTML so that it runs nothing, loads nothing, and covers no other text. Pure.

Readers trust a report, and open it in browsers with open sessions. So HTML from outputs, Markdown
and front matter passes an allowlist here (`nh3`, with html5ever's parser). The page's
Content-Security-Policy is a second protection.
"""

from __future__ import annotations

import re

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
# no attribute or property that contains a URL, or that can move a text over another
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
# terminal sequences for colours and movements (ESC [ … letter), then other control characters
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)", re.DOTALL)


def clean_html(markup: str) -> str:
    r"""Return HTML without parts that run, load, hide, move or reverse text.

    >>> clean_html('<b onclick="x()">a</b><script>x()</script><img src=http://x alt=b>')
    '<b>a</b><img alt="b">'
    >>> clean_html("<a href='javascript:x()'>a</a> <p style='position: fixed; color: red'>b</p>")
    '<a rel="noopener noreferrer">a</a> <p style="color:red">b</p>'
    >>> clean_html("a &#x202e;b")
    'a \\u202eb'
    """
    # escaped before, since nh3 refuses lone surrogates, and after, since nh3 decodes `&#x202e;`
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
        # a relative URL would have a different target for each reader
        return value if re.match(r"(https?|mailto):", value, re.IGNORECASE) else None
    if name == "style" and "url(" in value.lower().replace(" ", ""):
        return None
    return value


def has_live_parts(markup: str) -> bool:
    """Return whether HTML has elements that sanitizing removes and whose absence readers notice.

    >>> has_live_parts("<p><script>x()</script>"), has_live_parts("<p>a < script</p>")
    (True, False)
    """
    return bool(_LIVE.search(markup))


def has_colours(markup: str) -> bool:
    """Return whether sanitized HTML sets colours, so that it needs a white background."""
    return bool(re.search(r'style="[^"]*color:', markup))


def plain(text: str) -> str:
    r"""Return the printed text of a cell without colour codes, and with invisible characters as
    escapes.

    >>> plain("\x1b[31mred\x1b[0m\x07 \u202eabc")
    'red\\x07 \\u202eabc'
    """
    return visible(_ANSI.sub("", text))
