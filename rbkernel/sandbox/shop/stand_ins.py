"""Stand-ins for Loki and for Jaeger, which answer as their query APIs do about the kept requests.

They are no Loki and no Jaeger: of LogQL they know a selector of labels and filters of lines, of the
search for traces what `TRACES` names. Anything else is refused, never answered wrongly. Pure.
"""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from rbkernel.sandbox.shop.requests import Request, Span

#: The path of the search for traces, and what it can be asked for.
TRACES = "/api/traces"
_SEARCH = {"service", "operation", "tags", "minDuration", "limit"}
_TEXT = r"\"(?:[^\"\\]|\\.)*\"|`[^`]*`"
_LABEL = re.compile(rf"\s*(\w+)\s*(=~|!~|!=|=)\s*({_TEXT})\s*(?:,|$)")
_FILTER = re.compile(rf"\s*(\|=|!=|\|~|!~)\s*({_TEXT})")
_QUERY = re.compile(r"\s*\{([^}]*)\}(.*)", re.DOTALL)
_MOST_LINES = 100
Line = tuple[float, dict[str, str], str]
Reply = tuple[int, str]


def loki(path: str, given: Mapping[str, str], kept: Iterable[Request]) -> Reply:
    """Answer a query of log lines, the newest first; and ``vector(1)``, which asks for nothing."""
    query = given.get("query", "")
    if query.strip() == "vector(1)":
        vector = [{"metric": {}, "value": [time.time(), "1"]}]
        return _data({"resultType": "vector", "result": vector})
    if path != "/loki/api/v1/query_range":
        return 404, "the stand-in for Loki answers only query_range"
    try:
        matches = _matcher(query)
    except ValueError as error:
        return 400, f"the stand-in for Loki cannot read the query: {error}"
    begin, end = float(given.get("start", 0)), float(given.get("end", time.time()))
    found = [one for one in _lines(kept) if begin <= one[0] < end and matches(one)]
    streams: dict[str, Any] = {}
    for at, labels, line in found[::-1][: _most(given, _MOST_LINES)]:
        of = streams.setdefault(json.dumps(labels), {"stream": labels, "values": []})
        of["values"].append([str(round(at * 1e9)), line])
    return _data({"resultType": "streams", "result": [*streams.values()]})


def _data(data: Mapping[str, Any]) -> Reply:
    return 200, json.dumps({"status": "success", "data": data})


def _most(given: Mapping[str, str], usual: int) -> int:
    return int(given.get("limit", usual))


def _lines(kept: Iterable[Request]) -> Iterator[Line]:
    for request in kept:
        for service, level, line in request.lines():
            yield request.at, {"app": service, "level": level}, line


def _matcher(query: str) -> Callable[[Line], bool]:
    """Return the test of a line that a query stands for.

    >>> tells = _matcher('{app="shop"} |~ `(?i)ERROR` != "x"')
    >>> tells((0.0, {"app": "shop"}, "an error")), tells((0.0, {"app": "shop"}, "an error x"))
    (True, False)
    """
    parts = _QUERY.fullmatch(query)
    if not parts:
        raise ValueError("it is no selector with filters")
    labels = [(name, _test(how, text)) for name, how, text in _all(_LABEL, parts[1])]
    filters = [_test(how, text) for how, text in _all(_FILTER, parts[2])]
    if not labels:
        raise ValueError("it has no label")
    return lambda line: (
        all(fits(line[1].get(name, "")) for name, fits in labels)
        and all(fits(line[2]) for fits in filters)
    )


def _all(pattern: re.Pattern[str], text: str) -> Iterator[tuple[str, ...]]:
    place = 0
    while text[place:].strip():
        found = pattern.match(text, place)
        if not found:
            raise ValueError(f"at {text[place:].strip()!r}")
        yield found.groups()
        place = found.end()


def _test(how: str, quoted: str) -> Callable[[str], bool]:
    """Return the test of one label or filter; regular expressions fit a label as a whole."""
    text = quoted[1:-1] if quoted.startswith("`") else str(json.loads(quoted))
    whole, pattern = how in {"=", "=~"}, re.compile(text if how.endswith("~") else re.escape(text))
    if how in {"=", "=~"}:
        return lambda value: bool(pattern.fullmatch(value))
    if how in {"|=", "|~"}:
        return lambda value: bool(pattern.search(value))
    return lambda value: not (pattern.fullmatch(value) if whole else pattern.search(value))


def jaeger(path: str, given: Mapping[str, str], kept: Iterable[Request]) -> Reply:
    """Answer a trace by its id, the search for traces (the newest first), and the services."""
    if path == "/api/services":
        every = {span.service for request in kept for span in request.spans()}
        return 200, json.dumps({"data": sorted(every), "errors": None})
    if path == TRACES:
        if unread := given.keys() - _SEARCH:
            return 400, json.dumps(_no(400, f"the stand-in does not know {', '.join(unread)}"))
        found = [one for one in reversed([*kept]) if _is_sought(one, given)][: _most(given, 20)]
        return 200, json.dumps({"data": [_trace(one) for one in found], "errors": None})
    wanted = path.removeprefix(f"{TRACES}/")
    one = next((one for one in kept if one.trace == wanted), None)
    if one is None:
        return 404, json.dumps(_no(404, "trace not found"))
    return 200, json.dumps({"data": [_trace(one)], "errors": None})


def _no(code: int, reason: str) -> dict[str, Any]:
    return {"data": None, "errors": [{"code": code, "msg": reason}]}


def _is_sought(request: Request, given: Mapping[str, str]) -> bool:
    """Return whether a trace has a span with all that is sought, as Jaeger finds it."""
    tags = json.loads(given.get("tags", "{}"))
    least_s = float(given.get("minDuration", "0s").removesuffix("s"))
    return any(
        given.get("service", span.service) == span.service
        and given.get("operation", span.operation) == span.operation
        and span.end - span.begin >= least_s
        and tags.items() <= {tag["key"]: str(tag["value"]).lower() for tag in _tags(span)}.items()
        for span in request.spans()
    )


def _trace(request: Request) -> dict[str, Any]:
    spans = [*request.spans()]
    processes: dict[str, str] = defaultdict(lambda: f"p{len(processes) + 1}")
    return {
        "traceID": request.trace,
        "spans": [
            {
                "traceID": request.trace,
                "spanID": one.id,
                "operationName": one.operation,
                "references": _above(request, one),
                "startTime": round(one.begin * 1e6),
                "duration": round((one.end - one.begin) * 1e6),
                "tags": _tags(one),
                "processID": processes[one.service],
            }
            for one in spans
        ],
        "processes": {key: {"serviceName": name} for name, key in processes.items()},
    }


def _above(request: Request, span: Span) -> list[dict[str, str]]:
    above = {"refType": "CHILD_OF", "traceID": request.trace, "spanID": span.parent}
    return [above] if span.parent else []


def _tags(span: Span) -> list[dict[str, Any]]:
    tags: list[dict[str, Any]] = []
    if span.status:
        tags.append({"key": "http.status_code", "type": "int64", "value": span.status})
    if span.error:
        tags.append({"key": "error", "type": "bool", "value": True})
    return tags
