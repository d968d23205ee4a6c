"""Convert queries in PromQL and LogQL to calls of `rb.promql` and `rb.logql`. Pure.

What a reader must fill in, and the variables of a dashboard, become parameters, whose values the
call inserts. The query itself is not parsed: the system says if it is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from rbkernel.importer import calls
from rbkernel.importer.reading import holes, languages
from rbkernel.importer.reading.holes import Hole

_CALLS = {"PromQL": "rb.promql", "LogQL": "rb.logql"}
SOURCES = {"PromQL": "prometheus", "LogQL": "loki"}
# Grafana's own variables for a time: the usual window of a rate
_WINDOW = re.compile(r"\$(?:__(?:rate_)?interval|\{__(?:rate_)?interval\})")
_VARIABLE = re.compile(
    r"\$\{(?P<braces>[A-Za-z]\w*)(?::\w+)?\}|\[\[(?P<brackets>[A-Za-z]\w*)\]\]"
    r"|\$(?P<bare>[A-Za-z]\w*)|(?<!\{)\{\s*(?P<own>[A-Za-z]\w*)\s*\}(?!\})"
)
# what the languages themselves write between < and >, or behind \p
_OWN = re.compile(r"""\(\?P?<\w+>|\|\s*pattern\s+(?:`[^`]*`|"(?:\\.|[^"\\])*")|\\[pP]\{\w+\}""")
_ADDRESS = re.compile(r"https?://[^?\s]*/api/v1/query(?:_range)?(?:\?|$)")
# what a call takes itself, so that a value needs another name
_TAKEN = frozenset(
    {"query", "source", "last_s", "step_s", "until", "baseline_days", "unit", "row_cap", "lines"}
)


class Query(NamedTuple):
    """One query of a fence, and the comments above it."""

    comments: Sequence[str]
    text: str


def split(text: str) -> Iterator[Query]:
    """Yield the queries of a fence in order.

    >>> [query.text for query in split("# Errors\\nsum(\\n  rate(x[5m])\\n)\\n\\nup == 0")]
    ['sum(\\n  rate(x[5m])\\n)', 'up == 0']
    """
    lines = text.splitlines()
    comments: list[str] = []
    at = 0
    while at < len(lines):
        line = lines[at].strip()
        if not line or line.startswith("#"):
            comments += [line.lstrip("# ")] if line else []
            at += 1
            continue
        end = languages.end_of_query(lines, at)
        yield Query(comments, "\n".join(lines[at:end]).strip())
        comments, at = [], end
    if comments:
        yield Query(comments, "")


def of_command(words: Sequence[str]) -> tuple[str, str] | None:
    """Return language and text of the query that a command sends; None if it sends none.

    ``words`` are those of the command, or the one address that it requests.

    >>> address = "http://loki:3100/loki/api/v1/query_range"
    >>> of_command(["curl", "-G", address, "--data-urlencode", 'query={a="b"}'])
    ('LogQL', '{a="b"}')
    >>> of_command(["http://p:9090/api/v1/query?query=up%7Ba%3D%22b%22%7D"])
    ('PromQL', 'up{a="b"}')
    >>> of_command(["logcli", "query", '{a="b"}', "--since=1h"])
    ('LogQL', '{a="b"}')
    >>> of_command(["curl", "http://p:9090/api/v1/targets"]), of_command(["ls"])
    (None, None)
    """
    if list(words[:2]) == ["logcli", "query"]:
        text = next((word for word in words[2:] if "{" in word), "")
        return ("LogQL", text) if text else None
    if not words or (words[0] != "curl" and len(words) > 1):
        return None
    address = next((word for word in words if _ADDRESS.match(word)), "")
    if not address:
        return None
    sent = [word.removeprefix("query=") for word in words if word.startswith("query=")]
    found = [*sent, *parse_qs(urlsplit(address).query).get("query", [])]
    language = "LogQL" if "/loki/" in address else "PromQL"
    return (language, found[0]) if found else None


def found_holes(text: str) -> list[Hole]:
    """Return what must be filled in in a query, with the variables of dashboards.

    >>> [hole.parameter for hole in found_holes('x{a="<pod>", b=~"$service", c="[[ns]]"}[5m]')]
    ['service', 'ns', 'pod']
    >>> found_holes('{a="b"} | pattern "<ip> <status>" |~ "(?P<x>.)"')
    []
    """
    text = _OWN.sub("", _WINDOW.sub("5m", text))
    variables = [
        Hole(text=match[0], parameter=next(filter(None, match.groups())).lower(), hint=match[0])
        for match in _VARIABLE.finditer(text)
    ]
    known = {hole.text for hole in variables}
    inner = [hole for hole in holes.find(text) if not any(hole.text in one for one in known)]
    return list(dict.fromkeys([*variables, *inner]))


def call(language: str, text: str, found: Sequence[Hole]) -> str:
    """Return the call that asks a query; empty if a value may not be a parameter.

    >>> hole = Hole(text="<app>", parameter="app", hint="app")
    >>> call("LogQL", '{app="<app>"}', [hole])
    'rb.logql(\\'{app="{app}"}\\', app=app)'
    """
    if not all(hole.parameter for hole in found):
        return ""
    text, named = _WINDOW.sub("5m", text), {}
    kept = _OWN.findall(text)
    parts = _OWN.split(text)
    for hole in sorted(found, key=lambda one: -len(one.text)):
        name = f"{hole.parameter}_value" if hole.parameter in _TAKEN else hole.parameter
        parts = [part.replace(hole.text, f"{{{name}}}") for part in parts]
        named[name] = hole.parameter
    text = "".join(chain.from_iterable(zip_longest(parts, kept, fillvalue="")))
    return calls.call(_CALLS[language], calls.quoted(text), **named)


def notes(language: str, text: str) -> list[str]:
    """Return what a person must know about an imported query."""
    said = [f"it asks the source of the kind {SOURCES[language]} in rbkernel.toml"]
    if found := _WINDOW.search(text):
        said.append(f"{found[0]} of the dashboard became 5m")
    return said
