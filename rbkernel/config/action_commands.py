"""Read `[actions.commands.NAME]`: the commands that rbkernel executes after an approval.

They are not those of `[commands]`, which a cell runs by itself with `rb.shell`: no cell can run
one of these.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from rbkernel.config.action_values import Template, inserted, only_word
from rbkernel.config.commands import PLACEHOLDER

# for `verify`: nothing is looked at but the exit code of the command
EXIT_CODE = "exit code"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
Argv = Annotated[tuple[str, ...], Field(min_length=1)]


class ActionCommand(Template):
    """A command that changes something: executed without a shell, once it is approved.

    ``dry_run`` is a command that changes nothing; its output is part of the preview, and its exit
    code other than 0 refuses the action. With ``recheck``, it is run again before each approval
    and before the execution, and must print the same. ``verify`` is a command whose exit code is 0
    once the effect is there; "exit code" if that of the command itself is enough. ``environment``
    names the variables that the commands get; besides PATH, they get no other.
    """

    argv: Argv
    verify: Annotated[Argv | str, only_word(EXIT_CODE, "a list, as argv")]
    dry_run: Argv | None = None
    recheck: bool = False
    working_directory: Path = Path("/")
    environment: tuple[str, ...] = ()

    @field_validator("environment")
    @classmethod
    def _names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not _VARIABLE.fullmatch(name):
                raise ValueError(f"{name!r} is not the name of a variable; write no value here")
        return names

    @model_validator(mode="after")
    def _can_be_run(self) -> ActionCommand:
        for argv in self._all:
            if not argv[0] or PLACEHOLDER.search(argv[0]):
                raise ValueError("the program must not be empty or have a placeholder")
            if "/" in argv[0] and not argv[0].startswith("/"):
                raise ValueError(f"{argv[0]}: write an absolute path, or a name that is in PATH")
        unknown = {
            name for argv in self._all for word in argv for name in PLACEHOLDER.findall(word)
        }
        if "values" in self.model_fields_set or unknown:
            self.must_use(word for argv in self._all for word in argv)
        if self.recheck and self.dry_run is None:
            raise ValueError("has recheck, but no dry_run")
        return self

    @property
    def _all(self) -> list[tuple[str, ...]]:
        given = (self.argv, self.dry_run, self.verify)
        return [one for one in given if isinstance(one, tuple)]

    def resolved(self, argv: tuple[str, ...], given: Mapping[str, str]) -> list[str]:
        """Return a command line with these values, see `Template.texts`."""
        return [inserted(word, given) for word in argv]
