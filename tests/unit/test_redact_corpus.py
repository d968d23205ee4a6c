"""Every secret of the corpora vanishes, the text around it stays, and so does every look-alike.

Precision and recall are printed: ``pytest -s tests/unit/test_redact_corpus.py -k measured``.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rbkernel.redact.span import MASK
from rbkernel.redact.text import TextRedactor

CORPORA = Path(__file__).parent.parent / "corpora"
# the secrets of the lines of secrets.txt, in their order
SHARED = (
    *("s3cr3t-Pa55", "p%40ss%2Fword", "hunter2hunter2", "with space and ''quote", "Tr0ub4dor&3"),
    *("md5d41d8cd98f00b204e9800998ecf8427e", "dollar quoted", "fdw-secret-9", "replpass1"),
    *("dblinkpass", "correct-horse", "battery staple", "sk-test-0123456789abcdef0123456789abcdef"),
    "9f8e7d6c5b4a39281706f5e4d3c2b1a0",
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLW1hZGUtdXA",
    *("cmJfZGlhZzpodW50ZXIyaHVudGVyMg==", "4111 1111 1111 1111", "5500000000000004"),
    *("redispassword", "rabbitpw", "pw0rd", "adminpw", "0f1e2d3c4b5a69788796a5b4c3d2e1f0"),
    *("json-pass", "html-pass", "$2b$12$abcdefghijklmnopqrstuv0123456789012345678901234567890"),
    "abcdef0123456789abcdef0123456789",
)
LETTERS = "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dF3hJ5kL7nP9rS1uV3xY5"


def lines(name: str, kind: str) -> list[str]:
    rows = (CORPORA / name).read_text().splitlines()
    marked = [row.partition("\t") for row in rows]
    return [
        text.replace(r"\n", "\n").replace(r"\\", "\\") for word, _, text in marked if word == kind
    ]


def built() -> Iterator[tuple[str, str]]:
    """Tokens that a scanner of repositories would find if they stood in a file."""
    upper, hexa = LETTERS.upper().translate(str.maketrans("0189", "2345")), "0f1e2d3c4b5a6978" * 4
    tokens = [
        *("AK" + "IA" + upper[:16], "AS" + "IA" + upper[3:19], "AI" + "za" + LETTERS[:35]),
        *("ya" + "29." + LETTERS[:40], "do" + "p_v1_" + hexa, "GOC" + "SPX-" + LETTERS[:28]),
        *(f"gh{kind}_" + LETTERS[:36] for kind in "pousr"),
        *("github" + "_pat_" + LETTERS[:40], "gl" + "pat-" + LETTERS[:20]),
        *("xo" + "xb-1234567890-" + LETTERS[:24], "xa" + "pp-1-A012-" + LETTERS[:24]),
        *(
            "sk" + "_live_" + LETTERS[:24],
            "rk" + "_test_" + LETTERS[:24],
            "sk" + "-proj-" + LETTERS,
        ),
        *("sk" + "-ant-api03-" + LETTERS, "SG" + "." + LETTERS[:22] + "." + LETTERS[:43]),
        *("hf" + "_" + LETTERS[:34], "np" + "m_" + LETTERS[:36], "py" + "pi-" + LETTERS * 2),
        *("da" + "pi" + hexa[:32], "sh" + "pat_" + hexa[:32], "NR" + "AK-" + upper[:27]),
        *("dckr" + "_pat_" + LETTERS[:27], "gl" + "sa_" + LETTERS[:32] + "_" + hexa[:8]),
        *("hv" + "s." + LETTERS[:30], "pul" + "-" + hexa[:40], "AGE-" + "SECRET-KEY-1" + upper),
        "ey" + "J" + base64.b64encode(b'hbGciOiJ"x"').decode().rstrip("=") + ".eyJzdWIi.c2ln",
    ]
    for token in tokens:
        yield f"the job said {token}, then it stopped", token
    hook = "services/" + f"T0000/B0000/{LETTERS[:24]}"
    yield f"posted to https://hooks.slack.com/{hook} at noon", hook
    hook = "123456789012345678/" + LETTERS + LETTERS[:17]
    yield f"https://discord.com/api/webhooks/{hook} answered 204", hook
    for kind in ("", "RSA ", "OPENSSH ", "ENCRYPTED "):
        edge = f"{kind}PRIVATE KEY-----"
        body = f"\n{LETTERS}\n{LETTERS}\n"
        yield f"key:\n-----BEGIN {edge}{body}-----END {edge}\nand text", body
        as_json = json.dumps(body)[1:-1]
        yield f'{{"key": "-----BEGIN {edge}{as_json}-----END {edge}", "id": 1}}', as_json


def secrets() -> list[tuple[str, str]]:
    shared = list(zip(lines("secrets.txt", "secret"), SHARED, strict=True))
    marked = lines("secrets_more.txt", "secret")
    own = [(re.sub("[⟦⟧]", "", text), re.findall("⟦(.*)⟧", text, re.DOTALL)[0]) for text in marked]
    return [*shared, *own, *built()]


def look_alikes() -> list[str]:
    return [*lines("secrets.txt", "keep"), *lines("secrets_more.txt", "keep")]


def redacted(text: str) -> str:
    return MASK.sub("※", TextRedactor().text(text))


@pytest.mark.parametrize(("text", "secret"), secrets())
def test_a_secret_vanishes_and_the_text_around_it_stays(text: str, secret: str) -> None:
    assert redacted(text) == text.replace(secret, "※")


@pytest.mark.parametrize("text", look_alikes())
def test_a_look_alike_stays(text: str) -> None:
    assert TextRedactor().text(text) == text


@pytest.mark.parametrize(("text", "secret"), secrets())
def test_redacting_twice_changes_nothing(text: str, secret: str) -> None:
    once = TextRedactor().text(text)
    assert TextRedactor().text(once) == once


@pytest.mark.parametrize(
    "dress",
    [
        lambda text: json.dumps({"said": text}),
        lambda text: repr([text]),
        lambda text: f"\x1b[31mERROR\x1b[0m {text}\n  at line 3",
        lambda text: "before\r\n" + text + "\r\nafter",
    ],
)
def test_secrets_are_found_in_other_clothes(dress: object) -> None:
    assert callable(dress)
    missed = [text for text, secret in secrets() if secret in TextRedactor().text(dress(text))]
    assert missed == []


def test_precision_and_recall_are_measured() -> None:
    found = sum(secret not in TextRedactor().text(text) for text, secret in secrets())
    harmed = sum(TextRedactor().text(text) != text for text in look_alikes())
    recall, precision = found / len(secrets()), found / (found + harmed)
    print(
        f"\nsecrets {len(secrets())}, found {found}, recall {recall:.3f};"
        f" look-alikes {len(look_alikes())}, harmed {harmed}, precision {precision:.3f}"
    )
    assert len(secrets()) >= 2 * len(SHARED)
    assert len(look_alikes()) >= 60
    assert (recall, precision) == (1.0, 1.0)
