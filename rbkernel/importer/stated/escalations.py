"""Extract when to escalate: after a time, after attempts, at a severity. Pure."""

from __future__ import annotations

import re
from typing import Any

from rbkernel.importer.reading import holes
from rbkernel.importer.stated.grammar import TIME
from rbkernel.model import Severity

_BARE = r"(?:after\s+|>\s*|\+\s*|T\+\s*)?"
_TIME = re.compile(
    r"(?:after|within|in|for|exceed(?:s|ing)?|(?:longer|more) than|over|past|>=?|≥"
    r"|persist(?:s|ent|ing)?(?: for)?|lasts?)\s*(?:>=?|more than|longer than|at least)?\s*"
    rf"(?P<time>\d+(?:\.\d+)?\s*-?{TIME})\b",
    re.IGNORECASE,
)
_ALONE = re.compile(rf"{_BARE}(?P<time>\d+(?:\.\d+)?\s*{TIME})\b(?P<rest>.*)$", re.IGNORECASE)
# a level is due at the time or at the attempts, whichever comes first
_EITHER = re.compile(
    rf"{_BARE}(?P<time>\d+(?:\.\d+)?\s*{TIME})\s*,?\s+or\s+(?:after\s+)?"
    r"(?P<number>\d+|one|two|three|four|five)\s+(?:failed\s+|unsuccessful\s+)?"
    r"(?:attempts?|tries|retries)",
    re.IGNORECASE,
)
_JOINS = re.compile(r"\W*(?:for|at|if|on)?\W*", re.IGNORECASE)
_NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "once": 1, "twice": 2}
_ATTEMPTS = re.compile(
    r"\b(?P<number>\d+|one|two|three|four|five)\s+(?:failed\s+|unsuccessful\s+)?"
    r"(?:attempts?|tries|times|retries)\b|\bfail(?:s|ed)?\s+(?P<word>once|twice)\b",
    re.IGNORECASE,
)
_SEVERITY = re.compile(
    r"\b(?P<code>p[0-4]|sev[- ]?[0-5]|s[1-4])\b(?!\w)"
    r"|\b(?:for|at|if|on)\s+(?P<word>critical|high|medium|low)\b(?!\s+(?:load|traffic|latency))",
    re.IGNORECASE,
)
_CALLS = re.compile(
    r"\b(?:page|contact|call|notify|engage|ping|involve|inform|reach out to|hand over to"
    r"|escalate to|alert)\s+(?P<who>(?:the\s+)?[@#\w][^,.;:()→\n]*?)"
    r"(?=\s+(?:after|if|when|within|and|or|via|at|in|for)\b|[,.;:()→\n]|$)",
    re.IGNORECASE,
)
_LABELLED = re.compile(r"^[^:()]{1,40}:\s*(?P<who>[^:()]{2,60}?)\s*\((?P<rest>[^)]*)\)\s*$")
_HEDGED = re.compile(
    r"\b(?:usual(?:ly)?|typical(?:ly)?|normally|sometimes|answers?|replies|office hours)\b",
    re.IGNORECASE,
)
# what somebody is to do in a time is no reason to escalate
_DUTY = re.compile(
    r"^\W*(?:acknowledge|respond|reply|post|send|update|begin|start|complete|review|schedule|file"
    r"|document|wait|monitor|check|provide|report)\b(?!.*\b(?:not|escalat\w+)\b)",
    re.IGNORECASE,
)
# what happens by itself after a time is no reason to escalate: "the job restarts after 30 min"
_BY_ITSELF = re.compile(
    r"(?<!\bno )\b(?!(?:persists|lasts|exceeds|continues|remains|stays|fails|is|was|minutes|hours"
    r"|tries|retries|attempts|steps|progress|does|has|less|this|resolves)\b)[a-z]{3,}s"
    r"(?:\s+(?:again|automatically|itself|by itself))?\s+(?:after|within|in|every|for)\s+\d",
    re.IGNORECASE,
)
# a limit of a metric is no time that passes: "if the lag is more than 60 s"
_OF_A_METRIC = re.compile(
    r"\b(?:\w*lag|latency|delay|p9\d|(?:response|query|replay|apply) time|quer(?:y|ies)"
    r"|transactions?)(?:\s+(?:is|are|was|stays|remains|goes|rises|runs?|takes?|of))?\s*$",
    re.IGNORECASE,
)
_ASKS = re.compile(r"\bescalat\w+|\bengage\b|\bhand over\b", re.IGNORECASE)


