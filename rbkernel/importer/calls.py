"""Generate the Python source of the `rb` calls that an imported runbook makes.

Pure. The source looks as if a person had typed it: one line if it fits, else one line for each
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
    """Return a call as source; the arguments are already Python source.

    >>> call("rb.checklist", quoted("Before"), listed([quoted("VPN")]))
    'rb.checklist("Before", ["VPN"])'
    """
    parts = [*arguments, *(f"{name}={value}" for name, value in keywords.items() if value)]
    line = f"{function}({', '.join(parts)})"
    if len(line) <= _WIDTH and "\n" not in line:
        return line
    return f"{function}(\n" + "".join(f"{_indented(part)},\n" for part in parts) + ")"


def listed(items: Sequence[str]) -> str:
    """Return a list as source; the items are already Python source."""
    line = f"[{', '.join(items)}]"
    if len(line) <= _WIDTH - 30:
        return line
    return "[\n" + "".join(f"{_indented(item)},\n" for item in items) + "]"


def quoted(text: str) -> str:
    r"""Return a text as a Python literal: unescaped where that is readable.

    >>> quoted('say "x"'), len(quoted("a\nb"))
    ('\'say "x"\'', 9)
    """
    if "\n" in text and '"""' not in text and not text.endswith(('"', "\\")) and _printable(text):
        return f'{"r" if chr(92) in text else ""}"""{text}"""'
    if '"' in text and not re.search(r"['\\\n]", text) and _printable(text):
        return f"'{text}'"
    return json.dumps(text, ensure_ascii=not _printable(text))


def filled(text: str, holes: Sequence[Hole]) -> str:
    """Return a text as an f-string in which its placeholders are parameters.

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
    """Return the source of a command's plan; placeholders without a parameter stay visible."""
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
    """Return a JSON value as Python source.

    >>> literal({"status": "ok", "db": {"up": True}})
    '{"status": "ok", "db": {"up": True}}'
    """
    if isinstance(value, Mapping):
        pairs = (f"{quoted(str(key))}: {literal(inner)}" for key, inner in value.items())
        return "{" + ", ".join(pairs) + "}"
    return quoted(value) if isinstance(value, str) else repr(value)


def mapped(values: Mapping[str, str]) -> str:
    """Return a mapping of text to variable name as Python source; empty if there are no values."""
    if not values:
        return ""
    return "{" + ", ".join(f"{quoted(text)}: {name}" for text, name in values.items()) + "}"


def _printable(text: str) -> bool:
    return all(letter.isprintable() or letter == "\n" for letter in text)


def _indented(source: str) -> str:
    """Indent source lines, except lines that continue a text between triple quotes."""
    lines, inside = [], False
    for line in source.split("\n"):
        lines.append(line if inside else f"    {line}")
        inside ^= line.count('"""') % 2 == 1
    return "\n".join(lines)
