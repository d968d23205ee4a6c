"""What a reader's browser makes of an export: no network, nothing live, every plot drawn."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import mistune
import pytest
from axe_core_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from rbkernel.evidence import bundle, store
from rbkernel.evidence.verify import verify_folder
from rbkernel.render.documents import figures, page, report, wiki, writing
from rbkernel.render.documents.formats import Format
from rbkernel.render.documents.page import Report
from rbkernel.render.documents.svg import clean_svg
from tests.support.hostile_evidence import PLOTLY, hostile_run, payloads
from tests.support.journal_builder import INCIDENT, RUN_ID, Journal, other_run, runbook
from tests.support.printing import main_and_all_pages

# what could run, load, send or cover; plotly.js draws with none of it
LIVE_NODES = r"""() => {
  const elements = new Set(("iframe frame frameset object embed applet form input button select"
    + " textarea link base template portal video audio source track dialog math foreignobject"
    + " animate set use image marquee plaintext xmp noscript").split(" "));
  const names = new Set(("srcdoc srcset ping poster background action formaction contenteditable"
    + " popover autofocus").split(" "));
  const runs = /^\s*(javascript|vbscript|data:(?!image\/(png|jpeg|gif|webp|svg)))/i;
  const addresses = ["href", "src", "xlink:href"];
  const leadsTo = (value) => {
    try { return new URL(value, document.baseURI).href; } catch { return value; }
  };
  // the buttons over a plot are plotly.js's own; what anybody wrote keeps no class
  const isLive = (node, name) => (elements.has(name) && !node.matches("button.modebar-btn"))
    || (name === "meta" && node.httpEquiv && node.httpEquiv !== "Content-Security-Policy")
    || (name === "img" && node.hasAttribute("src") && !/^(data:image\/|file:)/.test(node.src))
    || getComputedStyle(node).position === "fixed";
  const live = [];
  let scripts = 0;
  for (const node of document.querySelectorAll("*")) {
    const name = node.localName.toLowerCase();
    if (isLive(node, name)) live.push(node.outerHTML.slice(0, 300));
    if (name === "script" && ["", "module", "text/javascript"].includes(node.type)) scripts += 1;
    // a form may hide its own attributes behind a field of that name
    for (const attribute of Element.prototype.getAttributeNames.call(node)) {
      const value = Element.prototype.getAttribute.call(node, attribute);
      if (/^(on|data-commandlinker)/i.test(attribute) || names.has(attribute)
          || (addresses.includes(attribute) && runs.test(leadsTo(value)))) {
        live.push(`${name} ${attribute}=${value}`.slice(0, 300));
      }
    }
  }
  return {live, scripts, pwned: typeof window.pwned};
}"""


@dataclass
class Seen:
    """What a browser asked for, and its errors."""

    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)


@contextmanager
def opened(
    browser: Browser,
    place: Path | str,
    *,
    width: int = 1280,
    dark: bool = False,
    drawn: bool = True,
    offline: bool = True,
) -> Iterator[tuple[Page, Seen]]:
    """Open a file or an address, without network; wait until its figures are drawn."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if dark else "light",
        offline=offline,
    )
    shown, seen = context.new_page(), Seen()
    shown.on("request", lambda request: seen.requests.append(request.url))
    shown.on("console", seen.hear)
    shown.on("pageerror", lambda error: seen.errors.append(str(error)))
    shown.goto(place.as_uri() if isinstance(place, Path) else place)
    if drawn:
        shown.wait_for_selector("html[data-ready=yes]", state="attached", timeout=90_000)
    yield shown, seen
    context.close()


def of_network(seen: Seen) -> list[str]:
    return [url for url in seen.requests if not url.startswith(("file:", "data:", "blob:"))]


def cartesian_run(root: Path, run_id: str = RUN_ID) -> Path:
    """Return the sealed folder of a run with four figures, as `rb.figure` draws them."""
    journal = Journal(root, run_id)
    journal.snapshot(runbook())
    cell = journal.request("figures")
    journal.begin(cell, "figures")
    journal.run(cell)
    x = [f"2026-11-20T03:0{n}:00" for n in range(5)]
    traces: list[dict[str, Any]] = [
        {"type": "scatter", "x": x, "y": [1, 4, 2, 8, 5], "name": "lag"},
        {"type": "bar", "x": [5, 3, 1], "y": ["shop", "batch", "web"], "orientation": "h"},
        {"type": "heatmap", "z": [[1, 2], [3, 4]]},
        {"type": "scattergl", "x": x, "y": [1, 4, 2, 8, 5], "mode": "markers"},
    ]
    for number, trace in enumerate(traces, 1):
        figure = {"data": [trace], "layout": {"title": {"text": f"Figure {number}"}, "height": 320}}
        data = {PLOTLY: figure, "text/plain": f"figure {number} in words"}
        journal.iopub(cell, "display_data", data=data, metadata={}, transient={})
    journal.finding("Replay lag", "critical", "31.5 s")
    journal.event("summary", cell, verdict="critical")
    journal.reply(cell)
    journal.line("end")
    return bundle.seal(root, run_id, report=report.report_files).folder


