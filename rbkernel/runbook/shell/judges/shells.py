"""Decide whether a shell changes something, by the commands that it runs, as in `bash -c`. Pure."""

from __future__ import annotations

import re
from itertools import pairwise

from rbkernel.runbook.shell import programs
from rbkernel.runbook.shell.effect import LOOKS, Judgement, unknown
from rbkernel.runbook.shell.judges.call import Call, unknown_here


def shell(call: Call) -> Judgement:
    """Decide whether a shell changes something, by the text after `-c` or its standard input."""
    if call.has("-n") and not call.has("-c"):
        return LOOKS
    for option, text in pairwise(call.arguments):
        if re.match(r"^-[a-z]*c$", option):
            return call.of_text(text)
    scripts = [word for word in call.arguments if not word.startswith("-")]
    if call.stdin is not None and not scripts:
        return call.of_text(call.stdin)
    return unknown(call.name, *call.arguments[:1])


def su(call: Call) -> Judgement:
    """Decide whether su changes something, by the command that it runs as another user."""
    if (text := call.value("-c", "--command")) is not None:
        return call.of_text(text)
    for option, following in pairwise(call.arguments):
        if re.match(r"^-[a-z]*c$", option):
            return call.of_text(following)
    if "--" in call.arguments:
        return call.of_words(call.arguments[call.arguments.index("--") + 1 :])
    if call.name == "runuser" and (user := call.value("-u")) is not None:
        rest = list(call.arguments)
        return call.of_words(rest[rest.index(user) + 1 :])
    return call.of_text(call.stdin) if call.stdin is not None else unknown_here(call)


def source(call: Call) -> Judgement:
    """Return "unknown" for `source FILE`, because the content of the script is not known."""
    return unknown("source", *call.arguments[:1])


def alias(call: Call) -> Judgement:
    """Return the effect of `alias`: unknown if it redefines a known program, else none."""
    for word in call.arguments:
        name, equals, text = word.partition("=")
        meant = programs.named((text.split() or [""])[0])
        if equals and (known := programs.named(name)) and known is not meant:
            return unknown("alias", name)
    return LOOKS


def trap(call: Call) -> Judgement:
    """Decide whether trap changes something, by the commands that it runs when a signal arrives."""
    if call.arguments[:1] in (["-l"], ["-p"], ["-"]) or len(call.arguments) < 2:
        return LOOKS
    return call.of_text(call.arguments[0])