def level(words: str, *, in_section: bool = True) -> dict[str, Any]:
    """Return the escalation level that a sentence states; empty if it states none.

    Parameters
    ----------
    words
        A sentence or an item of a list, in plain words.
    in_section
        Whether the sentence is in a section on escalation; elsewhere it must mention escalating.

    >>> level("Resolution steps don't work after 2 attempts")
    {'level': "Resolution steps don't work after 2 attempts", 'after_attempts': 2}
    >>> found = level("Incident duration > 1 hour for Critical")
    >>> found["after"], found["severity"]
    ('1 hour', 'Critical')
    >>> level("The vendor usually answers after 2 hours"), level("Wait for 5 min", in_section=False)
    ({}, {})
    >>> level("The job restarts after 30 min")
    {}
    """
    if _HEDGED.search(words) or _DUTY.match(words) or holes.find(words):
        return {}
    if _BY_ITSELF.search(words) and not (_ASKS.search(words) or _contact(words)):
        return {}
    if not in_section and not _ASKS.search(words):
        return {}
    times = _TIME.finditer(words)
    time = next((one for one in times if not _OF_A_METRIC.search(words[: one.start()])), None)
    tried = _ATTEMPTS.search(words)
    if not time and not tried:
        return {}
    found: dict[str, Any] = {"level": _short(words)}
    if who := _contact(words):
        found["contact"] = who
    if time:
        found["after"] = re.sub(r"(?<=\d)-", " ", " ".join(time["time"].split()))
    if tried:
        found["after_attempts"] = _count(tried["number"] or tried["word"])
    if severity := severity_of(words):
        found["severity"] = severity
    return found


def severity_of(words: str) -> str:
    """Return the severity that words name, the mildest of several; empty if they name none.

    >>> severity_of("P1 not resolved in 1 hour"), severity_of("SEV1/SEV2"), severity_of("x")
    ('P1', 'SEV2', '')
    """
    bare = re.sub(r"\bescalate to\s+(?:a\s+)?\S+", "", words, flags=re.IGNORECASE)
    found = [one["code"] or one["word"] for one in _SEVERITY.finditer(bare)]
    return max(found, key=Severity.place, default="")


def parts(words: str) -> list[str]:
    """Split a line into the conditions that it lists.

    >>> parts("Issue persists >15 minutes, data integrity concern")
    ['Issue persists >15 minutes', 'data integrity concern']
    >>> parts("no progress, call the team after 5 min")
    ['no progress, call the team after 5 min']
    """
    split = [one.strip() for one in re.split(r"\s*[,;]\s+", words) if one.strip()]
    alone = all(len(one.split()) < 7 and not _CALLS.match(one) for one in split)
    return split if alone and any(_TIME.search(one) for one in split) else [words]


def is_time(words: str) -> bool:
    """Tell whether words consist only of a time.

    >>> is_time("15 min"), is_time("> 1 hour"), is_time("0 min"), is_time("SEV1")
    (True, True, True, False)
    """
    return re.fullmatch(rf"{_BARE}\d+(?:\.\d+)?\s*{TIME}", words, re.IGNORECASE) is not None


def of_condition(words: str) -> dict[str, Any]:
    """Return the time and the severity of a condition; empty if the condition says anything else.

    >>> of_condition("> 1 hour for Critical"), of_condition("no progress after 5 min")
    ({'after': '1 hour', 'severity': 'Critical'}, {})
    >>> of_condition("after 20 min, or after 2 failed attempts")
    {'after': '20 min', 'after_attempts': 2}
    """
    if either := _EITHER.fullmatch(words.strip(" .")):
        tried = _count(either["number"])
        return {"after": either["time"], "after_attempts": tried}
    found = _ALONE.match(words)
    if found is None:
        return {}
    severity = severity_of(found["rest"])
    alone = _JOINS.fullmatch(_SEVERITY.sub("", found["rest"]))
    return {"after": found["time"], **({"severity": severity} if severity else {})} if alone else {}


def of_contact(row: dict[str, str]) -> dict[str, Any]:
    """Return the escalation level in a row of contacts, from its column *escalate after*.

    >>> of_contact({"role": "Secondary", "contact": "@two", "after": "15 min"})
    {'level': 'Secondary', 'contact': '@two', 'after': '15 min'}
    >>> of_contact({"role": "Commander", "contact": "@ic", "after": "SEV1/SEV2"})
    {'level': 'Commander', 'contact': '@ic', 'severity': 'SEV2'}
    """
    said = row.get("after", "")
    who = ", ".join(filter(None, [row.get("name", ""), row.get("contact", "")]))
    found: dict[str, Any] = {"level": row.get("role", ""), "contact": who}
    if is_time(said):
        found["after"] = re.sub(_BARE, "", said, count=1, flags=re.IGNORECASE)
    elif severity := severity_of(said):
        found["severity"] = severity
    else:
        return {}
    return {name: value for name, value in found.items() if value}


def _contact(words: str) -> str:
    if labelled := _LABELLED.match(words):
        return labelled["who"].strip()
    if handle := re.match(r"\W{0,3}(?P<who>[@#][\w-]+)", words):
        return handle["who"]
    for found in _CALLS.finditer(words):
        who = found["who"].strip()
        if not _SEVERITY.fullmatch(who) and not re.match(r"(?:an?|this|it|us)\b", who):
            return who
    return ""


def _count(word: str) -> int:
    return int(word) if word.isdigit() else _NUMBERS[word.lower()]


def _short(words: str) -> str:
    return " ".join(words.split()).strip(" .")
