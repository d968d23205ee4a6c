"""The normal form of cell outputs, for comparing two lists of outputs. Pure.

JupyterLab, nbclient and papermill store the same messages in different forms. In the normal form,
adjacent streams are joined, carriage returns and backspaces are resolved as JupyterLab does when
it stores a stream, multi-line strings are joined, and empty metadata is dropped. Text keeps its
ANSI colours. Normalizing twice gives the same result. Values are compared in the normal form of
`rbkernel.strictjson`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from rbkernel import strictjson

Output = Mapping[str, Any]

JSON_MIMETYPE = re.compile(r"application/(.*\+)?json")  # as in nbformat's schema
PLOTLY_MIMETYPE = "application/vnd.plotly.v1+json"
_OVERWRITING = re.compile("([\b\r])")


def normal_outputs(outputs: Iterable[Output]) -> list[dict[str, Any]]:
    r"""Return the outputs of a cell in normal form.

    >>> normal_outputs([
    ...     {"output_type": "stream", "name": "stdout", "text": ["10 %", "\r20 %"]},
    ...     {"output_type": "stream", "name": "stdout", "text": "\n"},
    ... ])
    [{'output_type': 'stream', 'name': 'stdout', 'text': '20 %\n'}]
    >>> normal_outputs([{"output_type": "display_data", "metadata": {}, "data": {
    ...     "text/html": ["a\n", "b"], "application/json": ["b"]},
    ...     "transient": {"display_id": "7"}}])
    [{'output_type': 'display_data', 'data': {'text/html': 'a\nb', 'application/json': ['b']}}]
    """
    return [_normal_output(output) for output in join_streams(outputs)]


def same_outputs(left: Iterable[Output], right: Iterable[Output]) -> bool:
    """Tell whether two lists of outputs have the same normal form.

    >>> same_outputs([{"output_type": "execute_result", "data": {}, "execution_count": 1}],
    ...              [{"output_type": "execute_result", "data": {}, "execution_count": 2}])
    False
    """
    one, other = normal_outputs(left), normal_outputs(right)
    # most outputs are the same to the letter, which is ten times as fast to see
    return _written(one) == _written(other) or _canonical(one) == _canonical(other)


def missing_and_added(
    shown: Iterable[Output], recorded: Iterable[Output]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Compare a notebook's outputs with the journal's; return missing outputs and added outputs.

    >>> text = {"output_type": "stream", "name": "stdout", "text": "3 rows"}
    >>> missing_and_added([], [text])
    ([{'output_type': 'stream', 'name': 'stdout', 'text': '3 rows'}], [])
    """
    missing, added = normal_outputs(recorded), []
    keys = [_canonical(output) for output in missing]
    for output in normal_outputs(shown):
        key = _canonical(output)
        if key in keys:
            place = keys.index(key)
            del keys[place], missing[place]
        else:
            added.append(output)
    return missing, added


def join_streams(outputs: Iterable[Output]) -> list[dict[str, Any]]:
    """Join consecutive outputs of the same stream, such as stdout, into one output.

    >>> out = {"output_type": "stream", "name": "stdout", "text": "a"}
    >>> err = {"output_type": "stream", "name": "stderr", "text": "b"}
    >>> [one["text"] for one in join_streams([out, out, err, out])]
    ['aa', 'b', 'a']
    """
    joined: list[dict[str, Any]] = []
    chunks: list[list[str]] = []  # text of each output in `joined`, gathered before one join
    for output in outputs:
        name = output.get("name") if output.get("output_type") == "stream" else None
        if name is None:
            joined.append(dict(output))
            chunks.append([])
        elif joined and joined[-1].get("output_type") == "stream" and joined[-1]["name"] == name:
            chunks[-1].append(text(output.get("text")))
        else:
            joined.append(dict(output))
            chunks.append([text(output.get("text"))])
    for output, parts in zip(joined, chunks, strict=True):
        if parts:
            output["text"] = "".join(parts)
    return joined


def text(value: object) -> str:
    r"""Return a text of a notebook, which nbformat may store as a list of lines, as one string.

    >>> text(["a\n", "b"]), text("c"), text(None)
    ('a\nb', 'c', '')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return "".join(str(line) for line in value)
    return "" if value is None else json.dumps(value, default=str)


def resolve_overwriting(stream: str) -> str:
    r"""Apply the carriage returns and backspaces in printed text, as JupyterLab does.

    A backspace removes a character, unlike on a terminal. A line feed ends the line at its full
    length, even if a carriage return moved the cursor back before.

    >>> resolve_overwriting("100 %\r 20\n"), resolve_overwriting("abc\b\bd\n\b")
    (' 20 %\n', 'ad\n')
    """
    if "\r" not in stream and "\b" not in stream:
        return stream
    return "\n".join(_overwrite(line) for line in stream.split("\n"))


def _overwrite(line: str) -> str:
    characters: list[str] = []
    cursor = 0
    for part in _OVERWRITING.split(line):
        if part == "\r":
            cursor = 0
        elif part == "\b":
            if cursor:
                # JupyterLab drops the character under the cursor, too
                del characters[cursor - 1 : cursor + 1]
                cursor -= 1
        else:
            characters[cursor : cursor + len(part)] = part
            cursor += len(part)
    return "".join(characters)


def _normal_output(output: Output) -> dict[str, Any]:
    kind = output.get("output_type")
    if kind == "stream":
        shown = resolve_overwriting(text(output.get("text")))
        return {"output_type": kind, "name": output.get("name"), "text": shown}
    if kind == "error":
        facts = {key: text(output.get(key)) for key in ("ename", "evalue")}
        traceback = "\n".join(str(line) for line in output.get("traceback") or ())
        return {"output_type": kind, **facts, "traceback": traceback}
    normal = {"output_type": kind, "data": normal_bundle(output.get("data") or {})}
    if output.get("metadata"):
        normal["metadata"] = output["metadata"]
    if kind == "execute_result":
        normal["execution_count"] = output.get("execution_count")
    return normal


def normal_bundle(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a MIME bundle with texts as single strings and JSON types as parsed data."""
    return {
        mimetype: value if JSON_MIMETYPE.fullmatch(mimetype) else text(value)
        for mimetype, value in data.items()
        # JupyterLab's plotly extension adds a picture of the drawn figure
        if mimetype != "image/png" or PLOTLY_MIMETYPE not in data
    }


def _canonical(value: object) -> str:
    return _written(_as_javascript(strictjson.normal(value, str)))


def _written(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _as_javascript(value: object) -> object:
    """Return JSON data with numbers as JupyterLab would save them: JavaScript writes 1.0 as 1.

    >>> _as_javascript({"a": [1.0, True, 2.5, 1.2345678901234568e20]})
    {'a': [1, True, 2.5, '123456789012345680000']}
    """
    if isinstance(value, float) and value.is_integer():
        return strictjson.whole(int(Decimal(repr(value))))
    if isinstance(value, Mapping):
        return {key: _as_javascript(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_as_javascript(one) for one in value]
    return value
