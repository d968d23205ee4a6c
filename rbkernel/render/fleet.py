"""Render the findings about several servers: a line for each, and the details folded below."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rbkernel.displaytext import escape
from rbkernel.model import Finding
from rbkernel.render import cards


def card(
    summary: Iterable[Finding], details: Mapping[str, Iterable[Finding]], commands: Iterable[str]
) -> str:
    """Return a table with one row for each server, and each server's problems folded below."""
    folded = "".join(
        f"<details style='margin: 2px 10px'><summary>{escape(name)}</summary>"
        f"{cards.overview_card(wrong, [])}</details>"
        for name, found in details.items()
        if (wrong := [one for one in found if not one.ok])
    )
    return cards.overview_card(summary, commands, about="server") + folded


def text(
    summary: Iterable[Finding], details: Mapping[str, Iterable[Finding]], commands: Iterable[str]
) -> str:
    """Return the same as plain text."""
    parts = [cards.overview_text(summary, commands)]
    for name, found in details.items():
        if wrong := [one for one in found if not one.ok]:
            parts += [f"{name}:", *(f"  {line}" for line in cards.findings_text(wrong))]
    return "\n".join(parts)
