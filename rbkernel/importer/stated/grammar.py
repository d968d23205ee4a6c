"""The words in which a document states a limit: figure, unit, duration, side, doubt. Pure.

A comparison has a side and a figure: "below 80%", "at most 5 s", "12 or more", "max 40". It does
not say whether that is right or wrong; `limits` and `expectations` find out from the words around
it. Words of doubt, of negation and of exception change what a sentence states, so that it is text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rbkernel.runbook.quantities import Threshold, needs_unit, threshold

# possessive, and from its first digit on: else a very long figure takes quadratic time
NUMBER = r"(?<!\d)\d[\d,]*+(?:\.\d++)?"
SECONDS = r"(?:s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?)"
TIME = rf"(?:{SECONDS}|d|days?)"
_UNIT = (
    rf"(?:%|(?:percent|[kmgtp]i?b|bytes?|ms|milliseconds?|{TIME}|x)\b"
    r"|(?!(?:as|is|was|its|this|times|minutes|pods?|means|needs|indicates|requires|shows)\b)"
    r"[a-z]{3,}s\b(?!\s*:))"
)
_FIGURE = rf"(?<![\d,])(?:-?[$€£]?{NUMBER}(?:\s?k\b|\s?(?-i:M)\b)?|zero\b)"
_MOVES = (
    r"(?:(?:is|are|was|goes|go|grows?|rises?|climbs?|increases?|gets?|stays?|remains?|drops?|falls?"
    r"|sinks?)\s+)?"
)
_MORE = r"(?:greater|more|higher|larger|bigger|longer)"
_LESS = r"(?:less|lower|smaller|fewer|shorter)"
_BEHIND = rf"(?P<up>\+(?!\w)|or (?:{_MORE}|above|over)\b)|(?P<down>or (?:{_LESS}|below|under)\b)"
# "warn at 200, page at 1000"
_LEVEL_AT = "|".join(
    rf"(?<=\b{word} )at(?!\s+\S+\s+or\b)"
    for word in ("warn", "warning", "crit", "critical", "page", "alert")
)
# "most" and "least" include their figure, and promise that it is right
_SIDES = (
    rf"(?P<most>at most|(?:no|not) {_MORE} than|up to|max(?:imum)?(?: of)?\b|(?:not|cannot) exceed)"
    rf"|(?P<least>at least|(?:no|not) {_LESS} than|min(?:imum)?(?: of)?\b)"
    rf"|(?P<above>>=?|≥|{_LEVEL_AT}|(?:at or )?above|{_MORE} than|over|beyond|in excess of"
    r"|exceed(?:s|ed|ing)?)"
    rf"|(?P<below><=?|≤|(?:at or )?below|under|{_LESS} than)"
)
_COMPARISON = re.compile(
    rf"(?P<moves>{_MOVES})(?:{_SIDES})\s*(?P<figure>{_FIGURE})\s*(?P<unit>{_UNIT})?"
    rf"|(?P<alone>{_FIGURE})\s*(?P<of>{_UNIT})?\s*(?:{_BEHIND})"
    rf"|(?:>|exceeds|above|over)\s*(?:the\s+)?baseline\s*[×x*]\s*(?P<times>{NUMBER})",
    re.IGNORECASE,
)
_LASTS = re.compile(
    r"[\s`*]*(?:,\s*)?(?:for|during|over|within)\s+"
    r"(?:(?:a period of|the last|more than|at least|longer than|over|>)\s*)?"
    rf"(?P<number>\d+)\s*[- ]?(?P<unit>{SECONDS})\b",
    re.IGNORECASE,
)
_FACTOR = re.compile(
    r"bn|mio|billions?|millions?|thousands?|dozens?|times|percentile", re.IGNORECASE
)
# what makes another figure of the one before it: a factor, a word, a fraction, a range
_CHANGED = re.compile(rf"\s*(?:{_FACTOR.pattern})\b|[\w+]|\.\d|\s*(?:[-–—]|to)\s*\d", re.IGNORECASE)
# 2.500 is 2500 in some languages, and two and a half in others
_EITHER = re.compile(r"[1-9]\d{0,2}\.\d{3}")

_DOUBT = (
    r"may|might|could|can|usual(?:ly)?|typical(?:ly)?|normally|mostly|about|approx\w*|around|roughly"
    r"|sometimes|e\.g|for example|such as|than (?:last|usual|before)|of the usual|between|was|were"
    r"|has been|had|used to|formerly|previously|in the past"
)
_EXCEPT = r"unless|except|until|no longer|only|ignore|acceptable|harmless|problem|normal"
_FINE = r"proceed|continue|fine|okay|acceptable|tolerable|harmless|normal"
_GOES_ON = r"go on|go ahead|resume|skip|no action|nothing|wait|safe(?:ly)?|healthy|good"
_NOT = r"not|never|no|none|neither|nor|cannot|without"
_TIED = r"if|when|whenever|while|otherwise|but|or|plus|per|every|warn\w*"


def _words(*words: str, more: str = "") -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(words)})\b{more}", re.IGNORECASE)


# what is said in passing, or with doubt, is no rule
DOUBT = _words(_DOUBT, more="|[~±]")
# words after which a limit is no problem, or is not always one
PASSES = _words(_FINE, _GOES_ON)
EXCEPT = _words(_EXCEPT)
NEGATED = _words(_NOT, more="|n't\\b")
# any word that changes a short sentence, in a way that is not read
UNSURE = _words(_DOUBT, _EXCEPT, _FINE, _TIED, "not|never|cannot", more="|n't\\b|[~±]")

LEVEL = re.compile(
    r"\b(?:(?P<critical>crit(?:ical)?|page[sd]?|outage|sev-?[01]|p[01])|(?P<warning>warn(?:s|ing)?)"
    r"|(?P<right>healthy|good|ok|normal))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A side and a figure in a text, with its place; ``end`` is behind its duration.

    ``promise`` is true for words such as "at most", which say what is right unless a word says
    otherwise. ``moves`` is the verb before the side. ``lasts`` is the duration, such as ``5min``.
    """

    start: int
    end: int
    above: bool
    includes: bool
    figure: str
    unit: str
    lasts: str
    promise: bool
    said: str
    baseline: bool = False
    clear: bool = True

    def words(self, *, right: bool) -> str:
        """Return when a figure is wrong, such as ``>= 30s for 5min``; empty if that is unclear.

        What is right is turned round: "below 30" is wrong from 30 on, "at most 30" only above it.
        """
        if self.baseline:
            return f"> {self.figure}x"
        if not self.clear:
            return ""
        sign = (">" if self.above != right else "<") + ("=" if self.includes != right else "")
        return f"{sign} {self.figure}{self.unit}" + (f" for {self.lasts}" if self.lasts else "")

    def threshold(self, *, right: bool) -> Threshold | None:
        """Return the threshold of a wrong figure; None if it is not understood."""
        short = 0 < len(self.unit) < 3 and not needs_unit(self.unit)
        return None if short else threshold(self.words(right=right))


