"""One page with every kind of figure, to look at: wide, as on a phone, in light and in dark."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

from playwright.sync_api import Browser

from tests.support.figure_scenes import SCENES

_LOOKS = (
    ("", 1440, False),
    ("-dark", 1440, True),
    ("-phone", 390, False),
    ("-phone-dark", 390, True),
)
_STYLE = (
    ":root { color-scheme: light dark; } body { margin: 10px; display: flex; flex-wrap: wrap;"
    " gap: 10px; align-items: flex-start; } img { max-width: 100%; height: auto; }"
    " @media (prefers-color-scheme: dark) { body { background: #000; } }"
    " @media (prefers-color-scheme: light) { body { background: #ddd; } }"
)


def take(browser: Browser, folder: Path) -> None:
    """Take pictures of a page with all figures, by look."""
    page_html = sheet({name: draw() for name, draw in SCENES.items()})
    for suffix, width, dark in _LOOKS:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
        )
        page = context.new_page()
        page.set_content(page_html)
        page.screenshot(path=folder / f"figures{suffix}.png", full_page=True)
        context.close()
    print("figures", flush=True)


def sheet(pictures: Mapping[str, str]) -> str:
    """Return a page with pictures, as reports show them: as images."""
    shown = (
        f'<img alt="{name}" src="data:image/svg+xml;base64,'
        f'{base64.b64encode(svg.encode()).decode()}">'
        for name, svg in pictures.items()
    )
    return f"<!doctype html><meta charset=utf-8><style>{_STYLE}</style>{''.join(shown)}"
