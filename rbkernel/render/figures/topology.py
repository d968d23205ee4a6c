"""Draw which server sends its changes to which: lag, bytes and state on the edges. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rbkernel.render.figures import scales, shapes
from rbkernel.render.figures.shapes import SMALL, WIDTH

#: so many servers are drawn, the worst first
MOST = 12
_EDGE, _ROW, _STEP = 190, 58, 22


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that receives from ``source``, which is empty for the server at the top.

    ``lag_s`` and ``behind_bytes`` are NaN if unknown; ``severity`` is one of `palette`.
    """

    name: str
    source: str = ""
    state: str = ""
    sync: str = ""
    lag_s: float = math.nan
    behind_bytes: float = math.nan
    severity: str = "unknown"


@dataclass(frozen=True, kw_only=True)
class Topology:
    """Servers; ``rest`` names servers that are not drawn."""

    title: str
    words: str
    servers: Sequence[Server]
    rest: str = ""


def draw(topology: Topology) -> str:
    """Return the picture of a topology as SVG."""
    drawn, top = shapes.headline(topology.title)
    y = top + 4
    tops: dict[str, tuple[float, float]] = {}
    for depth, server in _ordered(topology.servers):
        x = 12.0 + _STEP * min(depth, 4)
        if server.source in tops:
            x += _EDGE - _STEP
            drawn += _edge(server, tops[server.source], x, y)
        drawn += _server(server, x, y)
        tops[server.name] = (12.0 + _STEP * min(depth, 4) + 10, y + 40)
        y += _ROW
    rest, height = shapes.notes(topology.rest, y - 8)
    return shapes.picture(
        [*drawn, *rest], height=y + height, title=topology.title, words=topology.words
    )


def _ordered(servers: Sequence[Server]) -> Iterator[tuple[int, Server]]:
    """Yield each server once, with its distance from the top, before those that it sends to."""
    names = {server.name for server in servers}
    seen: set[str] = set()

    def below(server: Server, depth: int) -> Iterator[tuple[int, Server]]:
        if server.name not in seen:
            seen.add(server.name)
            yield depth, server
            for other in servers:
                if other.source == server.name:
                    yield from below(other, depth + 1)

    for server in servers:
        if server.source not in names:
            yield from below(server, 0)
    for server in servers:  # a circle
        yield from below(server, 0)


def _server(server: Server, x: float, y: float) -> Iterator[str]:
    room = WIDTH - 12 - x
    wrong = server.severity in {"warning", "critical"}
    tone = server.severity if server.source else "open"
    yield shapes.box(x, y, room, 40, tone, thick=2.5 if wrong else 1.5)
    yield shapes.text(x + 10, y + 17, shapes.cut(server.name or "(no name)", room - 20), bold=True)
    said = ", ".join(one for one in (server.state, server.sync) if one)
    said = said or ("state unknown" if server.source else "sends WAL")
    if wrong or server.severity == "unknown":
        said = f"{server.severity}: {said}" if server.source else said
    yield shapes.text(x + 10, y + 33, shapes.cut(said, room - 20, SMALL), size=SMALL)


def _edge(server: Server, source: tuple[float, float], x: float, y: float) -> Iterator[str]:
    from_x, from_y = source
    middle = y + 20
    yield shapes.path([(from_x, from_y), (from_x, middle), (x - 6, middle)], "wire", thick=1.5)
    yield shapes.path(
        [(x - 13, middle - 5), (x - 5, middle), (x - 13, middle + 5)], "wire", thick=1.5
    )
    room = x - from_x - 18
    lag = f"{scales.written(server.lag_s, 's')} behind"
    size = "" if math.isnan(server.behind_bytes) else scales.written(server.behind_bytes, "bytes")
    lag = "lag unknown" if math.isnan(server.lag_s) else lag
    yield shapes.text(from_x + 8, middle - 6, shapes.cut(lag, room), size=SMALL, bold=True)
    if size:
        yield shapes.text(from_x + 8, middle + 16, shapes.cut(size, room, SMALL), size=SMALL)