def comparisons(line: str) -> Iterator[Comparison]:
    """Yield the comparisons in a line; one within the duration of another is a part of that.

    >>> [(one.words(right=False), one.promise) for one in comparisons("lag > 30s for 5 min")]
    [('> 30s for 5min', False)]
    >>> [one.words(right=True) for one in comparisons("at most 5 s; below 80%; 3 or more; max 4")]
    ['> 5s', '>= 80%', '< 3', '> 4']
    >>> [one.words(right=True) for one in comparisons("under 3 bn, > 2.5.1, above 3 to 5")]
    ['', '', '']
    """
    end = 0
    for match in _COMPARISON.finditer(line):
        if match.start() >= end:
            yield (found := _read(match, line))
            end = found.end


def _read(match: re.Match[str], line: str) -> Comparison:
    end = match.start() + len(match[0].rstrip())
    lasts = _LASTS.match(line, match.end())
    side = (match["above"] or match["below"] or "").lower()
    promise = bool(match["least"] or match["most"])
    whole = promise or bool(match["alone"]) or side.startswith((">=", "<=", "≥", "≤", "at"))
    figure = (match["figure"] or match["alone"] or match["times"]).replace(",", "")
    unit = match["unit"] or match["of"] or ""
    if unit and (short := re.fullmatch(r"([\d.]+)\s?([kKM])", figure)):
        figure = f"{float(short[1]) * (1e6 if short[2] == 'M' else 1e3):.15g}"
    return Comparison(
        start=match.start(),
        end=lasts.end() if lasts else end,
        above=bool(match["above"] or match["least"] or match["up"]),
        includes=whole,
        figure="0" if figure.lower() == "zero" else figure,
        unit=unit,
        lasts=f"{lasts['number']}{_short(lasts['unit'])}" if lasts else "",
        promise=promise,
        said=match[0].lower(),
        baseline=bool(match["times"]),
        clear=not (
            _CHANGED.match(line, end)
            or _FACTOR.fullmatch(unit)
            or _EITHER.fullmatch(figure)
            or (unit.lower() == "x" and re.match(r"\s+(?!for\b)[a-z]", line[end:]))
        ),
    )


def whole(words: str) -> Comparison | None:
    """Return the comparison that a text consists of; None for other texts.

    >>> whole("be at least 2 rows.") is None, whole("at least 2 rows today") is None
    (False, True)
    """
    bare = re.sub(r"^(?:be|stay|remain)\s+|\s*[.!]?\s*$", "", words.strip(), flags=re.IGNORECASE)
    found = next(comparisons(bare), None)
    return found if found and (found.start, found.end) == (0, len(bare)) else None


def two_levels(first: Comparison, second: Comparison, line: str) -> tuple[str, str] | None:
    """Return when a figure is a warning, and when it is critical, from the words at two limits.

    >>> line = "healthy below 5, critical over 9"
    >>> two_levels(*comparisons(line), line)
    ('>= 5', '> 9')
    """
    before, between, after = line[: first.start], line[first.end : second.start], line[second.end :]
    leading = LEVEL.search(before) is not None
    parts = (before, between) if leading else (between, after)
    if LEVEL.search(after if leading else before):
        # "Healthy: below 5. Over 9 is critical": each word is beside its limit
        parts = (before, after) if leading and not LEVEL.search(between) else ("", "")
    levels = [_level_of(part) for part in parts]
    if sorted(levels) not in (["critical", "warning"], ["critical", "right"]):
        return None
    found = {
        level: one.words(right=level == "right")
        for level, one in zip(levels, (first, second), strict=True)
        if not one.promise or level == "right"
    }
    mild = found.get("warning") or found.get("right") or ""
    warn, critical = threshold(mild), threshold(found.get("critical"))
    if not warn or not critical or warn.below != critical.below or warn.unit != critical.unit:
        return None
    if (warn.value <= critical.value) if warn.below else (warn.value >= critical.value):
        return None
    return mild, found["critical"]


def is_critical(text: str) -> bool:
    """Tell whether a text names the critical level: "critical", "page", "P1"."""
    return any(one["critical"] for one in LEVEL.finditer(text))


def _level_of(part: str) -> str:
    """Return the level that a part of a sentence names; empty if it names none or both."""
    kinds = {kind for one in LEVEL.finditer(part) for kind, word in one.groupdict().items() if word}
    return kinds.pop() if len(kinds) == 1 else ""


def _short(unit: str) -> str:
    return {"m": "min", "h": "h"}.get(unit.lower()[0], "s")
