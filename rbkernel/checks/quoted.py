"""Compare the answer of a command or an endpoint with the answer that a document quotes. Pure.

The quoted answer may be a text, a JSON object, or a printed table. The result is unknown
where the comparison is not certain.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rbkernel import amounts

# states of a row that are surely wrong; a state that is neither quoted nor here is unknown
_WRONG = re.compile(
    r"error|fail|crash|backoff|unknown|lost|evict|oom|notready|unhealthy|down|dead|offline|inactive"
    r"|unavailable|exited|stopped|pending|terminating|invalid|degraded|disconnected|broken",
    re.IGNORECASE,
)
_STATES = ("STATUS", "STATE", "PHASE")
_PARTS = re.compile(r"(\d+)/(\d+)")
# what makes the opposite of the words that follow it in the same line
_DENIED = re.compile(
    r"(?:\b(?:not|no|never|non|cannot|without)|n't)"
    r"(?:[ \t]+(?:yet|been|be|currently|in|an?|the))*[ \t_-]+$",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Quoted:
    """The expected answer, as a document quotes it.

    ``answers`` is the whole text, or one line of it; with empty text, the answer must be empty;
    with None, the text is not compared. ``fields`` are fields that the JSON object must have.
    ``rows`` maps columns of a printed table to the value that each row must have. If this value is
    a ratio such as ``1/1``, every ratio of two equal numbers meets it: ``3/3`` means that 3 of 3
    containers are ready. ``wrong`` describes an answer that shows a problem: a text that it
    contains, or fields of a JSON object.
    """

    answers: str | None = None
    fields: Mapping[str, Any] | None = None
    rows: Mapping[str, str] | None = None
    wrong: str | Mapping[str, Any] = ""

    def __str__(self) -> str:
        said = [
            repr(self.answers) if self.answers else "",
            "no output" if self.answers == "" else "",
            json.dumps(self.fields) if self.fields else "",
            ", ".join(f"{name} {value}" for name, value in (self.rows or {}).items()),
            f"not {self.wrong!r}" if self.wrong and isinstance(self.wrong, str) else "",
            f"not {json.dumps(self.wrong)}"
            if self.wrong and not isinstance(self.wrong, str)
            else "",
        ]
        return "; ".join(filter(None, said))


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The result for a part of the quoted answer; ``met`` is None if it cannot be compared."""

    actual: str
    met: bool | None


def holds(text: str, words: str) -> bool:
    """Tell whether a text contains words that are no parts of longer words, and never denies them.

    >>> holds("db:5432 - accepting connections", "accepting"), holds("inactive (dead)", "active")
    (True, False)
    >>> holds("not ok", "ok"), holds("is not yet ready", "ready"), holds("api ok, db not ok", "ok")
    (False, False, False)
    """
    first = r"(?<!\w)" if re.match(r"\w", words) else ""
    last = r"(?!\w)" if re.search(r"\w$", words) else ""
    found = [one.start() for one in re.finditer(f"{first}{re.escape(words)}{last}", text)]
    return bool(found) and not any(_DENIED.search(text[max(0, at - 40) : at]) for at in found)


def judge(output: str, quoted: Quoted) -> list[Judged]:
    """Compare an answer with the quoted answer; each quoted part gives one result.

    >>> healthy = Quoted(fields={"status": "ok"}, wrong={"status": "error"})
    >>> [one.met for one in judge('{"status":"ok","uptime":5}', healthy)]
    [True, True]
    >>> judge('{"status": "error"}', healthy)[0]
    Judged(actual='status is "error"', met=False)
    >>> [one.met for one in judge("inactive", Quoted(answers="active"))]
    [False]
    """
    found = []
    if quoted.answers == "":
        shown = output.strip().split("\n", 1)[0][:80]
        found.append(
            Judged(actual=f"answers {shown!r}" if shown else "no output", met=not output.strip())
        )
    elif quoted.answers is not None:
        found.append(_text(output, quoted.answers))
    if quoted.fields:
        found.append(_json(output, quoted.fields))
    if quoted.rows:
        found.append(_rows(output, quoted.rows))
    if quoted.wrong:
        found.append(_wrong(output, quoted.wrong))
    return sorted(found, key=lambda one: {False: 0, None: 1, True: 2}[one.met])


