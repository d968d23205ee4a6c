"""A stream that is cut, flushed and released at any moment leaks no secret and loses no text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbkernel.redact import Carry, Redactor

SECRET = "Quetzal9silent&77"
HARMLESS = "step 7 of 9\r 12%|█ | eta 1:02\nwaiting for 3 hosts <b>db1</b> \x1b[31mred\x1b[0m é\n"


def redactor() -> Redactor:
    known = Redactor()
    known.learn("plain", SECRET)
    return known


def told(text: str, cuts: list[int], after: list[str]) -> str:
    """Return what a stream lets go of a text that comes in parts, with something after each."""
    carry, sent, at = Carry(redactor()), "", 0
    for cut, then in zip(sorted(min(cut, len(text)) for cut in cuts), after, strict=False):
        sent += carry.take(text[at:cut])
        at = cut
        if then != "nothing":
            sent += carry.flushed() if then == "flush" else carry.rest()
    return sent + carry.take(text[at:]) + carry.rest()


def cuts(text: str) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, len(text)), max_size=8)


AFTER = st.lists(st.sampled_from(["flush", "release", "nothing"]), min_size=8, max_size=8)
SAID = [
    f"so: {SECRET} end\n",
    f"first\nso: \x1b[31m{SECRET[:5]}\x1b[0m{SECRET[5:]} end\n",
    f"<td>{SECRET.replace('&', '&amp;')}</td>\n",
    f"{SECRET}",
]


def as_seen(text: str) -> str:
    return text.replace("\x1b[31m", "").replace("\x1b[0m", "")


@pytest.mark.parametrize("text", SAID)
@given(data=st.data())
def test_no_six_characters_of_a_known_secret_leave(text: str, data: st.DataObject) -> None:
    sent = as_seen(told(text, data.draw(cuts(text)), data.draw(AFTER)))
    pieces = [SECRET[at : at + 6] for at in range(len(SECRET) - 5)]
    assert [piece for piece in pieces if piece in sent] == []
    assert "[redacted:plain]" in sent


@given(data=st.data())
def test_text_without_a_secret_arrives_whole(data: st.DataObject) -> None:
    assert told(HARMLESS, data.draw(cuts(HARMLESS)), data.draw(AFTER)) == HARMLESS


@pytest.mark.parametrize(
    ("first", "second", "shown"),
    [
        ("PGPASSWORD=hunt", "er2 x\n", "[redacted:password] x\n"),
        ("PGPASS", "WORD=hunter2\n", "WORD=[redacted:password]\n"),
        ("postgres://app:hun", "ter2@db1/x\n", "[redacted:dsn]@db1/x\n"),
        ("ghp_16C7e42F292c69", "12E7710c838347Ae178B4a x\n", "[redacted:git host token] x\n"),
        ("ALTER ROLE x PASSWORD 'ge", "heim' y\n", "[redacted:sql password]' y\n"),
        ("4111 1111", " 1111 1111 x\n", "[redacted:card number] x\n"),
        ("-----BEGIN PRIVATE KEY-----\nMIIabc\n", "MIIdef\n-----END PRIVATE KEY-----\n",
         "[redacted:private key]-----END PRIVATE KEY-----\n"),
    ],
)  # fmt: skip
def test_the_second_part_of_a_pattern_is_masked(first: str, second: str, shown: str) -> None:
    carry = Carry(redactor())
    carry.take(first)
    carry.rest()
    assert carry.take(second) == shown


@pytest.mark.parametrize(
    ("text", "now"),
    [
        ("last words 7391", "last words 7391"),
        ("\r12%|█", "\r12%|█"),
        ("the password is ", "the "),
        ("so: Quet", "so: "),
        ("so: \x1b[31mQuet", "so: \x1b[31m"),
        ("card 4111 11", "card "),
        ("see ghp_16C7", "see "),
        ("x=1 password=hun", "x=1 "),
    ],
)
def test_a_flush_holds_what_may_be_the_beginning_of_a_secret_only(text: str, now: str) -> None:
    carry = Carry(redactor())
    assert carry.take(text) + carry.flushed() == now
    assert carry.holds == (now != text)


def test_a_text_that_only_begins_like_a_secret_goes_on() -> None:
    carry = Carry(redactor())
    assert carry.take("so: Quet") + carry.flushed() + carry.take("ta\n") == "so: Quetta\n"
