"""Every page and export has what screen readers need: language, landmarks, headings, names.

Chromium and axe-core check the same pages in tests/acceptance; these rules need no browser.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bs4 import BeautifulSoup, Tag

from rbkernel.evidence.bundle import seal
from rbkernel.incidents import postmortem
from rbkernel.render.documents import page
from rbkernel.render.documents.report import build
from tests.support import page_scenes
from tests.support.journal_builder import INCIDENT, RUN_ID, whole_run
from tests.support.page_server import opened, serving

pytestmark = pytest.mark.slow


def problems(markup: str | bytes) -> Iterator[str]:
    """Yield what a reader who does not see the page would miss."""
    shown = BeautifulSoup(markup, "html.parser")
    if not shown.select("html[lang]"):
        yield "no language"
    if not (shown.title and shown.title.get_text(strip=True)):
        yield "no title"
    if len(shown.select("main")) != 1:
        yield "not one main landmark"
    yield from _headings(shown)
    ids = [str(one["id"]) for one in shown.select("[id]")]
    yield from (f"id {one} twice" for one in sorted({one for one in ids if ids.count(one) > 1}))
    yield from (f"no alt: {one}" for one in shown.select("img:not([alt])"))
    yield from (f"no name: {one}" for one in shown.select("button, a[href], summary") if _mute(one))
    for field in shown.select("input:not([type=hidden]):not([type=submit]), select, textarea"):
        named = field.get("aria-label") or field.find_parent("label")
        if not named and not shown.select(f"label[for='{field.get('id', '')}']"):
            yield f"no label: {field}"


def _mute(one: Tag) -> bool:
    return not (one.get_text(strip=True) or one.get("aria-label") or one.select("img[alt]"))


def _headings(shown: BeautifulSoup) -> Iterator[str]:
    levels = [int(one.name[1]) for one in shown.find_all(["h1", "h2", "h3", "h4", "h5", "h6"])]
    if levels.count(1) != 1 or levels[0] != 1:
        yield f"not one h1 at the beginning: {levels}"
    for before, after in itertools.pairwise(levels):
        if after > before + 1:
            yield f"h{after} follows h{before}"


@pytest.mark.parametrize(
    ("markup", "what"),
    [
        ("<html><title>t</title><main><h1>a</h1></main>", "no language"),
        ("<html lang=en><title>t</title><h1>a</h1>", "not one main"),
        ("<html lang=en><title>t</title><main><h1>a</h1><h3>b</h3></main>", "h3 follows h1"),
        ("<html lang=en><title>t</title><main><h1>a</h1><img></main>", "no alt"),
        ("<html lang=en><title>t</title><main><h1>a</h1><input></main>", "no label"),
        ("<html lang=en><title>t</title><main><h1>a</h1><button></button></main>", "no name"),
    ],
)
def test_the_rules_find_what_is_missing(markup: str, what: str) -> None:
    assert any(one.startswith(what) for one in problems(markup))


def _report(root: Path, what: str) -> bytes:
    return page.render(build(root, what))


def _postmortem(root: Path, folder: Path) -> bytes:
    return postmortem.make(root, INCIDENT, folder / "postmortem.ipynb").page.read_bytes()


@pytest.mark.parametrize(
    "made",
    [
        lambda root, _: _report(root, RUN_ID),
        lambda root, _: _report(root, INCIDENT),
        _postmortem,
    ],
    ids=["run", "incident", "postmortem"],
)
def test_an_export_can_be_read_by_all(
    made: Callable[[Path, Path], bytes], evidence: Path, tmp_path: Path
) -> None:
    whole_run(evidence)
    seal(evidence, RUN_ID)
    assert list(problems(made(evidence, tmp_path))) == []


def test_the_pages_can_be_read_by_all(evidence: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RBKERNEL_EVIDENCE", str(evidence))
    evidence.mkdir(exist_ok=True)
    page_scenes.at_rest(evidence)
    paths = ["", f"/runs/{RUN_ID}", f"/incidents/{INCIDENT}", "/incidents/INC-unknown"]
    with serving(opened()) as client:
        found = [(path, *problems(client.get(f"/rbkernel{path}").text)) for path in paths]
    assert found == [(path,) for path in paths]