def _text(output: str, wanted: str) -> Judged:
    state = next((name for row in _table(output) for name in row if name in _STATES), "")
    if state and re.fullmatch(r"[A-Z][A-Za-z]+", wanted):
        return _rows(output, {state: wanted})  # "Expected: Running" below `kubectl get pods`
    lines = [" ".join(line.split()).strip("\"'") for line in output.splitlines()]
    wanted = " ".join(wanted.split())
    if wanted in lines or " ".join(" ".join(lines).split()) == wanted:
        return Judged(actual=repr(wanted), met=True)
    said = next(filter(None, lines), "")
    shown = f"{said[:79]}…" if len(said) > 80 else said
    filled = [*filter(None, lines)]
    if len(filled) == 1 and re.search(rf"[:=]\s*{re.escape(wanted)}$", filled[0]):
        return Judged(actual=repr(filled[0]), met=True)  # "result: PASSED"
    pattern = re.compile(rf"(?<![\w-]){re.escape(wanted)}(?![\w-])")
    found = [(line, one.start()) for line in lines for one in pattern.finditer(line)]
    longer = any(not _DENIED.search(line[:at]) for line, at in found)
    return Judged(actual=f"answers {shown!r}", met=None if longer else False)


def _wrong(output: str, wrong: str | Mapping[str, Any]) -> Judged:
    if isinstance(wrong, str):
        there = " ".join(wrong.split()) in " ".join(output.split())
        return Judged(actual=f"with {wrong!r}" if there else f"without {wrong!r}", met=not there)
    body = _parsed(output)
    if body is None:
        return Judged(actual="the answer is no JSON", met=None)
    there = not any(True for _ in _differences(body, wrong))
    return Judged(actual=json.dumps(wrong), met=not there)


def _json(output: str, wanted: Mapping[str, Any]) -> Judged:
    body = _parsed(output)
    if body is None:
        return Judged(actual="the answer is no JSON", met=False)
    differs = next(_differences(body, wanted), "")
    return Judged(actual=differs or json.dumps(wanted), met=not differs)


def _parsed(output: str) -> Any:
    try:
        return json.loads(output)
    except ValueError:
        return None


def _differences(body: Any, wanted: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in wanted.items():
        name = f"{above}{key}"
        if not isinstance(body, Mapping) or key not in body:
            yield f"no {name}"
        elif isinstance(value, Mapping):
            yield from _differences(body[key], value, f"{name}.")
        elif body[key] != value:
            yield f"{name} is {json.dumps(body[key])[:80]}"


def _rows(output: str, wanted: Mapping[str, str]) -> Judged:
    table = [*_table(output)]
    if not table:
        return Judged(actual="no rows in the answer", met=None)
    missing = [name for name in wanted if name not in table[0]]
    if missing:
        return Judged(actual=f"no column {', '.join(missing)}", met=None)
    judged = [
        (row, {name: _cell(row[name], value) for name, value in wanted.items()}) for row in table
    ]
    bad = [row for row, cells in judged if _is_bad(cells)]
    odd = [row for row, cells in judged if None in cells.values() and row not in bad]
    shown = "; ".join(
        " ".join([next(iter(row.values())), *(row[name] for name in wanted)])
        for row in (bad or odd)[:5]
    )
    if bad or odd:
        return Judged(actual=shown, met=False if bad else None)
    return Judged(actual=f"{amounts.count(len(table), 'row')} as expected", met=True)


def _is_bad(cells: Mapping[str, bool | None]) -> bool:
    """Tell whether a row of a table is wrong; a row whose state cannot be compared is not."""
    return False in cells.values() and None not in cells.values()


def _cell(value: str, wanted: str) -> bool | None:
    parts = _PARTS.fullmatch(value)
    if _PARTS.fullmatch(wanted) and parts:
        return parts[1] == parts[2]
    if value == wanted:
        return True
    return False if _WRONG.search(value) and not _WRONG.search(wanted) else None


def _table(output: str) -> Iterator[dict[str, str]]:
    """Yield the rows of a printed table with aligned columns."""
    lines = [line for line in output.splitlines() if line.strip()]
    header = next((at for at, line in enumerate(lines) if columns(line)), None)
    if header is None:
        return
    places = columns(lines[header])
    for line in lines[header + 1 :]:
        cells = re.split(r"\s{2,}|\t", line.strip())
        if len(cells) == len(places):
            yield dict(zip([name for name, _ in places], cells, strict=True))
        elif not re.fullmatch(r"[-=+\s|]+", line):
            ends = [*(at for _, at in places[1:]), None]
            yield {name: line[at:end].strip() for (name, at), end in zip(places, ends, strict=True)}


def columns(line: str) -> Sequence[tuple[str, int]]:
    """Return the columns of a header in capitals and their positions; empty for other lines.

    >>> columns("NAME    READY   STATUS")
    [('NAME', 0), ('READY', 8), ('STATUS', 16)]
    """
    found = [(one[0], one.start()) for one in re.finditer(r"\S+(?: \S+)*", line)]
    return found if len(found) > 1 and all(name == name.upper() for name, _ in found) else []
