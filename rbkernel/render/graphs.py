"""Draw who waits for whom, and who sends to whom: `rb.figure.tree` and `rb.figure.topology`."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from rbkernel.arguments import checked
from rbkernel.checks.answer import provenance
from rbkernel.checks.columns import must_have
from rbkernel.checks.frames import Frame
from rbkernel.displaytext import short_line
from rbkernel.render.figures import chain, lines, scales
from rbkernel.render.figures import topology as of_servers
from rbkernel.render.picture import NAMED, Picture, nothing, others

_WORST = ("critical", "warning", "unknown", "ok")
_BEHIND = "replay_behind_bytes"


@checked
def tree(
    frame: Frame,
    node: str,
    *,
    parent: str,
    label: str,
    by: str,
    title: str = "Who waits for whom",
    things: str = "sessions",
    root: str = "root",
) -> Picture:
    """Draw a tree of who blocks whom: roots at the top, and below each what it blocks.

    If the frame has the columns of `locks/blocking`, each session is shown with what it waits for,
    for how long, and its query. Of many nodes, those with the most behind them are drawn.

    Parameters
    ----------
    frame
        One row per node.
    node, parent
        Columns: the node's id, and the ids of its parents (text, separated by commas). A node
        whose parents are not in the frame is a root.
    label, by
        Columns: the text beside the id, and the state at the right.
    title
        Words above the figure.
    things
        The plural word for the nodes, such as "sessions".
    root
        The word that marks a root; empty for no mark.
    """
    must_have("rb.figure.tree", frame, node=node, parent=parent, label=label, by=by)
    if (empty := nothing(title, frame, node)) is not None:
        return empty
    nodes = [_node(row, node, parent, label, by) for row in frame.to_dict("records")]
    at_root = chain.roots(nodes)
    names = ", ".join(one.id for one in at_root[:NAMED]) or "none (a cycle)"
    more = f" and {len(at_root) - NAMED} more" if len(at_root) > NAMED else ""
    drawn = chain.Chain(
        title=_root_title(title, nodes, at_root, things) if root else title,
        words=f"{title}: {len(nodes)} {things}, at the root {names}{more}",
        nodes=nodes,
        things=things,
        root=root,
    )
    return Picture(chain.draw(drawn), drawn.words)


def _root_title(
    title: str, nodes: Sequence[chain.Node], at_root: Sequence[chain.Node], things: str
) -> str:
    waiting = len(nodes) - len(at_root)
    if not at_root:
        return f"{title}: {len(nodes):,} {things} in a cycle"
    first = f"{at_root[0].id} {short_line(at_root[0].name, 40)}".strip()
    others = f" and {len(at_root) - 1} others" if len(at_root) > 1 else ""
    return f"{title}: {waiting:,} wait behind {first}{others}"


def _node(row: Mapping[Hashable, Any], node: str, parent: str, label: str, by: str) -> chain.Node:
    """Return a node of a tree from a row, with what the columns of `locks/blocking` say."""
    above = row[parent]
    wait_s = float(row["wait_s"]) if pd.notna(row.get("wait_s")) else 0.0
    waits = float(row["waits"]) if pd.notna(row.get("waits")) else 0.0
    asked = [_said(row.get(name)) for name in ("mode", "relation")]
    wanted = f" for {' on '.join(filter(None, asked))}" if asked[0] else ""
    return chain.Node(
        id=str(row[node]),
        parents=[] if above is None or pd.isna(above) else str(above).split(", "),
        name=_said(row[label]),
        state=_said(row[by]),
        waits_for=f"waits {scales.written(wait_s, 's')}{wanted}" if wait_s else "",
        runs=_said(row.get("query")),
        weight=(waits, wait_s),
    )


def _server(
    row: Mapping[Hashable, Any], name: str, source: str, limits: tuple[Any, Any]
) -> of_servers.Server:
    """Return a server that receives, from a row; it is critical if it is not connected."""
    lag, behind = (
        float(row[one]) if pd.notna(row.get(one)) else math.nan
        for one in ("replay_lag_s", "behind_bytes" if "behind_bytes" in row else _BEHIND)
    )
    connected = row.get("connected") is not False
    levels = [
        lines.Threshold(value=float(value), word=word)
        for value, word in zip(limits, ("warning", "critical"), strict=True)
        if value is not None
    ]
    return of_servers.Server(
        name=str(row[name]),
        source=source,
        state=_said(row["state"]) if connected else "not connected",
        sync=_said(row.get("sync_state")),
        lag_s=lag,
        behind_bytes=behind,
        severity=(lines.judged(lag, levels) or "unknown") if connected else "critical",
    )


def _or_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def _said(value: Any) -> str:
    return "" if value is None or pd.isna(value) else str(value)


def _last(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the rows of each receiver's last moment; those with one name are numbered."""
    if "sampled_at" in frame:
        newest = frame.groupby(name, dropna=False)["sampled_at"].transform("max")
        frame = frame[frame["sampled_at"] == newest]
    place = frame.groupby(name, dropna=False).cumcount() + 1
    names = [f"{one} ({at})" if at > 1 else one for one, at in zip(frame[name], place, strict=True)]
    return frame.assign(**{name: names})


@checked
def topology(frame: Frame, *, title: str = "Replication") -> Picture:
    """Draw which servers receive WAL from a server: lag, bytes and state of each.

    Parameters
    ----------
    frame
        The result of `replication/lag` or `replication/downstream`; of several samples, the last
        of each receiver counts.
    title
        Words above the figure, before what is seen.
    """
    name = "standby" if "standby" in frame else "receiver"
    must_have("rb.figure.topology", frame, name=name, lag="replay_lag_s", state="state")
    if (empty := nothing(title, frame, name)) is not None:
        return empty
    source = provenance(frame)
    top = of_servers.Server(name=source.connection if source else "this server")
    last = _last(frame, name).to_dict("records")
    limits = frame.attrs.get("limits", {}).get("replay_lag_s", (2, 15))
    found = [_server(row, name, top.name, limits) for row in last]
    found.sort(key=lambda one: (_WORST.index(one.severity), -_or_zero(one.lag_s)))
    words = "; ".join(
        f"{one.name} {scales.written(one.lag_s, 's')} behind, {one.state}" for one in found[:12]
    )
    wrong = [one for one in found if one.severity != "ok"]
    stated = (
        f"{found[0].name} is {scales.written(found[0].lag_s, 's')} behind"
        if wrong
        else (f"{len(found)} of {len(found)} receivers keep up")
    )
    drawn = of_servers.Topology(
        title=f"{title}: {stated}",
        words=f"{title} from {top.name}: {words}",
        servers=[top, *found[: of_servers.MOST]],
        rest=others([one.name for one in found[of_servers.MOST :]]),
    )
    return Picture(of_servers.draw(drawn), drawn.words)