@pytest.fixture(scope="module")
def cartesian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cartesian")
    cartesian_run(root)
    return root


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Report:
    root = tmp_path_factory.mktemp("hostile")
    hostile_run(root, payloads())
    return report.build(root, INCIDENT)


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, False), (1280, True)])
def test_a_page_without_network_draws_every_plot(
    cartesian: Path, browser: Browser, tmp_path: Path, width: int, dark: bool
) -> None:
    written = writing.export(cartesian, INCIDENT, Format.HTML, tmp_path).path
    assert written.stat().st_size <= 2_000_000
    with opened(browser, written, width=width, dark=dark) as (shown, seen):
        assert shown.locator(".live[data-drawn=yes] .main-svg").first.is_visible()
        assert shown.locator(".live[data-drawn=yes]").count() == 4
        assert shown.locator("img.still").count() == 4
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        assert "31.5 s" in shown.locator(".finding").first.inner_text()
        ink = shown.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ink == ("rgb(13, 17, 23)" if dark else "rgb(255, 255, 255)")
        shown.emulate_media(media="print")
        assert shown.locator("img.still").first.is_visible()
        assert not shown.locator(".live").first.is_visible()
        widths = "all => all.map((one) => one.naturalWidth)"
        assert shown.locator("img.still").evaluate_all(widths) == [680] * 4
    assert of_network(seen) == []
    assert seen.errors == []


def test_the_sealed_reports_of_an_incident_share_plotly(browser: Browser, tmp_path: Path) -> None:
    runs = [cartesian_run(tmp_path, other_run(number)) for number in range(10)]
    incident = tmp_path / INCIDENT
    size_bytes = sum((incident / name).stat().st_size for name in store.files_below(incident))
    assert size_bytes <= 4_000_000
    assert verify_folder(tmp_path) == ()
    with served(incident) as address:
        for place in (runs[0].as_uri(), runs[9].as_uri(), f"{address}/{runs[9].name}"):
            with opened(browser, f"{place}/report.html", offline=False) as (shown, seen):
                assert shown.locator(".live[data-drawn=yes] .main-svg").first.is_visible()
                assert shown.locator(".live[data-drawn=yes]").count() == 4
                assert shown.locator("img.still").count() == 4
            assert [url for url in seen.requests if not url.startswith("data:")] == [
                f"{place}/report.html",
                f"{place.rpartition('/')[0]}/{figures.shared_plotly_name()}",
            ]
            assert seen.errors == []


def test_a_sealed_report_without_its_incident_says_what_it_needs(
    browser: Browser, tmp_path: Path
) -> None:
    alone = tmp_path / "report.html"
    alone.write_bytes((cartesian_run(tmp_path / "evidence") / "report.html").read_bytes())
    with opened(browser, alone.as_uri(), drawn=False) as (shown, _):
        missing = f"The figures need the file ../{figures.shared_plotly_name()}"
        expect(shown.locator(".live", has_text=missing)).to_have_count(4)
        assert "figure 1 in words" in shown.locator("main").inner_text()


def test_nothing_in_a_sealed_report_is_live(browser: Browser, tmp_path: Path) -> None:
    hostile_run(tmp_path, payloads())
    sealed = bundle.seal(tmp_path, RUN_ID, report=report.report_files)
    with opened(browser, (sealed.folder / "report.html").as_uri()) as (shown, seen):
        assert shown.evaluate(LIVE_NODES) == {"live": [], "scripts": 3, "pwned": "undefined"}
        assert shown.locator(".live[data-drawn=yes]").count() == 1
    assert of_network(seen) == []
    assert seen.errors == []


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve the files of a folder; yield the address."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_figure_that_cannot_be_drawn_says_so_and_the_others_are_drawn(
    cartesian: Path, browser: Browser, tmp_path: Path
) -> None:
    told = page.render(report.build(cartesian, INCIDENT))
    path = tmp_path / "page.html"
    path.write_bytes(told.replace(b'"layout":{', b'"layout":null,"other":{', 1))
    with opened(browser, path) as (shown, _):
        assert shown.locator(".live[data-drawn=yes]").count() == 3
        assert shown.locator(".live", has_text="could not be drawn").count() == 1


