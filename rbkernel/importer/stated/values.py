"""Read the value that a sentence names: a figure, a range, a state, a text, a status. Pure."""

from __future__ import annotations

import re
from dataclasses import replace

from rbkernel.importer.stated import grammar
from rbkernel.importer.stated.expectation import Expectation
from rbkernel.importer.stated.grammar import NUMBER, UNSURE
from rbkernel.importer.stated.quoted import SHORT, STABLE, an_object, fixed
from rbkernel.runbook.quantities import Threshold

_STATUS = re.compile(
    r"^(?:an?\s+)?(?:HTTP(?:/[\d.]+)?\s*)?(?:status(?: code)?\s*)?(?P<code>[1-5]\d\d)\b"
    r"(?!\s*(?:ms|s\b|rows?|%|(?!success)[a-z]+s\b))",
    re.IGNORECASE,
)
_NONE = re.compile(r"^(?:no|0|zero)\s+(?:rows?|results?|records?)\s*[.!]?$", re.IGNORECASE)
_EMPTY = re.compile(
    r"^(?:(?:an )?empty(?: (?:output|answer|result|response|list|line))?|nothing|blank"
    r"|(?:no|0|zero)\s+(?:output|lines?))\s*[.!]?$",
    re.IGNORECASE,
)
_BETWEEN = re.compile(
    rf"(?:be\s+)?(?:between|from)?\s*(?P<low>{NUMBER})\s*(?:and|to|-|–)\s*(?P<high>{NUMBER})\s*[.!]?",
    re.IGNORECASE,
)
_COUNT = re.compile(rf"(?P<figure>{NUMBER}|zero)(?:\s+(?P<rows>rows?))?", re.IGNORECASE)
STATE = re.compile(
    r"(?:in)?active|(?:en|dis)abled|ok|up|running|ready|true|false|yes|no|(?:un)?healthy|online|pong"
    r"|bound|succeeded|completed?|green|alive|success|connected|started|open|done|primary|replica"
    r"|master|leader|standby|imok|valid|available|deployed|listening|streaming|issued|synced|passed"
    r"|enforcing|in sync|reachable|mounted|clean|armed|registered",
    re.IGNORECASE,
)
_PROSE = re.compile(
    r"\b(?:an?|the|list|of|current|something|similar|like|with|your|some|all|every|no|not|see|one"
    r"|and|or|time|empty|blank|nothing|none|within|even|odd|about|around|here|now|only|just|exactly|always|still|back|small|low|high|large|stable"
    r"|similar|minimal|few|many|short|long|fast|slow|reasonable|varies|depends|steady|growing|close)\b",
    re.IGNORECASE,
)
# STATUS=Bound, VOLUME=pv-1
_CELLS = re.compile(r"\b([A-Z]{3,})\s*[=:]\s*([A-Za-z][\w-]*)")


def of_value(what: str, *, contains: re.Match[str] | None = None) -> Expectation:
    """Return the expectation that a value states; ``contains`` has the words to be contained.

    >>> of_value("active").answers, of_value("HTTP 204").status, of_value("a list of pods").answers
    ('active', 204, '')
    """
    if found := of_figure(what):
        return found
    if UNSURE.search(re.sub(r"[{\[].*[}\]]|\"[^\"]*\"|`[^`]*`", "", what)):
        return Expectation()
    if status := _STATUS.match(what):
        return Expectation(status=int(status["code"]))
    if body := an_object(what):
        return Expectation(json=fixed(body))
    if (cells := _CELLS.findall(what)) and _CELLS.sub("", what).strip(" ,.;") == "":
        return Expectation(rows={name: value for name, value in cells if name in STABLE})
    if any(True for _ in grammar.comparisons(what)):
        return Expectation()  # a figure with words that are not understood
    if contains and (text := SHORT.match(contains["what"])) and not _PROSE.search(text["text"]):
        return Expectation(contains=text["text"].strip())
    text = SHORT.match(what)
    quoted = re.fullmatch(r"[`\"'].*[`\"'][.]?", what) is not None
    if text and (quoted or (len(text["text"].split()) < 3 and not _PROSE.search(what))):
        return Expectation(answers=text["text"].strip())
    return Expectation()


def of_figure(what: str) -> Expectation | None:
    """Return the expectation that a figure, a range or a word such as "empty" states.

    None for other words. The expectation has no fields if the words cannot be checked.
    """
    what = re.sub(r"^(?:exactly|precisely)\s+(?=\d)", "", what, flags=re.IGNORECASE)
    if _EMPTY.match(what):
        return Expectation(empty=True)
    if _NONE.match(what):
        return Expectation(no_rows=True)
    if limit := grammar.whole(what):
        return of_limit(limit, right=True)
    if between := _BETWEEN.fullmatch(what):
        low, high = (_number(between[name]) for name in ("low", "high"))
        limits = (("", Threshold(value=high)), ("", Threshold(value=low, below=True)))
        return Expectation(limits=limits) if low < high else Expectation()
    if count := _COUNT.fullmatch(what.rstrip(".")):
        figure = _number(count["figure"])
        above = Threshold(value=figure, unit=(count["rows"] or "").lower())
        both = (("", above),) if not figure else (("", above), ("", replace(above, below=True)))
        status = int(figure) if re.fullmatch(r"[1-5]\d\d", count["figure"]) else 0
        return Expectation(limits=both, status=status)
    return None


def of_limit(one: grammar.Comparison, *, right: bool, column: str = "") -> Expectation:
    """Return the expectation that a comparison states, as what is right or as what is wrong."""
    limit = one.threshold(right=right)
    return Expectation(limits=((column, limit),)) if limit else Expectation()


def _number(words: str) -> float:
    return 0.0 if words.lower() == "zero" else float(words.replace(",", ""))
