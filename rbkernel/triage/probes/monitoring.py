"""`rb.promql`, `rb.logql`, `rb.traces`: query Prometheus, Loki, and stores of traces, if any."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from rbkernel.arguments import checked, unknown_keyword
from rbkernel.checks.answer import provenance
from rbkernel.checks.frames import failed_frame
from rbkernel.config.quantities import Count, Number, Seconds, Whole
from rbkernel.errors import ConfigError, ParameterError, QueryError, RbkernelError
from rbkernel.queries import catalogue
from rbkernel.queries import values as inserting
from rbkernel.queries.catalogue import NamedQuery
from rbkernel.runbook.quantities import converted, needs_unit
from rbkernel.sources.monitoring.queries import COLUMNS, Asked, Queries, named
from rbkernel.sources.monitoring.traces import RULES, SPANS, Traces, tree
from rbkernel.triage import undone
from rbkernel.triage.context import triage
from rbkernel.triage.query import show
from rbkernel.triage.shown import shown

# s: a month, for the trends of a week
_Range = Annotated[Number, Field(gt=0, le=31 * 86_400)]
Days = Annotated[Whole, Field(ge=3, le=60)]
# the unit of a figure that is a moment
_SINCE_1970 = "s since 1970"
# columns of an answer that are neither labels nor in its unit
_FIGURES = {"ratio", "baseline_of", "values"}
_OPTIONS = ("source", "last_s", "step_s", "until", "baseline_days", "unit", "row_cap")


@checked
def promql(
    query: str,
    *,
    source: str = "",
    last_s: _Range | None = None,
    step_s: Seconds | None = None,
    until: str = "",
    baseline_days: Days | None = None,
    unit: str = "",
    row_cap: Count | None = None,
    **values: Any,
) -> pd.DataFrame:
    """Query Prometheus, and show the answer.

    Parameters
    ----------
    query
        PromQL, or ``@`` and the name of a query of the catalogue: ``@http/error_ratio``. ``{name}``
        stands for a value, which is quoted where it is a text:
        ``rate(http_requests_total{service={service}}[5m])``. Behind ``=~`` it is matched literally,
        and may be a list of texts.
    source
        Name of a section ``[sources.NAME]`` of `rbkernel.toml`; by default, the only source of the
        kind ``prometheus``, or the one with ``default = true``.
    last_s
        Ask for the values of the last seconds, at most 31 days; without it, for the value of one
        moment.
    step_s
        Seconds between two values of the range; by default, a 60th of it, and at least 1.
    until
        The moment, or the end of the range: a time such as ``2026-11-20T03:00:00Z``; by default,
        now.
    baseline_days
        Compare with the values at this time of each of the last days: the median is in the column
        ``baseline``, and value divided by baseline in ``ratio``. Both are missing with values of
        less than half of these days. Two values or more of the same day of the last four weeks
        that are within a factor of two are used in their place; ``baseline_of`` says which. If the
        last days and the same weekday disagree about the value, both are missing, too.
    unit
        Unit of the values, for `rb.check` and `rb.figure`, such as ``s``. Values of a query by name
        are converted to it, such as those of a ratio to ``%``; other values are not.
    row_cap
        The maximum number of rows; by default, the source's setting.
    values
        The values of ``{name}`` in the query.

    Returns
    -------
    pandas.DataFrame
        Rows × (series, sampled_at, value, then the labels), for `rb.check` and `rb.figure.of`. If
        Prometheus does not answer, reports an error, or has no result, the frame is empty with the
        reason attached (of a query by name, with all its columns), and `rb.check` returns
        ``unknown``: it is never ok, and never 0.

    Raises
    ------
    ConfigError
        There is no such source, or it is not Prometheus.
    QueryError, ParameterError
        A value is missing or cannot be used at its place, an argument is wrong, or the catalogue
        has no query of this name.
    """
    _must_know("rb.promql", catalogue.parameters(query), values, _OPTIONS)
    if baseline_days and last_s:
        raise ParameterError(
            "rb.promql compares one moment with its baseline, not a range",
            next_step="leave out last_s or baseline_days",
        )
    asked = Asked(
        ends=_moment("rb.promql", until),
        last_s=last_s,
        step_s=step_s,
        baseline_days=baseline_days or 0,
    )
    frame = ask("prometheus", query, source, asked, values, row_cap=row_cap, unit=unit)
    return _shown(frame, unit or catalogue.unit(query), query, (source, asked, values))


@checked
def logql(
    query: str,
    *,
    source: str = "",
    last_s: Seconds = 3600.0,
    step_s: Seconds | None = None,
    until: str = "",
    lines: Annotated[Count, Field(le=5000)] = 200,
    unit: str = "",
    row_cap: Count | None = None,
    **values: Any,
) -> pd.DataFrame:
    """Query Loki for log lines or figures of the last seconds, and show the answer.

    Parameters
    ----------
    query
        LogQL; ``{name}`` stands for a value, as for `promql`: ``{app={app}} |= {text}``.
    source, last_s, step_s, until, unit, row_cap, values
        As for `promql`; the source is of the kind ``loki``.
    lines
        The maximum number of log lines; the newest are returned.

    Returns
    -------
    pandas.DataFrame
        Rows × (series, sampled_at, line, then the labels), the newest line first; for a query of
        figures, with ``value`` in place of ``line``. Without an answer or without a line, the frame
        is empty with the reason attached, as for `promql`.

    Raises
    ------
    ConfigError, QueryError, ParameterError
        As for `promql`.
    """
    _must_know("rb.logql", inserting.parameters(query), values, (*_OPTIONS, "lines"))
    ends = _moment("rb.logql", until)
    asked = Asked(ends=ends, last_s=last_s, step_s=step_s, most_lines=lines)
    frame = ask("loki", query, source, asked, values, row_cap=row_cap)
    return _shown(frame, unit, query, (source, asked, values))


@checked
def traces(trace_id: str, *, source: str = "", row_cap: Count | None = None) -> pd.DataFrame:
    """Look up a trace by its id in Jaeger or Tempo, and show its spans.

    Parameters
    ----------
    trace_id
        16 to 32 hexadecimal digits.
    source
        Name of a section ``[sources.NAME]`` of the kind ``jaeger`` or ``tempo``; by default, the
        only one.
    row_cap
        The maximum number of spans; by default, the source's setting.

    Returns
    -------
    pandas.DataFrame
        Rows × (service, operation, started_at, duration_ms, own_ms, total_ms, spans, error,
        failed_first, waited, status, span, parent, which) in the order of their starts, for
        `rb.assess`. ``own_ms`` is the time in which no child of the span ran, ``total_ms`` that of
        all ``spans`` of this service and operation (``which``); ``failed_first`` is true for
        the failed span that ended first, of those without a failed child; ``waited`` if one call
        took most of its time, nearly to its end. If the trace is not found, the frame is empty with
        the reason attached, as for `promql`.

    Raises
    ------
    ConfigError
        There is no such source, or it has no traces.
    QueryError
        The id is not valid.
    """
    frame = _asked(
        ("jaeger", "tempo"),
        trace_id,
        source,
        {"trace_id": trace_id},
        lambda name: _traces_of(name).query(trace_id, {}, row_cap=row_cap),
    )
    frame.attrs["rules"] = RULES
    return _shown(frame, "", trace_id, (source,))


@checked
def has_source(kind: str) -> bool:
    """Return whether a source of a kind is configured, such as ``prometheus``.

    A runbook that can do without it asks this first: a query that no system could answer would
    count as unknown.
    """
    return triage().settings.source_of(kind) is not None


def ask(
    kind: str,
    query: str,
    source: str,
    asked: Asked,
    values: Mapping[str, Any],
    *,
    row_cap: int | None = None,
    unit: str = "",
) -> pd.DataFrame:
    """Query a source as `promql` and `logql` do, but show nothing."""
    named_one = catalogue.get(query) if kind == "prometheus" else None
    text = _in_unit(named_one, unit) if named_one else query

    def answer(name: str) -> pd.DataFrame:
        opened = triage().source(name)
        assert isinstance(opened, Queries)  # by its kind
        asking, label = text, ""
        if named_one:
            label = named_one.name
            if label not in triage().settings.queries:
                asking = catalogue.with_window(text, opened.client.endpoint.rate_window)
        return opened.query(asking, values, row_cap=row_cap, asked=asked, name=label)

    frame = _asked((kind,), query, source, values, answer)
    if frame.empty and kind == "prometheus":
        _add_columns(frame, named_one.labels if named_one else (), baseline=asked.baseline_days > 0)
    return frame


def _add_columns(frame: pd.DataFrame, labels: Sequence[str], *, baseline: bool) -> None:
    """Give an empty answer the columns of a full one, so that a cell that uses them goes on."""
    types = {"sampled_at": "datetime64[us, UTC]", "value": "float64"}
    types |= dict.fromkeys(("baseline", "ratio") if baseline else (), "float64")
    for name, dtype in {**types, **dict.fromkeys(labels, "object")}.items():
        frame[name] = pd.Series(dtype=dtype)


def _in_unit(one: NamedQuery, unit: str) -> str:
    """Return the PromQL of a query by name, whose values are in the unit that is asked for."""
    text = triage().settings.queries.get(one.name, one.text)
    factor = converted(1, one.unit, unit) if unit and one.unit else 1.0
    if factor is None or (unit and not one.unit and needs_unit(unit)):
        raise QueryError(
            f"@{one.name} is in {one.unit or 'no unit'}, which cannot be converted to {unit}",
            next_step=f"pass unit={one.unit!r}, or leave it out",
        )
    return text if factor == 1 else f"{factor:g} * (\n{text}\n)"


def _traces_of(name: str) -> Traces:
    opened = triage().source(name)
    assert isinstance(opened, Traces)  # by its kind
    return opened


def _asked(
    kinds: tuple[str, ...],
    question: str,
    source: str,
    values: Mapping[str, Any],
    answer: Callable[[str], pd.DataFrame],
) -> pd.DataFrame:
    """Ask the source that is meant; without one, or with placeholders, nothing is asked."""
    if holes := triage().unfilled({"source": source, **values}):
        error = ParameterError(
            f"nothing was asked, because these parameters are not filled in: {', '.join(holes)}",
            next_step="write the values into the parameters cell",
        )
        return _failed(kinds, question, source, error)
    settings = triage().settings
    chosen = settings.source(source) if source else settings.source_of(*kinds)
    if chosen is None:
        error = ParameterError(
            f"nothing was asked, because no source of the kind {' or '.join(kinds)} is configured",
            next_step=f'add [sources.{kinds[0]}] with kind = "{kinds[0]}" and url to rbkernel.toml',
        )
        return _failed(kinds, question, "", error)
    if chosen.kind not in kinds:
        raise ConfigError(
            f"the source {chosen.name} is of the kind {chosen.kind}, not {' or '.join(kinds)}",
            where=str(settings.file),
            next_step="name another source, or use the call for this kind",
        )
    return answer(chosen.name)


def _failed(
    kinds: tuple[str, ...], question: str, source: str, error: RbkernelError
) -> pd.DataFrame:
    columns = COLUMNS.get(kinds[0], SPANS)
    return failed_frame(columns, error, name=named(question), connection=source, sql=question)


def _shown(frame: pd.DataFrame, unit: str, question: str, how: tuple[Any, ...]) -> pd.DataFrame:
    """Show an answer; without one, count its question, which only the same call takes back."""
    frame.attrs["unit"] = unit
    origin = provenance(frame)
    assert origin is not None  # every answer has one
    show(frame if origin.reason else _readable(frame, unit))
    name = f"{named(question)}\n{question}\n{how!r}"
    if origin.reason or name in triage().undone.get(undone.QUERIES.title, {}):
        undone.note(undone.QUERIES, {name: not origin.reason})
    return shown(frame)


def _readable(frame: pd.DataFrame, unit: str) -> pd.DataFrame:
    """Return an answer as people read it: figures with their units, a trace as a tree.

    Of a range, each series has one row. Of a moment, the labels come first, without the time, which
    the line below the table says.
    """
    if "failed_first" in frame:
        shown_ = tree(frame)
        shown_.attrs = frame.attrs
        return shown_
    if "line" in frame:  # the date is below the table; on a phone, the line must be seen
        at = frame["sampled_at"].dt.strftime("%H:%M:%S.%f").str[:-3]
        shown_ = frame[["line", "series"]].copy()
        shown_.insert(0, "at", at)
        shown_.attrs = frame.attrs
        return shown_
    if "value" not in frame:
        return frame
    names = ["value", "baseline"]
    if found := provenance(frame):
        frame = _by_series(frame) if found.step_s else frame.drop(columns="sampled_at")
        names += ["latest", "lowest", "highest"] if found.step_s else []
    labels = [name for name in frame if name not in {*_FIGURES, *names}]
    if len(labels) > 1 or frame["series"].eq("value").all():
        labels.remove("series")
    shown_ = frame[[*labels, *(name for name in frame if name not in {"series", *labels})]]
    for name in [name for name in names if name in shown_]:
        said = f"{name} ({'UTC' if unit == _SINCE_1970 else unit})" if unit else name
        values = shown_[name]
        if unit == _SINCE_1970:
            values = pd.to_datetime(values, unit="s", utc=True, errors="coerce")
        shown_ = shown_.assign(**{name: values}).rename(columns={name: said})
    shown_.attrs = frame.attrs
    return shown_


def _by_series(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each series of a range: how many values, and which."""
    values = frame.groupby("series", sort=False)["value"]
    found = values.agg(latest="last", lowest="min", highest="max", values="count").reset_index()
    found.attrs = frame.attrs
    return found


def _moment(call: str, until: str) -> float | None:
    """Return a time in s since 1970; None for empty text."""
    if not until:
        return None
    try:
        at = datetime.fromisoformat(until)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ParameterError(
            f"{call}: until is not a time with a time zone",
            next_step="write it as in 2026-11-20T03:00:00Z",
        )
    return at.timestamp()


def _must_know(
    call: str, known: list[str], values: Mapping[str, Any], options: tuple[str, ...]
) -> None:
    for name in values:
        if name not in known:
            raise unknown_keyword(call, name, [*options, *known])
