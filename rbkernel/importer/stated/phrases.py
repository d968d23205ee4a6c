"""The words in which a clause of a comment says what is right, what is wrong, and what follows."""

from __future__ import annotations

import re

from rbkernel.importer.stated import values
from rbkernel.importer.stated.grammar import NUMBER

BREAK = re.compile(
    r"\s+(?=or (?:something|somebody|the|it|we|you)\b)"
    r"|\s*(?:[;,](?=\s)|\.(?=\s+\S|\s*$)|\s[-–—](?=\s)|\s\((?=\w)|\)(?=\W*$|\s))\s*"
)
DIGITS = {
    word: str(number)
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
}
WORDS_OF_NUMBER = re.compile(
    rf"\b(?P<number>{'|'.join(DIGITS)})\b(?=\s+or (?:more|fewer|less)\b|\s+at most\b|\s*$)"
    rf"|(?<=\bexactly )(?P<exact>{'|'.join(DIGITS)})\b"
    rf"|(?<=\bthan )(?P<than>{'|'.join(DIGITS)})\b|(?<=\bleast )(?P<least>{'|'.join(DIGITS)})\b"
    rf"|(?<=\bmost )(?P<most>{'|'.join(DIGITS)})\b",
    re.IGNORECASE,
)
# a text of several words is a part of what is printed
QUOTED_WORDS = re.compile(r"[`\"'](?P<text>\w[\w.-]*(?: [\w.-]+)+)[`\"']")
_SHOULD_NOT = r"(?:should|must|may|shall) (?:not|never)"
# other words for the comparisons of `grammar`
OTHER_WORDS = tuple(
    (re.compile(pattern, re.IGNORECASE), words)
    for pattern, words in (
        (rf"\bfrom ({NUMBER}(?:\s?[a-z%]+)??) on(?:wards?)?\b", r">= \1"),
        (rf"^(red|critical|bad|page|alert|warn(?:ing)?) from ({NUMBER}%?)$", r"\1 >= \2"),
        (rf"\b({NUMBER}\s?%?) or (?:higher|older|up)\b", r"\1 or more"),
        (rf"\b({NUMBER}\s?%?) or (?:lower|younger|fewer)\b", r"\1 or less"),
        (rf"\b({NUMBER}\s?%?) and (?:more|above|up|over)\b", r"\1 or more"),
        (rf"\b({NUMBER}\s?%?) (?:at most|max(?:imum)?|tops)$", r"at most \1"),
        (rf"\b({NUMBER}\s?%?) (?:at least|min(?:imum)?)$", r"at least \1"),
        (rf"\b(?:tolerate|limit:?) ({NUMBER})$", r"at most \1"),
        (rf"\b{_SHOULD_NOT} (?:be |go |rise )?(?:over|above|beyond)\b", "should be at most"),
        (rf"\b{_SHOULD_NOT} (?:be |go |fall |drop )?(?:under|below)\b", "should be at least"),
        (r"\b(?:not|never|nothing|none) (?:be |go |rise )?(?:over|above|beyond)\b", "at most"),
        (r"\b(?:not|never|nothing|none) (?:be |go |fall )?(?:under|below)\b", "at least"),
        (r"\bno (?:older|later|slower|higher) than\b", "at most"),
        (r"\b(?:older|later|slower) than\b", "more than"),
        (r"\b(?:younger|newer|faster) than\b", "less than"),
        (r"\bin the range(?: of)?\b", "between"),
        (r"\.\.", "-"),
        (r"^(?:->|=>|→|\(!\))\s*", "should be "),
    )
)
SUBJECT = (
    r"(?:it|this|that|which|they|these|there|(?:the |its? )?(?:output|result|answer|value|number"
    r"|count|figure|status|state|command|query)(?: you get)?)"
)
TO_BE = (
    r"(?:be|return|print|show|say|read|output|give|answer|report|stay(?: at)?|remain|equal|see|list"
    r"|have)"
)
MUST = (
    rf"(?:(?:{SUBJECT} )?(?:should|must|shall|has to|have to|needs? to|ought to)"
    rf"(?: always)? {TO_BE}"
    rf"|(?:{SUBJECT} )?(?:stays|remains)(?: at)?"
    r"|(?:we |you )?(?:want|expect)(?:ed|s)?(?: to (?:see|get|find|be))?|keep (?:it|this)"
    rf"|has to be|must equal|(?:{SUBJECT} )?(?:returns|prints|answers|says|shows|gives|reports))"
)
GOOD = (
    r"(?:healthy|good|great|fine|ok(?:ay)?|normal|correct|right|required|allowed|desired|expected"
    r"|what (?:we|you) (?:want|need)(?: to see)?|all (?:is |are )?(?:good|well|fine))"
)
BAD = (
    r"(?:bad|wrong|critical|unhealthy|broken|unacceptable|(?:a |an? \w+ )?(?:problem|issue|outage"
    r"|incident|emergency)|trouble|dangerous|not|too (?:high|low|many|few|much|old|slow)"
    r"|not (?:ok|okay|good|fine|normal|healthy|acceptable|allowed)|(?:a )?red flag|red)"
)
IS = r"(?:is|are|was|:|=|=>|->|→|means?(?: that)?|indicates?(?: that)?)"
ACTS = (
    r"(?:(?:page|alert|call|escalate|act|worry|investigate|panic|look closer|stop|wake)"
    r"(?: \w+){0,3}?|bad|critical|red|trouble|problem|wrong)"
)
# what a consequence says: something is wrong, or somebody must act
NEGATIVE = re.compile(
    r"\b(?:bad|wrong|broken|stuck|behind|dead|down|gone|lost|fail\w*|crash\w*|problems?|trouble|too"
    r"|late|stale|missing|corrupt\w*|leak\w*|unhealthy|degraded|blocked|full|forgot\w*|stop\w*"
    r"|rebuild|restart\w*|page|alert|escalate|call|investigate|worry|emergency|needs? attention"
    r"|overload\w*|dying|exhausted|empty|kill\w*|no (?!problem|action|need)\w+)\b",
    re.IGNORECASE,
)
BENIGN = re.compile(
    r"\b(?:fine|ok|okay|good|healthy|normal|harmless|expected|ignore\w*|wait|skip|acceptable|usual\w*"
    r"|tolera\w+|maintenance|planned|unless|except\w*|only|if|when|while|during|before|after|until"
    r"|may|might|could|can|sometimes|perhaps|probably)\b",
    re.IGNORECASE,
)
FIGURE = re.compile(r"\d")
ABOUT = re.compile(
    rf"(?:anything|any value|values?|everything|{SUBJECT})(?: (?:is|are|goes|rises))?",
    re.IGNORECASE,
)
LEVEL = re.compile(rf"(?:warn(?:ing)?|(?P<acts>{ACTS}|crit(?:ical)?))\s*:?", re.IGNORECASE)
ACTS_IF = re.compile(rf"{ACTS} (?:if|when|once|at|from)(?: (?:{ABOUT.pattern}))?", re.IGNORECASE)
MUST_AT = re.compile(rf"(?:{GOOD}|{MUST})(?:\s*:)?(?: (?:if|when|while|be|at))?", re.IGNORECASE)
FOLLOWS = re.compile(
    r"(?P<or>or)\b.+|(?P<else>otherwise|else|if not|(?:anything|everything) else"
    rf"|any other(?: \w+)?)\b.*|{ACTS}|crit(?:ical)? (?:beyond|above)(?: that)?"
    r"|(?:and )?(?:not|no) (?:more|less|fewer)",
    re.IGNORECASE,
)
A_FEW = re.compile(
    r"(?:a (?:few|handful|couple)|some) (?:is|are) (?:fine|ok|okay|normal)", re.IGNORECASE
)
BETWEEN_LEVELS = re.compile(
    rf"{NUMBER}\s*-\s*{NUMBER} (?:so-so|meh|watch|look closer)", re.IGNORECASE
)
OTHER = re.compile(
    r"(?:(?:anything|everything|something|any (?:number|value|result|output|answer|status|state"
    r"|difference)|a difference)\s+(?:but|(?:else|other) than|except|different from|besides)\s+"
    r"(?P<value>\S+)"
    r"|(?P<zero>(?:an?y? )?non-?zero(?: (?:value|number|count|result))?))"
    r"(?P<rest>(?:\W|\s).*)?",
    re.IGNORECASE,
)
IS_GOOD = re.compile(rf"(?P<value>.+?)\s*(?:{IS}\s*)?\b{GOOD}", re.IGNORECASE)
GOOD_IS = re.compile(rf"(?:{GOOD}|green)\s*(?:{IS}|if|when|while)?\s*(?P<value>.+)", re.IGNORECASE)
MEANS = re.compile(r"(?P<value>\S+(?: rows?)?)\s*(?:means?|=>|→|=)\s*(?P<rest>\S.*)", re.IGNORECASE)
MUST_BE = re.compile(rf"{MUST}\s*:?\s*(?P<value>.+)", re.IGNORECASE)
MUST_NOT = re.compile(
    rf"(?:{SUBJECT} )?(?:should|must|shall)(?: not|n't| never) {TO_BE} (?P<value>.+)",
    re.IGNORECASE,
)
PRINTS_NOTHING = re.compile(
    r"(?:nothing (?:(?:must|should|may) (?:come back|be (?:printed|returned|listed))"
    r"|is (?:printed|returned|listed|shown))|(?:(?:it|this|the command|the query) )?"
    r"(?:prints|returns|lists|shows) nothing)"
    r"(?: (?:on an? (?:healthy|quiet|idle|good) \w+|(?:if|when) all is (?:well|good|fine|ok)))?",
    re.IGNORECASE,
)
BARE_STATE = re.compile(rf"(?:{values.STATE.pattern}|[A-Z][A-Z_]+)")
NO_STATE = re.compile(r"(?:TODO|FIXME|NOTE|XXX|NB|SQL|WIP|TBD|OPTIONAL|DANGER|WARNING|CAUTION)")
# what programs print if all is well; no other text says so
SAYINGS = re.compile(
    r"(?:accepting connections|mysqld is alive|all pools are healthy|configuration file is valid"
    r"|prometheus server is healthy|certificate will not expire|rsa key ok|test is successful"
    r"|syntax is ok)\.?",
    re.IGNORECASE,
)
BOOLEAN = {"t": "true", "f": "false"}
OPPOSITE = {"true": "false", "false": "true"}
IS_BAD = re.compile(rf"(?P<value>t|f|true|false)\s*{IS}\s*{BAD}", re.IGNORECASE)
WHEN_GOOD = re.compile(
    r"(?P<value>.+?) (?:(?:if|when|while) (?:all|every\w*|it)(?: \w+)? (?:is|are) (?:up|okay|ok"
    r"|fine|healthy|good|well|in sync)|on an? healthy \w+)",
    re.IGNORECASE,
)
KEY_AND_STATE = re.compile(
    rf"(?!(?:{GOOD}|{BAD})\b)[A-Za-z_][\w./-]*\s*[:=]\s*(?:{values.STATE.pattern})",
    re.IGNORECASE,
)
# what a comment is about, before what it states; no circumstance
TITLE = re.compile(r"(?:[A-Za-z][\w%/-]*)(?: [\w%/-]+){0,6}")
CIRCUMSTANCE = re.compile(
    r"^(?:in|at|for|from)\b|\b(?:on|after|before|during|if|when|while|unless|except|until|within"
    r"|with|not|no|never|or|but|only|e\.g)\b|\d",
    re.IGNORECASE,
)