def test_nothing_that_anybody_wrote_is_live_in_the_page(
    hostile: Report, browser: Browser, tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(page.render(hostile))
    with opened(browser, path) as (shown, seen):
        assert shown.evaluate(LIVE_NODES) == {"live": [], "scripts": 2, "pwned": "undefined"}
        assert shown.locator(".live[data-drawn=yes]").count() == 1
        assert "<script>window.pwned=1</script>" in shown.locator("pre.output").first.inner_text()
    assert of_network(seen) == []
    assert seen.errors == []


def test_the_page_holds_also_without_its_policy(
    hostile: Report, browser: Browser, tmp_path: Path
) -> None:
    told, replaced = re.subn(rb'<meta http-equiv="Content-S[^>]*>', b"", page.render(hostile))
    assert replaced == 1
    path = tmp_path / "page.html"
    path.write_bytes(told)
    with opened(browser, path) as (shown, seen):
        assert shown.evaluate(LIVE_NODES)["live"] == []
        for link in shown.locator("main a").all()[:50]:
            link.dispatch_event("mouseover")
        assert shown.evaluate("typeof window.pwned") == "undefined"
    assert of_network(seen) == []


def test_nothing_is_live_in_what_a_wiki_makes_of_the_markdown(
    hostile: Report, browser: Browser, tmp_path: Path
) -> None:
    believes_all = mistune.create_markdown(escape=False, plugins=["table", "strikethrough", "url"])
    told = believes_all(wiki.render(hostile, {}, "beside"))
    path = tmp_path / "wiki.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><body>{told}</body>")
    with opened(browser, path, drawn=False) as (shown, seen):
        assert shown.evaluate(LIVE_NODES) == {"live": [], "scripts": 0, "pwned": "undefined"}
    assert of_network(seen) == []


def test_nothing_is_live_in_a_picture_that_is_opened_by_itself(
    browser: Browser, tmp_path: Path
) -> None:
    # a payload as it is, and inside of a picture, where it is well-formed
    head = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    sources = [*payloads(), *(f"{head}>{one}</svg>" for one in payloads())]
    sources += [one.replace("<svg", head, 1) for one in payloads() if "<svg" in one]
    sources.append(f"{head} onload='window.pwned=1'><script>window.pwned=1</script></svg>")
    drawn = [one for one in map(clean_svg, sources) if one is not None]
    assert len(drawn) > 20
    path = tmp_path / "pictures.svg"
    path.write_text(f"{head}>{''.join(drawn)}</svg>", encoding="utf-8")
    with opened(browser, path, drawn=False) as (shown, seen):
        found = shown.evaluate(LIVE_NODES)
        places = shown.evaluate(
            "[...document.querySelectorAll('*')].flatMap((node) => [...node.attributes])"
            ".filter((one) => one.localName === 'href').map((one) => one.value)"
        )
    # what draws a part of the picture again, and what is drawn in it
    found["live"] = [one for one in found["live"] if not one.startswith(("<use", "<image"))]
    assert found == {"live": [], "scripts": 0, "pwned": "undefined"}
    assert [one for one in places if not one.startswith(("#", "data:image/png"))] == []
    assert of_network(seen) == []


def test_the_search_for_live_nodes_finds_them(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "live.html"
    path.write_text(f"<!doctype html><body>{''.join(payloads())}</body>")
    with opened(browser, path, drawn=False) as (shown, seen):
        found = shown.evaluate(LIVE_NODES)
    assert len(found["live"]) > 20
    assert of_network(seen)


@pytest.mark.parametrize("dark", [False, True])
def test_an_export_shuts_nobody_out(browser: Browser, cartesian: Path, dark: bool) -> None:
    written = writing.export(cartesian, RUN_ID, Format.HTML, cartesian.parent)
    with opened(browser, written.path, dark=dark) as (shown, _):
        shown.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
        found = Axe().run(shown)
    assert found["passes"]
    serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert not [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in serious]


def test_a_report_for_print_has_its_figures_in_front_and_its_steps_behind(
    cartesian: Path, browser: Browser
) -> None:
    stills = dict.fromkeys(range(1, 5), "data:image/gif;base64,R0lGODlhAQABAAAAACw=")
    markup = page.render(report.build(cartesian, RUN_ID), stills)
    main, everything = main_and_all_pages(browser, markup)
    assert main == 1
    assert everything > main
    before, after = markup.decode().split('<section class="appendix">')
    assert before.count("<figcaption>figure ") == 4
    assert "Step by step" not in before
    assert "Step by step" in after
    assert "<figcaption>" not in after


def test_pdf_and_markdown_have_a_picture_of_each_figure(
    cartesian: Path, chromium: str, tmp_path: Path
) -> None:
    printed = writing.export(cartesian, RUN_ID, Format.PDF, tmp_path)
    assert printed.remarks == ()
    assert printed.path.read_bytes().startswith(b"%PDF-")
    assert printed.path.stat().st_size > 20_000

    written = writing.export(cartesian, RUN_ID, Format.MARKDOWN, tmp_path)
    assert written.remarks == ()
    pictures = [path for path in written.beside if path.suffix == ".png"]
    assert len(pictures) == 4
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)
    text = written.path.read_text()
    assert all(f"({path.parent.name}/{path.name})" in text for path in pictures)
