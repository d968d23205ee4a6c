"""A call of a program with its arguments, for the functions that return its effect. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rbkernel.runbook.shell.effect import Judgement, unknown
from rbkernel.runbook.shell.programs import Program


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call of a program with its arguments; ``stdin`` is its standard input, if known.

    ``of_words`` and ``of_text`` return the effect of a command that the program runs.
    """

    name: str
    arguments: Sequence[str]
    program: Program
    stdin: str | None
    of_words: Callable[[Sequence[str]], Judgement]
    of_text: Callable[[str], Judgement]

    def has(self, *options: str) -> str:
        """Return the first argument that is one of these options; empty if there is none."""
        return self.program.option_in(options, self.arguments)

    def value(self, *options: str) -> str | None:
        """Return the value of an option, from the next word or behind ``=``."""
        for word, following in pairwise([*self.arguments, ""]):
            name, equals, value = word.partition("=")
            if name in options:
                return value if equals else following
        return None


Judge = Callable[[Call], Judgement | None]


def unknown_here(call: Call) -> Judgement:
    """Return the judgement "unknown" for a program that is not in `programs.toml`."""
    return unknown(call.name, *call.arguments[:1])
