"""Draw who waits for whom: an indented tree with the root marked, folded if it is large. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rbkernel.render.figures import palette, scales, shapes
from rbkernel.render.figures.shapes import SMALL, WIDTH

#: more nodes are folded: so many of each parent are drawn, and so many in all
_ALL, _OF_PARENT, _MOST = 16, 3, 20
_STEP, _DEEPEST = 20, 6


@dataclass(frozen=True, kw_only=True)
class Node:
    """A session, or another thing that waits: what it waits for and what it runs.

    ``weight`` orders the children of a node: those with the largest are drawn first.
    """

    id: str
    parents: Sequence[str]
    name: str = ""
    state: str = ""
    waits_for: str = ""
    runs: str = ""
    weight: tuple[float, float] = (0, 0)


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Nodes, the plural word for them, and the word that marks a root; empty for no mark."""

    title: str
    words: str
    nodes: Sequence[Node]
    things: str = "sessions"
    root: str = "root"


@dataclass
class _Row:
    depth: int
    node: Node | None
    role: str = ""
    folded: str = ""
    above: int = -1  # row of the parent


def draw(chain: Chain) -> str:
    """Return the picture of a chain of waits as SVG."""
    drawn, top = shapes.headline(chain.title)
    rows = _rows(chain)
    tones = palette.of_parts(dict.fromkeys(node.state for node in chain.nodes))
    y = top + 4
    ends: list[float] = []
    for row in rows:
        x = 12.0 + _STEP * min(row.depth, _DEEPEST)
        if row.above >= 0:
            drawn += _branch(x, ends[row.above], y)
        if row.node is None:
            drawn.append(shapes.text(x + 4, y + 14, row.folded, size=SMALL, tone="faint"))
            ends.append(y)
            y += 24
        else:
            box, height = _box(row.node, row.role, x, y, tones)
            drawn += box
            ends.append(y + height)
            y += height + 8
    return shapes.picture(drawn, height=y + 4, title=chain.title, words=chain.words)


def _branch(x: float, from_y: float, to_y: float) -> Iterator[str]:
    bend = x - _STEP / 2
    yield shapes.path([(bend, from_y), (bend, to_y + 13), (x, to_y + 13)], "wire")


def _box(
    node: Node, role: str, x: float, y: float, tones: Mapping[str, str]
) -> tuple[list[str], float]:
    room = WIDTH - 12 - x
    lines = [one for one in (node.waits_for, node.runs) if one]
    height = 26.0 + 17 * len(lines)
    tone = "critical" if role else "edge"
    parts = [shapes.box(x, y, room, height, tone, thick=2 if role else 1)]
    state = shapes.cut(node.state, 150, SMALL)
    said = f"{role}: " if role else ""
    left = room - 34 - shapes.width_of(state, SMALL)
    parts.append(
        shapes.text(x + 8, y + 17, shapes.cut(f"{said}{node.id} {node.name}", left), bold=True)
    )
    end = x + room - 8
    parts.append(shapes.text(end, y + 17, state, size=SMALL, anchor="end"))
    if state:
        dot = end - shapes.width_of(state, SMALL) - 8
        parts.append(shapes.mark(dot, y + 13, 0, tones[node.state], size=4))
    for at, line in enumerate(lines):
        shown = shapes.cut(line, room - 16, SMALL)
        tone = "ink" if line is node.waits_for else "faint"
        parts.append(shapes.text(x + 8, y + 34 + 17 * at, shown, size=SMALL, tone=tone))
    return parts, height


def roots(nodes: Sequence[Node]) -> list[Node]:
    """Return the nodes that wait for no other node, those with the most behind them first.

    >>> [one.id for one in roots([Node(id="1", parents=[]), Node(id="2", parents=["1"])])]
    ['1']
    """
    known = {node.id for node in nodes}
    found = [node for node in nodes if not known & {*node.parents} - {node.id}]
    return sorted(found, key=lambda node: node.weight, reverse=True)


def _rows(chain: Chain) -> list[_Row]:
    """Return the rows that are drawn, from top to bottom."""
    children: dict[str, list[Node]] = {}
    known = {node.id for node in chain.nodes}
    for node in chain.nodes:
        above = next((one for one in node.parents if one in known and one != node.id), None)
        if above is not None:
            children.setdefault(above, []).append(node)
    for found in children.values():
        found.sort(key=lambda node: node.weight, reverse=True)
    rows: list[_Row] = []
    seen: set[str] = set()
    of_parent = len(chain.nodes) if len(chain.nodes) <= _ALL else _OF_PARENT
    tops = [(node, chain.root) for node in roots(chain.nodes)]
    inside = [(node, "deadlock" if chain.root else "") for node in chain.nodes]
    for node, role in [*tops, *inside]:
        if node.id in seen or (len(rows) >= _MOST and len(chain.nodes) > _ALL):
            continue
        _put(node, role, 0, -1, rows, seen, children, of_parent)
    left = len(known - seen)
    if left:
        rows.append(_Row(depth=0, node=None, folded=f"and {left:,} more {chain.things}"))
    return rows


def _put(
    node: Node, role: str, depth: int, above: int, rows: list[_Row], seen: set[str],
    children: Mapping[str, Sequence[Node]], of_parent: int,
) -> None:  # fmt: skip
    seen.add(node.id)
    at = len(rows)
    rows.append(_Row(depth=depth, node=node, role=role, above=above))
    below = [one for one in children.get(node.id, ()) if one.id not in seen]
    folded = below[of_parent:] if len(below) > of_parent + 1 else []
    for child in below[: len(below) - len(folded)]:
        if child.id not in seen:
            _put(child, "", depth + 1, at, rows, seen, children, of_parent)
    if folded:
        behind = _behind(folded, children, seen)
        longest = max(one.weight[1] for one in below)
        waits = f", the longest {scales.written(longest, 's')}" if longest > 0 else ""
        said = f"and {len(behind):,} more behind {node.id}{waits}"
        rows.append(_Row(depth=depth + 1, node=None, folded=said, above=at))


def _behind(
    folded: Sequence[Node], children: Mapping[str, Sequence[Node]], seen: set[str]
) -> set[str]:
    """Return the ids of folded nodes and of all behind them, and note them as seen."""
    found: set[str] = set()
    waiting = list(folded)
    while waiting:
        node = waiting.pop()
        if node.id not in seen:
            seen.add(node.id)
            found.add(node.id)
            waiting += children.get(node.id, ())
    return found
