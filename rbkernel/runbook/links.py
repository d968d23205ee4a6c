"""Find the runbook that a ``runbook_url`` leads to. Pure: no address is requested.

A URL leads to a runbook if the URL contains the runbook's id, the name of its notebook, or the page
of the Markdown file from which the runbook was imported: ``X.md``, ``X.html``, ``X/``,
``X/index.md``, ``X/README.md`` or ``X#part``, on any host.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from urllib.parse import unquote_plus, urlsplit

from rbkernel.runbook.alerts import Alert
from rbkernel.runbook.catalogue import Runbook

_ID = re.compile(r"RUN-\d{3,}", re.IGNORECASE)
_ALERT_NAME = re.compile(r"\{\{-?\s*\$?(?:labels)?\.?(?:Labels\.)?alertname\s*-?\}\}")
_PAGES = re.compile(r"\.(?:md|mdx|markdown|html?|rst|adoc|ipynb)$", re.IGNORECASE)
# files that represent their folder, such as an index page
INDEX = frozenset({"index", "readme", "_index"})
# names that many pages have, and that do not say what a page is about
_ANY = frozenset({"", "runbook", "runbooks", "playbook", "overview", "home", "docs", "alerts"})


class Link(StrEnum):
    """The target of a ``runbook_url``; web addresses are not requested."""

    NONE = "none"
    RUNBOOK = "runbook"
    ELSEWHERE = "elsewhere"
    DEAD = "dead"


@dataclass(frozen=True, kw_only=True)
class Known:
    """The possible targets of a ``runbook_url``.

    ``files`` maps the name of a notebook to its id. ``pages`` maps the page of a Markdown file to
    the runbooks that were imported from it: their ids and the texts that a ``#part`` of the address
    may have.
    """

    ids: frozenset[str]
    files: Mapping[str, str]
    folders: tuple[Path, ...]
    pages: Mapping[str, Sequence[tuple[str, frozenset[str]]]]


def known(runbooks: Iterable[Runbook], folders: Sequence[Path]) -> Known:
    """Collect the ids, the file names and the pages of a catalogue."""
    found = list(runbooks)
    pages = defaultdict(list)
    for one in found:
        if one.source:
            pages[page(one.source)].append((one.id, _parts(one)))
    return Known(
        ids=frozenset(one.id for one in found),
        files={one.path.name: one.id for one in found},
        folders=tuple(folders),
        pages={name: of for name, of in pages.items() if name not in _ANY},
    )


def _parts(runbook: Runbook) -> frozenset[str]:
    names = [one.alert for one in runbook.front_matter.triggers if one.alert]
    found = {plain(name) for name in (runbook.front_matter.title, *names)}
    # the anchor of "# Runbook: Vacuum stuck", whose notebook has the title "Vacuum stuck"
    return frozenset(found | {f"runbook{name}" for name in found})


def page(path: str) -> str:
    """Return the name of a page from its path: only letters and digits, in lower case.

    A page such as ``README.md`` has the name of its folder.

    >>> [page(path) for path in ("a/HighLag.md", "/HighLag/", "high-lag/README.md")]
    ['highlag', 'highlag', 'highlag']
    """
    names = [_PAGES.sub("", name) for name in PurePosixPath(path).parts if name != "/"]
    while names and names[-1].lower() in INDEX:
        names.pop()
    return plain(names[-1]) if names else ""


def plain(words: str) -> str:
    """Return the letters and digits of a text, in lower case.

    >>> plain("High-Error_Rate")
    'higherrorrate'
    """
    return re.sub(r"[\W_]+", "", words.lower())


def follow(alert: Alert, places: Known) -> tuple[Link, str]:
    """Follow the ``runbook_url`` of an alert.

    The URL may contain a runbook's id, a notebook's file name, or the page that a runbook was
    imported from, or be a path relative to the rules or the catalogue.

    Returns
    -------
    tuple
        The target of the URL, and the runbook's id; the id is empty if no runbook matches.
    """
    if not alert.url:
        return Link.NONE, ""
    url = _ALERT_NAME.sub(lambda _: alert.name, alert.url)
    if named := _ID.search(url):
        name = named[0].upper()
        return (Link.RUNBOOK, name) if name in places.ids else (Link.DEAD, "")
    address = urlsplit(url)
    path = Path(unquote_plus(address.path))
    if path.name in places.files:
        return Link.RUNBOOK, places.files[path.name]
    if imported := _imported(address.path, address.fragment, places):
        return Link.RUNBOOK, imported
    if address.scheme or address.netloc or "{{" in url:
        return (Link.DEAD, "") if path.suffix == ".ipynb" else (Link.ELSEWHERE, "")
    beside = any((folder / path).exists() for folder in (alert.path.parent, *places.folders))
    return (Link.ELSEWHERE if beside else Link.DEAD), ""


def _imported(path: str, fragment: str, places: Known) -> str:
    """Return the id of the runbook imported from a page; empty if several or none match."""
    if fragment.startswith(("/", "!/")):  # a site of one page: #/runbooks/HighLag
        path, fragment = fragment.lstrip("!"), ""
    found = places.pages.get(page(unquote_plus(path)), ())
    part = plain(unquote_plus(fragment))
    of_part = [name for name, parts in found if part and part in parts]
    chosen = of_part or [name for name, _ in found]
    return chosen[0] if len(chosen) == 1 else ""
