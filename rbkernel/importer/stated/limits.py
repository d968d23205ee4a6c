"""Extract limits from sentences such as ``replication lag > 30s for 5 min``. Pure.

A limit states when a figure is wrong. "Should be below 80%" states what is right, so its limit is
``> 80%``. A sentence that says neither that something is right nor that it is wrong gives no limit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rbkernel.importer.reading import holes
from rbkernel.importer.stated.grammar import (
    DOUBT,
    EXCEPT,
    LEVEL,
    NEGATED,
    NUMBER,
    PASSES,
    Comparison,
    comparisons,
    is_critical,
    two_levels,
)
from rbkernel.runbook.quantities import threshold

_NOT = re.compile(r"\b(?:not|never|n't|cannot)\s*(?:be|go|rise|grow|fall|drop)?\s*$", re.IGNORECASE)
_RIGHT = re.compile(
    r"\b(?:should|must|shall|ought to|needs? to|has to|have to|expected(?: to)?|ensure|verify"
    r"|confirm|make sure|recover(?:ed|s)|back)\b",
    re.IGNORECASE,
)
_IS_WRONG = re.compile(
    r"\b(?:alert\w*|fires?|fired|firing|triggers?|triggered|trigger|detect\w*|symptoms?"
    r"|conditions?|if|when|whenever|once|page|warning|critical|exceed\w*|drops?|falls?|grows?"
    r"|rises?|climbs?|spikes?|threshold)\b",
    re.IGNORECASE,
)
_IF = re.compile(r"^(?P<lead>.*?)\b(?:if|when|whenever|once|while)\b", re.IGNORECASE)
_ALERTS = re.compile(
    r"\b(?:alert\w*|fires?|fired|firing|trigger\w*|page|warn\w*|critical|detect\w*|conditions?"
    r"|escalat\w*|investigat\w*|symptoms?|notify|threshold|start here|runbook)\b",
    re.IGNORECASE,
)
_IS_RIGHT = re.compile(
    r"success|verif|acceptance|healthy|normal|expected|recovered|exit criteria|done when|resolved"
    r"|good again|is it over|all clear|green again|ok again",
    re.IGNORECASE,
)
_SAYS_WRONG = re.compile(r"symptom|trigger|alert|detect|condition|warning", re.IGNORECASE)
# a figure that is no part of a name such as p99, RUN-005 or 5xx
_FIGURE = re.compile(rf"(?<![\w./#-])[$€£]?{NUMBER}(?!\d*xx|[\w-]*-\d)", re.IGNORECASE)
_ASKS = re.compile(r"\b(?:page|alert|escalate|investigate|restart)\b", re.IGNORECASE)
_LEAD = re.compile(
    r"^.*(?:\(|(?:[:.;]|\b(?:if|when|whenever|once|that|until|because|while|after|and|or|then|to|by"
    r"|fires (?:for|on))\b)\s+)",
    re.IGNORECASE,
)
_VERBS = re.compile(
    r"[\s:,]*\b(?:of|(?:should|must|shall|needs? to|has to|have to|ought to|will|is expected to|is"
    r"|are|does|do)\b|if|when|be|not|never|stay|stays|remain|remains|go|fall|rise|n't)[\s:]*$",
    re.IGNORECASE,
)
_BEGINS = re.compile(
    r"^(?:[-*+>\s]|\d+[.)]\s|\[[ xX]\]\s)*(?:(?:check|verify|ensure|confirm|monitor|watch|look at"
    r"|make sure|alert|the|a|an|your|overall|current|hourly|any|all|this alert|expected"
    r"|alert threshold|threshold|[A-Z]+-\d+|condition)\b\s*:?\s*)*",
    re.IGNORECASE,
)
_VAGUE = frozenset(
    [
        *("it", "its", "this", "that", "these", "value", "values", "which", "they", "there"),
        *("result", "results", "number", "figure", "count", "expected", "output", "answer"),
        *("warning", "critical", "info", "ok", "normal"),
        *("threshold", "target", "severity", "level", "duration", "downtime", "time"),
    ]
)
# words of a sentence about a person, of an order, or a conjunction; they are no name of a metric
_NO_NAME = re.compile(
    r"(?:it|this|that|these|they|you|we|he|she|or|and|but|unless|until|so|retry|wait|proceed|repeat"
    r"|restart|set|keep|use|choose|limit|configure|reduce|increase|scale|raise|lower|allow|run|add"
    r"|(?:batch|page|pool|chunk) size|should|must|page)\b",
    re.IGNORECASE,
)
_HAS = re.compile(
    r"\b(?:has|have|had|sees|shows|reports?|receives?|experiences?|contains?|there (?:is|are))\s*$",
    re.IGNORECASE,
)
# metrics that are bad on one side only: a limit on the other side was misread
_ONE_SIDE = {
    ">": re.compile(
        r"error|failure|latency|\blag\b|delay|usage|utili[sz]|backlog|\bdepth\b|response time"
        r"|restarts|timeouts?|duration|saturation|\bcost\b|\bcpu\b",
        re.IGNORECASE,
    ),
    "<": re.compile(
        r"success|availab|uptime|\bfree\b|\bhit\b|healthy|remaining|headroom", re.IGNORECASE
    ),
}
_OF_AN_INCIDENT = re.compile(
    r"\b(?:incident|issue|outage|problem|persist\w*|unresolved|resolved|unacknowledged|elapsed"
    r"|attempts?|progress|version|python|retention|downtime)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A metric's name, and the condition under which it is wrong, such as ``> 30s for 5min``.

    ``words`` is the condition. If a sentence states two limits, ``words`` is the critical one, and
    ``warning`` the milder one.
    """

    name: str
    words: str
    critical: bool = False
    warning: str = ""

    @property
    def row(self) -> dict[str, str]:
        """The limit as a metric of the front matter."""
        row = {"name": self.name, "critical" if self.critical else "warning": self.words}
        return {**row, "warning": self.warning} if self.warning else row


