"""Ways to judge a program by its arguments: by its verb, its options, its SQL, its method. Pure.

What no judge knows is unknown, and that is said. Which program goes by which: `shelltable`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from rbkernel.sql.words import changing_sql, only_reads

Words = list[str]


class Effect(StrEnum):
    """What a command does, from the best to the worst."""

    LOOKS = "only looks"
    UNKNOWN = "unknown"
    CHANGES = "changes"


class Judgement(NamedTuple):
    """An effect, and the command that has it; empty where all only look."""

    effect: Effect
    what: str = ""


Judge = Callable[[str, Words], Judgement]
LOOKS = Judgement(Effect.LOOKS)
_OPTIONS_WITH_VALUE = frozenset(
    {"-u", "-n", "--namespace", "--context", "--profile", "--region", "-f", "-g", "-C", "-c", "-h"}
    | {"-D", "-I", "-P"}
)
_OWN_FILE = re.compile(r"^(?:/dev/(?:null|stdout|stderr)|/tmp/(?!.*\.\.).*|&?\d|-|\w[\w.-]*)$")


def changes_something(*words: str) -> Judgement:
    """Return that a command changes something."""
    return Judgement(Effect.CHANGES, " ".join(filter(None, words)))


def unknown(*words: str) -> Judgement:
    """Return that nobody knows what a command does."""
    return Judgement(Effect.UNKNOWN, " ".join(filter(None, words)))


def written(target: str) -> Judgement:
    """Judge a file that is written: one of the working folder or of /tmp is nobody else's."""
    if _OWN_FILE.match(target):
        return LOOKS
    return (changes_something if target.startswith("/") else unknown)(f"writing to {target}")


def without_options(words: Words) -> Words:
    """Return the words behind leading options and their values."""
    while words and words[0].startswith("-"):
        words = words[2:] if words[0] in _OPTIONS_WITH_VALUE else words[1:]
    return words


def _plain(arguments: Words) -> Words:
    """Return the words that are no options: `-n x rollout undo` is `rollout undo`."""
    words: Words = []
    rest = list(arguments)
    while rest := without_options(rest):
        words.append(rest.pop(0))
    return words


def looks(_name: str, _arguments: Words) -> Judgement:
    """Judge a program that cannot change anything."""
    return LOOKS


def always(name: str, _arguments: Words) -> Judgement:
    """Judge a program that does nothing else."""
    return changes_something(name)


def reader(writing: re.Pattern[str], name: str, arguments: Words) -> Judgement:
    """Judge a reader by its options that write."""
    found = next((word for word in arguments if writing.search(word)), "")
    return changes_something(name, found) if found else LOOKS


def verb(reads: frozenset[str], writes: frozenset[str], name: str, arguments: Words) -> Judgement:
    """Look for a verb among the words that are no options."""
    words = _plain(arguments)
    pair = " ".join(words[:2])
    if pair in reads and pair not in writes:
        return LOOKS
    for said in (pair, *words[:2]):
        if said in writes:
            return changes_something(name, said)
    return LOOKS if words and words[0] in reads else unknown(name, *words[:1])


def matching(
    writes: re.Pattern[str], reads: re.Pattern[str], place: slice, name: str, arguments: Words
) -> Judgement:
    """Look for a word that writes anywhere, and for one that reads where the verb stands."""
    if found := next((word for word in arguments if writes.search(word)), ""):
        return changes_something(name, found)
    words = _plain(arguments)
    return LOOKS if any(map(reads.search, words[place])) else unknown(name, *words[:2])


_METHOD = re.compile(
    r"(?:^| )(?:-\w*X|--request|--method)[ =]?['\"]?(?!GET|HEAD|OPTIONS)(\w+)", re.IGNORECASE
)
_SENT = re.compile(
    r"^(?:--(?:data|form|upload-file|json|post-data|post-file|body-data|body-file)(?:-\w+)?(?==|$)"
    r"|-[a-zA-Z]*?[dFT])"
)
_OUTPUT = re.compile(r"^(?:-\w*o|--output|--output-document)$")


def curl(name: str, arguments: Words) -> Judgement:
    """Judge by the method, by what is sent, and by where the answer is written."""
    if method := _METHOD.search(" ".join(arguments)):
        return changes_something(name, "-X", method[1].upper())
    asks_with_get = {"-G", "--get"} & set(arguments)
    sent = next((found[0] for word in arguments if (found := _SENT.match(word))), "")
    if sent and not asks_with_get:
        return changes_something(name, sent)
    if {"-K", "--config"} & set(arguments):
        return unknown(name, "--config")
    return first_bad(
        written(target) for option, target in pairwise(arguments) if _OUTPUT.match(option)
    )


def wget(name: str, arguments: Words) -> Judgement:
    """Judge by what is sent, and by where the answer is written."""
    sent = next((word for word in arguments if re.match(r"--(?:post|body|method)", word)), "")
    if sent and not re.fullmatch(r"--method=(?:GET|HEAD)", sent, re.IGNORECASE):
        return changes_something(name, sent.partition("=")[0])
    targets = [target for option, target in pairwise(arguments) if option.endswith("O")]
    return first_bad(map(written, targets))


def httpie(name: str, arguments: Words) -> Judgement:
    """Judge by the method; `a=b` may be sent, or belong to the address."""
    if method := re.search(r"\b(POST|PUT|PATCH|DELETE)\b", " ".join(arguments), re.IGNORECASE):
        return changes_something(name, method[1].upper())
    return unknown(name) if any("=" in word for word in arguments) else LOOKS


def first_bad(judgements: Iterable[Judgement]) -> Judgement:
    """Return the first that does more than look."""
    return next((one for one in judgements if one.effect is not Effect.LOOKS), LOOKS)


_ASKS = re.compile(r"^(?:-\w*[ce]|--command|--execute)(?:=(?P<sql>.*))?$", re.DOTALL)
_RUNS_FILE = re.compile(r"^(?:-\w*f|--file(?:=.*)?|<)$")
_META = re.compile(r"\\(?:(?:copy|i|ir|o|w|g|gexec|e|ef|ev|password|c|connect|setenv)\b|lo_|!)")


def sql(name: str, arguments: Words) -> Judgement:
    """Judge psql and its like by the SQL they are given; what a file holds nobody sees here."""
    # an option's dashes would begin a comment in SQL
    texts = "\n".join(re.sub(r"^--[\w-]*=?", "", word) for word in arguments)
    if word := changing_sql(texts):
        return changes_something(name, "with", word)
    if found := next((word for word in arguments if _RUNS_FILE.match(word)), ""):
        return changes_something(name, found.partition("=")[0])
    given = list(_given(arguments))
    if meta := next(filter(None, map(_META.search, given)), None):
        return changes_something(name, "with", meta[0])
    lists = {"-l", "--list", "-V"} & set(arguments)
    return LOOKS if lists or (given and all(map(only_reads, given))) else unknown(name)


def _given(arguments: Words) -> Iterable[str]:
    for word, following in pairwise([*arguments, ""]):
        if word == "<<<":
            yield following
        elif asks := _ASKS.match(word):
            yield following if asks["sql"] is None else asks["sql"]
