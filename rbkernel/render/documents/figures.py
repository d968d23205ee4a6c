"""Put plotly figures into a page: remove URLs, and add plotly.js, compressed.

The package plotly contains the complete plotly.js (4.8 MB) of the matching version. Deflated and
written in base 85, plotly.js takes 1.8 MB. So this repository needs no copy of plotly.js, and every
kind of trace that needs no network can be drawn. Browsers since 2023 can unpack plotly.js.

A page holds plotly.js itself, or loads it from a file that several pages share.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from rbkernel.displaytext import visible
from rbkernel.evidence.normal import PLOTLY_MIMETYPE

__all__ = [
    "PLOTLY_MIMETYPE",
    "csp_hash",
    "for_script",
    "packed_plotly",
    "plotly_hash",
    "plotly_path",
    "readable",
    "shared_plotly",
    "shared_plotly_name",
]

# `<` could end the script element, `&` is an entity elsewhere; neither `.` nor `,` is in base 85
_FOR_HTML = bytes.maketrans(b"<&", b".,")
# traces that draw maps, for which plotly.js loads shapes or tiles
_MAPS = ("choropleth", "densitymap", "scattergeo", "scattermap")
_DEFAULT_HEIGHT_PX = 360


def plotly_path() -> Path:
    """Return the path of the file plotly.js in the package plotly."""
    import plotly  # without importing the modules of the package, which takes a second

    return Path(plotly.__file__).parent / "package_data/plotly.min.js"


@cache
def packed_plotly() -> str:
    """Return plotly.js, compressed and as text without quotes, backslashes, `<` and `&`."""
    packed = base64.b85encode(zlib.compress(plotly_path().read_bytes(), level=9))
    return packed.translate(_FOR_HTML).decode("ascii")


@cache
def plotly_hash() -> str:
    """Return the hash that allows plotly.js in a page."""
    return csp_hash(plotly_path().read_bytes())


def shared_plotly_name() -> str:
    """Return the name of the file that `shared_plotly` makes, which contains its version's hash."""
    digest = base64.b64decode(plotly_hash().strip("'").partition("-")[2])
    return f"plotly-{digest.hex()[:16]}.js"


def shared_plotly() -> bytes:
    """Return a script that holds plotly.js, compressed, for pages that share it."""
    return f'var packedPlotly="{packed_plotly()}";\n'.encode()


def csp_hash(script: bytes) -> str:
    """Return the hash of an inline script, as a Content-Security-Policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode('ascii')}'"


def readable(figure: object) -> tuple[dict[str, Any] | None, str]:
    """Return the data and layout of a figure, or None and the reason why it cannot be drawn.

    >>> readable({"data": [{"type": "scatter"}], "layout": {"height": 99}, "config": {"x": 1}})
    ({'data': [{'type': 'scatter'}], 'layout': {'height': 99}}, '')
    >>> readable({"data": [{"type": "scattergeo"}]})
    (None, 'a map needs the network, and a report loads nothing')
    """
    if not isinstance(figure, Mapping) or not isinstance(figure.get("data"), list):
        return None, "this output is not a plotly figure"
    traces = [trace for trace in figure["data"] if isinstance(trace, dict)]
    if any(str(trace.get("type", "")).startswith(_MAPS) for trace in traces):
        return None, "a map needs the network, and a report loads nothing"
    layout = figure.get("layout")
    layout = dict(layout) if isinstance(layout, Mapping) else {}
    height = layout.get("height")
    if isinstance(height, bool) or not isinstance(height, int | float) or not 40 <= height <= 4000:
        layout["height"] = _DEFAULT_HEIGHT_PX
    drawn = {"data": traces, "layout": layout}
    try:
        json.dumps(drawn, allow_nan=False)
    except (ValueError, RecursionError):
        return None, "it contains values that JSON cannot represent"
    return _harmless(drawn), ""


def for_script(value: object) -> str:
    r"""Return a value as JSON that is safe inside a script element, since it cannot end the
    element.

    >>> for_script({"a": "</script>\u2028"})
    '{"a":"\\u003c/script>\\u2028"}'
    """
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _harmless(value: Any) -> Any:
    """Return a value of a figure without images and links, and with invisible characters as
    escapes.
    """
    if isinstance(value, dict):
        return {
            name: _harmless(part)
            for name, part in value.items()
            if name not in {"images", "source"} or not _holds_address(part)
        }
    if isinstance(value, list):
        return [_harmless(part) for part in value]
    return visible(value) if isinstance(value, str) else value


def _holds_address(value: Any) -> bool:
    """Return whether the images of a figure include a URL other than a data URL."""
    if isinstance(value, list):
        return any(_holds_address(one) for one in value)
    if isinstance(value, Mapping):
        return _holds_address(value.get("source", ""))
    return isinstance(value, str) and not value.startswith("data:image/")
