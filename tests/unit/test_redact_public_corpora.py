"""The corpora from public formats: how many secrets vanish, and how many look-alikes stay.

The figures are printed: ``pytest -s tests/unit/test_redact_public_corpora.py -k figures``.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable

import pytest

from rbkernel.redact.text import TextRedactor
from tests.unit.secret_corpus import measure, read

pytestmark = pytest.mark.slow


def redact(text: str) -> str:
    return TextRedactor().text(text)


def test_the_corpus_is_large_enough() -> None:
    samples = read("secrets_public.txt")
    assert sum(bool(sample.secrets) for sample in samples) >= 300
    assert sum(not sample.secrets for sample in samples) >= 300


def test_every_secret_of_public_formats_vanishes_and_every_look_alike_stays() -> None:
    measured = measure(read("secrets_public.txt"), redact)
    print(f"\n{measured}")
    assert [sample.text for sample in measured.leaked] == []
    assert [sample.text for sample in measured.harmed] == []


def test_a_corpus_that_the_rules_were_not_adjusted_to() -> None:
    # the first look found 117 of 129 secrets and harmed 6 of 149 look-alikes
    measured = measure(read("secrets_held_back.txt"), redact)
    print(f"\n{measured}")
    assert measured.recall >= 0.907
    assert measured.precision >= 0.951


def test_redacting_twice_changes_nothing() -> None:
    once = [redact(sample.text) for sample in read("secrets_public.txt")]
    assert [redact(text) for text in once] == once


@pytest.mark.parametrize(
    "dress",
    [
        lambda text: json.dumps({"said": text}),
        lambda text: repr([text]),
        lambda text: f"<td>{html.escape(text)}</td>",
        lambda text: f"before\r\n{text}\r\nafter",
    ],
    ids=["json", "repr", "html", "lines"],
)
def test_look_alikes_stay_in_what_surrounds_them(dress: Callable[[str], str]) -> None:
    texts = [dress(s.text) for s in read("secrets_public.txt") if not s.secrets]
    changed = [text for text in texts if redact(text) != text]
    # `--password "$PASSWORD"` in JSON: two quotes in a row are one quote of SQL and CSV
    assert [text for text in changed if '--password \\"$PASSWORD' not in text] == []
