"""Colours of the pages: legible for all, in light and dark (WCAG 2.2 AA), from the style sheet."""

from __future__ import annotations

import re
from functools import cache

import pytest

from rbkernel.gateway.web.site import static_file
from rbkernel.render.documents import page

_TEXT, _EDGE = 4.5, 3.0
STATES = ("ok", "warning", "critical", "unknown", "open")


@cache
def colours(*, dark: bool) -> dict[str, str]:
    """The colours that the style sheet names, by name."""
    style = page.style()
    light, night = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light + (night if dark else "")))


def luminance(colour: str) -> float:
    """The relative luminance of a colour, as WCAG defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, from 1 to 21."""
    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_computed_as_the_standard_does() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("dark", [False, True])
def test_text_is_legible(dark: bool) -> None:
    known = colours(dark=dark)
    for text in ("ink", "faint", "link"):
        for ground in ("paper", "shade"):
            assert contrast(known[text], known[ground]) >= _TEXT, (text, ground)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("state", STATES)
def test_a_state_is_legible_and_visible(state: str, dark: bool) -> None:
    known = colours(dark=dark)
    assert contrast("#ffffff", known[state]) >= _TEXT
    for ground in ("paper", "shade"):
        assert contrast(known[f"{state}-edge"], known[ground]) >= _EDGE, ground


def test_white_text_stands_on_dark_grounds_only() -> None:
    found = static_file("pages.css")
    assert found
    rules = re.findall(r"\{([^{}]*)\}", found.body.decode())
    grounds = [
        ground
        for rule in rules
        if re.search(r"(?<![\w-])color: #fff\b", rule)
        for ground in re.findall(r"background: (var\(--[\w-]+\)|#[0-9a-f]{6})", rule)
    ]
    assert len(grounds) >= 4
    for ground in grounds:
        name = re.fullmatch(r"var\(--([\w-]+)\)", ground)
        shown = [colours(dark=dark)[name[1]] if name else ground for dark in (False, True)]
        assert all(contrast("#ffffff", one) >= _TEXT for one in shown), ground


def test_a_badge_that_is_over_has_no_colour_of_a_problem() -> None:
    found = static_file("pages.css")
    assert found
    [rule] = re.findall(r"\.badge\.over \{([^}]*)\}", found.body.decode())
    assert "background: none" in rule
    assert not any(f"--{state}" in rule for state in STATES)
