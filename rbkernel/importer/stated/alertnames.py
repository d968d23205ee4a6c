"""Find names of alerts in titles, file names, headings and quoted rules. Pure.

A title is the name of an alert only if it is written like one: one word of several parts
(``KubePodCrashLooping``) that does not name a product. Other titles name no alert.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath

from rbkernel.importer.reading.blocks import Block
from rbkernel.runbook.links import INDEX


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TOKEN = re.compile(r"[A-Za-z][\w.:-]*")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z]+|[a-z]+|\d+")
# the last part of a name of two parts, or of one in lower case, that says what is wrong
_STATE = _words(
    """
    down up high low lag lagging fail failed failing failure failures error errors missing full
    slow absent unavailable unhealthy backlog stuck exhausted exhaustion expired expiring expiry
    expiration restart restarts restarting throttled throttling saturated saturation mismatch
    spike burn flapping degraded outage stale late delayed rate usage latency pressure corrupted
    corruption diff broken timeout timeouts unreachable firing ready looping deadlock deadlocks
    leak anomaly rejected dropped evicted oom depth drift stopped blocked overload overloaded
    """
)
_LOUD = frozenset({"high", "low", "too", "no", "slow", "missing", "excessive", "not", "unusual"})
# a name that ends so is rather that of a program, or of a page
_PRODUCT = _words(
    """
    service server cluster collector operator actions controller manager api db sql guide runbook
    template gateway proxy hub lab ops platform dashboard docs queue cache store system
    """
)
_LABEL = re.compile(
    r"^\W*(?:alert(?: ?name)?s?|runbook|playbook|sop)(?:\s+(?:for(?: alert)?))?\b(?!\w)"
    r"\s*[:–—-]?\s*",
    re.IGNORECASE,
)
_SAYS_ALERT = re.compile(r"^\W*(?:runbook\W+)?(?:for )?alert(?: ?name)?s?\b\W", re.IGNORECASE)
_MARKS = re.compile(r"^[^\w\[]+|[`*\"'’“”]|\s+\{#[\w-]+\}\s*$|[^\w)\]]+$")
_LINK = re.compile(r"\[([^\]]+)\](?:\([^)]*\))?")
_AFTER = re.compile(r"^(?P<name>\S+?)(?:\s*[:–—(\[|-]\s*\S.*|\s+(?:alert|runbook|playbook)\b.*)?$")
_RULE = re.compile(r"^\s*(?:-\s+)?alert:\s*[\"']?(?P<name>[^\"'\n#]+?)[\"']?\s*$", re.MULTILINE)
# the sections of an alert's page, as the Prometheus operator's runbooks have them
_SECTIONS = frozenset({"meaning", "impact", "diagnosis", "mitigation", "possible causes"})


def is_one(name: str) -> bool:
    """Tell whether a word is written like the name of an alert.

    >>> [is_one(name) for name in ("KubePodCrashLooping", "NodeDown", "etcdNoLeader")]
    [True, True, True]
    >>> [is_one(name) for name in ("PostgreSQL", "GitHubActions", "Overview", "High error rate")]
    [False, False, False, False]
    >>> [is_one(name) for name in ("high_error_rate", "error_handling", "replication-lag")]
    [True, False, True]
    """
    if not _TOKEN.fullmatch(name):
        return False
    parts = [part.lower() for part in _PART.findall(name)]
    if len(parts) < 2:
        return False
    stated = parts[-1] in _STATE or (parts[0] in _LOUD and len(parts) > 2)
    if re.search(r"[a-z0-9][A-Z]", name) and not re.search(r"[-.]", name):
        humps = _PART.findall(name)
        many = len(humps) > 2 and any(len(one) > 1 for one in humps)
        return stated or (many and parts[-1] not in _PRODUCT and not _is_brand(name))
    return stated and name == name.lower() and "." not in name


def _is_brand(name: str) -> bool:
    return re.fullmatch(r"(?:[A-Z][a-z]+)?(?:[A-Z]{2,}|[A-Z][a-z]+[A-Z])\d*", name) is not None


def of_title(title: str, part: Sequence[Block]) -> str:
    """Return the name of the alert that a title consists of; empty for other titles.

    >>> of_title("Alert: HighErrorRate (critical)", ()), of_title("How to restart", ())
    ('HighErrorRate', '')
    >>> of_title("KubeNodeNotReady - a node is not ready", ()), of_title("[DiskFull](x.md)", ())
    ('KubeNodeNotReady', 'DiskFull')
    """
    said = _MARKS.sub("", _LINK.sub(r"\1", title)).strip()
    bare = _MARKS.sub("", _LABEL.sub("", said)).strip()
    found = _AFTER.match(bare)
    name = found["name"] if found else ""
    if not _TOKEN.fullmatch(name):
        return ""
    says = _SAYS_ALERT.match(said) is not None or _is_a_page_of_an_alert(part)
    alone = bare == name and re.match(r"[A-Z][a-z]+", name) is not None
    return name if is_one(name) or (says and alone and len(name) > 3) else ""


def _is_a_page_of_an_alert(part: Sequence[Block]) -> bool:
    headings = {re.sub(r"\W", "", one.content.lower()) for one in part if one.kind == "heading"}
    return len(headings & _SECTIONS) > 1


def of_file(path: str) -> str:
    """Return the name of the alert that a file is named after; empty for other files.

    >>> of_file("docs/KubePodCrashLooping.md"), of_file("NodeDown/README.md"), of_file("lag.md")
    ('KubePodCrashLooping', 'NodeDown', '')
    """
    named = PurePath(path)
    stem = named.parent.name if named.stem.lower() in INDEX else named.stem
    return stem if re.search(r"[a-z][A-Z]", stem) and is_one(stem) else ""


def of_words(key: str, value: str) -> list[str]:
    """Return the alerts that a line ``Alert: X`` names; none for a condition or a sentence.

    >>> of_words("Alert", "`HighErrorRate`, `HighLatency`"), of_words("Alert", "errors > 5%")
    (['HighErrorRate', 'HighLatency'], [])
    >>> of_words("Alert name", "`DB connections high`"), of_words("Alert", "Critical")
    (['DB connections high'], [])
    """
    named = re.match(r"(?:\w+ )?alert ?(?:names?|rules?)|alertname", key.strip(), re.IGNORECASE)
    bare = re.sub(r"[`*\"]", "", _LINK.sub(r"\1", value)).strip()
    tokens = list(filter(None, re.split(r"\s*(?:,|;|\s/\s|\sand\s|\sor\s)\s*", bare)))
    if tokens and all(_TOKEN.fullmatch(one) and (named or is_one(one)) for one in tokens):
        return tokens
    quoted = re.fullmatch(r"`[^`]+`|\"[^\"]+\"", value.strip()) is not None
    short = len(bare) <= 80 and not re.search(r"[<>=≤≥{}\[\]‹]|\d%|[.!?]$", bare)
    return [bare] if short and bare and (named or (quoted and " " in bare)) else []


def of_parts(part: Sequence[Block]) -> Iterator[str]:
    """Yield the alerts that headings and quoted rules of a document name."""
    for block in part:
        if block.kind == "heading" and block.level > 1:
            name = of_title(block.content, ())
            said = _SAYS_ALERT.match(block.content) is not None
            if name and (said or re.search(r"[a-z][A-Z]", name)):
                yield name
        elif block.kind in {"fence", "code"} and re.search(r"(?m)^\s*expr:", block.content):
            yield from (found["name"] for found in _RULE.finditer(block.content))
