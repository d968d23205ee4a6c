"""Exports without a browser: what a report tells, what it leaves out, and what proves."""

from __future__ import annotations

import base64
import re
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from typer.testing import CliRunner, Result

from rbkernel.cli import app
from rbkernel.errors import EvidenceError
from rbkernel.evidence import bundle, signing, store
from rbkernel.evidence import notebook as documents
from rbkernel.evidence.reading import read
from rbkernel.evidence.rebuild import rebuild
from rbkernel.evidence.verify import verify_folder
from rbkernel.render.documents import browser, page, report, wording, writing
from rbkernel.render.documents.blocks import Error, Figure, Html, Reader, Text
from rbkernel.render.documents.formats import Format
from rbkernel.render.documents.markdown import markdown_html, rewritten
from rbkernel.render.documents.report import report_files
from rbkernel.render.documents.sanitize import clean_html
from tests.support.hostile_evidence import (
    CARDS,
    PLOTLY,
    WIDGET_VIEW,
    figure,
    hostile_run,
    payloads,
)
from tests.support.journal_builder import INCIDENT, RUN_ID, Journal, other_run, runbook, whole_run
from tests.support.signed_evidence import INCIDENTS, signed_root

pytestmark = pytest.mark.slow

TYPED = [f"application/vnd.rbkernel.{name}+json" for name in CARDS]
ALLOWED = {
    *("article", "body", "head", "header", "html", "main", "meta", "nav", "script", "section"),
    *("a", "abbr", "b", "blockquote", "br", "caption", "cite", "code", "dd", "del", "details"),
    *("dfn", "div", "dl", "dt", "em", "figcaption", "figure", "footer", "h1", "h2", "h3", "h4"),
    *("h5", "h6", "hr", "i", "img", "ins", "kbd", "li", "mark", "ol", "p", "pre", "q", "s"),
    *("samp", "small", "span", "strong", "style", "sub", "summary", "sup", "table", "tbody"),
    *("td", "tfoot", "th", "thead", "title", "tr", "u", "ul", "var"),
}


def sealed(root: Path) -> bundle.SealedRun:
    whole_run(root)
    return bundle.seal(root, RUN_ID, report=report_files)


def text_of(markup: bytes) -> str:
    return " ".join(BeautifulSoup(markup, "html.parser").get_text(" ").split())


def block(data: dict[str, Any], **more: Any) -> Any:
    output = {"output_type": "display_data", "data": data, "metadata": {}}
    (made,) = Reader().blocks([output], more)
    return made


def test_a_sealed_run_has_its_report_and_the_same_evidence_gives_the_same_bytes(
    tmp_path: Path,
) -> None:
    run = sealed(tmp_path)
    lying = (run.folder / "report.html").read_bytes()
    assert run.missing == ()
    assert not verify_folder(run.folder)
    record, executed = read(run.folder), (run.folder / "executed.ipynb").read_bytes()
    assert report_files(record, executed).own["report.html"] == lying


def test_findings_come_first_and_what_is_wrong_before_what_is_well(tmp_path: Path) -> None:
    journal = whole_run(tmp_path)
    journal.finding("Standby connected", "ok", "yes")
    wording = text_of(page.render(report.build(tmp_path, RUN_ID)))
    places = [
        wording.index(words) for words in ("Findings", "31.5 s", "Standby connected", "Step by")
    ]
    assert places == sorted(places)
    assert "RUN-005" in wording
    assert "this evidence is not sealed yet, so nothing proves that it is unchanged" in wording


def test_an_incident_tells_its_runs_in_order_with_a_timeline(tmp_path: Path) -> None:
    for number in (2, 1):
        whole_run(tmp_path, other_run(number))
        bundle.seal(tmp_path, other_run(number))
    made = report.build(tmp_path, INCIDENT)
    assert [run.run_id for run in made.sections] == [other_run(1), other_run(2)]
    assert [what.split(":")[0] for _, what, _ in made.timeline].count("sealed") == 2
    markup = page.render(made).decode()
    assert set(re.findall(r'href="#([^"]+)"', markup)) <= set(re.findall(r'id="([^"]+)"', markup))


