"""Sanitize untrusted SVG so that it runs nothing and loads nothing. Pure.

A browser does not run scripts of an SVG in an `<img>`, but runs them if the SVG is opened as a
file. So the SVG is parsed as XML, as in a browser, and only allowed parts are written. Of style
sheets, only those that `rbkernel.render.figures` writes are kept. If the text is not well-formed
XML, there is no picture.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from rbkernel.displaytext import visible
from rbkernel.render.figures.palette import is_style

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_ELEMENTS = frozenset(
    {"svg", "g", "defs", "symbol", "use", "title", "desc", "path", "rect", "circle", "ellipse"}
    | {"line", "polyline", "polygon", "text", "tspan", "textPath", "linearGradient", "stop"}
    | {"radialGradient", "clipPath", "mask", "pattern", "marker", "image"}
)
# properties that draw; they are also allowed in `style`
_DRAWING = frozenset(
    {"alignment-baseline", "baseline-shift", "clip-path", "clip-rule", "color", "display"}
    | {"dominant-baseline", "fill", "fill-opacity", "fill-rule", "font", "font-family"}
    | {"font-size", "font-stretch", "font-style", "font-variant", "font-weight"}
    | {"letter-spacing", "marker-end", "marker-mid", "marker-start", "mask", "opacity"}
    | {"overflow", "paint-order", "shape-rendering", "stop-color", "stop-opacity", "stroke"}
    | {"stroke-dasharray", "stroke-dashoffset", "stroke-linecap", "stroke-linejoin"}
    | {"stroke-miterlimit", "stroke-opacity", "stroke-width", "text-anchor", "text-decoration"}
    | {"text-rendering", "vector-effect", "visibility", "white-space", "word-spacing"}
)
_ATTRIBUTES = _DRAWING | frozenset(
    {"class", "clipPathUnits", "cx", "cy", "d", "dx", "dy", "fx", "fy", "gradientTransform"}
    | {"gradientUnits", "height", "id", "lengthAdjust", "markerHeight", "markerUnits"}
    | {"markerWidth", "maskContentUnits", "maskUnits", "offset", "orient", "patternContentUnits"}
    | {"patternTransform", "patternUnits", "points", "preserveAspectRatio", "r", "refX", "refY"}
    | {"rotate", "rx", "ry", "spreadMethod", "startOffset", "textLength", "transform", "version"}
    | {"viewBox", "width", "x", "x1", "x2", "y", "y1", "y2"}
)
_PLACE_HERE = re.compile(r"#[\w.:-]+", re.ASCII)
_PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]*", re.ASCII)
# a URL outside of the picture, an escape that could hide one, or a rule
_LOADS = re.compile(r"url\(\s*[\"']?(?!#)|image|src\(|[\\@{}<]|/\*", re.IGNORECASE)


def clean_svg(source: str) -> str | None:
    """Return an SVG picture that is safe to open as a file; None if the text is not SVG.

    >>> head = '<svg xmlns="http://www.w3.org/2000/svg"'
    >>> clean_svg(head + ' onload="x()"><script>x()</script><a href="javascript:x()">y</a></svg>')
    '<svg xmlns="http://www.w3.org/2000/svg" />'
    >>> clean_svg(head + '><rect style="fill: red; cursor: url(//x)"/></svg>')
    '<svg xmlns="http://www.w3.org/2000/svg"><rect style="fill: red" /></svg>'
    >>> clean_svg("<svg><script>") is None
    True
    """
    if "<!ENTITY" in source:  # refused, because the value of an entity would not be checked
        return None
    try:
        root = ET.fromstring(source.lstrip("\ufeff \t\r\n"))  # noqa: S314 - it has no entities
        if _local(root.tag) != "svg":
            return None
        ET.register_namespace("", _SVG)
        ET.register_namespace("xlink", _XLINK)
        return ET.tostring(_cleaned(root), encoding="unicode")
    except (ET.ParseError, ValueError, RecursionError):
        return None


def _local(tag: object) -> str:
    """Return the name of an SVG element without its namespace; the namespace may be missing."""
    name = tag if isinstance(tag, str) else ""
    return name.removeprefix(f"{{{_SVG}}}")


def _cleaned(element: ET.Element) -> ET.Element:
    clean = ET.Element(f"{{{_SVG}}}{_local(element.tag)}")
    for name, value in element.attrib.items():
        if kept := _attribute(_local(element.tag), name, value):
            clean.set(name, kept)
    clean.text = element.text and visible(element.text)
    for child in element:
        if _local(child.tag) in _ELEMENTS or _is_own_style(child):
            inner = _cleaned(child)
            inner.tail = child.tail and visible(child.tail)
            clean.append(inner)
    return clean


def _is_own_style(element: ET.Element) -> bool:
    return _local(element.tag) == "style" and not len(element) and is_style(element.text or "")


def _attribute(tag: str, name: str, value: str) -> str:
    """Return the allowed part of the value of an SVG attribute; empty if no part is allowed."""
    if name in {"href", f"{{{_XLINK}}}href"}:
        allowed = _PICTURE if tag == "image" else _PLACE_HERE
        return value if allowed.fullmatch(value) else ""
    if name == "style":
        return "; ".join(filter(None, map(_declaration, value.split(";"))))
    return value if name in _ATTRIBUTES and not _LOADS.search(value) else ""


def _declaration(declaration: str) -> str:
    name, _, value = (part.strip() for part in declaration.partition(":"))
    return f"{name}: {value}" if name in _DRAWING and not _LOADS.search(value) else ""
