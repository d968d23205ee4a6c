"""Text of anybody, as it is shown: nothing unseen is left in it, and what is read stays."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from rbkernel import cli
from rbkernel.cli.terminal import visible_streams
from rbkernel.config.notify import EventKind
from rbkernel.displaytext import escape, isolated, one_line, visible
from rbkernel.evidence import incident
from rbkernel.gateway import logs
from rbkernel.gateway.jobs.storage.store import Store
from rbkernel.gateway.notify.events import Event
from rbkernel.gateway.notify.messages import Words
from rbkernel.model import Severity
from rbkernel.render import cards
from rbkernel.render.documents import page, report, wiki
from rbkernel.strictjson import well_formed
from tests.support import page_scenes
from tests.support.hostile_evidence import hostile_run
from tests.support.journal_builder import INCIDENT, RUN_ID
from tests.support.page_server import opened, serving

# these stand before the numbers of Arabic, Syriac and Kaithi text, and are seen
SEEN = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
UNSEEN = [
    chr(code)
    for code in range(sys.maxunicode + 1)
    if unicodedata.category(chr(code)) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
    and code not in SEEN
    and chr(code) not in "\n\t"
]
# of other categories, and they show nothing all the same
BLANK = [chr(code) for code in (0x34F, 0x115F, 0x1160, 0x17B4, 0x180B, 0x3164, 0xFFA0, 0xFE00)]
LEGITIMATE = [
    "السلام عليكم",
    "שָׁלוֹם עולם",
    "תשע״ז \u200f(א)",
    "می\u200cخواهم",
    "क्\u200dष और न\u200dी",
    "ക്\u200d",
    "👨\u200d👩\u200d👧\u200d👦 👩🏽\u200d💻 👁\ufe0f\u200d🗨\ufe0f",
    "❤\ufe0f 1\ufe0f\u20e3 ✔\ufe0e",
    "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "葛\U000e0100城",
    "e\u0301 ǘ ệ",
    "ภาษาไทย 한국어 日本語 Ελληνικά",
    "a\u00a0b\u202fc — “d” · é",
]


@pytest.mark.parametrize("around", ["db{}1", "{}", "{} ", "שרת{}"])
def test_nothing_unseen_is_left(around: str) -> None:
    left = [hex(ord(one)) for one in UNSEEN + BLANK if one in visible(around.format(one * 2))]
    kept = {"0x200e", "0x200f", "0x61c"} if "ש" in around else set()
    assert set(left) == kept


@pytest.mark.parametrize("text", LEGITIMATE)
def test_what_is_read_stays(text: str) -> None:
    assert visible(text) == text
    assert re.sub("</?bdi>", "", escape(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "a\ufe00b\ufe01",  # a message in variation selectors
        "❤" + "\ufe0f" * 9,
        "🏴" + "\U000e0041" * 40,  # and in tags
        "🏴\U000e0067\U000e0062",
        "ad\u200dmin",
        "❤\u200d",
        "e" + "\u0301" * 40,
        "x\u20dd" + "\u20dd" * 40,
    ],
)
def test_what_is_abused_is_an_escape(text: str) -> None:
    assert "\\u" in visible(text).lower()


def test_our_words_stand_where_they_stood_beside_text_from_right_to_left() -> None:
    assert escape("alert שרת 5 & more") == "alert <bdi>שרת</bdi> 5 &amp; more"
    assert escape("a=שרת, b=צוות") == "a=<bdi>שרת</bdi>, b=<bdi>צוות</bdi>"
    assert escape("שלום, db1 עולם!") == "<bdi>שלום, db1 עולם</bdi>!"
    assert isolated("INC-1: שרת\n2") == "INC-1: \u2068שרת\u2069 2"


# --- at the edges

HOSTILE = [
    "".join(chr(code) for code in range(0x20) if code not in (9, 10, 13)),
    "db\x1b[31m\x1b[2J\x1b]0;title\x07\x7f\x80\x85\x9b1m",
    "\u202eabc\u202d \u2066x\u2067y\u2068z\u2069\u202c\u202a\u202b\u200e\u200f\u061c",
    "ze\u200bro\u200c\u200d\u2060\ufeff\xad\u034f\u3164w",
    "line\u2028para\u2029",
    "tags\U000e0041\U000e007f\U000e0100 \ufff9a\ufffab\ufffb",
    "lone \ud800 \udc80",
]
UNSEEN_TEXT = re.compile(f"[{re.escape(''.join(UNSEEN))}]")


def unseen(text: str) -> set[str]:
    return {hex(ord(one)) for one in UNSEEN_TEXT.findall(text)}


@pytest.fixture
def hostile(evidence: Path) -> Path:
    evidence.mkdir()
    hostile_run(evidence, HOSTILE)
    incident.append(evidence, "INC-1", "opened", by="x", title=HOSTILE[2], service=HOSTILE[1])
    return evidence


@pytest.mark.slow
def test_pages_and_reports_show_nothing_unseen(hostile: Path, tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/store.sqlite")
    told = [page_scenes.alert(n, labels={text: text}) for n, text in enumerate(HOSTILE[:-1])]
    store.receive(page_scenes.delivery(*told))
    store.quarantine("generic", "\n".join(HOSTILE).encode(errors="replace"), HOSTILE[1])
    of_run, of_incident = f"/rbkernel/runs/{RUN_ID}", f"/rbkernel/incidents/{INCIDENT}"
    paths = ("/rbkernel", "/rbkernel?q=%E2%80%AE%1b", of_run, f"{of_run}/report", of_incident)
    with serving(opened(), store) as client:
        for path in (*paths, f"{of_incident}/report", "/rbkernel/incidents/INC-1"):
            answer = client.get(path)
            assert answer.status_code == 200, path
            assert unseen(answer.text.replace("\r\n", "\n")) == set(), path
    store.close()
    made = report.build(hostile, INCIDENT)
    assert "\\u202eabc" in page.render(made).decode()
    assert unseen(wiki.render(made, {}, "files")) == set()


def test_the_record_keeps_every_character(hostile: Path) -> None:
    labels = [line.data["labels"] for line in incident.look(hostile, INCIDENT).lines[1:]]
    assert {str(told["alertname"]) for told in labels} == set(HOSTILE)


@pytest.mark.parametrize("text", HOSTILE)
def test_messages_have_nothing_unseen_in_them(text: str) -> None:
    facts = dict.fromkeys(("title", "headline", "runbook", "alerts", "mind", "question"), text)
    kinds: list[EventKind] = ["finding", "raised", "escalation", "decision", "sealed", "started"]
    for kind in kinds:
        one = Event(
            key="k",
            kind=kind,
            at="2026-11-20T03:00:00+00:00",
            incident=INCIDENT,
            severity=Severity.CRITICAL,
            page=RUN_ID,
            facts=facts,
        )
        message = Words(None, "http://127.0.0.1:8790").message([one])
        assert unseen(message.title) == unseen(message.body) == set()
        assert "\n" not in message.title


@pytest.mark.parametrize("text", HOSTILE)
def test_cards_are_visible_and_their_data_are_whole(text: str) -> None:
    bundle = cards.bundle("note", {"text": text}, cards.message_card("note", text), text)
    assert unseen(bundle["text/html"] + bundle["text/plain"]) == set()
    assert bundle["application/vnd.rbkernel.note+json"] == {"text": well_formed(text)}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_nothing_that_it_obeys(
    hostile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command writes through the same two streams."""
    for arguments in (["incident", "show", INCIDENT], ["incident", "list"], ["evidence", "list"]):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setattr(sys, "argv", ["rbkernel", *arguments])
        with pytest.raises(SystemExit):
            cli.main()
        # what a table's head is styled with is ours
        assert unseen(re.sub(r"\x1b\[[\d;]*m", "", terminal.getvalue())) <= set(), arguments
        assert "Traceback" not in terminal.getvalue()


