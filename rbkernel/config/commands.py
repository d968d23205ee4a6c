"""Read `[commands]`: the commands that `rb.shell` may run, with a pattern for each placeholder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rbkernel.config.quantities import Seconds
from rbkernel.errors import ConfigError

PLACEHOLDER = re.compile(r"\{(\w+)\}")


class Command(BaseModel):
    """A command that `rb.shell` may run: arguments as a list, and a pattern for each placeholder.

    ``argv`` may hold placeholders such as ``{namespace}``; ``arguments`` maps each to the regular
    expression that its whole value must match.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    argv: tuple[str, ...] = Field(min_length=1)
    arguments: Mapping[str, str] = Field(default_factory=dict)
    timeout_s: Seconds = 10.0

    @model_validator(mode="after")
    def _placeholders_have_patterns(self) -> Command:
        used = {name for word in self.argv for name in PLACEHOLDER.findall(word)}
        if PLACEHOLDER.search(self.argv[0]):
            raise ValueError("argv[0], the program, must not be a placeholder")
        if used != set(self.arguments):
            raise ValueError(
                f"argv uses the placeholders {sorted(used)}, [arguments] has patterns for"
                f" {sorted(self.arguments)}: they must be the same"
            )
        return self

    @model_validator(mode="after")
    def _patterns_compile(self) -> Command:
        for name, pattern in self.arguments.items():
            must_compile(pattern, name)
        return self

    def arguments_of(self, argv: Sequence[str]) -> dict[str, str] | None:
        """Return the placeholder values that produce this command line; None if it does not match.

        >>> pods = Command(name="pods", argv=("kubectl", "-n", "{ns}"), arguments={"ns": "[a-z]+"})
        >>> pods.arguments_of(["kubectl", "-n", "shop"]), pods.arguments_of(["kubectl", "-n", "-A"])
        ({'ns': 'shop'}, None)
        """
        if len(argv) != len(self.argv):
            return None
        found: dict[str, str] = {}
        for word, given in zip(self.argv, argv, strict=True):
            parts = PLACEHOLDER.split(word)  # text, name, text, name, …, text
            pattern = "(.*)".join(re.escape(text) for text in parts[::2])
            match = re.fullmatch(pattern, given, re.DOTALL)
            if match is None:
                return None
            for name, value in zip(parts[1::2], match.groups(), strict=True):
                if found.setdefault(name, value) != value or not _fits(value, self.arguments[name]):
                    return None
        return found

    def with_arguments(self, values: Mapping[str, str]) -> list[str]:
        """Return the command line with these values in place of the placeholders.

        Raises
        ------
        ConfigError
            A value is missing, unknown, or does not match its pattern.
        """
        where = f"command {self.name}"
        if set(values) != set(self.arguments):
            raise ConfigError(
                f"this command takes {', '.join(self.arguments) or 'no arguments'}",
                where=where,
                next_step="pass exactly these as keywords",
            )
        for name, value in values.items():
            if not _fits(value, self.arguments[name]):
                raise ConfigError(
                    f"{name}={value!r} does not match the pattern {self.arguments[name]},"
                    " or begins with a dash like an option",
                    where=where,
                    next_step="pass another value, or change the pattern in rbkernel.toml",
                )
        return [PLACEHOLDER.sub(lambda m: values[m[1]], word) for word in self.argv]


def must_compile(pattern: str, name: str = "") -> None:
    """Raise a ValueError if a text is not a regular expression."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{name or pattern}: not a valid regular expression: {error}") from error


def _fits(value: object, pattern: str) -> bool:
    """Tell whether a value from a notebook is allowed in an argument.

    >>> _fits("web", "[a-z]+"), _fits("-web", ".+"), _fits("a\\0", ".+"), _fits(3, "3")
    (True, False, False, False)
    """
    if not isinstance(value, str) or value.startswith("-") or "\0" in value:
        return False
    return re.fullmatch(pattern, value) is not None