def stated(line: str, heading: str = "") -> list[Limit]:
    """Return the limits that a line of a document states.

    Parameters
    ----------
    line
        A sentence, or an item of a list; plain words.
    heading
        The heading above the line; it may mean that the line states what is right, as in
        *Success criteria*.

    >>> stated("The alert fires when replication lag > 30s for 5 min.")[0].words
    '> 30s for 5min'
    >>> [(one.name, one.words) for one in stated("Disk usage should be below 80%")]
    [('Disk usage', '>= 80%')]
    >>> stated("Latency may rise above 2s"), stated("it is > 5"), stated("20% below the usual")
    ([], [], [])
    """
    clauses = list(_clauses(line))
    found = _several_levels(clauses, line) if len(clauses) == 2 else None
    if found is not None:
        return found
    if EXCEPT.search(line) or _other_figures(line):
        return []
    limits = [_limit(one, clause, line, heading) for one, clause in clauses]
    known = [one for one in limits if one]
    # a part that is not understood, or of the same name, may change what the other parts mean
    names = {one.name.lower() for one in known}
    return known if len(names) == len(limits) else []


def _other_figures(line: str) -> bool:
    """Tell whether a line has figures besides its limits, their durations, and names."""
    spans = [(one.start, one.end) for one in comparisons(line)]
    begins = re.match(r"\s*\d+[.)]\s", line)
    start = begins.end() if begins else 0
    return any(
        not any(first <= one.start() < last for first, last in spans)
        for one in _FIGURE.finditer(line, start)
    )


def _several_levels(clauses: Sequence[tuple[Comparison, str]], line: str) -> list[Limit] | None:
    """Return the warning and the critical limit of one metric, each with its own level word.

    None if the line has no level words. What is healthy begins to warn where it ends.

    >>> [one.row for one in stated("Lag > 5s = warning, > 9s = critical")]
    [{'name': 'Lag', 'critical': '> 9s', 'warning': '> 5s'}]
    >>> [one.row for one in stated("Lag: healthy below 5s, critical over 9s")]
    [{'name': 'Lag', 'critical': '> 9s', 'warning': '>= 5s'}]
    """
    if not LEVEL.search(line):
        return None
    (first, before), (second, _) = clauses
    if _RIGHT.search(before) or NEGATED.search(line) or _other_figures(line):
        return []
    words = two_levels(first, second, line)
    leading = LEVEL.search(before) is not None
    name = _name(LEVEL.sub("", before) if leading else before)
    rest = LEVEL.sub("", line.replace(before, "", 1) if leading else line)
    if not words or not name or any(one.search(rest) for one in (DOUBT, PASSES, EXCEPT)):
        return []
    if _OF_AN_INCIDENT.search(line) or _is_misread(name, words[1][0]):
        return []
    return [Limit(name=name, words=words[1], critical=True, warning=words[0])]


