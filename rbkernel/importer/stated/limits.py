"""Extract limits from sentences such as ``replication lag > 30s for 5 min``. Pure.

A limit states when a figure is wrong. "Should be below 80%" states what is right, so its limit is
``> 80%``. A sentence that says neither that something is right nor that it is wrong gives no limit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
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
    rf"\s*(?P<figure>[$€£]?\d[\d,]*(?:\.\d+)?(?:\s?k\b|\s?(?-i:M)\b)?)\s*(?P<unit>{_UNITS})?"
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
    r"|confirm|make sure|recover(?:ed|s)|back)\b",
    re.IGNORECASE,
)
_IS_WRONG = re.compile(
    r"\b(?:alert\w*|fires?|fired|firing|triggers?|triggered|trigger|detect\w*|symptoms?"
    r"|conditions?|if|when|whenever|once|page|warning|critical|exceed\w*|drops?|falls?|grows?"
    r"|rises?|climbs?|spikes?|threshold)\b",
    re.IGNORECASE,
)
# a clause that is said in passing, or with doubt, states no limit
_HEDGED = re.compile(
    r"\b(?:may|might|could|can|usual(?:ly)?|typical(?:ly)?|normally|about|approx\w*|around|roughly"
    r"|sometimes|e\.g|for example|such as|than (?:last|usual|before)|of the usual|between|was|were"
    r"|has been|had)\b|~",
    re.IGNORECASE,
)
# words after which a limit is no problem, or is not always one
_PASSES = re.compile(
    r"\b(?:proceed|continue|go on|go ahead|resume|skip|no action|nothing|wait|safe(?:ly)?|fine|okay"
    r"|acceptable|tolerable|harmless|normal|healthy|good)\b",
    re.IGNORECASE,
)
_EXCEPT = re.compile(
    r"\b(?:unless|except|until|no longer|only|ignore|acceptable|harmless|problem|normal)\b",
    re.IGNORECASE,
)
_NEGATED = re.compile(r"\b(?:not|never|no|none|neither|nor|cannot|without)\b|n't\b", re.IGNORECASE)
_IF = re.compile(r"^(?P<lead>.*?)\b(?:if|when|whenever|once|while)\b", re.IGNORECASE)
_ALERTS = re.compile(
    r"\b(?:alert\w*|fires?|fired|firing|trigger\w*|page|warn\w*|critical|detect\w*|conditions?"
    r"|escalat\w*|investigat\w*|symptoms?|notify|threshold|start here|runbook)\b",
    re.IGNORECASE,
)
_IS_RIGHT = re.compile(
    r"success|verif|acceptance|healthy|normal|expected|recovered|exit criteria|done when|resolved",
    re.IGNORECASE,
)
_SAYS_WRONG = re.compile(r"symptom|trigger|alert|detect|condition|warning", re.IGNORECASE)
# a figure that is no part of a name such as p99, RUN-005 or 5xx
_NUMBER = re.compile(r"(?<![\w./#-])[$€£]?\d[\d,]*(?:\.\d+)?(?!\d*xx|[\w-]*-\d)", re.IGNORECASE)
_FACTORS = re.compile(r"bn|billions?|millions?|thousands?|dozens?|times|percentile", re.IGNORECASE)
_MORE = re.compile(
    rf"\s*(?:{_FACTORS.pattern})\b|[\w+]|\.\d|\s*(?:[-–—]|to)\s*\d",
    re.IGNORECASE,
)
_LEVEL = re.compile(
    r"\b(?:(?P<critical>critical|page[sd]?|outage|sev-?[01]|p[01])|(?P<warning>warn(?:s|ing)?))\b",
    re.IGNORECASE,
)
_CRITICAL = re.compile(r"\bcritical\b|\bpage\b|\boutage\b|\bsev-?[01]\b|\bp[01]\b", re.IGNORECASE)
_LEAD = re.compile(
    r"^.*(?:\(|(?:[:.;]|\b(?:if|when|whenever|once|that|until|because|while|after|and|or|then|to|by)"
    r"\b)\s+)",
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
    if _EXCEPT.search(line) or _other_figures(line):
        return []
    if len(clauses) > 1 and _LEVEL.search(line):
        return _two_levels(clauses, line)
    found = [_limit(match, clause, line, heading) for match, clause in clauses]
    known = [one for one in found if one]
    # a part that is not understood, or of the same name, may change what the other parts mean
    names = {one.name.lower() for one in known}
    return known if len(names) == len(found) else []


def _other_figures(line: str) -> bool:
    """Tell whether a line has figures besides its limits, their durations, and names."""
    spans = [(match.start(), _ends(match, line)) for match in _LIMIT.finditer(line)]
    begins = re.match(r"\s*\d+[.)]\s", line)
    start = begins.end() if begins else 0
    return any(
        not any(first <= one.start() < last for first, last in spans)
        for one in _NUMBER.finditer(line, start)
    )


def _two_levels(clauses: Sequence[tuple[re.Match[str], str]], line: str) -> list[Limit]:
    """Return the warning and the critical limit of one metric, each with its own level word.

    >>> [one.row for one in stated("Lag > 5s = warning, > 9s = critical")]
    [{'name': 'Lag', 'critical': '> 9s', 'warning': '> 5s'}]
    """
    if len(clauses) != 2 or _RIGHT.search(clauses[0][1]) or _NEGATED.search(line):
        return []
    (first, before), (second, between) = clauses
    after = line[_ends(second, line) :]
    leading = _LEVEL.search(before) is not None
    parts = (before, between) if leading else (between, after)
    spare = after if leading else before
    levels = [_level_of(part) for part in parts]
    name = _name(_LEVEL.sub("", before) if leading else before)
    about = line if not leading else line.replace(before, "", 1)
    if not name or set(levels) != {"warning", "critical"} or _LEVEL.search(spare):
        return []
    if _HEDGED.search(about) or _OF_AN_INCIDENT.search(line) or _PASSES.search(line):
        return []
    if not all(one["above"] or one["below"] for one in (first, second)):
        return []
    words = [_words(match, line, right=False) for match in (first, second)]
    limits = [threshold(one) for one in words]
    found = dict(zip(levels, limits, strict=True))
    warn, critical = found["warning"], found["critical"]
    if not warn or not critical or warn.below != critical.below or warn.unit != critical.unit:
        return []
    if (warn.value <= critical.value) if warn.below else (warn.value >= critical.value):
        return []
    said = dict(zip(levels, words, strict=True))
    return [Limit(name=name, words=said["critical"], critical=True, warning=said["warning"])]


def _level_of(part: str) -> str:
    """Return the level that a part of a sentence names; empty if it names none or both."""
    kinds = {
        kind for one in _LEVEL.finditer(part) for kind, word in one.groupdict().items() if word
    }
    return kinds.pop() if len(kinds) == 1 else ""


def _ends(match: re.Match[str], line: str) -> int:
    """Return where a limit and its duration end."""
    lasts = _LASTS.match(line, match.end())
    return lasts.end() if lasts else match.end()


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
            continue  # a part of the duration of the previous one
        yield match, line[begin : match.start()]
        begin = _ends(match, line)


def _limit(match: re.Match[str], before: str, line: str, heading: str) -> Limit | None:
    lasts = _LASTS.match(line, match.end())
    about = line[: match.start()] + line[match.end() :]
    name = _name(before)
    if not name or _HEDGED.search(about) or _OF_AN_INCIDENT.search(before):
        return None
    if _NEGATED.search(about) and not _NOT.search(before):
        return None
    right = _states_right(match, before, line, heading, lasts=lasts is not None)
    words = _words(match, line, right=right) if right is not None else ""
    limit = threshold(words)
    if limit is None or _is_misread(name, "<" if limit.below else ">"):
        return None
    return Limit(name=name, words=words, critical=_CRITICAL.search(line) is not None)


def _words(match: re.Match[str], line: str, *, right: bool) -> str:
    """Return when a figure is wrong, such as ``>= 30s for 5min``; empty if that is unclear.

    A limit that states what is right is inverted: with "below 30", figures from 30 on are wrong;
    with "at most 30", only figures above 30.
    """
    if match["times"]:
        return f"> {match['times']}x"
    end = match.start() + len(match[0].rstrip())
    if _MORE.match(line, end) or _FACTORS.fullmatch(match["unit"] or ""):
        return ""
    said = (match["above"] or match["below"] or "").lower()
    includes = bool(match["least"] or match["most"]) or said.startswith(
        (">=", "<=", "≥", "≤", "at")
    )
    above = bool(match["above"] or match["least"])
    sign = (">" if above != right else "<") + ("=" if includes != right else "")
    words = f"{sign} {(match['figure'] or '').replace(',', '')}{match['unit'] or ''}"
    if lasts := _LASTS.match(line, match.end()):
        words += f" for {lasts['number']}{_short(lasts['unit'])}"
    return words


def _is_misread(name: str, sign: str) -> bool:
    """Tell whether the sign is implausible for a metric, such as errors below a limit."""
    other = ">" if sign == "<" else "<"
    return bool(_ONE_SIDE[other].search(name)) and not _ONE_SIDE[sign].search(name)


def _states_right(
    match: re.Match[str], before: str, line: str, heading: str, *, lasts: bool
) -> bool | None:
    """Tell whether a limit states what is right, or what is wrong; None if the words do not say."""
    if match["times"]:
        return False
    modal = _RIGHT.search(before) is not None
    if not modal and _PASSES.search(line):
        return None
    asked = _IF.match(before)
    if asked and (modal or (asked["lead"].strip(" *`-:") and not _ALERTS.search(asked["lead"]))):
        return None
    if match["least"] or match["most"]:
        wrong = _IS_WRONG.search(before) or lasts
        return True if modal or not wrong or _IS_RIGHT.search(heading) else None
    if _NOT.search(before):
        return False
    if modal:
        return True
    return _by_heading(match, before, heading, lasts=lasts)


def _by_heading(match: re.Match[str], before: str, heading: str, *, lasts: bool) -> bool | None:
    """Tell what a limit without "should" states, from its verb and from the heading above it."""
    good, bad = _IS_RIGHT.search(heading), _SAYS_WRONG.search(heading)
    if good:
        return None if bad or _IS_WRONG.search(before) else True
    verb = re.search(r"exceed|drop|fall|grow|rise|climb", match[0], re.IGNORECASE)
    if re.search(r"\bstays?|remains?", match["moves"] or "", re.IGNORECASE) and not lasts:
        return None
    return False if lasts or verb or bad or _IS_WRONG.search(before) else None


def _name(before: str) -> str:
    """Return the name of a compared metric from the words before the comparison; else empty."""
    text = re.sub(r"[`*\"]", "", before)
    if _HAS.search(text):
        return ""  # "has > 5 errors": the name comes after the figure
    for hole in holes.find(text):
        text = text.replace(hole.text, "")
    text = _until_same(_VERBS, text, " :,")
    text = _LEAD.sub("", text)
    text = _until_same(_BEGINS, text, " .:,–—-")
    if re.search(r"\b(?:is|are|was|were|for|by)\b", text):
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


def _short(unit: str) -> str:
    return {"m": "min", "h": "h"}.get(unit.lower()[0], "s")
