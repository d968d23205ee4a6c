"""The effect of a command: it only reads, it changes something, or its effect is unknown. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple


class Effect(StrEnum):
    """The effect of a command, from harmless to harmful."""

    LOOKS = "only looks"
    # it only looks, but what it prints is a secret, which would stay in the evidence
    TELLS = "prints a secret"
    UNKNOWN = "unknown"
    CHANGES = "changes"


class Judgement(NamedTuple):
    """An effect, and the command that has it; the command is empty if all commands only read."""

    effect: Effect
    what: str = ""


LOOKS = Judgement(Effect.LOOKS)
# nothing is kept there
_NOWHERE = re.compile(r"^(?:/dev/(?:null|stdout|stderr|tty|fd/\d+)|&?\d|-|[<>]\(.*\))$", re.DOTALL)
_OWN_FILE = re.compile(r"^(?:/tmp/(?!.*\.\.).*|\$.*)$")


def changes_something(*words: str) -> Judgement:
    """Return the judgement "changes something", with the words of the command."""
    return Judgement(Effect.CHANGES, " ".join(filter(None, words)))


def unknown(*words: str) -> Judgement:
    """Return the judgement "unknown", with the words of the command."""
    return Judgement(Effect.UNKNOWN, " ".join(filter(None, words)))


def tells(words: str) -> Judgement:
    """Return the judgement "prints a secret", with the words of the command."""
    return Judgement(Effect.TELLS, words)


def written(target: str) -> Judgement:
    """Return the effect of writing a file: a change outside the working folder and /tmp.

    >>> written("/dev/null").effect.value, written("/etc/hosts").effect.value
    ('only looks', 'changes')
    >>> written("pods.txt").effect.value
    'unknown'
    """
    if _NOWHERE.match(target):
        return LOOKS
    elsewhere = target.startswith("/") and not _OWN_FILE.match(target)
    return (changes_something if elsewhere else unknown)(f"writing to {target}")


def first_bad(judgements: Iterable[Judgement]) -> Judgement:
    """Return the first judgement that is not "only reads"; "only reads" if there is none."""
    return next((one for one in judgements if one.effect is not Effect.LOOKS), LOOKS)


def worst(judgements: Iterable[Judgement]) -> Judgement:
    """Return the most harmful judgement; of equal ones, the first."""
    return max(judgements, key=lambda one: _RANK[one.effect], default=LOOKS)


_RANK = {effect: rank for rank, effect in enumerate(Effect)}