def compares(line: str) -> bool:
    """Tell whether a line compares anything with a figure, whether or not it states a limit.

    >>> compares("Latency may rise above 2s"), compares("Open the dashboard")
    (True, False)
    """
    return any(True for _ in comparisons(line))


def _clauses(line: str) -> Iterator[tuple[Comparison, str]]:
    """Yield each comparison of a line, with the text between it and the previous comparison."""
    begin = 0
    for one in comparisons(line):
        yield one, line[begin : one.start]
        begin = one.end


def _limit(one: Comparison, before: str, line: str, heading: str) -> Limit | None:
    about = line[: one.start] + line[one.end :]
    name = _name(before)
    was = re.match(r"(?:was|were)\b", one.said) and not one.lasts
    if not name or was or DOUBT.search(about) or _OF_AN_INCIDENT.search(before):
        return None
    if NEGATED.search(about) and not _NOT.search(before):
        return None
    right = _states_right(one, before, line, heading)
    words = one.words(right=right) if right is not None else ""
    limit = threshold(words)
    if limit is None or _is_misread(name, "<" if limit.below else ">"):
        return None
    return Limit(name=name, words=words, critical=is_critical(line))


def _is_misread(name: str, sign: str) -> bool:
    """Tell whether the sign is implausible for a metric, such as errors below a limit."""
    other = ">" if sign == "<" else "<"
    return bool(_ONE_SIDE[other].search(name)) and not _ONE_SIDE[sign].search(name)


def _states_right(one: Comparison, before: str, line: str, heading: str) -> bool | None:
    """Tell whether a limit states what is right, or what is wrong; None if the words do not say."""
    if one.baseline:
        return False
    modal = _RIGHT.search(before) is not None
    if not modal and PASSES.search(line):
        return None
    asked = _IF.match(before)
    if asked and (modal or (asked["lead"].strip(" *`-:") and not _ALERTS.search(asked["lead"]))):
        return None
    if one.promise:
        wrong = _IS_WRONG.search(before) or one.lasts
        return True if modal or not wrong or _IS_RIGHT.search(heading) else None
    if _NOT.search(before):
        return False
    if modal:
        return True
    return _by_heading(one, before, line, heading)


def _by_heading(one: Comparison, before: str, line: str, heading: str) -> bool | None:
    """Tell what a limit without "should" states, from its verb and from the heading above it."""
    good, bad = _IS_RIGHT.search(heading), _SAYS_WRONG.search(heading)
    if good:
        asks = _IS_WRONG.search(before) or _ASKS.search(line, one.end)
        return None if bad or asks else True
    verb = re.search(r"(?<!cannot )exceed|drop|fall|grow|rise|climb", one.said)
    if re.match(r"stays?|remains?", one.said) and not one.lasts:
        return None
    triggers = re.match(r"\s*(?:triggers?|fires?|raises?)\b", line[one.end :], re.IGNORECASE)
    wrong = one.lasts or verb or bad or triggers or _IS_WRONG.search(before)
    return False if wrong else None


def _name(before: str) -> str:
    """Return the name of a compared metric from the words before the comparison; else empty."""
    text = re.sub(r"[`*\"]", "", before)
    if _HAS.search(text):
        return ""  # "has > 5 errors": the name comes after the figure
    for hole in holes.find(text):
        text = text.replace(hole.text, "")
    text = _until_same(_VERBS, text, " :,")
    text = _LEAD.sub("", text)
    text = re.sub(r"\s+back$", "", _until_same(_BEGINS, text, " .:,–—-"))
    if re.search(r"\b(?:is|are|was|were|for|by)\b|\b(?:in|to|and)$", text):
        return ""  # a sentence, and no name
    if _NO_NAME.match(text):
        return ""
    words = text.split()
    known = [word for word in words if re.search(r"[A-Za-z]{2}", word)]
    if not known or len(words) > 6 or {word.lower() for word in known} <= _VAGUE:
        return ""
    return text if not re.search(r"[→=<>|\[\]{}]|^\W", text) else ""


def _until_same(pattern: re.Pattern[str], text: str, marks: str) -> str:
    while (shorter := pattern.sub("", text).strip(marks)) != text:
        text = shorter
    return text
