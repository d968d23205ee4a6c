"""Look up a trace by its id, in a store that speaks the API of Jaeger or of Tempo."""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rbkernel import amounts
from rbkernel.checks.answer import BOOLEAN, FLOAT8, TEXT, TIMESTAMPTZ, Answer, Column, Provenance
from rbkernel.checks.rule import Rule
from rbkernel.config.sources import Source
from rbkernel.errors import ConfigError, QueryError, SourceError
from rbkernel.model import now
from rbkernel.sources.monitoring.client import Client
from rbkernel.sources.monitoring.series import LAST_S

if TYPE_CHECKING:
    import pandas as pd

_ID = re.compile(r"[0-9a-f]{16,32}")
_COLUMNS = (
    Column("service", TEXT),
    Column("operation", TEXT),
    Column("started_at", TIMESTAMPTZ),
    Column("duration_ms", FLOAT8),
    Column("own_ms", FLOAT8),
    Column("total_ms", FLOAT8),
    Column("spans", 20),
    Column("error", BOOLEAN),
    Column("failed_first", BOOLEAN),
    Column("waited", BOOLEAN),
    Column("status", TEXT),
    Column("span", TEXT),
    Column("parent", TEXT),
    Column("which", TEXT),
)
#: The names of the columns.
SPANS = tuple(column.name for column in _COLUMNS)
#: What `rb.assess` judges of a trace.
RULES = (
    Rule(
        title="Span that failed first",
        name="failed_first",
        agg="rows",
        where={"failed_first": True},
        by="service",
        each="operation",
        unit="spans",
        warn=0,
        expected="no span failed",
        cause="{which} failed first",
        next_step="look at this service; those that called it failed after it",
        opens="RUN-008",
        source="an error goes up from the span in which it arose",
    ),
    Rule(
        title="Span that failed while it waited",
        name="waited",
        agg="rows",
        where={"waited": True},
        by="service",
        each="operation",
        unit="spans",
        warn=0,
        expected="none",
        cause="{which} gave up, after it had mostly waited for what it called",
        next_step="look at the span with the longest own time: it was too slow, and did not fail",
        opens="RUN-009",
        source="a time-out fails in the caller",
    ),
    Rule(
        title="Longest own time of an operation",
        name="own_ms",
        column="total_ms",
        by="which",
        unit="ms",
        warn=1000,
        cause="The time went into {top}: {value} in which nothing that it called ran",
        next_step="look at this service and at what it waited for; the column spans says how often"
        " the request did this",
        opens="RUN-009",
        source="rbkernel's choice; a person notices a second",
    ),
)
# a caller that gives up ends within this part of its time after the call (own choice)
_SOON = 0.05
_STATUS = ("http.response.status_code", "http.status_code", "rpc.grpc.status_code")


@dataclass(frozen=True, kw_only=True)
class Span:
    """A span of a trace; times are in µs since 1970."""

    id: str
    parent: str
    service: str
    operation: str
    start_us: float
    end_us: float
    error: bool
    status: str

    @property
    def which(self) -> str:
        """The service and the operation, by which spans are alike."""
        return f"{self.service}: {self.operation}"

    def __post_init__(self) -> None:
        """Raise a ValueError if the times are impossible."""
        if not 0 <= self.start_us <= self.end_us < LAST_S * 1e6:
            raise ValueError(f"the span {self.id} has impossible times")


class Traces:
    """A store of traces."""

    def __init__(self, configured: Source) -> None:
        self.configured = configured
        self.client = Client(configured)

    def parameters(self, question: str) -> Sequence[str]:  # noqa: ARG002  # an id has no values
        """Return no name: a trace id takes no values."""
        return []

    def close(self) -> None:
        """Do nothing: every request has its own connection."""

    def query(
        self, question: str, values: Mapping[str, Any], *, row_cap: int | None = None
    ) -> pd.DataFrame:
        """Return the spans of the trace with this id, in the order of their starts.

        Raises
        ------
        QueryError
            The id is not 16 to 32 hexadecimal digits.
        """
        from rbkernel.checks import frames

        at, started = now(), time.monotonic()
        trace = question.strip().lower()
        if not _ID.fullmatch(trace):
            raise QueryError(
                "this is not the id of a trace", next_step="pass 16 to 32 hexadecimal digits"
            )
        try:
            spans, lost = self._spans(trace)
        except (SourceError, ConfigError) as error:
            return frames.failed_frame(
                SPANS, error, name=f"trace {trace}", connection=self.configured.name, sql=trace
            )
        cap = row_cap or self.configured.row_cap
        provenance = Provenance(
            name=f"trace {trace}",
            connection=self.configured.name,
            server=self.client.address,
            role="",
            sql=trace,
            values=values,
            at=at,
            duration_s=round(time.monotonic() - started, 4),
            rows=min(len(spans), cap),
            cut_by=f"the row cap of {cap}" if len(spans) > cap else lost,
        )
        answer = Answer(columns=_COLUMNS, rows=rows(spans)[:cap], provenance=provenance)
        return frames.to_frame(answer.protected(self.configured.redaction))

    def _spans(self, trace: str) -> tuple[list[Span], str]:
        """Return the spans, and why the trace is not whole; empty if nothing says so."""
        reply = self.client.get(f"/api/traces/{trace}").value
        try:
            spans = list(of_jaeger(reply) if self.configured.kind == "jaeger" else of_tempo(reply))
            said = _warnings(reply)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self.client.error(
                f"the answer is not of the API of {self.configured.kind}",
                "check the url and the kind of the source",
            ) from error
        if not spans:
            raise self.client.error(
                "the store has no span of this trace",
                "check the id; the trace may be too new, too old, or not sampled",
            )
        lost = _missing(spans) or (f"the store, which warns: {said[0]}" if said else "")
        return sorted(spans, key=lambda span: span.start_us), lost


