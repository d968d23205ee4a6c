"""Convert headings, lists and lines such as ``**Owner:** …`` to front matter fields.

Explicit lines have priority over headings, and earlier ones over later ones. Every value is
validated at once, so that the front matter is always valid. A refused value stays text, with the
reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from rbkernel.importer import tables
from rbkernel.importer.reading import holes, plaintext
from rbkernel.importer.reading.blocks import Block
from rbkernel.importer.stated import alertnames
from rbkernel.model import Severity
from rbkernel.runbook.frontmatter import FrontMatter
from rbkernel.runbook.placeholders import placeholder, unfilled

_KEY = re.compile(
    r"^\s*(?:[-*+]\s+|\d+[.)]\s+|>\s*)?(?:\[[ xX]\]\s+)?(?P<mark>\*\*|__|\*|)"
    r"(?P<key>[^\W\d_][\w /&().'’-]{0,48}?)(?::(?P=mark)|(?P=mark)\s*:)\s*(?P<value>\S.*?)\s*$"
)
# German, French and Spanish runbooks use the same few words everywhere
_FIELDS: tuple[tuple[str, str], ...] = (
    (
        r"(?:severity|priority|schweregrad|priorität|gravité|sévérité|severidad|prioridad)",
        "severity",
    ),
    (
        r"(?:owner|owned by|owning team|team|squad|maintainer|verantwortlich\w*|responsable)",
        "owner",
    ),
    (r"author|autor|auteur", "author"),
    (r"(?:service|system|module|application|component)(?: name| id)?", "service"),
    (r"on[- ]?call(?: \w+)?|bereitschaft|guardia|astreinte", "on_call"),
    (r"last (?:tested|drill|exercised)|zuletzt getestet", "last_tested"),
    (r"(?:expected )?response time|reaktionszeit", "response_time"),
    (r"test(?:ing)? schedule", "testing_schedule"),
    (r"slo(?: target)?|sla", "slo"),
    (r"category|type", "category"),
    (r"trigger(?:ed by)?|detect(?:ion)?|when to use|auslöser", "triggers"),
    (r"(?:\w+ )?alert ?(?:names?|rules?|s)?", "triggers"),
    (r"symptoms?|symptome|síntomas|symptômes", "symptoms"),
    (r"(?:user )?impact|auswirkung(?:en)?", "impact.summary"),
    (r"handles", "scope.handles"),
    (r"does not handle|out of scope", "scope.does_not_handle"),
    (r"when to escalate|escalate (?:if|when|after)", "escalation.when"),
    (r"who to contact", "escalation.contact"),
    (r"what to provide", "escalation.provide"),
    (r"linked ids?|related ids?", "linked_ids"),
    (r"rto", "recovery.rto"),
    (r"rpo", "recovery.rpo"),
    (r"expected downtime", "recovery.downtime"),
    (r"(?:purpose|summary|description|zusammenfassung|objetivo|objectif|zweck)", "summary"),
    (r"(?:status )?dashboards?|logs?|status page|runbook url|wiki|repo(?:sitory)?", "links"),
    (r"rollback", "rollback_words"),
)
_SECTIONS: tuple[tuple[str, str], ...] = (
    (
        r"prerequisite|before you (?:begin|start)|requirements|voraussetz|requisito|prérequis",
        "prerequisites",
    ),
    (r"symptom|síntoma|how do you know", "symptoms"),
    (r"user impact", "impact.users"),
    (r"system impact", "impact.systems"),
    (r"business impact", "impact.business"),
    (r"gotcha|known issue|caveat|stolperfalle", "gotchas"),
    (r"assumption", "assumptions"),
    (r"escalation trigger|escalate if|when to escalate", "escalation.when"),
    (r"escalation contact|emergency contact|contacts?$|kontakt|contacto", "contacts"),
    (r"related|references|further reading|links|dashboards", "links"),
    (r"out of scope|does not cover", "scope.does_not_handle"),
    (r"^(?:in )?scope|covers", "scope.handles"),
    (r"escalat|eskalation|escalad", "escalation.when"),
)
_SUMMARY = re.compile(
    r"summary|overview|purpose|description|zweck|zusammenfassung|objet"
    r"|^\W*(?:\d+[.)]? +)?(?:about|introduction|meaning|background|goal)\b",
    re.IGNORECASE,
)
_ID = re.compile(r"\bRUN-(\d{3,})\b")
_ANY_ID = re.compile(r"\b(?:RUN|MON|DEP|RISK)-\d+\b")
_TITLED = re.compile(
    r"[\[(]\s*(?:(?:severity|priority)\s*[:=]?\s*)?(?P<code>P[0-4]|SEV[- ]?[0-5])\s*[\])]"
    r"|^(?P<begins>P[0-4]|SEV[- ]?[0-5])\s*(?:[:–—|]|-\s)",
    re.IGNORECASE,
)
_LIST_LINE = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s+(?:\[[ xX]\]\s+)?(?P<words>.+?)\s*$")
_MANY = frozenset(
    {"symptoms", "triggers", "escalation.when", "scope.handles", "links", "linked_ids"}
)
_CATEGORIES = (
    ("deployment", r"deploy|release|rollout|hotfix|go-live"),
    ("recovery", r"recover|restore|failover|disaster"),
    ("maintenance", r"mainten|rotation|backup|vacuum|clean-?up|renew|daily|weekly|upgrade|migrat"),
    ("incident", r"incident|alert|outage|on-?call|error|down\b|latency|symptom|störung|incidente"),
)


class Fields:
    """The front matter of a notebook while it is built; it is valid at all times."""

    def __init__(self, runbook_id: str) -> None:
        self.values: dict[str, Any] = {
            "id": runbook_id,
            "title": placeholder("title"),
            "summary": placeholder("what this is for, and when to use it"),
            "category": placeholder("incident, deployment, maintenance, recovery or escalation"),
            "severity": placeholder("severity, such as SEV2"),
            "owner": placeholder("team"),
        }
        self._said: set[str] = set()

    def say(self, field: str, value: Any) -> str:
        """Set a field, or add to a list field; return why the value is refused, or empty text.

        >>> fields = Fields("RUN-100")
        >>> fields.say("severity", "P1"), fields.say("metrics", [{"nom": 1}])[:12]
        ('', 'metrics.0.na')
        """
        trial = _with(self.values, field, _printable(value), add=field in self._said)
        if trial is None:
            return f"{field} is set already"
        try:
            FrontMatter.model_validate(trial)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in problem["loc"])
            return f"{place}: {problem['msg'].removeprefix('Value error, ')}"
        self.values = trial
        self._said.add(field)
        return ""

    def replace(self, field: str, value: Any) -> None:
        """Replace the value of a field, if the model accepts the new value."""
        trial = {**self.values, field: value}
        try:
            FrontMatter.model_validate(trial)
        except ValidationError:
            return
        self.values = trial

    def has(self, field: str) -> bool:
        """Tell whether the source has given a value for a field."""
        return field in self._said


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return holes.printable(value)
    if isinstance(value, Mapping):
        return {key: _printable(inner) for key, inner in value.items()}
    return [_printable(inner) for inner in value] if isinstance(value, list) else value


def _with(values: Mapping[str, Any], field: str, value: Any, *, add: bool) -> dict[str, Any] | None:
    top, _, inner = field.partition(".")
    if inner:
        section = _with(values.get(top, {}), inner, value, add=add)
        return None if section is None else {**values, top: section}
    old = values.get(top)
    if add and isinstance(old, list):
        fresh = [one for one in value if one not in old] if isinstance(value, list) else [value]
        return {**values, top: [*old, *fresh]}
    if add and (not unfilled(old) or unfilled(value)):
        return None
    return {**values, top: value}


def pairs(block: Block) -> list[tuple[str, str]]:
    """Return the lines of a block as (key, value), for lines such as ``key: value``.

    >>> pairs(Block(kind="list", start=0, end=1, text="- **Owner:** DBA team\\n"))
    [('Owner', 'DBA team')]
    """
    matches = (_KEY.match(line) for line in block.text.splitlines())
    return [(plaintext.plain(found["key"]), found["value"]) for found in matches if found]


def of_pair(key: str, value: str) -> tuple[str, Any] | None:
    """Return the front matter field that a key means, with its value; None if it means none.

    >>> of_pair("Last Tested", "2025-01-15"), of_pair("Colour", "red")
    (('last_tested', datetime.date(2025, 1, 15)), None)
    >>> of_pair("Severity", "[Critical | High]"), of_pair("Linked IDs", "MON-005, RISK-008")
    (('severity', '‹PLACEHOLDER: Critical | High›'), ('linked_ids', ['MON-005', 'RISK-008']))
    """
    word = re.sub(r"\s*\(.*\)$", "", key.strip().lower()).rstrip(":")
    field = next((name for pattern, name in _FIELDS if re.fullmatch(pattern, word)), "")
    words = holes.loud(plaintext.plain(value))
    if not field or field in {"author", "rollback_words"}:
        return None
    if field == "last_tested":
        tested = tables.date(words)
        # an invalid date is passed on, so that it is refused and the report says so
        return (field, tested or words) if tested or re.search(r"\d", words) else None
    if field == "severity":
        return field, _severity(words)
    if field == "category":
        return (field, _category(words)) if _category(words) else None
    if field == "linked_ids":
        ids = list(dict.fromkeys(_ANY_ID.findall(words)))
        return (field, ids) if ids else None
    if field == "triggers":
        named = alertnames.of_words(key, value) if not unfilled(words) else []
        return field, [{"alert": one} for one in named] or [{"when": words}]
    if field == "links":
        return field, [{"title": key, "url": words}]
    return field, [words] if field in _MANY else words


def _severity(words: str) -> str:
    if unfilled(words):
        return words if words.startswith("‹") and words.endswith("›") else placeholder(words)
    for word in re.findall(r"[A-Za-z]+-?\s?\d|\w+", words):
        plain = re.sub(r"[\s-]", "", word)
        try:
            Severity.parse(plain)
        except ValueError:
            continue
        return plain
    return words


def _category(words: str) -> str:
    if unfilled(words):
        return words
    known = ("incident", "deployment", "maintenance", "recovery", "escalation")
    return next((name for name in known if name in words.lower()), "")


def section_of(block: Block) -> str:
    """Return the front matter field that the headings above a block name; empty if none.

    >>> section_of(Block(kind="list", start=0, end=1, path=("Runbook", "3. Prerequisites")))
    'prerequisites'
    """
    names = [_section(words) for words in block.path[-2:]]
    if names[-1:] == [""] and "prerequisites" in names:
        return "prerequisites"  # a part of this section, with its own heading
    return names[-1] if names else ""


def _section(words: str) -> str:
    return next(
        (field for pattern, field in _SECTIONS if re.search(pattern, words, re.IGNORECASE)), ""
    )


def of_section(field: str, block: Block) -> Any:
    """Return the items of a list as values of a front matter field."""
    lines = (_LIST_LINE.match(line) for line in block.text.splitlines())
    items = [holes.loud(plaintext.plain(found["words"])) for found in lines if found]
    if field == "links":
        return [_link(item) for item in items]
    if field == "assumptions":
        return _assumptions(items)
    if field == "contacts":
        return [_contact(item) for item in items]
    return items


def failure_mode(block: Block) -> dict[str, str]:
    """Return the failure mode in a list below ``Failure Mode 1: …``; empty for other blocks."""
    heading = re.match(r"failure mode[\s\d]*[:–-]\s*(.+)", (block.path or ("",))[-1], re.IGNORECASE)
    if heading is None:
        return {}
    said = {key.lower(): holes.loud(plaintext.plain(value)) for key, value in pairs(block)}
    parts = ("symptom", "impact", "detection", "mitigation")
    known = {part: said[part] for part in parts if part in said}
    return {"name": holes.loud(heading[1]), **known} if known else {}


def speaks_of_itself(block: Block) -> bool:
    """Tell whether the lines of a block describe the runbook itself.

    Lines below a heading such as "Failure mode", "Automation" or "Example" describe something else.
    """
    return not any(
        re.search(r"failure mode|automat|example", words, re.IGNORECASE) for words in block.path
    )


def _link(item: str) -> dict[str, str]:
    if unfilled(item):
        title, _, url = item.partition(": ") if not item.startswith("‹") else (item, "", "")
        return {"title": title, "url": url}
    found = re.match(r"(?P<title>.+?)(?:\s+\((?P<in>\S+)\)|:\s*(?P<after>.+))$", item)
    if found is None:
        return {"title": item}
    return {"title": found["title"], "url": found["in"] or found["after"]}


def _assumptions(items: Sequence[str]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for item in items:
        otherwise = re.match(r"if false:\s*(.+)", item, re.IGNORECASE)
        if otherwise and found:
            found[-1]["if_false"] = otherwise[1]
        else:
            found.append({"text": item})
    return found


def _contact(item: str) -> dict[str, str]:
    role, colon, rest = item.partition(":")
    if not colon:
        return {"contact": item}
    name, dash, contact = rest.partition(" - ")
    return (
        {"role": role.strip(), "name": name.strip(), "contact": contact.strip()}
        if dash
        else {
            "role": role.strip(),
            "contact": rest.strip(),
        }
    )


def is_summary(block: Block) -> bool:
    """Tell whether a paragraph is below a heading such as Overview."""
    return block.kind == "paragraph" and bool(block.path and _SUMMARY.search(block.path[-1]))


def summary_of(text: str) -> str:
    """Return a paragraph as a summary: one line of plain words.

    >>> summary_of("Lag,\\nsee [the post][pm].")
    'Lag, see the post.'
    """
    words = re.sub(r"\[([^\[\]]+)\]\[[^\[\]]+\]", r"\1", " ".join(text.split()))
    return holes.loud(plaintext.plain(words))


def guess_category(text: str) -> str:
    """Guess the category from the words of a title; empty if no word suggests a category.

    >>> guess_category("Production Deployment Procedure"), guess_category("Kitchen")
    ('deployment', '')
    """
    return next((name for name, words in _CATEGORIES if re.search(words, text, re.IGNORECASE)), "")


def severity_in_title(text: str) -> tuple[str, str]:
    """Return the severity that stands in a title, and the title without it.

    >>> severity_in_title("[P2] Orders are slow"), severity_in_title("Orders are slow (SEV-1)")
    (('P2', 'Orders are slow'), ('SEV-1', 'Orders are slow'))
    >>> severity_in_title("Restore from (S3)"), severity_in_title("P1 and P2 alerts")[0]
    (('', 'Restore from (S3)'), '')
    """
    found = [*_TITLED.finditer(text)]
    if len(found) != 1:
        return "", text
    [one] = found
    rest = f"{text[: one.start()]} {text[one.end() :]}"
    return one["code"] or one["begins"], " ".join(rest.split())


def declared_id(text: str) -> str:
    """Return the id that a title declares, such as RUN-001; empty if it declares none."""
    found = _ID.search(text)
    return found[0] if found else ""
