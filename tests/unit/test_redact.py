"""The parts of the redaction: known values, streams, values of any shape, pictures, columns."""

from __future__ import annotations

import base64
import json
import re
import struct
import time
import unicodedata
import zlib
from typing import Any
from urllib.parse import quote

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbkernel.checks.answer import Answer, Column, Provenance
from rbkernel.checks.frames import to_frame
from rbkernel.errors import ConfigError
from rbkernel.redact import Carry, MessageRedactor, Redactor, leaks
from rbkernel.redact.columns import Redaction
from rbkernel.redact.forms import forms
from rbkernel.redact.images import plain_picture

CANARY = "c4n&ry'Tr0ub\"dör/9+"
PLAIN = "canary-3f9k2x"


@pytest.fixture
def redactor() -> Redactor:
    made = Redactor()
    made.learn("canary", CANARY)
    made.learn("plain", PLAIN)
    return made


def png(*chunks: tuple[bytes, bytes], tail: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))
        )

    pixels = zlib.compress(b"\0\xff\xff\xff")
    body = [(b"IHDR", struct.pack("!IIBBBBB", 1, 1, 8, 2, 0, 0, 0)), *chunks, (b"IDAT", pixels)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in [*body, (b"IEND", b"")]) + tail


def jpeg(*segments: tuple[int, bytes]) -> bytes:
    def segment(kind: int, data: bytes) -> bytes:
        return bytes([0xFF, kind]) + struct.pack("!H", len(data) + 2) + data

    jfif = (0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
    body = [jfif, *segments, (0xDB, b"\0" * 65), (0xC0, b"\0" * 9), (0xDA, b"\0" * 8)]
    return b"\xff\xd8" + b"".join(segment(*one) for one in body) + b"pix\xff\0els\xff\xd0\xff\xd9"


def shown(redactor: Redactor, bundle: dict[str, Any]) -> dict[str, Any]:
    """Return what a message that shows this bundle has left of it."""
    data: dict[str, Any] = redactor.value({"data": bundle, "metadata": {}})["data"]
    return data


class TestKnownValues:
    @pytest.mark.parametrize("form", sorted(forms(CANARY)))
    def test_vanish_in_every_form(self, redactor: Redactor, form: str) -> None:
        assert redactor.text(f"before {form} after") == "before [redacted:canary] after"

    @pytest.mark.parametrize("prefix", ["", "u", "us", "usr", "user:"])
    @pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
    def test_vanish_in_base64_wherever_they_begin(
        self, redactor: Redactor, prefix: str, encode: Any
    ) -> None:
        text = encode(f"{prefix}{CANARY}@host".encode()).decode()
        left = redactor.text(text).replace("[redacted:canary]", "")
        assert len(left) <= len(base64.b64encode(f"{prefix}@host".encode())) + 4

    HARD = "Kan\"ar&<vo'g%7/+\\ü€x"
    LONG = "multi-Lynx-8811-quiet-token-long-value-abcdefgh-0123456789-ABCDEFGH-xyz-tail9"

    @pytest.mark.parametrize(
        "dressed",
        [
            base64.encodebytes(b"q" * 45 + LONG.encode() + b"z" * 70).decode(),
            base64.encodebytes(b"q" * 50 + LONG.encode() + b"z" * 70)
            .decode()
            .replace("\n", "\r\n"),
            repr(base64.encodebytes(b"q" * 51 + LONG.encode())),
            repr(HARD.encode()),
            repr([HARD.encode(), '"']),
            json.dumps(repr(HARD.encode())),
            "+ : '" + HARD.replace("'", "'\\''") + "'",
            "$'" + HARD.replace("\\", "\\\\").replace("'", "\\'") + "'",
            "Kan\\\"ar\\&\\<vo\\'g%7/+\\\\ü€x",
            f"<a title='{HARD.replace(chr(39), '&#39;')}'>a</a>",
            f'<a title="{HARD.replace(chr(34), "&#x22;").replace("&<", "&#38;<")}">a</a>',
            "".join(f"&#{ord(letter)};" for letter in HARD),
            f'<b>{LONG[:5]}</b><i class="a>b">{LONG[5:]}</i>',
            f"{LONG[:5]}<!-- > -->{LONG[5:]}",
            f"{LONG[:5]}<wbr>&shy;{LONG[5:]}",
            f"<tspan>{LONG[:5]}</tspan><tspan x='3'>{LONG[5:]}</tspan>",
            f"{LONG[:5]}\u200b{LONG[5:]}",
            json.dumps(f"{LONG[:5]}\u200b{LONG[5:]}"),
            "".join(f"\\x{ord(letter):02x}" for letter in LONG),
            HARD.encode().hex(" "),
            HARD.encode().hex(":").upper(),
            quote(quote(HARD, safe=""), safe=""),
            unicodedata.normalize("NFD", HARD),
        ],
    )
    def test_vanish_in_other_clothes(self, dressed: str) -> None:
        redactor = Redactor()
        redactor.learn("hard", self.HARD)
        redactor.learn("long", self.LONG)
        left = redactor.text(dressed)
        assert re.search(r"\[redacted:(hard|long)\]", left)
        pieces = (self.LONG[:5], self.LONG[-5:], "bHRpLUx5bngtODgxMS", "Kan", "vo", "6f:27", "%7/")
        assert [piece for piece in pieces if piece in left] == []
        assert redactor.text(left) == left

    @pytest.mark.parametrize("mark", ["...", "…", "<...>"])
    def test_vanish_where_something_cuts_out_their_middle(self, mark: str) -> None:
        redactor = Redactor()
        redactor.learn("long", self.LONG)
        cut = f"T({self.LONG[:12]}{mark}{self.LONG[-13:]})"
        assert redactor.text(cut) == f"T([redacted:long]{mark}[redacted:long])"
        assert redactor.text("and so on...tail9") == "and so on...tail9"

    def test_vanish_where_a_table_cuts_them(self, redactor: Redactor) -> None:
        assert redactor.text(f"{PLAIN[:9]}... |") == "[redacted:plain]... |"

    def test_short_ones_are_words(self) -> None:
        redactor = Redactor()
        assert redactor.learn("short", "test1")
        assert (
            redactor.text("test1 latest1 'test1'") == "[redacted:short] latest1 '[redacted:short]'"
        )
        assert not redactor.learn("too short", "abc")
        assert not redactor.learn("public", "orders", public={"orders"})
        assert not redactor.learn("a word of ours", "critical")

    def test_each_line_counts(self) -> None:
        redactor = Redactor()
        redactor.learn("two lines", "first-secret-line\nsecond-secret-line\n")
        assert "secret" not in redactor.text("  second-secret-line\n    first-secret-line")


class TestStreams:
    @given(st.lists(st.integers(0, 200), max_size=6))
    def test_a_secret_split_anywhere_never_leaves(self, cuts: list[int]) -> None:
        redactor = Redactor()
        redactor.learn("plain", PLAIN)
        line = f"{PLAIN} postgres://u:{PLAIN[::-1]}@h/d card 4111 1111 1111 1111"
        text = f"one\n{line}\rPGPASSWORD=a1b2\n"
        carry, sent, at = Carry(redactor), "", 0
        for cut in sorted(min(cut, len(text)) for cut in cuts):
            sent += carry.take(text[at:cut])
            at = cut
        sent += carry.take(text[at:]) + carry.rest()
        assert sent == redactor.text(text)
        assert PLAIN not in sent

    def test_a_value_in_the_line_below_its_name_never_leaves(self, redactor: Redactor) -> None:
        carry = Carry(redactor)
        sent = [carry.take(line) for line in ("env:\n- name: DB_PASS\n", "  value: tulip\n", "x\n")]
        assert sent == ["env:\n- name: DB_PASS\n", "  value: [redacted:password]\n", "x\n"]

    def test_a_private_key_waits_for_its_end(self, redactor: Redactor) -> None:
        carry = Carry(redactor)
        begin = carry.take("key:\n-----BEGIN PRIVATE KEY-----\nMIIabc\n")
        middle = carry.take("MIIdef\n")
        end = carry.take("-----END PRIVATE KEY-----\nafter\n")
        assert "MII" not in begin + middle + end
        assert (begin + middle + end).startswith("key:\n-----BEGIN PRIVATE KEY-----")
        assert end.endswith("after\n")

    def test_progress_moves(self, redactor: Redactor) -> None:
        carry = Carry(redactor)
        assert [carry.take(text) for text in (".", "..", " █", "done\n")] == [
            ".",
            "..",
            " █",
            "done\n",
        ]

    @pytest.mark.slow
    def test_a_long_line_moves(self, redactor: Redactor) -> None:
        carry, sent = Carry(redactor), 0
        for _ in range(100):
            sent += len(carry.take("x" * 1000))
        assert sent > 90_000


class TestValues:
    def test_what_holds_no_secret_is_the_same_object(self, redactor: Redactor) -> None:
        value = {"data": {"text/plain": "3 rows", "application/json": [1, 2.5, None, True]}}
        assert redactor.value(value) is value
        assert not redactor.counts

    @pytest.mark.parametrize(
        "value",
        [
            {"password": PLAIN[::-1]},
            {"a": [{"apiKey": "x1y2"}]},
            {"password": ["x1", "x2"]},
            {"name": "db_password", "value": "'x1'"},
            {"key": "DB_PASSWORD", "value": "x1"},
            [{"Name": "DB_PASSWORD", "Value": "x1"}, {"Name": "LEVEL", "Value": "debug"}],
            {"ParameterKey": "DbPassword", "ParameterValue": "x1"},
            {f"key {PLAIN}": 1},
            {"hover": [f"user {PLAIN}"]},
            {"pan": 4111111111111111},
            {"text/html": 1, "password": "x1"},
            {"text/html": 1, "a": {f"{PLAIN}": 2}},
            {"data": {"text/plain": "x", "password": "x1", PLAIN: 1}, "metadata": {}},
            {"data": {f"application/x-{PLAIN}": "v"}, "metadata": {}},
            {"data": {"application/json": {"text/html": 1, "password": "x1"}}, "metadata": {}},
            {"data": {}, "metadata": {"text/plain": {"k": 1}, PLAIN: {"a": 1}, "token": "x2"}},
            {"text/html": f"<b>{PLAIN[:4]}</b>{PLAIN[4:]}"},
            {"image/svg+xml": f"<svg><text>{PLAIN}</text></svg>"},
            {"x": {"dtype": "u1", "bdata": base64.b64encode(f"..{PLAIN}..".encode()).decode()}},
        ],
    )
    def test_secrets_vanish_from_any_shape(self, redactor: Redactor, value: Any) -> None:
        clean = redactor.value(value)
        assert clean != value
        written = json.dumps(clean)
        assert not any(word in written for word in (PLAIN, "x1", "x2", PLAIN[::-1], "41111111"))
        assert redactor.value(clean) == clean

    def test_a_typed_array_keeps_its_length(self, redactor: Redactor) -> None:
        data = base64.b64encode(PLAIN.encode() + bytes(7)).decode()
        clean = redactor.value({"dtype": "u1", "bdata": data})
        assert base64.b64decode(clean["bdata"]) == bytes(len(PLAIN) + 7)
        picture = base64.b64encode(TestPictures.DIRTY).decode()
        clean = redactor.value({"dtype": "u1", "bdata": picture})
        assert base64.b64decode(clean["bdata"]) == bytes(len(TestPictures.DIRTY))

    def test_flags_and_counts_under_such_names_stay(self, redactor: Redactor) -> None:
        value = {"password": True, "token": None, "secret": "", "max_tokens": 7}
        assert redactor.value(value) == value

    def test_what_nobody_can_search_is_withheld_and_says_so(self, redactor: Redactor) -> None:
        gif = base64.b64encode(b"GIF89a" + PLAIN.encode()).decode()
        clean = shown(redactor, {"image/gif": gif, "text/plain": "<Image>"})
        assert clean.keys() == {"text/plain"}
        assert clean["text/plain"].startswith("<Image>\n[withheld: image/gif")
        page = redactor.text(f'<img src="data:image/gif;base64,{gif}"> <b>x</b>')
        assert page == '<img src="[withheld: image/gif]"> <b>x</b>'
        packed = redactor.buffer(b"PK\3\4" + PLAIN.encode() + bytes(99))
        assert packed == b"[withheld: packed data]".ljust(len(PLAIN) + 103, b"\0")


class TestPictures:
    DIRTY = png((b"tEXt", b"Comment\0" + PLAIN.encode()), (b"eXIf", PLAIN.encode()), tail=b"tail")

    def test_a_png_loses_what_does_not_show(self) -> None:
        assert plain_picture(self.DIRTY) == png()

    def test_a_jpeg_loses_what_does_not_show(self) -> None:
        hidden = [(0xE1, b"Exif\0\0" + PLAIN.encode()), (0xFE, PLAIN.encode()), (0xE2, b"ICC")]
        assert plain_picture(jpeg(*hidden) + b"tail") == jpeg()

    @pytest.mark.parametrize("cut", [9, 20, 40, -5])
    def test_a_damaged_one_is_withheld(self, redactor: Redactor, cut: int) -> None:
        clean = shown(redactor, {"image/png": base64.b64encode(self.DIRTY[:cut][:60]).decode()})
        assert "image/png" not in clean
        with pytest.raises(ValueError, match=r"JPEG|picture"):
            plain_picture(jpeg()[:cut])

    def test_everywhere(self, redactor: Redactor) -> None:
        dirty, plain = (base64.b64encode(data).decode() for data in (self.DIRTY, png()))
        assert shown(redactor, {"image/png": dirty + "\n"})["image/png"] == plain
        pasted = {"attachments": {"a.png": {"image/png": dirty}}}
        assert redactor.value(pasted)["attachments"]["a.png"]["image/png"] == plain
        page = {"text/html": f'<img src="data:image/png;base64,{dirty}">'}
        assert shown(redactor, page)["text/html"] == f'<img src="data:image/png;base64,{plain}">'
        assert redactor.buffer(memoryview(self.DIRTY)) == png()


class TestMessages:
    def test_what_cannot_be_searched_is_withheld_in_the_form_that_clients_know(self) -> None:
        cell: Any = {"data": {"text/plain": object()}, "metadata": {}, "transient": {}}
        clean = MessageRedactor(Redactor()).clean("display_data", cell, {}, ())
        assert "withheld" in clean.content["data"]["text/plain"]
        deep: Any = "x"
        for _ in range(5000):
            deep = [deep]
        reply = {"status": "ok", "execution_count": 3, "payload": deep}
        clean = MessageRedactor(Redactor()).clean("execute_reply", reply, {}, ())
        assert (clean.content["status"], clean.content["execution_count"]) == ("ok", 3)

    def test_a_password_field_is_never_echoed(self) -> None:
        redactor = MessageRedactor(Redactor())
        state = {"_model_name": "PasswordModel", "value": "s", "placeholder": "p"}
        opened = {"comm_id": "c", "data": {"state": state}}
        assert "value" not in redactor.clean("comm_open", opened, {}, ()).content["data"]["state"]
        typed = {"comm_id": "c", "data": {"method": "update", "state": {"value": "typed-1"}}}
        assert redactor.typed(typed) == "typed-1"
        assert redactor.clean("comm_msg", typed, {}, ()).content["data"]["state"] == {}


TOLD = Provenance(
    name="people",
    connection="db",
    server="",
    role="",
    sql="",
    values={},
    at="",
    duration_s=0.0,
    rows=3,
    cut_by="",
)


class TestColumns:
    ANSWER = Answer(
        columns=(
            Column("id", 23),
            Column("email", 25),
            Column("iban", 1043),
            Column("note", 25),
            Column("rolpassword", 25),
            Column("has_password", 16),
        ),
        rows=[
            (1, "a@x", "DE1", "n", "md5x", True),
            (2, "a@x", None, "n", None, False),
            (3, None, "DE3", "n", "y", None),
        ],
        provenance=TOLD,
    )

    def test_policies(self) -> None:
        rules = Redaction.model_validate(
            {"columns": {"EMAIL": "hash", "i*n": "mask", "note": "drop", "id": "mask"}}
        )
        made = self.ANSWER.protected(rules)
        frame = to_frame(made)
        assert made.provenance.protected == {
            "email": "hash",
            "iban": "mask",
            "id": "mask",
            "note": "drop",
            "rolpassword": "mask",
        }
        assert list(frame.columns) == ["id", "email", "iban", "rolpassword", "has_password"]
        assert frame["id"].tolist() == ["[masked]"] * 3
        assert frame["email"][0] == frame["email"][1] != "a@x"
        assert frame["email"].isna().tolist() == [False, False, True]
        assert frame["iban"].tolist() == ["[masked]", None, "[masked]"]
        assert frame["has_password"].tolist() == [True, False, pd.NA]

    def test_a_policy_may_keep_what_looks_secret(self) -> None:
        rules = Redaction.model_validate({"columns": {"rolpassword": "keep"}})
        assert self.ANSWER.protected(rules) == self.ANSWER

    def test_the_key_makes_the_token(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rules = Redaction.model_validate({"columns": {"email": "hash"}, "hash_key_env": "HASHING"})
        with pytest.raises(ConfigError, match="HASHING is not set"):
            self.ANSWER.protected(rules)
        tokens = []
        for key in ("one", "one", "two"):
            monkeypatch.setenv("HASHING", key)
            tokens.append(self.ANSWER.protected(rules).rows[0][1])
        assert tokens[0] == tokens[1] != tokens[2]


def test_leaks_name_place_and_rule_and_never_the_secret() -> None:
    notebook = {
        "metadata": {"papermill": {"parameters": {"db": f"postgres://u:{PLAIN}@h/d", "n": 3}}},
        "cells": [
            {"cell_type": "markdown", "source": ["all ", "good"], "metadata": {}},
            {"cell_type": "code", "source": f"dsn = 'host=h password={PLAIN}'", "metadata": {},
             "outputs": [{"output_type": "stream", "text": [f"PGPASSWORD={PLAIN}\n"]}]},
        ],
    }  # fmt: skip
    found = leaks(notebook)
    assert [leak.where for leak in found] == [
        "cell 2, source",
        "cell 2, output 1",
        "metadata papermill parameters db",
    ]
    assert PLAIN not in str(found)
    others = leaks(notebook, but_outputs_of={1})
    assert [leak.where for leak in others] == ["cell 2, source", "metadata papermill parameters db"]


ADVERSARIAL = [
    *("a", "4", "4 ", "-", "&", "\\", '\\"', "<a ", "<a '", "\x1b[", "\n", "=", "sk-", "eyJ"),
    *(
        '<a "',
        "<a '>",
        "<!--",
        "<!-- -",
        "&#38;<a x='",
        "QUJDREVGR0hJSktMTU5P\n",
        "\u200b",
        "<...>",
    ),
    *("://:", "postgres://u:", "eyJabcdefgh.", "-----BEGIN PRIVATE KEY-----", "password="),
    *("password='", 'password="\\', "password $$", "password '", "password : ", "$2b$12$"),
    *("curl -u a:", "bearer ", "login password ", "cookie: ", " --token ", "<input ", "crypt('"),
    *("Server=a;Pwd={", "it's password=a", "PASSWORD=db_password ", "‹PLACEHOLDER: x› pw=a1 "),
    *("insert into a (password) values ('a'), (", "mysql -p ", "a:5432:b:c:", "user a/b@", "x\b"),
    *('password=") ', 'variable "password" {', "setenv PASSWORD ", "*", "quetza\nls ", "\\n"),
    *(
        "scram-sha-256$1:",
        "4111 1111 1111 1111 ",
        f"{PLAIN[:7]}...",
        "set password for x ",
        "<token>",
    ),
    *("- name: DB_PASSWORD\n  value: ", "name: password, ", "value: a\nname: ", "echo a | passwd "),
    *("echo 'a' ", "echo a; echo b | sudo -S ", "passwd <<EOF\na\n", "chpasswd <<< ", "user:a@b:"),
    *(
        "chpasswd:\n  list: |\n    a:b\n",
        "x-a-key: ",
        "X-Team: a1",
        "passphrase: a b c ",
        "net use a ",
    ),
    *(
        "a=b,password=c,",
        "<name>password</name>\\n",
        "${PASSWORD:-",
        "user a on >",
        "USER a\nPASS\n",
    ),
    *(
        "expect password\nsend ",
        "username a password ",
        "smtp_password ",
        "A_PASSWORD or '",
        "_AUTH=",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("piece", ADVERSARIAL)
def test_the_time_grows_with_the_text_and_not_faster(redactor: Redactor, piece: str) -> None:
    """Compared with itself, because how fast a machine is says nothing; quadratic would be 64."""

    def cpu_s(characters: int) -> float:
        text = piece * (characters // len(piece))
        began = time.process_time()
        redactor.texts.spans(text)
        return time.process_time() - began

    short = min(cpu_s(15_000) for _ in range(3))
    # one of some, because another process may slow down each
    assert any(cpu_s(120_000) < 24 * max(short, 0.01) for _ in range(3))
