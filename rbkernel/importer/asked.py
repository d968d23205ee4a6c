"""The call of a command, with the answer that is expected of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from rbkernel.importer import calls
from rbkernel.importer.cells import Cell
from rbkernel.importer.stated import expectations
from rbkernel.importer.stated.expectation import Expectation

_NOTHING = Expectation()


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A command that a cell runs: its `rb` call without the expected answer, and its cell."""

    function: str
    arguments: tuple[str, ...]
    text: str = ""
    cell: Cell | None = None
    expected: Expectation = _NOTHING

    def call(self, expected: Expectation) -> str:
        """Return the source of the call, with the expected answer as arguments."""
        named = {
            "contains": calls.quoted(expected.contains) if expected.contains else "",
            "answers": calls.quoted(expected.answers) if expected.compares_text else "",
            "json": calls.literal(expected.json) if expected.json else "",
            "wrong": calls.literal(expected.wrong) if expected.wrong else "",
        }
        if self.function == "rb.http":
            status = "" if expected.status in {0, 200} else str(expected.status)
            return calls.call(self.function, *self.arguments, status=status, **named)
        figures = calls.mapped({name: calls.quoted(of) for name, of in expected.figures.items()})
        rows = calls.literal(expected.rows) if expected.rows else ""
        of_text = expected.compares_text or expected.wrong
        code = expectations.exit_code(self.text, expected) if of_text else 0
        ends = str(code) if code else ""
        more = {"exit_code": ends, "expect": figures, "rows": rows}
        return calls.call(self.function, *self.arguments, **more, **named)

    def checks(self, expected: Expectation) -> bool:
        """Tell whether the call checks any part of the expected answer."""
        if self.function == "rb.http":
            return bool(expected.status or expected.of_output) and not expected.rows
        return bool(expected.figures or expected.of_output)
