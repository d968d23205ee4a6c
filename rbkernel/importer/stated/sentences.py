"""Read the answer that a sentence expects of a command or a query. Pure.

A sentence such as "should be 0", "must contain: ok" or "alert if n > 30". One that is not
understood as a whole states nothing, because any other word may change what it means.
"""

from __future__ import annotations

import re

from rbkernel.importer.reading import holes
from rbkernel.importer.stated import clauses, grammar, values
from rbkernel.importer.stated.expectation import Expectation
from rbkernel.importer.stated.grammar import UNSURE
from rbkernel.runbook.quantities import threshold

_SAID = re.compile(
    r"(?:\b(?:expect(?:ed|s)?\b(?:\s+(?:output|result|response|answer|value|status))?"
    r"\s*(?:is|to be)?"
    r"|(?:should|must)\s+(?:return|print|show|output|say|(?P<be>be|stay|remain)|answer|contain"
    r"|include|respond(?: with)?)|(?P<told>returns?|prints)|(?:should|must)(?=\s+not exceed\b))"
    r"|^\W*(?P<shown>(?:output|result)\s*(?:is\b|[:=])|=>|->|→))\s*:?\s*(?P<what>.+?)\s*$",
    re.IGNORECASE,
)
_CONTAINS = re.compile(r"\b(?:contains?|includes?)\s*:?\s*(?P<what>.+?)\s*$", re.IGNORECASE)
_FIGURE = re.compile(
    r"^expected\s+(?P<name>[\w %().-]+?|[\w/]+)\s*[:=]?\s*(?P<limit>[<>≤≥]=?.*)$", re.IGNORECASE
)
# an answer of HTTP, alone
_STATUS_LINE = re.compile(r"(?:HTTP(?:/[\d.]+)?\s+)?(?P<code>[23]\d\d)(?:\s+[A-Z][A-Za-z-]+)*")
# what is said of a limit, before it or behind it: "alert if n > 10", "below 5 is fine"
_IS_RIGHT = "healthy|good|ok"
_IS_WRONG = (
    r"(?P<wrong>critical|bad|wrong|unhealthy|(?:a )?problem|(?:an )?issue|trouble|unacceptable"
    r"|an (?:incident|alert|outage)|too (?:high|low|many|few|much)|alert(?: threshold)?|threshold"
    r"|not (?:ok|okay|good|fine|normal|healthy|acceptable)|investigate|escalate|page|act"
    r"|(?:this |it )is critical)"
)
_COLUMN = (
    r"(?:(?:if|when)\s+)?(?:(?:anything|any value|values?|the (?:count|number|value|result))\s+"
    r"|(?:(?:the |it\s)?\s*(?P<column>[a-z_]\w*)\s+)??)(?:is |are |goes |rises )?"
)
_SAYS_BEFORE = re.compile(
    rf"(?:(?:(?P<right>{_IS_RIGHT}|okay|normal)|{_IS_WRONG})\s*(?::|=|\b(?:is|are|means|at))?\s*)?"
    rf"{_COLUMN}",
    re.IGNORECASE,
)
_SAYS_BEHIND = re.compile(
    r"(?:(?:is|are|means?|indicates?|:|=|->|→|,?\s*then|,)?\s*"
    rf"(?:(?P<right>{_IS_RIGHT})|{_IS_WRONG}))?\s*[.!]?",
    re.IGNORECASE,
)
_FILLING = re.compile(r"\b(?:if|when|is|are|at|the|means?|[:=.,;])\b|[\W_]", re.IGNORECASE)
_GOOD = re.compile(r"^\W*(?:healthy|good|ok|okay|normal)\s*[:=]\s*(?P<what>.+?)\s*$", re.IGNORECASE)
# a statement about each row does not say what the whole output is
_OF_MANY = re.compile(r"^\W*(?:all|each|every|any|both)\b", re.IGNORECASE)


def read(line: str, *, beside: bool = False) -> Expectation:
    """Return the answer that a sentence expects.

    ``beside`` says that it is right beside its command, where a bare value is an expectation, too.

    >>> read("must return HTTP 204").status, read("ok", beside=True).answers, read("ok").answers
    (204, 'ok', '')
    """
    line = re.sub(r"\s+(?:here|now)(?=[.!]?$)", "", " ".join(line.split()))
    if holes.find(line):
        return Expectation()
    return _of_sentence(line) or clauses.read(line, beside=beside)


def _of_sentence(line: str) -> Expectation:
    figure = _FIGURE.match(line)
    if figure and threshold(figure["limit"]):
        return Expectation(figures={figure["name"].strip(): figure["limit"].strip()})
    if (found := _of_limits(line)) is not None:
        return found
    if good := _GOOD.match(line):
        return values.of_figure(good["what"]) or Expectation()
    if status := _STATUS_LINE.fullmatch(line):
        return Expectation(status=int(status["code"]))
    said = _SAID.search(line)
    if said is None or _OF_MANY.match(line) or UNSURE.search(line[: said.start()]):
        return Expectation()
    found = values.of_value(said["what"].strip(), contains=_CONTAINS.search(line))
    # "-> restart", "prints usage", "should be low": a word that is no state says something else
    loose = said["told"] or said["shown"] or (said["be"] and found.answers.islower())
    quoted = re.match(r"[`\"']", said["what"]) or not loose
    known = quoted or not found.answers or values.STATE.fullmatch(found.answers)
    return found if known else Expectation()


def _of_limits(line: str) -> Expectation | None:
    """Return what a line of one or two limits and the words about them expects; else None.

    >>> _of_limits("alert if n > 30").limits
    (('n', Threshold(value=30.0, below=False, unit='', for_s=None)),)
    >>> _of_limits("over 30 is bad, on Sundays"), _of_limits("at most 3").limits[0][1].value
    (None, 3.0)
    """
    compared = list(grammar.comparisons(line))
    first, second = compared if len(compared) == 2 else (None, None)
    if first and second and (levels := grammar.two_levels(first, second, line)):
        rest = f"{line[: first.start]} {line[first.end : second.start]} {line[second.end :]}"
        named = [word for word in _FILLING.split(grammar.LEVEL.sub("", rest)) if word]
        mild, critical = map(threshold, levels)
        if len(named) > 1 or not mild or not critical:
            return Expectation()
        column = "".join(named).lower()
        return Expectation(limits=((column, critical),), warnings=((column, mild),))
    if len(compared) != 1:
        return None
    [one] = compared
    before = _SAYS_BEFORE.fullmatch(f"{line[: one.start].strip()} ".lstrip())
    behind = _SAYS_BEHIND.fullmatch(line[one.end :].strip())
    if not before or not behind:
        return None
    right = bool(before["right"] or behind["right"])
    bare = not (right or before["wrong"] or behind["wrong"])
    if right == bool(before["wrong"] or behind["wrong"]) and not (bare and one.promise):
        return None
    if bare and line[: one.start].strip():
        return None
    return values.of_limit(one, right=right or bare, column=(before["column"] or "").lower())
