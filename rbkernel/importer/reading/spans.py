"""Decide which texts are commands: inline code spans, and fences without a language. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rbkernel.errors import SecretParameter
from rbkernel.runbook.parameters import refuse_secret
from rbkernel.runbook.shell import programs, syntax

# of the lines of a fence without a language, the part that may be unknown programs
_MOST_UNKNOWN = 0.4


def is_command(text: str) -> bool:
    """Tell whether an inline code span is a command, not a name or a path.

    >>> [is_command(text) for text in ("kubectl get pods", "git log -3", "high_error_rate", "a b")]
    [True, True, False, False]
    """
    words = text.split()
    if len(words) < 2 or not syntax.is_complete(text):
        return False
    name = words[0].lstrip("$").rpartition("/")[2]
    return name in _PLAIN_PROGRAMS or (
        programs.named(name) is not None and name not in _ENGLISH and not _is_prose(words)
    )


def is_surely_one(text: str) -> bool:
    """Tell whether a text is a command, where it may also be a comment of a few words.

    >>> [is_surely_one(text) for text in ("systemctl restart nginx", "df -h", "uptime")]
    [True, True, True]
    >>> [is_surely_one(text) for text in ("make sure it runs", "find the pod", "restart nginx")]
    [False, False, False]
    """
    words = text.split()
    if not words or not syntax.is_complete(text):
        return False
    known = programs.named(words[0]) is not None and words[0] not in _ENGLISH | _PLAIN_PROGRAMS
    signs = any(re.match(r"--?\w|[/~.]", word) for word in words[1:])
    english = re.search(r"\s(?:the|that|an?|is|are|it|this|of|to|if|for|sure)\s|[.:,!?]$", text)
    return (known or (signs and programs.named(words[0]) is not None)) and (
        not english or (known and signs)
    )


def _is_prose(words: Sequence[str]) -> bool:
    """Tell whether words are more likely a sentence than a command."""
    return (
        words[0].isalpha()
        and not any(re.search(r"[-/=.$<\[{|*]|\d", word) for word in words[1:])
        and len(words) > 4
    )


def looks_like_one(text: str) -> bool:
    """Tell whether a fence without a language is shell: it has known commands, or a prompt.

    In a longer list of commands, a few may be unknown programs.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    commands_only = [line for line in lines if not line.startswith("#")]
    if any(re.match(r"\$ \S", line) for line in commands_only):
        return True
    sure = [is_command(line) or line.startswith(("./", "sudo ")) for line in commands_only]
    known = [
        one
        or is_surely_one(line)
        or (programs.named(line) is not None and line not in _ENGLISH | _PLAIN_PROGRAMS)
        for one, line in zip(sure, commands_only, strict=True)
    ]
    if not any(sure) or all(known):
        return any(sure)
    rest = [line for one, line in zip(known, commands_only, strict=True) if not one]
    few = len(rest) <= len(known) * _MOST_UNKNOWN
    return few and all(map(_may_be_one, rest)) and syntax.is_complete(text)


def _may_be_one(line: str) -> bool:
    """Tell whether a line may call a program that is not known; no sentence, and no output."""
    words = re.sub(r"\s#\s.*", "", line).split()
    odd = re.search(r"\w[.:,;!?]$|\s(?:the|an?|is|are|of|to)\s", " ".join(words))
    return bool(words) and not odd and re.match(r"[\w./~$\\\"'\[({:=-]+;?$", words[0]) is not None


def holds_a_secret(text: str) -> bool:
    """Tell whether a command contains what looks like a password or a DSN."""
    try:
        refuse_secret("", text, "")
    except SecretParameter:
        return True
    return False


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# they are no words of English, or always mean the program in a code span
_PLAIN_PROGRAMS = _words(
    """
    cat date free find kill less make ping python service top watch yarn vault consul
    """
)
# programs that are words too
_ENGLISH = _words(
    """
    at time host type test read write who last sort join split cut head tail file history set
    true false wait which look id sleep exit return continue break local export info help man
    shift times link link install patch dump restore script mail fold size size column size
    nice command bind step agent crm cf w mc ed ex init sync sum users groups route batch
    wall kind at factor strings page hold fly flux step screen expect parallel go node php
    perl lua ruby thanos
    """
)