def test_a_cell_that_was_edited_after_the_run_is_marked(tmp_path: Path) -> None:
    whole_run(tmp_path)
    run = bundle.seal(tmp_path, RUN_ID)
    executed = (run.folder / "executed.ipynb").read_text().replace("31.5", "0.5")
    wording = text_of(report_files(read(run.folder), executed.encode()).own["report.html"])
    assert "Differs from the journal" in wording
    assert "edited after the run" in wording


def test_a_run_that_died_says_so(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.snapshot(runbook())
    cell = journal.request("x = 1")
    journal.begin(cell, "x = 1")
    wording = text_of(page.render(report.build(tmp_path, RUN_ID)))
    assert "The run did not finish" in wording
    assert "interrupted: x = 1" in wording
    assert "UNKNOWN" in wording


def test_the_policy_forbids_all_and_names_two_scripts(tmp_path: Path) -> None:
    journal = whole_run(tmp_path)
    cell = journal.request("figure")
    journal.begin(cell, "figure")
    drawn = {PLOTLY: {"data": [{"type": "bar", "y": [1]}]}, "text/plain": "one bar"}
    journal.iopub(cell, "display_data", data=drawn, metadata={}, transient={})
    journal.reply(cell)
    markup = page.render(report.build(tmp_path, RUN_ID)).decode()
    assert "default-src &#39;none&#39;" in markup
    assert markup.count("sha256-") == 2
    assert "unsafe-eval" not in markup
    assert len(markup.encode()) < 2_000_000
    without = page.render(report.build(tmp_path, RUN_ID), {1: "data:image/png;base64,"}).decode()
    assert "<script" not in without
    assert "script-src &#39;none&#39;" in without


def test_every_payload_is_told_and_none_is_an_element(tmp_path: Path) -> None:
    hostile_run(tmp_path, payloads())
    soup = BeautifulSoup(page.render(report.build(tmp_path, INCIDENT)), "html.parser")
    assert {node.name for node in soup.find_all(True)} <= ALLOWED
    for node in soup.find_all(True):
        assert not [name for name in node.attrs if name.lower().startswith("on")], node
        assert str(node.get("href", "#")).lower().startswith(("#", "http:", "https:", "mailto:"))
        assert str(node.get("src", "data:image/")).startswith("data:image/")
    shown = " ".join(node.get_text() for node in soup.find_all("pre"))
    for payload in payloads():
        assert payload in shown


_MARKDOWN = {
    "a table": ("|a|b|\n|-|-|\n|`x`|y\\|z|", "| a | b |\n| --- | --- |\n| `x` | y\\|z |"),
    "numbers": ("3. a\n3. b", "3. a\n4. b"),
    "a list in a list": ("* a\n  * b", "- a\n  - b"),
    "tasks": ("- [x] a", "- \\[x\\] a"),
    "a rule": ("a\n\n***", "a\n\n---"),
    "a fence in a fence": ("````\n```\n````", "````\n```\n````"),
    "a reference": ("[a][b]\n\n[b]: https://c", "[a](<https://c>)"),
    "a link without a page": ("[a](file:///etc/passwd) [b](../c)", "\\[a\\](file:///etc/passwd) b"),
    "a picture": ("![a](https://b/c.png)", "(picture: a)"),
    "an element": ("a <b onclick=x>c</b>", "a &lt;b onclick=x&gt;c&lt;/b&gt;"),
    "struck out": ("~~a~~ **b**", "~~a~~ **b**"),
}


@pytest.mark.parametrize("name", _MARKDOWN)
def test_the_markdown_of_a_runbook_is_written_again_without_html_and_foreign_files(
    name: str,
) -> None:
    source, written = _MARKDOWN[name]
    assert rewritten(source) == written


@pytest.mark.parametrize("source", ["> " * 150 + "a", "> " * 5_000 + "a", "- " * 400 + "a"])
def test_no_depth_of_markdown_loses_its_text(source: str) -> None:
    assert rewritten(source).removesuffix("\n```").endswith(" a")
    assert re.sub(r"<[^>]*>|&gt;", "", markdown_html(source)).strip() == "a"


@pytest.mark.parametrize("payload", payloads())
def test_markup_and_markdown_are_clean(payload: str) -> None:
    for clean in (clean_html(payload), markdown_html(payload), markdown_html(f"# {payload}")):
        again = BeautifulSoup(clean_html(clean), "html.parser")
        assert again == BeautifulSoup(clean, "html.parser"), "something in it woke up"
        assert not re.search(r"<[^>]*(javascript:|\bon\w+=|url\()", clean, re.IGNORECASE)


def test_a_long_table_is_cut_with_a_note_and_lies_whole_beside(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    cell = journal.request("rows")
    journal.begin(cell, "rows")
    rows = "".join(f'<tr><td>{n}</td><td>a, "b" &amp; ü</td></tr>' for n in range(100))
    table = f"<table><tr><th>n</th><th>text</th></tr>{rows}</table>"
    data = {"text/html": table, "text/plain": "rows"}
    journal.iopub(cell, "display_data", data=data, metadata={}, transient={})
    journal.reply(cell)
    written = writing.export(tmp_path, RUN_ID, Format.HTML, tmp_path.parent / "page.html")
    markup = written.path.read_text()
    assert "30 of 100 rows are shown; all of them are in table-01.csv" in markup
    assert "<td>29</td>" in markup
    assert "<td>30</td>" not in markup
    (path,) = written.beside
    assert path == tmp_path.parent / "page.files/table-01.csv"
    lines = path.read_text().splitlines()
    assert len(lines) == 101
    assert lines[100] == '99,"a, ""b"" & ü"'


def test_outputs_of_every_kind_become_blocks() -> None:
    assert block({"text/plain": "1"}) == Text(text="1")
    assert isinstance(block({"text/html": "<b>x</b>", "text/plain": "x"}), Html)
    assert block({"text/html": "<b>x</b><script>y</script>"}).note
    assert block({"text/markdown": "**x**"}).markup.strip() == "<p><strong>x</strong></p>"
    pixel = base64.b64encode(b"\x89PNG").decode()
    assert block({"image/png": pixel, "text/plain": "<Figure>"}).data == b"\x89PNG"
    assert block({"image/svg+xml": "<svg/>"}).url.startswith("data:image/svg+xml;base64,")
    assert block({"image/png": "no base64!", "text/plain": "said"}) == Text(text="said")
    assert "not shown here" in block({"application/x-odd": "1"}).text
    assert block({"application/json": {"a": 1}}).text == '{\n "a": 1\n}'
    assert isinstance(block({PLOTLY: figure(["a", "b"]), "text/plain": "said"}), Figure)
    failed = {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["\x1b[31mx"]}
    assert list(Reader().blocks([failed], {})) == [Error(text="E: v", traceback="x")]


def test_a_figure_keeps_no_address_and_brings_no_configuration() -> None:
    made = block({PLOTLY: figure(["a", "b"])})
    assert "127.0.0.1" not in made.script
    map_of = block({PLOTLY: {"data": [{"type": "scattermap"}]}, "text/plain": "a map"})
    assert map_of.drawn is None
    assert "network" in map_of.note
    assert block({PLOTLY: {"data": [{"y": [float("nan")]}]}}).drawn is None


def test_a_widget_is_told_in_words() -> None:
    state = {
        "a": {"children": ["IPY_MODEL_b", "IPY_MODEL_a"]},
        "b": {"description": "Rows", "value": 5},
    }
    assert block({WIDGET_VIEW: {"model_id": "a"}}, **state) == Text(text="Rows: 5", label="widget")
    unknown = block({WIDGET_VIEW: {"model_id": "?"}, "text/plain": "a slider"})
    assert unknown == Text(text="a slider", label="widget")


def test_markdown_keeps_its_form_and_says_which_pictures_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = whole_run(tmp_path)
    cell = journal.request("pictures")
    journal.begin(cell, "pictures")
    pixel = base64.b64encode(b"\x89PNG").decode()
    drawn = {PLOTLY: {"data": [{"type": "bar", "y": [1]}]}, "text/plain": "one bar"}
    for data in (drawn, {"image/png": pixel, "text/plain": "a photo"}):
        journal.iopub(cell, "display_data", data=data, metadata={}, transient={})
    journal.reply(cell)
    monkeypatch.setenv("PATH", str(tmp_path))
    written = writing.export(tmp_path, RUN_ID, Format.MARKDOWN, tmp_path.parent / "my page.md")
    text = written.path.read_text()
    assert "- **CRITICAL** **Replay lag**: 31.5 s (expected &lt; 15 s)" in text
    assert "![a photo](my%20page.files/figure-02.png)" in text
    assert (tmp_path.parent / "my page.files/figure-02.png").read_bytes() == b"\x89PNG"
    assert "*one bar* (no picture was drawn)" in text
    assert "Chromium" in written.remarks[0]


def test_a_pdf_without_chromium_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_run(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert browser.find() is None
    with pytest.raises(EvidenceError, match=r"needs Chromium.*--to html"):
        writing.export(tmp_path, RUN_ID, Format.PDF, tmp_path.parent / "x.pdf")
    assert not (tmp_path.parent / "x.pdf").exists()


def test_a_chromium_that_fails_is_a_clear_error(tmp_path: Path) -> None:
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\necho no display >&2\nexit 7\n")
    broken.chmod(0o755)
    with pytest.raises(EvidenceError, match="ended with 7: no display"):
        browser.pdf(b"<p>", str(broken))


def test_the_archive_holds_the_sealed_bytes_and_verifies_by_its_own_words(tmp_path: Path) -> None:
    root = tmp_path / "evidence"
    for number in (1, 2):
        whole_run(root, other_run(number))
        bundle.seal(root, other_run(number), report=report_files)
    whole = writing.export(root, INCIDENT, Format.ZIP, tmp_path)
    one = writing.export(root, other_run(1), Format.ZIP, tmp_path)
    assert (
        whole.path.read_bytes()
        == writing.export(root, INCIDENT, Format.ZIP, tmp_path).path.read_bytes()
    )
    for number, exported in enumerate((whole, one)):
        unpacked = tmp_path / f"unpacked-{number}"
        with zipfile.ZipFile(exported.path) as archive:
            archive.extractall(unpacked)
        names = [name for name in store.files_below(unpacked) if name != "VERIFY.md"]
        assert all((unpacked / name).read_bytes() == (root / name).read_bytes() for name in names)
        assert any(name.endswith("report.html") for name in names)
        commands = re.findall(r"```sh\n(.*?)```", (unpacked / "VERIFY.md").read_text(), re.DOTALL)
        assert len(commands) == 2
        assert [run(unpacked, command) for command in commands] == [0, 0]
        changed = next(unpacked.glob("INC-*/0001-*/executed.ipynb"))
        changed.write_bytes(changed.read_bytes().replace(b"31.5", b"0.50"))
        assert run(unpacked, commands[0]) != 0
    assert verify_folder(tmp_path / "unpacked-0" / INCIDENT)


def run(folder: Path, command: str) -> int:
    return subprocess.run(
        ["sh", "-ec", command], cwd=folder, check=False, capture_output=True
    ).returncode


def test_a_signed_archive_is_verified_by_its_own_words_against_published_signers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, published = signed_root(tmp_path)
    signers = root / signing.ALLOWED
    exported = writing.export(root, INCIDENTS[0], Format.ZIP, tmp_path, signers=signers)
    with zipfile.ZipFile(exported.path) as archive:
        archive.extractall(tmp_path / "unpacked")
    unpacked = tmp_path / "unpacked"
    assert (unpacked / "allowed_signers").read_bytes() == published.signers.read_bytes()
    text = (unpacked / "VERIFY.md").read_text()
    commands = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    monkeypatch.setenv("SIGNERS", str(published.signers))
    assert [run(unpacked, command) for command in commands] == [0, 0, 0]
    (tmp_path / "nobody").touch()
    monkeypatch.setenv("SIGNERS", str(tmp_path / "nobody"))
    assert run(unpacked, commands[2]) != 0


def test_only_sealed_evidence_is_archived(tmp_path: Path) -> None:
    whole_run(tmp_path)
    with pytest.raises(EvidenceError, match=r"is not sealed"):
        writing.export(tmp_path, RUN_ID, Format.ZIP, tmp_path.parent)


@pytest.mark.parametrize("to", list(Format))
def test_what_is_not_there_is_a_clear_error(tmp_path: Path, to: Format) -> None:
    if to is Format.PDF and browser.find() is None:
        pytest.skip("needs Chromium to come that far")
    for what in (RUN_ID, INCIDENT, "nonsense"):
        with pytest.raises(EvidenceError, match="evidence list"):
            writing.export(tmp_path, what, to, tmp_path.parent)


def test_nothing_is_written_into_the_evidence_folder(tmp_path: Path) -> None:
    run = sealed(tmp_path)
    for output in (tmp_path, run.folder / "executed.ipynb"):
        with pytest.raises(EvidenceError, match="cannot be in the evidence folder"):
            writing.export(tmp_path, RUN_ID, Format.HTML, output)


@pytest.mark.parametrize(
    "odd", [None, 7, True, [], ["a"], {}, {"a": {"b": []}}, "\ud800", "x" * 99]
)
def test_fields_of_any_type_make_a_report_or_a_clear_error(tmp_path: Path, odd: Any) -> None:
    journal = Journal(tmp_path)
    cell = journal.request("x")
    journal.begin(cell, "x")
    names = ("title", "question", "text", "sql", "targets", "options", "facts", "note", "rules")
    fields = dict.fromkeys(names, odd)
    for kind in ("plan", "note", "done", "redaction"):
        journal.event(kind, cell, **fields, id="1")
    for mimetype in (*TYPED, PLOTLY, WIDGET_VIEW, "application/json"):
        data = {mimetype: odd, "text/plain": "said"}
        journal.iopub(cell, "display_data", data=data, metadata={}, transient={})
    journal.reply(cell)
    executed = documents.dump(rebuild(read(journal.folder), None))
    assert b"said" in report_files(read(journal.folder), executed).own["report.html"]


def test_evidence_that_is_damaged_gives_an_error_and_no_seal_fails(tmp_path: Path) -> None:
    whole_run(tmp_path)
    record = read(tmp_path / "open" / RUN_ID)
    with pytest.raises(EvidenceError, match="notebook"):
        report_files(record, b"{}")


def test_a_picture_in_svg_keeps_what_draws_and_loses_what_runs_or_loads() -> None:
    drawn = (
        '<?xml version="1.0"?><?xml-stylesheet href="http://127.0.0.1:9/x.css"?>'
        '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://127.0.0.1:9/svg11.dtd">'
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        ' viewBox="0 0 9 9" onload="x()"><style>@import "http://127.0.0.1:9/y.css";</style>'
        '<defs><linearGradient id="g"><stop offset="0" stop-color="red"/></linearGradient></defs>'
        '<rect width="9" height="9" style="fill: url(#g); stroke: #00f; cursor: url(//h)"/>'
        '<use xlink:href="#g"/><use href="http://127.0.0.1:9/z.svg#a"/>'
        '<image xlink:href="data:image/png;base64,AAAA"/><image href="http://127.0.0.1:9/p.png"/>'
        '<a href="javascript:x()"><text>link</text></a><foreignObject><b>x</b></foreignObject>'
        '<text fill="url(http://127.0.0.1:9/f)">a\u00a0&lt;b&gt;</text>'
        '<animate attributeName="href" to="javascript:x()"/></svg>'
    )
    image = block({"image/svg+xml": drawn})
    wording = image.data.decode()
    assert 'viewBox="0 0 9 9"' in wording
    assert 'style="fill: url(#g); stroke: #00f"' in wording
    assert 'xlink:href="#g"' in wording
    assert "data:image/png;base64,AAAA" in wording
    assert "a\u00a0&lt;b&gt;" in wording
    gone = ("127.0.0.1", "script", "onload", "style>", "foreign", "animate", "cursor", "<!", "<?")
    assert [word for word in gone if word in wording] == []


@pytest.mark.parametrize("source", ["<svg", "<html/>", "", "<!DOCTYPE s [<!ENTITY a 'b'>]><svg/>"])
def test_what_is_no_svg_leaves_a_note(source: str) -> None:
    assert "not well-formed SVG" in block({"image/svg+xml": source}).text


def test_a_warning_shows_the_line_that_failed_and_its_error(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    code = "rows = 3\nraise ValueError('boom')"
    cell = journal.request(code)
    journal.begin(cell, code)
    pointed = [
        "\x1b[31mValueError\x1b[0m",
        "Cell In[1], line 2\n      1 rows = 3\n----> 2 raise Va",
    ]
    journal.iopub(cell, "error", ename="ValueError", evalue="boom", traceback=pointed)
    journal.reply(cell, "error", "ValueError")
    assert "failed: raise Va: ValueError: boom" in wording.warnings(read(journal.folder), [], "")


class TestWhereItGoes:
    """`-o` of the commands: a file, or a folder; nothing is replaced without a word."""

    @pytest.fixture(autouse=True)
    def root(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        root, work = tmp_path / "evidence", tmp_path / "work"
        work.mkdir()
        monkeypatch.chdir(work)
        monkeypatch.setenv("RBKERNEL_EVIDENCE", str(root))
        whole_run(root)
        return root

    @pytest.mark.parametrize("command", ["export", "rebuild"])
    @pytest.mark.parametrize("folder", ["new/", "./new/", "there", "there/"])
    def test_a_slash_at_the_end_means_a_folder(self, command: str, folder: str) -> None:
        Path("there").mkdir()
        done = evidence(command, "-o", folder)
        assert done.exit_code == 0
        kind = "html" if command == "export" else "ipynb"
        assert (Path(folder) / f"{RUN_ID}.{kind}").is_file()

    @pytest.mark.parametrize("command", ["export", "rebuild"])
    def test_a_file_that_is_named_is_not_replaced(self, command: str) -> None:
        Path("notes").write_text("mine")
        done = evidence(command, "-o", "notes")
        assert isinstance(done.exception, EvidenceError)
        assert "--force" in done.exception.next_step
        assert Path("notes").read_text() == "mine"
        assert evidence(command, "-o", "notes", "--force").exit_code == 0
        assert Path("notes").read_text() != "mine"

    def test_an_earlier_export_is_replaced_and_that_is_said(self) -> None:
        assert "replaced" not in evidence("export").stdout
        assert "replaced the existing file" in evidence("export").stdout

    def test_folders_above_it_are_not_made(self) -> None:
        done = evidence("export", "-o", "no/such/folder/")
        assert isinstance(done.exception, EvidenceError)
        assert not Path("no").exists()


def evidence(command: str, *words: str) -> Result:
    """Run `rbkernel evidence …` on the one run."""
    return CliRunner().invoke(app, ["evidence", command, RUN_ID, *words])
