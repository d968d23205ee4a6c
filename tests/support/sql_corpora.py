"""The statements of `tests/corpora`: hostile ones, and what analysts ask."""

from __future__ import annotations

from pathlib import Path

_CORPORA = Path(__file__).parents[1] / "corpora"


def _statements(name: str) -> list[str]:
    r"""Read one statement a line, in which ``\n`` and ``\r`` stand for the characters."""
    text = (_CORPORA / name).read_text(encoding="utf-8")
    return [line.replace("\\n", "\n").replace("\\r", "\r") for line in text.split("\n") if line]


SHARED = _statements("hostile_sql.txt")
OURS = _statements("hostile_sql_other_styles.txt")
ANALYST = _statements("analyst_sql.txt")
# the semicolon stands within a literal, or a comment: they select a constant
DECOYS = {
    "SELECT $$; DELETE FROM orders; $$",
    "SELECT 1 /* /* nested */ ; DELETE FROM orders */",
}
