from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rbkernel.evidence.normal import normal_outputs, resolve_overwriting, same_outputs

pytestmark = pytest.mark.slow

TEXT = st.text(alphabet="ab \n\r\b\x1b[1m", max_size=12)
STREAMS = st.builds(
    lambda name, text: {"output_type": "stream", "name": name, "text": text},
    st.sampled_from(["stdout", "stderr"]),
    TEXT,
)
JSON = st.recursive(st.none() | st.integers() | TEXT, st.lists, max_leaves=4)
DISPLAYS = st.builds(
    lambda text, data: {
        "output_type": "display_data",
        "data": {"text/plain": text, "application/vnd.rbkernel.finding+json": data},
        "metadata": {},
    },
    TEXT,
    JSON,
)


@given(st.lists(STREAMS | DISPLAYS, max_size=6))
def test_a_normal_form_is_its_own_normal_form(outputs: list[dict[str, Any]]) -> None:
    once = normal_outputs(outputs)
    assert normal_outputs(once) == once


@given(TEXT, st.data())
def test_a_stream_may_be_cut_into_messages_anywhere(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    streams = [{"output_type": "stream", "name": "stdout", "text": part} for part in parts]
    whole = [{"output_type": "stream", "name": "stdout", "text": text}]
    assert same_outputs(streams, whole)


@given(TEXT)
@example("abc\rx\b")  # a backspace in the middle of a line
def test_overwriting_is_what_jupyterlab_does(text: str) -> None:
    assert resolve_overwriting(text) == jupyterlab(text)


def jupyterlab(text: str) -> str:
    """`processText` of @jupyterlab/outputarea 4.6, character by character."""
    shown, index = "", 0
    for character in text:
        if character == "\b":
            if index > 0 and shown[index - 1] != "\n":
                shown = shown[: index - 1] + shown[index + 1 :]
                index -= 1
        elif character == "\r":
            while index > 0 and shown[index - 1] != "\n":
                index -= 1
        elif character == "\n":
            shown += "\n"
            index = len(shown)
        else:
            shown = shown[:index] + character + shown[index + 1 :]
            index += 1
    return shown


def display(text: object, **extra: object) -> dict[str, Any]:
    return {"output_type": "display_data", "data": {"text/html": text}, "metadata": {}, **extra}


def test_what_frontends_store_differently_is_the_same() -> None:
    assert same_outputs([display(["a\n", "b"])], [display("a\nb", transient={"display_id": "x"})])


def test_what_a_reader_would_see_differently_is_not() -> None:
    assert not same_outputs([display("31.5 s")], [display("1.5 s")])
    assert not same_outputs([display("a"), display("b")], [display("b"), display("a")])
    red = {"output_type": "stream", "name": "stdout", "text": "\x1b[31mx\x1b[0m"}
    assert not same_outputs([red], [{**red, "text": "x"}])


def test_json_is_compared_as_data_and_not_by_the_order_of_its_keys() -> None:
    def finding(data: object) -> dict[str, Any]:
        return {"output_type": "display_data", "data": {"application/json": data}}

    assert same_outputs([finding({"a": 1, "b": 2})], [finding({"b": 2, "a": 1})])
    assert not same_outputs([finding(["a", "b"])], [finding("ab")])
