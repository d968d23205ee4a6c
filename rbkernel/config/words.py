"""Describe invalid fields for users, because pydantic's messages are for programmers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is not a known field",
    "string_type": "should be text",
    "list_type": "should be a list",
    "path_type": "should be a path, as text in quotes",
    "sequence_str": "should be a list of texts, not one text",
    "tuple_type": "should be a list",
    "bool_parsing": "should be true or false",
    "bool_type": "should be true or false",
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "int_type": "should be a whole number",
    "float_parsing": "should be a number",
    "float_type": "should be a number",
    "finite_number": "should be a finite number",
    "string_too_short": "is empty",
}
_BEGINNINGS = {
    "datetime": "should be a time such as 2026-11-20T03:00:00Z",
    "timezone": "should be a time such as 2026-11-20T03:00:00Z",
    "model": "should be an object with fields",
    "mapping": "should be an object with fields",
    "dict": "should be an object with fields",
}


class AtField(ValueError):
    """The message of a validator about a field further inside, at this path; see `problems`.

    ``hint`` is the next step; empty for the usual one.
    """

    def __init__(self, message: str, *at: str | int, hint: str = "") -> None:
        super().__init__(message)
        self.at = at
        self.hint = hint


def advice(problem: Mapping[str, Any]) -> str:
    """Return advice about an error of pydantic, as the end of a sentence.

    >>> advice({"type": "missing", "msg": "Field required"})
    'is missing'
    >>> advice({"type": "literal_error", "msg": "Input should be 'a' or 'b'"})
    "should be 'a' or 'b'"
    """
    kind, said = str(problem["type"]), str(problem["msg"])
    begins = (ours for start, ours in _BEGINNINGS.items() if kind.startswith(start))
    known = _WORDS.get(kind) or next(begins, "")
    if kind == "string_pattern_mismatch":
        known = f"should match the pattern {problem['ctx']['pattern']}"
    if wanted := class_wanted(problem):
        known = f"should be {'an' if wanted[0] in 'AEIOU' else 'a'} {wanted}"
    return known or said.removeprefix("Value error, ").removeprefix("Input ")


def class_wanted(problem: Mapping[str, Any]) -> str:
    """Return the class of which a value should be an instance; empty for other errors."""
    facts = problem.get("ctx", {})
    return str(facts.get("class") or facts.get("class_name") or "")