def _warnings(answer: Mapping[str, Any]) -> list[str]:
    """Return what a store says beside the spans: errors of the whole, and warnings of a trace."""
    traces = answer["data"] if isinstance(answer.get("data"), list) else []
    said = [
        *(answer.get("errors") or ()),
        *(w for one in traces for w in one.get("warnings") or ()),
    ]
    return [str(one.get("msg", one)) if isinstance(one, dict) else str(one) for one in said]


def of_jaeger(answer: Mapping[str, Any]) -> Iterator[Span]:
    """Read the spans in an answer of Jaeger."""
    for trace in answer["data"] or ():
        services = {key: one["serviceName"] for key, one in trace["processes"].items()}
        for one in trace["spans"]:
            tags = {tag["key"]: tag.get("value") for tag in one.get("tags") or ()}
            above = [ref["spanID"] for ref in one.get("references") or ()]
            begin, length = float(one["startTime"]), float(one["duration"])
            yield Span(
                id=one["spanID"],
                parent=above[0] if above else "",
                service=services[one["processID"]],
                operation=one["operationName"],
                start_us=begin,
                end_us=begin + length,
                error=tags.get("error") in {True, "true"}
                or tags.get("otel.status_code") == "ERROR",
                status=_status(tags),
            )


def of_tempo(answer: Mapping[str, Any]) -> Iterator[Span]:
    """Read the spans in an answer of Tempo, which are those of OpenTelemetry in JSON."""
    inner = answer.get("trace", answer)
    for resource in inner.get("batches") or inner.get("resourceSpans") or ():
        service = str(_attributes(resource.get("resource") or {}).get("service.name", ""))
        scopes = resource.get("scopeSpans") or resource.get("instrumentationLibrarySpans") or ()
        for one in (span for scope in scopes for span in scope["spans"]):
            yield Span(
                id=_hex(one["spanId"]),
                parent=_hex(one.get("parentSpanId") or ""),
                service=service,
                operation=one["name"],
                start_us=int(one["startTimeUnixNano"]) / 1000,
                end_us=int(one["endTimeUnixNano"]) / 1000,
                error=(one.get("status") or {}).get("code") in {2, "STATUS_CODE_ERROR"},
                status=_status(_attributes(one)),
            )


