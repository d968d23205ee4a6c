"""Draw results of diagnostics as pictures, each with a title that states what it shows.

Frames become the plain values of `rbkernel.render.figures`, which writes the SVG. The caption is
the plain text of the figure, for mail, diffs and screen readers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from rbkernel.arguments import checked
from rbkernel.checks.answer import provenance
from rbkernel.checks.columns import must_have
from rbkernel.checks.frames import Frame
from rbkernel.checks.rules import numbers
from rbkernel.config.quantities import Measured
from rbkernel.errors import ParameterError, UnknownName
from rbkernel.render.figures import bars as of_bars
from rbkernel.render.figures import interactive, lines, scales, titles
from rbkernel.render.graphs import topology, tree
from rbkernel.render.picture import NAMED, Picture, moments, nothing, others
from rbkernel.render.strips import differences, strip
from rbkernel.sources.postgres import diagnostics
from rbkernel.spelling import did_you_mean

__all__ = ["Picture", "bars", "differences", "of", "strip", "timeline", "topology", "tree"]

# s; a standby that reported this long ago may have replayed more since
_FRESH_S = 1
# columns that are the age of what was replayed last: they grow while nothing is replayed
_REPLAY = ("replay_lag_s", "stalled_s")
_KINDS = ("of", "timeline", "bars", "strip", "differences", "tree", "topology")


@checked
def of(frame: Frame, *, limit: Measured | None = None) -> Picture:
    """Draw a diagnostic's result as its header declares, with the thresholds.

    Parameters
    ----------
    frame
        The result of `rb.query` or `rb.sample`, or of `rb.promql`: lines for a range, bars for one
        moment. Like all functions of `rb.figure`, this one also accepts the result of `rb.assess`.
    limit
        As for `bars`: a line to compare with, also in the figure of `rb.promql`.

    Raises
    ------
    ParameterError
        The frame is not from a diagnostic, or its diagnostic declares no figure.
    """
    source = provenance(frame)
    if "series" in frame and "value" in frame:
        return _of_series(frame, limit)
    known = source is not None and source.name in diagnostics.names()
    declared = diagnostics.get(source.name) if source and known else None
    if declared is None or declared.figure is None:
        raise ParameterError(
            "this frame is not from a diagnostic that declares a figure",
            where="rb.figure.of",
            next_step=f"draw it with rb.figure.{', '.join(_KINDS[1:4])} or tree",
        )
    drawn = declared.figure
    if drawn.kind == "timeline":
        usual = {rule.column: (rule.warn, rule.critical) for rule in reversed(declared.rules)}
        # those of the call, if it had its own
        warn, critical = {**usual, **frame.attrs.get("limits", {})}.get(drawn.y, (None, None))
        return timeline(
            frame,
            drawn.y,
            by=drawn.by,
            warn=warn,
            critical=critical,
            unit=drawn.unit,
            title=drawn.title,
        )
    if drawn.kind == "bars":
        limit = limit if limit is not None else _most_retained(frame)
        return _bars(frame, drawn.x, drawn.y, drawn.by, limit, drawn.title, drawn.unit, drawn.below)
    return strip(frame, drawn.x, by=drawn.by, title=drawn.title)


def _most_retained(frame: pd.DataFrame) -> float | None:
    """Return max_slot_wal_keep_size in MB, as the rows of `replication/slots` imply it."""
    if "retained_pct" not in frame:
        return None
    share = numbers(frame["retained_pct"])
    limits = (100 * numbers(frame["retained_mb"]) / share)[share > 0].dropna()
    return float(limits.median()) if len(limits) else None


def _of_series(frame: pd.DataFrame, limit: float | None) -> Picture:
    """Draw the result of `rb.promql` or `rb.logql`: lines over a range, bars of one moment."""
    source, unit = provenance(frame), str(frame.attrs.get("unit", ""))
    title = source.name if source else ""
    if source and source.step_s:
        level = [lines.Threshold(value=limit, word="limit")] if limit is not None else []
        return _timeline(frame, "value", "series", "sampled_at", level, unit, title)
    return _bars(frame, "value", "series", "", limit, title, unit)


@checked
def timeline(
    frame: Frame,
    y: str,
    *,
    by: str = "",
    x: str = "sampled_at",
    warn: Measured | None = None,
    critical: Measured | None = None,
    unit: str = "",
    title: str = "",
) -> Picture:
    """Draw how a quantity changes over time, one line per value of `by`, with the thresholds.

    Of many lines, those with the largest values are drawn, or with the smallest if `critical` is
    below `warn`; the figure names others. Samples of less than 15 s are drawn as bars of the last
    values. If a lag of replay grows by a second each second, the title says since when.

    Parameters
    ----------
    frame
        Rows of `rb.sample`.
    y, x, by
        Columns: quantity, time, and the name of the line.
    warn, critical
        Thresholds in the unit of `y`.
    unit, title
        Unit of the axis, and title above the figure.
    """
    must_have("rb.figure.timeline", frame, y=y, x=x, by=by)
    levels = [
        lines.Threshold(value=float(value), word=word)
        for value, word in ((warn, "warning"), (critical, "critical"))
        if value is not None
    ]
    return _timeline(frame, y, by, x, levels, unit or scales.unit_of(y), title)


def _timeline(
    frame: pd.DataFrame,
    y: str,
    by: str,
    x: str,
    levels: Sequence[lines.Threshold],
    unit: str,
    title: str,
) -> Picture:
    title = title or y
    if (empty := nothing(title, frame, y)) is not None:
        return empty
    known = {one.word: one.value for one in levels}
    lower = known.get("critical", math.inf) < known.get("warning", -math.inf)
    if by:
        frame = _numbered(frame, y, by, x, below=lower)
    frame, rest, caption = _leading(frame, y, by, below=lower)
    groups = frame.groupby(by, dropna=False, sort=True) if by else [("", frame)]
    drawn = [
        lines.Line(name=str(name), at=moments(rows[x]), values=numbers(rows[y]).tolist())
        for name, rows in groups
    ]
    drawn = lines.to_the_end(drawn)
    parts = [
        f"{line.name or y}: {line.values[0]:.1f} to {line.values[-1]:.1f} {unit}".strip()
        for line in drawn
    ]
    stated, since = _stated(frame, y, title, drawn, levels, unit)
    figure = lines.Lines(
        title=stated,
        words=f"{title}: {'; '.join(parts)}{caption}",
        unit=unit,
        lines=drawn,
        thresholds=levels,
        rest=rest,
        since=since,
        event="stands still since" if since is not None else "",
    )
    return Picture(lines.draw(figure), figure.words, interactive.of_lines(figure))


def _stated(
    frame: pd.DataFrame,
    y: str,
    title: str,
    drawn: Sequence[lines.Line],
    levels: Sequence[lines.Threshold],
    unit: str,
) -> tuple[str, float | None]:
    """Return a title that states what is seen, and since when nothing was replayed, if so."""
    worst = max(drawn, key=lambda line: -math.inf if math.isnan(line.last) else line.last)
    reported_s = numbers(frame["reply_age_s"]).max() if "reply_age_s" in frame else math.inf
    shown = y in _REPLAY and reported_s <= _FRESH_S
    if y == "stalled_s":  # the age of a commit also grows while a long transaction is replayed
        shown = _paused(frame)
    since = titles.still_since(worst) if shown else None
    beyond = [one for one in levels if worst.last > one.value]
    if since is None or not beyond:
        return titles.of_lines(title, drawn, levels, unit), None
    source = provenance(frame)
    name = worst.name or (source.connection if source else "") or "the standby"
    behind, at = scales.written(worst.last, unit), scales.since(since, worst.at[-1])
    return f"Replay on {name} stands still since {at} UTC and is {behind} behind", since


def _numbered(frame: pd.DataFrame, y: str, by: str, x: str, *, below: bool) -> pd.DataFrame:
    """Return rows in which names that occur twice at a moment are numbered, the worst first."""
    if not frame.duplicated([by, x]).any():
        return frame
    frame = frame.reset_index(drop=True)
    ranked = frame.assign(_y=numbers(frame[y])).sort_values("_y", ascending=below, kind="stable")
    place = ranked.groupby([by, x], dropna=False).cumcount().reindex(frame.index) + 1
    names = [f"{one} ({at})" if at > 1 else one for one, at in zip(frame[by], place, strict=True)]
    return frame.assign(**{by: names})


def _paused(frame: pd.DataFrame) -> bool:
    """Return whether replay was paused in all samples; False if that is not known."""
    return "paused" in frame and bool(frame["paused"].eq(True).all())


def _leading(frame: pd.DataFrame, y: str, by: str, *, below: bool) -> tuple[pd.DataFrame, str, str]:
    """Return the rows of the lines that are drawn, and two texts that name the other lines."""
    if not by or frame[by].nunique(dropna=False) <= lines.MOST:
        return frame, "", ""
    groups = frame.assign(_y=numbers(frame[y])).groupby(by, dropna=False)["_y"]
    worst = groups.min() if below else groups.max()
    ranked = worst.sort_values(ascending=below, kind="stable", na_position="first").index
    left = [str(name) for name in ranked[lines.MOST :]]
    drawn = frame[frame[by].isin(ranked[: lines.MOST])]
    side = "larger" if below else "smaller"
    more = f" and {len(left) - NAMED} more" if len(left) > NAMED else ""
    known = worst[ranked[lines.MOST :]].notna().all()
    values = f"with {side} values" if known else "some without known values"
    caption = f"; not drawn, {values}: {', '.join(left[:NAMED])}{more}"
    return drawn, others(left), caption


@checked
def bars(
    frame: Frame,
    x: str,
    y: str,
    *,
    by: str = "",
    limit: Measured | None = None,
    title: str = "",
) -> Picture:
    """Draw a horizontal bar of length `x` for each `y`, stacked by `by`, with a limit to compare
    with. Only the longest bars are drawn, and long names are cut.

    Parameters
    ----------
    frame
        One row per part of a bar.
    x, y, by
        Columns: length, name of the bar, and name of the part. A length whose name ends in
        ``_pct`` is drawn on an axis that goes to 100; ``_s``, ``_ms``, ``_mb`` and ``_bytes`` are
        units, too.
    limit
        A line to compare with, such as the number of all slots.
    title
        Words above the figure.
    """
    must_have("rb.figure.bars", frame, x=x, y=y, by=by)
    return _bars(frame, x, y, by, limit, title, "")


def _bars(
    frame: pd.DataFrame,
    x: str,
    y: str,
    by: str,
    limit: float | None,
    title: str,
    unit: str,
    below: bool = False,
) -> Picture:
    title, unit = title or x, unit or scales.unit_of(x)
    if (empty := nothing(title, frame, x)) is not None:
        return empty
    lengths = frame.assign(_length=numbers(frame[x]))
    totals = lengths.groupby(y, dropna=False)["_length"].sum(min_count=1)
    ranked = totals.sort_values(ascending=below, kind="stable", na_position="first")
    largest = ranked.head(of_bars.MOST)
    drawn = [
        of_bars.Bar(name=str(name), parts=_parts(rows, by, x))
        for name, rows in lengths[lengths[y].isin(largest.index)].groupby(y, dropna=False)
    ]
    places = {str(name): place for place, name in enumerate(largest.index)}
    drawn.sort(key=lambda bar: places[bar.name])
    side = "smallest" if below else "largest"
    rest = f"the {len(drawn)} {side} of {len(totals)}: " if len(totals) > len(drawn) else ""
    parts = (f"{name!s} {scales.plain(total)}" for name, total in largest.head(5).items())
    figure = of_bars.Bars(
        title=titles.of_bars(title, drawn, unit, limit),
        words=f"{title}: {rest}{', '.join(parts)}",
        unit=unit,
        bars=drawn,
        limit=limit,
        whole=100 if x.endswith("_pct") else 0,
        rest=others([str(name) for name in ranked.index[of_bars.MOST :]]),
    )
    return Picture(of_bars.draw(figure), figure.words, interactive.of_bars(figure))


def _parts(rows: pd.DataFrame, by: str, x: str) -> dict[str, float]:
    if not by:
        return {x: float(rows["_length"].sum(min_count=1))}
    sums = rows.groupby(by, dropna=False, sort=True)["_length"].sum(min_count=1)
    return {str(name): float(value) for name, value in sums.items()}


def __getattr__(name: str) -> Any:
    raise UnknownName(
        f"there is no rb.figure.{name}{did_you_mean(name, _KINDS)}",
        next_step=f"use {', '.join(_KINDS)}",
    )
