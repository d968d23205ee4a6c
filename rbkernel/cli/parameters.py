"""Parameters on the command line: ``-p name=value``, or ``-p name value`` as for papermill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from rbkernel.errors import ParameterError

_OPTIONS = ("-p", "--parameter")

Parameters = Annotated[
    list[str],
    typer.Option(
        "--parameter", "-p", help="A parameter, as name=value; repeat the option for each."
    ),
]


class TakesParameters(TyperCommand):
    """A command that also accepts the parameters of a papermill command line."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments of the command."""
        return super().parse_args(ctx, joined(args))


def joined(words: Sequence[str]) -> list[str]:
    """Join the name and the value of each parameter that are two words.

    >>> joined(["RUN-005", "-p", "db", "orders", "-p", "lag_s=5", "-p", "shift", "-3", "--json"])
    ['RUN-005', '-p', 'db=orders', '-p', 'lag_s=5', '-p', 'shift=-3', '--json']
    >>> joined(["-p", "db", "--json"])
    ['-p', 'db', '--json']
    """
    left, found = list(words), []
    while left:
        found.append(left.pop(0))
        if (
            found[-1] in _OPTIONS
            and len(left) > 1
            and left[0].isidentifier()
            and _is_value(left[1])
        ):
            found.append(f"{left.pop(0)}={left.pop(0)}")
    return found


def _is_value(word: str) -> bool:
    return not word.startswith("-") or word[1:].replace(".", "", 1).isdecimal()


def name_and_value(text: str) -> tuple[str, str]:
    """Split ``name=value`` into name and value.

    Raises
    ------
    ParameterError
        The text does not have this form.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ParameterError(
            "a parameter must be name=value",
            where="-p",
            next_step="write, for example, -p db=orders-primary",
        )
    return name, value
