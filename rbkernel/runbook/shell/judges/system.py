"""Decide whether a call of ip, date, kill, nc or Python changes something. Pure."""

from __future__ import annotations

import re

from rbkernel.runbook.shell.effect import LOOKS, Judgement, changes_something, unknown
from rbkernel.runbook.shell.judges.call import Call, unknown_here


def ip(call: Call) -> Judgement:
    """Decide whether an `ip` call changes the network configuration, by its verb."""
    words = [word for word in call.arguments if not word.startswith("-")]
    writing = r"^(?:add|del\w*|set|flush|change|replace|append|exec|up|down|save|restore)$"
    if found := next((word for word in words if re.match(writing, word)), ""):
        return changes_something(call.name, *words[:1], found)
    shows = len(words) < 2 or re.match(r"^(?:s|sh|show|l|ls|list|lst|get|monitor)$", words[1])
    return LOOKS if shows else unknown(call.name, *words[:2])


def date(call: Call) -> Judgement:
    """Decide by the options whether `date` sets the clock."""
    setting = r"^(?:-\w*s|--set.*|\d{8,}(?:\.\d+)?)$"
    found = next((word for word in call.arguments if re.match(setting, word)), "")
    described = {"-d", "--date"} & set(call.arguments)
    sets = found and not (described and found.isdigit())
    return changes_something(call.name, found) if sets else LOOKS


def kill(call: Call) -> Judgement:
    """Decide whether kill changes something: signal 0 only tests whether the process exists."""
    first = list(call.arguments[:1])
    return LOOKS if first in (["-0"], ["-l"], ["-L"]) else changes_something(call.name)


# what a server of an old protocol answers without a change
_ASKED_BY_WIRE = re.compile(
    r"\s*(?:stats?(?: \w+)?|show [\w. ;-]+|ruok|mntr|srvr|conf|cons|envi|wchs|isro|info|ping"
    r"|version|quit|lru_crawler metadump all)\s*(?:;\s*)?(?:(?:\\r)?\n?quit\s*)?",
    re.IGNORECASE,
)


def nc(call: Call) -> Judgement:
    """Decide whether `nc` (a raw connection) changes anything, by the data sent."""
    if call.name != "socat" and call.has("-z"):
        return LOOKS
    runs = any(
        re.search(r"exec:|system:|open:|create", one, re.IGNORECASE) for one in call.arguments
    )
    asked = call.stdin is not None and _ASKED_BY_WIRE.fullmatch(call.stdin.replace("\\r", ""))
    if asked and not runs and not call.has("-e", "-c", "-l", "--exec*", "--sh-exec*"):
        return LOOKS
    return unknown_here(call)


def python(call: Call) -> Judgement:
    """Decide whether Python changes something: only its version and `-m json.tool` are reads."""
    module = call.value("-m")
    if call.arguments[:1] in (["-V"], ["--version"]):
        return LOOKS
    if module == "json.tool":
        words = [word for word in call.arguments if not word.startswith("-")]
        return LOOKS if len(words) < 3 else changes_something(call.name, "-m", module)
    return unknown(call.name)
