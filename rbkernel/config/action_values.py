"""Read which values the placeholders of an action may have, and insert values into templates.

A value comes from a notebook, so it is checked against the configuration of the process that
executes. It is inserted as a part of one argument, and never read by a shell.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from rbkernel.config.commands import PLACEHOLDER, must_compile
from rbkernel.config.quantities import Whole

NAME = r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,39}$"
# names that rb.actions.run and rb.actions.request use themselves
_RESERVED = frozenset({"otherwise", "title"})
# characters of a value; more are no name of anything
_LONGEST = 200
_KINDS = "should be a list of texts, {pattern = …}, or {min = …, max = …}"


def _whole_number(value: object) -> int | None:
    """Return a whole number that is given as such, or as its decimal digits; None if it is none.

    >>> _whole_number(3), _whole_number("20"), _whole_number("٣"), _whole_number(True)
    (3, 20, None, None)
    """
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"0|[1-9][0-9]{0,8}", value) else None
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        return None
    return int(value.__index__())


class Allowed(BaseModel):
    """The values that one placeholder may have: a list, a regular expression, or whole numbers.

    Exactly one of these is given: ``one_of``, written as a list; ``pattern``, which matches the
    whole value; ``min`` and ``max``, both inclusive.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    one_of: tuple[str, ...] = ()
    pattern: str | None = None
    min: Annotated[Whole, Field(ge=0)] | None = None
    max: Annotated[Whole, Field(ge=0, lt=1_000_000_000)] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Allowed:
        given = self.model_fields_set
        if given not in ({"one_of"}, {"pattern"}, {"min", "max"}) or (
            "one_of" in given and not self.one_of
        ):
            raise ValueError(_KINDS)
        if self.pattern is not None:
            must_compile(self.pattern)
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is larger than max, so no value is allowed")
        if bad := next(filter(None, map(_unsafe, self.one_of)), ""):
            raise ValueError(f"a text of the list {bad}")
        return self

    def text(self, value: object) -> str:
        """Return a value as the text to insert.

        Raises
        ------
        ValueError
            The value is not allowed; the message is the end of a sentence about the value.

        >>> Allowed(pattern="[a-z]+").text("shop"), Allowed(min=0, max=20).text(3)
        ('shop', '3')
        >>> Allowed(pattern=".*").text("-rf")
        Traceback (most recent call last):
        ...
        ValueError: begins with "-", like an option
        """
        number = _whole_number(value)
        if self.max is not None and self.min is not None:
            if number is None or not self.min <= number <= self.max:
                raise ValueError(f"is not a whole number from {self.min} to {self.max}")
            return str(number)
        if not isinstance(value, str) and number is None:
            raise ValueError("is neither a text nor a whole number")
        text = value if isinstance(value, str) else str(number)
        if self.pattern is None and text not in self.one_of:
            raise ValueError(f"is not one of {', '.join(self.one_of)}")
        if self.pattern is not None and (why := _unsafe(text) or _unfit(text, self.pattern)):
            raise ValueError(why)
        return text


def _unsafe(text: str) -> str:
    """Return why a text is no value for any placeholder; empty if it may be one.

    >>> [_unsafe(one) for one in ("shop", "")], _unsafe("a\\nb")
    (['', 'is empty'], 'contains a character that cannot be printed')
    """
    if not text:
        return "is empty"
    if text.startswith("-"):
        return 'begins with "-", like an option'
    if not text.isprintable():
        return "contains a character that cannot be printed"
    return f"is longer than {_LONGEST} characters" if len(text) > _LONGEST else ""


def _unfit(text: str, pattern: str) -> str:
    if not text.isascii():  # people could take it for another value that looks the same
        return "contains a character that is not ASCII; list such a value in rbkernel.toml"
    return "" if re.fullmatch(pattern, text) else f"does not match the pattern {pattern}"


