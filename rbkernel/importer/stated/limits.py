"""Extract limits from sentences such as ``replication lag > 30s for 5 min``. Pure.

A limit states when a figure is wrong. "Should be below 80%" states what is right, so its limit is
``> 80%``. A sentence that says neither that something is right nor that it is wrong gives no limit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rbkernel.importer.reading import holes
from rbkernel.runbook.quantities import threshold

_UNITS = (
    r"(?:%|percent\b|[kmgtp]i?b\b|bytes\b|ms\b|milliseconds?\b|s\b|secs?\b|seconds?\b|m\b|mins?\b"
    r"|minutes?\b|h\b|hrs?\b|hours?\b|d\b|days?\b|x\b"
    r"|(?!(?:as|is|was|its|this|times|minutes|pods?)\b)[a-z]{3,}s\b(?!\s*:))"
)
_ABOVE = (
    r">=?|≥|(?:at or )?above|(?:greater|more|higher|larger|bigger|longer) than|over|beyond"
    r"|in excess of|exceed(?:s|ed|ing)?"
)
_BELOW = r"<=?|≤|(?:at or )?below|under|(?:less|lower|smaller|fewer) than"
_MOVES = (
    r"(?:(?:is|are|was|goes|go|grows?|rises?|climbs?|increases?|gets?|stays?|remains?|drops?|falls?"
    r"|sinks?)\s+)?"
)
_LIMIT = re.compile(
    rf"(?P<moves>{_MOVES})(?:(?P<above>{_ABOVE})|(?P<below>{_BELOW})"
    r"|(?P<least>at least|no less than)|(?P<most>at most|no more than|up to))"
    rf"\s*(?P<figure>[$€£]?\d[\d,]*(?:\.\d+)?)\s*(?P<unit>{_UNITS})?"
    r"|(?:>|exceeds|above|over)\s*(?:the\s+)?baseline\s*[×x*]\s*(?P<times>\d+(?:\.\d+)?)",
    re.IGNORECASE,
)
_LASTS = re.compile(
    r"[\s`*]*(?:,\s*)?(?:for|during|over|within)\s+"
    r"(?:(?:a period of|the last|more than|at least|longer than|over|>)\s*)?"
    r"(?P<number>\d+)\s*[- ]?(?P<unit>s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?)\b",
    re.IGNORECASE,
)
_NOT = re.compile(r"\b(?:not|never|n't|cannot)\s*(?:be|go|rise|grow|fall|drop)?\s*$", re.IGNORECASE)
_RIGHT = re.compile(
    r"\b(?:should|must|shall|ought to|needs? to|has to|have to|expected(?: to)?|ensure|verify"
    r"|confirm|make sure|recover(?:ed|s)|back|stays?|remains?)\b",
    re.IGNORECASE,
)
_IS_WRONG = re.compile(
    r"\b(?:alert\w*|fires?|fired|firing|triggers?|triggered|trigger|detect\w*|symptoms?"
    r"|conditions?|if|when|whenever|once|page|warning|critical|exceed\w*|drops?|falls?|grows?"
    r"|rises?|climbs?|spikes?|threshold)\b",
    re.IGNORECASE,
)
# what is said in passing, or with doubt, is no rule
_HEDGED = re.compile(
    r"\b(?:may|might|could|can|usual(?:ly)?|typical(?:ly)?|normally|about|approx\w*|around|roughly"
    r"|sometimes|e\.g|for example|such as|than (?:last|usual|before)|of the usual|between|was|were"
    r"|has been|had)\b|~",
    re.IGNORECASE,
)
_CRITICAL = re.compile(r"\bcritical\b|\bpage\b|\boutage\b|\bsev-?[01]\b|\bp[01]\b", re.IGNORECASE)
_LEAD = re.compile(
    r"^.*(?:\(|(?:[:.;]|\b(?:if|when|whenever|once|that|until|because|while|after|and|or|then|to|by)"
    r"\b)\s+)",
    re.IGNORECASE,
)
_VERBS = re.compile(
    r"[\s:,]*\b(?:(?:should|must|shall|needs? to|has to|have to|ought to|will|is expected to|is|are"
    r"|does|do)\b|if|when|be|not|never|stay|stays|remain|remains|go|fall|rise|n't)[\s:]*$",
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
    """A metric's name, and the condition when it is wrong, such as ``> 30s for 5min``."""

    name: str
    words: str
    critical: bool = False

    @property
    def row(self) -> dict[str, str]:
        """The limit as a metric of the front matter."""
        return {"name": self.name, "critical" if self.critical else "warning": self.words}


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
    [('Disk usage', '> 80%')]
    >>> stated("Latency may rise above 2s"), stated("it is > 5"), stated("20% below the usual")
    ([], [], [])
    """
    found = []
    for match, clause in _clauses(line):
        if limit := _limit(match, clause, line, heading):
            found.append(limit)
    names = [one.name.lower() for one in found]
    # two limits of one name are a range, or two levels: nobody knows which
    return [one for one in found if names.count(one.name.lower()) == 1]


def compares(line: str) -> bool:
    """Tell whether a line compares anything with a figure, whether or not it states a limit.

    >>> compares("Latency may rise above 2s"), compares("Open the dashboard")
    (True, False)
    """
    return _LIMIT.search(line) is not None


def _clauses(line: str) -> Iterator[tuple[re.Match[str], str]]:
    """Yield each comparison of a line, with the text between it and the previous comparison."""
    begin = 0
    for match in _LIMIT.finditer(line):
        if match.start() < begin:
            continue  # a part of the duration of the one before
        yield match, line[begin : match.start()]
        lasts = _LASTS.match(line, match.end())
        begin = lasts.end() if lasts else match.end()


def _limit(match: re.Match[str], before: str, line: str, heading: str) -> Limit | None:
    lasts = _LASTS.match(line, match.end())
    about = line[: match.start()] + line[match.end() : match.end() + 40]
    name = _name(before)
    if not name or _HEDGED.search(about) or _OF_AN_INCIDENT.search(before):
        return None
    sign = _wrong_sign(match, before, heading, lasts=lasts is not None)
    if sign is None or _is_misread(name, sign):
        return None
    figure, unit = (match["figure"] or "").replace(",", ""), match["unit"] or ""
    words = f"> {match['times']}x" if match["times"] else f"{sign} {figure}{unit}"
    if lasts:
        words += f" for {lasts['number']}{_short(lasts['unit'])}"
    if threshold(words) is None:
        return None
    return Limit(name=name, words=words, critical=_CRITICAL.search(line) is not None)


def _is_misread(name: str, sign: str) -> bool:
    """Tell whether the sign is implausible for a metric, such as errors below a limit."""
    other = ">" if sign == "<" else "<"
    return bool(_ONE_SIDE[other].search(name)) and not _ONE_SIDE[sign].search(name)


def _wrong_sign(match: re.Match[str], before: str, heading: str, *, lasts: bool) -> str | None:
    """Return the sign of a wrong figure; None if the words do not say what is wrong."""
    if match["times"]:
        return ">"
    if match["least"] or match["most"]:
        right = _RIGHT.search(before) or not (_IS_WRONG.search(before) or lasts)
        return ("<" if match["least"] else ">") if right else None
    sign = ">" if match["above"] else "<"
    opposite = "<" if sign == ">" else ">"
    if _NOT.search(before):
        return sign
    if _RIGHT.search(before) or re.search(
        r"\bstays?|remains?", match["moves"] or "", re.IGNORECASE
    ):
        return opposite
    verb = re.search(r"exceed|drop|fall|grow|rise|climb", match[0], re.IGNORECASE)
    if lasts or verb or _IS_WRONG.search(before):
        return sign
    if re.search(r"success|verif|acceptance|healthy|normal", heading, re.IGNORECASE):
        return opposite
    wrong = re.search(r"symptom|trigger|alert|detect|condition|warning", heading, re.IGNORECASE)
    return sign if wrong else None


def _name(before: str) -> str:
    """Return the name of a compared metric from the words before the comparison; else empty."""
    text = re.sub(r"[`*\"]", "", before)
    if _HAS.search(text):
        return ""  # what it has is named after the figure
    for hole in holes.find(text):
        text = text.replace(hole.text, "")
    text = _until_same(_VERBS, text, " :,")
    text = _LEAD.sub("", text)
    text = _until_same(_BEGINS, text, " .:,–—-")
    if re.search(r"\b(?:is|are|was|were|for|by)\b", text):
        return ""  # a sentence, and no name
    words = text.split()
    known = [word for word in words if re.search(r"[A-Za-z]{2}", word)]
    if not known or len(words) > 6 or {word.lower() for word in known} <= _VAGUE:
        return ""
    return text if not re.search(r"[→=<>|\[\]{}]|^\W", text) else ""


def _until_same(pattern: re.Pattern[str], text: str, marks: str) -> str:
    while (shorter := pattern.sub("", text).strip(marks)) != text:
        text = shorter
    return text


def _short(unit: str) -> str:
    return {"m": "min", "h": "h"}.get(unit.lower()[0], "s")
