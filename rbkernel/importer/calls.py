"""Python source of the calls that an imported runbook makes.

Pure. The source is what a person would have typed: one line where it fits, else one line for each
argument.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rbkernel.importer.reading.holes import Hole
from rbkernel.runbook.placeholders import placeholder

_WIDTH = 96


def call(function: str, *arguments: str, **keywords: str) -> str:
    """Write a call; arguments are source already.

    >>> call("rb.checklist", quoted("Before"), listed([quoted("VPN")]))
    'rb.checklist("Before", ["VPN"])'
    """
    parts = [*arguments, *(f"{name}={value}" for name, value in keywords.items() if value)]
    line = f"{function}({', '.join(parts)})"
    if len(line) <= _WIDTH and "\n" not in line:
        return line
    return f"{function}(\n" + "".join(f"{_indented(part)},\n" for part in parts) + ")"


def listed(items: Sequence[str]) -> str:
    """Write a list; items are source already."""
    line = f"[{', '.join(items)}]"
    if len(line) <= _WIDTH - 30:
        return line
    return "[\n" + "".join(f"{_indented(item)},\n" for item in items) + "]"


def quoted(text: str) -> str:
    r"""Write a text, as it stands where that can be read.

    >>> quoted('say "x"'), len(quoted("a\nb"))
    ('\'say "x"\'', 9)
    """
    if "\n" in text and '"""' not in text and not text.endswith(('"', "\\")) and _printable(text):
        return f'{"r" if chr(92) in text else ""}"""{text}"""'
    if '"' in text and not re.search(r"['\\\n]", text) and _printable(text):
        return f"'{text}'"
    return json.dumps(text, ensure_ascii=not _printable(text))


def filled(text: str, holes: Sequence[Hole]) -> str:
    """Write a text of which the holes are parameters, as an f-string.

    >>> filled("app=[name]", [Hole(text="[name]", parameter="name", hint="name")])
    'f"app={name}"'
    """
    named = [hole for hole in holes if hole.parameter and hole.text in text]
    if not named:
        return quoted(text)
    if text == named[0].text:
        return f"str({named[0].parameter})" if "int" in named[0].annotation else named[0].parameter
    source = json.dumps(text, ensure_ascii=False).replace("{", "{{").replace("}", "}}")
    for hole in sorted(named, key=lambda one: -len(one.text)):
        written = json.dumps(hole.text, ensure_ascii=False)[1:-1]
        written = written.replace("{", "{{").replace("}", "}}")
        source = source.replace(written, f"{{{hole.parameter}}}")
    return f"f{source}"


def command(title: str, text: str, holes: Sequence[Hole], risk: str = "") -> str:
    """Write the plan of a command; a hole that can be no parameter is a loud placeholder in it."""
    for hole in holes:
        text = text if hole.parameter else text.replace(hole.text, placeholder(hole.hint))
    return call(
        "rb.actions.command",
        quoted(title),
        quoted(text),
        values=mapped({hole.text: hole.parameter for hole in holes if hole.parameter}),
        risk=quoted(risk) if risk else "",
    )


def literal(value: Any) -> str:
    """Write a value of JSON.

    >>> literal({"status": "ok", "db": {"up": True}})
    '{"status": "ok", "db": {"up": True}}'
    """
    if isinstance(value, Mapping):
        pairs = (f"{quoted(str(key))}: {literal(inner)}" for key, inner in value.items())
        return "{" + ", ".join(pairs) + "}"
    return quoted(value) if isinstance(value, str) else repr(value)


def mapped(values: Mapping[str, str]) -> str:
    """Write a mapping of texts to names; empty for none."""
    if not values:
        return ""
    return "{" + ", ".join(f"{quoted(text)}: {name}" for text, name in values.items()) + "}"


def _printable(text: str) -> bool:
    return all(letter.isprintable() or letter == "\n" for letter in text)


def _indented(source: str) -> str:
    """Indent every line but those that a text between triple quotes goes on in."""
    lines, inside = [], False
    for line in source.split("\n"):
        lines.append(line if inside else f"    {line}")
        inside ^= line.count('"""') % 2 == 1
    return "\n".join(lines)
