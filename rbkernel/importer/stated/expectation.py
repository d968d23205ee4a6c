"""The answer that a document expects of a command or a query: a frozen value. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rbkernel.runbook.quantities import Threshold


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """The expected answer; all fields are empty if the document states nothing that can be checked.

    ``limits`` are the thresholds at which a figure of a query is wrong, by column; the column is
    empty if the query has only one column; at ``warnings`` it begins to be wrong. ``no_rows``
    expects an answer without rows, ``empty`` an answer without any text.
    """

    status: int = 0
    answers: str = ""
    contains: str = ""
    json: Mapping[str, Any] = field(default_factory=dict)
    rows: Mapping[str, str] = field(default_factory=dict)
    wrong: str | Mapping[str, Any] = ""
    figures: Mapping[str, str] = field(default_factory=dict)
    limits: tuple[tuple[str, Threshold], ...] = ()
    warnings: tuple[tuple[str, Threshold], ...] = ()
    no_rows: bool = False
    empty: bool = False

    def __bool__(self) -> bool:
        return self != Expectation()

    @property
    def of_output(self) -> bool:
        """Whether the expectation says anything about the text of an answer."""
        parts = self.contains or self.json or self.rows or self.wrong
        return bool(self.compares_text or parts)

    @property
    def compares_text(self) -> bool:
        """Whether the whole text of the answer is compared.

        It is if ``answers`` gives this text, or if an empty answer is expected.
        """
        return bool(self.answers) or self.empty


def joined(first: Expectation, other: Expectation) -> Expectation:
    """Merge two expectations; fields of the first have priority."""
    given = {
        name: value
        for name, value in vars(other).items()
        if value and not getattr(first, name) and name != "figures"
    }
    limits = tuple(dict.fromkeys((*first.limits, *other.limits)))
    warnings = tuple(dict.fromkeys((*first.warnings, *other.warnings)))
    figures = {**first.figures, **other.figures}
    return replace(first, **{**given, "limits": limits, "warnings": warnings, "figures": figures})
