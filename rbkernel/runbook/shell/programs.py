"""The known programs, read from `programs.toml`: which of their uses only read. Pure.

The effect of a use that `programs.toml` does not name is unknown.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any

Phrase = tuple[str, ...]

_BINARIES = re.compile(r"^(?:.*/)?s?bin$")
# with one of these options, any program does more than read
_SUSPICIOUS = re.compile(
    r"^--?(?:output-(?:dir|file)|out-?(?:dir|file)|save|write(?!-out)|delete|remove|purge|flush|clear|reset"
    r"|repair|fix|kill|apply|execute|exec|in-?place|overwrite|install|upgrade|restore|rotate|vacuum"
    r"|drop|truncate|shutdown|terminate|reload|restart"
    # options that name a program to run
    r"|pager|pre|(?:use-)?compress-program|browser|ext-diff|open-files-in-pager|upload-pack|rsh"
    r"|editor|to-command|checkpoint-action)(?:-[\w-]+)?(?:=|$)"
)
_MOST_GROUPS = 5


@dataclass(frozen=True, kw_only=True)
class Program:
    """The entry of `programs.toml` for a program, or a sub-command that runs another command."""

    always: str = ""
    reads: tuple[Phrase, ...] = ()
    changes: tuple[Phrase, ...] = ()
    reads_with: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None
    writes: tuple[str, ...] = ()
    dry: tuple[str, ...] = ()
    bare: str = ""
    values: frozenset[str] = frozenset()
    flags: tuple[str, ...] = ()
    most: int | None = None
    options_are_words: bool = False
    local: bool = False
    judge: str = ""
    runs: str = ""
    skip: int = 0
    refuses: tuple[str, ...] = ()
    runs_by: Mapping[Phrase, Program] = field(default_factory=dict)

    @property
    def exact_reads(self) -> tuple[Phrase, ...]:
        """The sub-commands that only read and are listed without wildcards.

        Such a phrase overrides a shorter phrase of a sub-command that changes something.
        """
        return tuple(one for one in self.reads if not any("*" in word for word in one))

    def takes_value(self, option: str) -> bool:
        """Tell whether an option takes the next word as its value: `-n`, `--namespace`, `-iu` for
        `-u`.
        """
        if option in self.values:
            return True
        cluster = re.fullmatch(r"-[A-Za-z]{2,5}", option)
        return bool(cluster) and option not in self.flags and f"-{option[-1]}" in self.values

    def is_flag(self, option: str) -> bool:
        """Tell whether an option is known to take no value."""
        if "=" in option or option.startswith("--no-") or _matches(option, self.flags):
            return True
        attached = option[:2] in self.values and not option.startswith("--") and len(option) > 2
        cluster = re.fullmatch(r"-[A-Za-z0-9]{2,6}", option)
        return attached or (bool(cluster) and all(f"-{one}" in self.flags for one in option[1:]))

    def words(self, arguments: Sequence[str], *, unknown_takes_value: bool = False) -> list[str]:
        """Return the arguments that are neither options nor values of options.

        >>> named("kubectl").words(["-n", "shop", "get", "-A", "pods"])
        ['get', 'pods']
        """
        if self.options_are_words:
            return list(arguments)
        found: list[str] = []
        rest = list(arguments)
        while rest:
            word = rest.pop(0)
            if word == "--":
                return found + rest
            if not _is_option(word):
                found.append(word)
            elif rest and (
                self.takes_value(word) or (unknown_takes_value and not self.is_flag(word))
            ):
                rest.pop(0)
        return found

    def after_options(self, arguments: Sequence[str]) -> tuple[list[str], list[str], str]:
        """Split arguments into known options, the rest, and the first unknown option, which may be
        empty.
        """
        rest, options = list(arguments), list[str]()
        while rest and _is_option(rest[0]):
            word = rest.pop(0)
            if word == "--":
                break
            options.append(word)
            if self.takes_value(word) and rest:
                options.append(rest.pop(0))
            elif not (self.is_flag(word) or _matches(word, (*self.refuses, *self.reads_with))):
                return options, rest, word
        return options, rest, ""

    def option_in(self, patterns: Iterable[str], arguments: Iterable[str]) -> str:
        """Return the first argument that matches a pattern; a letter also matches in a cluster
        (`-ls`).

        >>> named("sort").option_in(["-o"], ["-uo", "x"]), named("sort").option_in(["-o"], ["-u"])
        ('-uo', '')
        """
        wanted = tuple(patterns)
        letters = {one[1] for one in wanted if re.fullmatch(r"-[A-Za-z]", one)}
        for word in arguments:
            cluster = re.match(r"-([A-Za-z0-9]+)", word)
            if _matches(word, wanted) or (cluster and letters & set(cluster[1])):
                return word
        return ""

    def phrase(self, wanted: Iterable[Phrase], words: Sequence[str]) -> str:
        """Return the leading words that match the longest phrase, such as "rollout status".

        >>> named("kubectl").phrase([("rollout", "status")], ["rollout", "status", "deploy/x"])
        'rollout status'
        """
        found = [n for one in wanted if (n := _matched(one, words)) is not None]
        return " ".join(words[: max(found)]) if found else ""


def _is_option(word: str) -> bool:
    return word.startswith("-") and word != "-"


def _matches(word: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(word, one) for one in patterns)


def _matched(phrase: Phrase, words: Sequence[str]) -> int | None:
    """Return how many words a phrase matches, beginning at the first word; None if it does not
    match.
    """
    if phrase[0] == "**":
        ends = (_matched(phrase[1:], words[at:]) for at in range(min(len(words), _MOST_GROUPS)))
        return next((at + end for at, end in enumerate(ends) if end is not None), None)
    if phrase[-1] == "$":
        phrase = phrase[:-1]
        if len(words) != len(phrase):
            return None
    fits = len(words) >= len(phrase) and all(map(fnmatchcase, words, phrase))
    return len(phrase) if fits else None


def suspicious(arguments: Iterable[str]) -> str:
    """Return an option whose name suggests a change, such as `--delete`; empty if there is none."""
    return next((word for word in arguments if _SUSPICIOUS.match(word)), "")


def name_of(word: str) -> str:
    """Return the name of a program; empty for a path to a local file, such as `./kubectl`.

    >>> name_of("/usr/bin/kubectl"), name_of("./kubectl"), name_of("/"), name_of("ls")
    ('kubectl', '', '', 'ls')
    >>> name_of("bin/kafka-topics.sh")
    'kafka-topics.sh'
    """
    path = PurePosixPath(word)
    if "/" not in word:
        return word
    known = known_programs().get(path.name)
    if word.startswith("/"):
        return path.name if _BINARIES.match(str(path.parent)) else ""
    return path.name if known and known.local else ""


def named(name: str) -> Program | None:
    """Return the entry of a program; None if the program is unknown."""
    return known_programs().get(name)


@cache
def known_programs() -> Mapping[str, Program]:
    """Return all programs by name, from `programs.toml`."""
    text = files("rbkernel.runbook.shell").joinpath("programs.toml").read_text("utf-8")
    found: dict[str, Program] = {}
    for name, said in tomllib.loads(text).items():
        names = _listed(said.pop("also", ""))
        program = _program(said)
        found.update(dict.fromkeys(names if name.startswith("_") else [name, *names], program))
    return found


def _program(said: Mapping[str, Any]) -> Program:
    fields: dict[str, Any] = dict(said)
    for name in ("reads", "changes"):
        if name in fields:
            fields[name] = tuple(tuple(one.split()) for one in _listed(fields[name]))
    for name in ("reads_with", "needs", "only", "writes", "dry", "flags", "refuses"):
        if name in fields:
            fields[name] = tuple(_listed(fields[name]))
    fields["values"] = frozenset(_listed(fields.get("values", "")))
    runs_by = fields.pop("runs_by", {})
    fields["runs_by"] = {tuple(verb.split()): _program(one) for verb, one in runs_by.items()}
    return Program(**fields)


def _listed(text: str) -> list[str]:
    return [one.strip() for one in text.replace("\n", " ").split(",") if one.strip()]