def _attributes(thing: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of OpenTelemetry: each value is an object of one field."""
    return {
        one["key"]: next(iter((one.get("value") or {}).values()), None)
        for one in thing.get("attributes") or ()
    }


def _status(tags: Mapping[str, Any]) -> str:
    return next((str(tags[name]) for name in _STATUS if name in tags), "")


def _hex(text: str) -> str:
    """Return the id of a span in hexadecimal digits; Tempo writes it in base64.

    >>> _hex("AAAAAAAAAAE="), _hex("0000000000000001"), _hex("")
    ('0000000000000001', '0000000000000001', '')
    """
    if re.fullmatch(r"[0-9a-fA-F]{16}", text):
        return text.lower()
    try:
        return base64.b64decode(text, validate=True).hex()
    except binascii.Error:
        return text


def rows(spans: Sequence[Span]) -> list[tuple[Any, ...]]:
    """Return the rows of the table of a trace."""
    children: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        children[span.parent].append(span)
    first = _failed_first(spans, children)
    alike: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        alike[span.which].append(span)
    total_us = {
        which: _union_us(part for one in same for part in _own(one, children[one.id]))
        for which, same in alike.items()
    }
    return [
        (
            span.service,
            span.operation,
            datetime.fromtimestamp(span.start_us / 1e6, UTC),
            round((span.end_us - span.start_us) / 1000, 3),
            round(_own_us(span, children[span.id]) / 1000, 3),
            round(total_us[span.which] / 1000, 3),
            len(alike[span.which]),
            span.error,
            span is first,
            span is first and _has_waited(span, children[span.id]),
            span.status,
            span.id,
            span.parent,
            span.which,
        )
        for span in spans
    ]


def tree(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the spans of a trace as people read them: calls are indented below their callers.

    Rows × (span, after_ms, duration_ms, own_ms, status, note); ``after_ms`` is since the first.

    >>> import pandas as pd
    >>> known = dict.fromkeys(SPANS, False)
    >>> one = {**known, "which": "web: GET /", "span": "a", "parent": "", "status": "500"}
    >>> two = {**known, "which": "db: SELECT", "span": "b", "parent": "a", "status": "",
    ...        "failed_first": True, "waited": True}
    >>> at = pd.to_datetime([1000, 1007], unit="ms", utc=True)
    >>> found = tree(pd.DataFrame([one, two]).assign(started_at=at))
    >>> found[["span", "after_ms", "note"]].values.tolist()
    [['web: GET /', 0.0, ''], ['· db: SELECT', 7.0, 'gave up waiting']]
    """
    parents = dict(zip(frame["span"], frame["parent"], strict=True))
    after = (frame["started_at"] - frame["started_at"].min()).dt.total_seconds() * 1000
    notes = [
        "gave up waiting" if waited else "failed first" if first else "failed" if error else ""
        for error, first, waited in zip(
            frame["error"], frame["failed_first"], frame["waited"], strict=True
        )
    ]
    indented = [
        f"{'· ' * _depth(span, parents)}{which}"
        for span, which in zip(frame["span"], frame["which"], strict=True)
    ]
    shown = frame[["duration_ms", "own_ms", "status"]].assign(note=notes)
    shown.insert(0, "after_ms", after.round(3))
    shown.insert(0, "span", indented)
    return shown


def _depth(span: str, parents: Mapping[str, str]) -> int:
    """Return below how many known spans a span is; spans in a circle end the count."""
    above: list[str] = []
    while (span := parents.get(span, "")) in parents and span not in above:
        above.append(span)
    return len(above)


def _failed_first(spans: Iterable[Span], children: Mapping[str, Sequence[Span]]) -> Span | None:
    """Return the failed span that ended first, of those without a failed child; None for none."""
    failed = [
        span
        for span in spans
        if span.error and not any(child.error for child in children.get(span.id, ()))
    ]
    return min(failed, key=lambda span: span.end_us, default=None)


def _has_waited(span: Span, children: Iterable[Span]) -> bool:
    """Return whether a span gave up waiting: one call took most of its time, and nearly to its end.

    A span that fails by itself goes on for a while after its last call.
    """
    length = span.end_us - span.start_us
    return any(
        2 * (one.end_us - one.start_us) > length and one.end_us >= span.end_us - _SOON * length
        for one in children
    )


def _own_us(span: Span, children: Iterable[Span]) -> float:
    """Return how long a span ran while none of its children did; they may overlap.

    >>> def span(start, end):
    ...     return Span(id="", parent="", service="", operation="", start_us=start, end_us=end,
    ...                 error=False, status="")
    >>> _own_us(span(0, 100), [span(10, 40), span(30, 60), span(90, 200)])
    40.0
    """
    return _union_us(_own(span, children))


def _own(span: Span, children: Iterable[Span]) -> Iterator[tuple[float, float]]:
    """Yield begin and end (µs) of each part of a span in which none of its children ran."""
    reached = span.start_us
    for child in sorted(children, key=lambda one: one.start_us):
        if (begin := min(child.start_us, span.end_us)) > reached:
            yield reached, begin
        reached = max(reached, child.end_us)
    if span.end_us > reached:
        yield reached, span.end_us


def _union_us(parts: Iterable[tuple[float, float]]) -> float:
    """Return how long at least one of some intervals (begin and end, µs) lasts.

    >>> _union_us([(0, 30), (10, 40), (50, 60)])
    50.0
    """
    total = reached = 0.0
    for begin, end in sorted(parts):
        total += max(0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def _missing(spans: Sequence[Span]) -> str:
    """Return why the trace is not whole: a span names a parent that is not there; else empty."""
    known = {span.id for span in spans}
    lost = {span.parent for span in spans if span.parent} - known
    return f"gaps in the trace: at least {amounts.count(len(lost), 'span')}" if lost else ""
