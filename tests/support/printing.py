"""Count the pages of a printed report."""

from __future__ import annotations

import re

from playwright.sync_api import Browser

_PAGE = re.compile(rb"/Type\s*/Page\b")


def main_and_all_pages(browser: Browser, markup: bytes) -> tuple[int, int]:
    """Return the number of pages of a report for print, without and with its appendix."""
    page = browser.new_page()
    page.set_content(markup.decode())
    everything = page.pdf(prefer_css_page_size=True)
    page.evaluate("document.querySelector('.appendix').remove()")
    main = page.pdf(prefer_css_page_size=True)
    page.close()
    return len(_PAGE.findall(main)), len(_PAGE.findall(everything))