def _listed(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return {"one_of": value}
    if isinstance(value, Mapping | Allowed):
        return value
    raise ValueError(_KINDS)


Values = Mapping[
    str,
    Annotated[Allowed, BeforeValidator(_listed, json_schema_input_type=tuple[str, ...] | Allowed)],
]


class Undo(BaseModel):
    """The inverse of an action: the name of another one of the same kind, and its values.

    A value that is not given is that of the placeholder with the same name. It may contain
    placeholders of the action that is undone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    values: Mapping[str, str] = Field(default_factory=dict)


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


Inverse = Annotated[Undo, BeforeValidator(_named, json_schema_input_type=str | Undo)]


class Template(BaseModel):
    """What commands and requests have in common: a name, placeholders, and an inverse."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=NAME)
    values: Values = Field(default_factory=dict)
    undo: Inverse | None = None
    timeout_s: Annotated[float, Field(strict=True, gt=0, le=3600, allow_inf_nan=False)] = 60.0
    output_lines: Annotated[Whole, Field(ge=0, le=500)] = 20

    def texts(self, given: Mapping[str, Any]) -> dict[str, str]:
        """Return the values as texts to insert.

        Raises
        ------
        ValueError
            A value is missing, unknown or not allowed; the message says which.
        """
        if missing := [name for name in self.values if name not in given]:
            raise ValueError(f"the value {missing[0]} is missing")
        if unknown := [name for name in given if name not in self.values]:
            raise ValueError(
                f"there is no value {unknown[0]}, only {', '.join(self.values) or 'none'}"
            )
        found = {}
        for name, allowed in self.values.items():
            if given[name] is None:
                raise ValueError(f"the value {name} is not known")
            try:
                found[name] = allowed.text(given[name])
            except ValueError as error:
                raise ValueError(f"{name} = {_shown(given[name])} {error}") from None
        return found

    def inverse(self, given: Mapping[str, str], of: Template) -> dict[str, str]:
        """Return the values of the inverse ``of`` this action with these values."""
        written = self.undo.values if self.undo else {}
        return {name: inserted(written.get(name, f"{{{name}}}"), given) for name in of.values}

    def must_use(self, templates: Iterable[str]) -> None:
        """Raise a ValueError if the placeholders are not exactly those that have values."""
        used = {name for text in templates for name in PLACEHOLDER.findall(text)}
        if used != set(self.values):
            raise ValueError(
                f"has the placeholders {_names(used)}, and values for {_names(self.values)}: they"
                " must be the same"
            )
        for name in self.values:
            if not name.isidentifier() or keyword.iskeyword(name) or name in _RESERVED:
                raise ValueError(f"{name!r} cannot be the name of a value: rename the placeholder")


def only_word(word: str, otherwise: str) -> BeforeValidator:
    """Return what refuses any text but one, with which `verify` says that nothing is looked at."""

    def checked(value: Any) -> Any:
        if isinstance(value, str) and value != word:
            raise ValueError(f'should be {otherwise}, or "{word}"')
        return value

    return BeforeValidator(checked)


def _names(some: Iterable[str]) -> str:
    return ", ".join(sorted(some)) or "none"


def _shown(value: object) -> str:
    said = repr(value)
    return said if len(said) <= 80 else f"{said[:80]}…"


def inserted(
    template: str, values: Mapping[str, str], convert: Callable[[str], str] | None = None
) -> str:
    """Return a template with values in place of its placeholders, each converted first.

    >>> inserted("deployment/{service}", {"service": "shop"})
    'deployment/shop'
    """
    return PLACEHOLDER.sub(
        lambda found: convert(values[found[1]]) if convert else values[found[1]], template
    )


def must_undo(known: Mapping[str, Template], of: Template) -> None:
    """Raise a ValueError if the inverse of an action is unknown, or its values cannot be known."""
    if of.undo is None:
        return
    target = known.get(of.undo.name)
    if target is None or (target.name == of.name and not of.undo.values):
        raise ValueError(
            f"{of.name}: undo is {of.undo.name!r}, which is not the name of another one here"
        )
    for name, text in of.undo.values.items():
        if name not in target.values:
            raise ValueError(f"{of.name}: undo has the value {name}, {target.name} has not")
        if foreign := [one for one in PLACEHOLDER.findall(text) if one not in of.values]:
            raise ValueError(
                f"{of.name}: undo has the placeholder {foreign[0]}, which has no value"
            )
        if not PLACEHOLDER.search(text):
            _ = _checked(of.name, name, target, text)
    for name in target.values:
        if name not in of.undo.values and name not in of.values:
            raise ValueError(f"{of.name}: undo gives no value for {name} of {target.name}")


def _checked(action: str, name: str, target: Template, text: str) -> str:
    try:
        return target.values[name].text(text)
    except ValueError as error:
        raise ValueError(f"{action}: undo: {name} = {text!r} {error}") from None