def test_whatever_a_command_prints_is_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    with visible_streams():
        typer.echo("\n".join(HOSTILE))
        print("\rprogress", end="")
    assert unseen(terminal.getvalue()) == {"0xd"}
    assert sys.stdout is terminal


def test_a_line_of_the_log_is_one_line() -> None:
    def line(error: Callable[[], object]) -> str:
        try:
            error()
        except ValueError:
            failure = sys.exc_info()
        record = logging.LogRecord("a", 30, "f", 1, "told %s\nforged", ("\x1b[2J",), failure)
        return logs.Visible("%(message)s").format(record)

    def fails() -> None:
        raise ValueError("\x1b[31m")

    told, *rest = line(fails).splitlines()
    assert told == "told \\x1b[2J forged"
    assert rest[-1] == "ValueError: \\x1b[31m"


def test_a_name_in_one_line_forges_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert one_line("disk\nOK       all is well") == "disk OK all is well"
    cli.output.print_table(["name"], [("a\nb [/red] \x1b[2J",)])
    assert [line.strip() for line in capsys.readouterr().out.splitlines()] == [
        "name",
        "a b [/red] \\x1b[2J",
    ]


def test_json_is_for_machines_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    with visible_streams():
        cli.output.print_json(HOSTILE)
    assert json.loads(capsys.readouterr().out) == HOSTILE
