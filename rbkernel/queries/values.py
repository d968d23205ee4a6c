"""Insert values into PromQL and LogQL. Pure.

``{name}`` in a query stands for a value: a name alone between braces is valid in neither language.
A value can never end its place in the query: a text becomes a quoted string, and behind ``=~`` it
is matched literally. Inside a string, ``{name}`` stands for a part of this string.

>>> inserted('up{job={job}}', {"job": 'a"} or vector(1) #'})
'up{job="a\\\\"} or vector(1) #"}'
>>> inserted('up{job=~"{job}-.*"}', {"job": "a.b"})
'up{job=~"a\\\\\\\\.b-.*"}'
>>> inserted('rate(x{code={code}}[{window}]) > {limit}', {"code": 500, "window": "5m", "limit": 3})
'rate(x{code="500"}[5m]) > 3'
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from rbkernel.errors import QueryError

_NAME = r"\{\s*(?P<name>[A-Za-z_]\w*)\s*\}"
_TOKEN = re.compile(
    r"""(?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)"""
    rf"|(?P<comment>\#[^\n]*)|(?P<space>\s+)|(?P<hole>{_NAME})"
    r"|(?P<operator>\|=|\|~|=~|!~|!=|==|>=|<=)|(?P<word>[\w:.]+)|(?P<other>.)",
    re.DOTALL,
)
# not a template of Go ({{ .name }}), and not a class of a regular expression (\p{Greek})
_WITHIN = re.compile(rf"(?<!\{{)(?<!\\p)(?<!\\P){_NAME}(?!\}})")
_REGEX = frozenset({"=~", "!~", "|~"})
_DURATION = re.compile(r"(?:\d+(?:ms|[smhdwy]))+")
# what Go's regexp.QuoteMeta escapes
_META = re.compile(r"[\\.+*?()|\[\]{}^$]")


def parameters(query: str) -> list[str]:
    """Return the names of the values that a query takes, in the order of their first use.

    >>> parameters('rate(x{a={b}, c="d-{e}"}[{w}]) # {no}'), parameters('x | line_format "{{.a}}"')
    (['b', 'e', 'w'], [])
    """
    names: list[str] = []
    for token in _TOKEN.finditer(query):
        if token["hole"]:
            names.append(token["name"])
        elif token["string"]:
            names += [found["name"] for found in _WITHIN.finditer(token["string"])]
    return list(dict.fromkeys(names))


def inserted(query: str, values: Mapping[str, Any]) -> str:
    """Return a query with its values inserted.

    Raises
    ------
    QueryError
        A value is missing, superfluous, or cannot be used at its place.
    """
    names = parameters(query)
    for name in names:
        if name not in values:
            raise QueryError(
                f"the query needs a value for {{{name}}}", next_step=f"pass {name}=… to the call"
            )
    written, last, depth, brackets = "", "", 0, 0
    for token in _TOKEN.finditer(query):
        text = token[0]
        if token["hole"]:
            name = token["name"]
            if brackets or last.lower() == "offset":
                text = _duration(name, values[name])
            else:
                text = _literal(name, values[name], regex=last in _REGEX, labels=depth > 0)
        elif token["string"]:
            text = _within(text, values, regex=last in _REGEX)
        depth += (token[0] == "{") - (token[0] == "}")
        brackets += (token[0] == "[") - (token[0] == "]")
        written += text
        if not token["space"] and not token["comment"]:
            last = token[0]
    return written


def of_any(query: str) -> str:
    """Return a query that matches any value in place of each ``{name}``, to see whether it answers.

    >>> of_any('rate(x{service={service},job="{service}-web",code=~"5.."}[5m])')
    'rate(x{service=~".+",job=~".*-web",code=~"5.."}[5m])'
    >>> of_any("x{a!={b}}[{w}]")
    'x{a!~".+"}[5m]'
    """
    tokens = [(token[0], token.lastgroup) for token in _TOKEN.finditer(query)]
    last = 0  # the place of the newest operator
    brackets = 0
    written: list[str] = []
    for text, kind in tokens:
        hole = kind in {"hole", "name"}
        if hole or (kind == "string" and _WITHIN.search(text)):
            any_value = '".+"' if hole else _WITHIN.sub(".*", text)
            written.append("5m" if brackets else any_value)
            if not brackets and written[last] in {"=", "!="}:
                written[last] = "=~" if written[last] == "=" else "!~"
        else:
            written.append(text)
            last = last if kind == "space" else len(written) - 1
        brackets += (text == "[") - (text == "]")
    return "".join(written)


def _duration(name: str, value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return f"{value}s"
    if isinstance(value, str) and _DURATION.fullmatch(value):
        return value
    raise QueryError(
        f"{name}={value!r} is not a duration", next_step=f'pass {name} as in "5m", or in seconds'
    )


def _literal(name: str, value: Any, *, regex: bool, labels: bool) -> str:
    """Return a value as a literal: a number, or a string in quotes.

    >>> _literal("a", ["x", "y.z"], regex=True, labels=True)
    '"x|y\\\\\\\\.z"'
    >>> import numpy as np
    >>> [_literal("n", n, regex=False, labels=False) for n in (np.float64(3), np.int64(3), 3)]
    ['3.0', '3', '3']
    """
    if isinstance(value, Real) and not isinstance(value, bool) and not labels and not regex:
        if not math.isfinite(value):
            raise QueryError(f"{name} is {value}, not a number", next_step=f"pass another {name}")
        # numbers of numpy, too, whose repr is not one
        return repr(int(value) if isinstance(value, Integral) else float(value))
    if isinstance(value, list | tuple) and not regex:
        raise QueryError(
            f"{name} has several values, which only =~ and !~ can compare",
            next_step=f"write =~{{{name}}} in the query",
        )
    return f'"{_escaped(_text(name, value, regex=regex), chr(34))}"'


def _within(string: str, values: Mapping[str, Any], *, regex: bool) -> str:
    quote = string[0]

    def value(found: re.Match[str]) -> str:
        text = _text(found["name"], values[found["name"]], regex=regex)
        if isinstance(values[found["name"]], list | tuple):
            text = f"(?:{text})"  # the string goes on before or after it
        if quote == "`" and "`" in text:
            raise QueryError(
                f"{found['name']} contains a backtick, which ends the string",
                next_step='write the string in the query between " and "',
            )
        return text if quote == "`" else _escaped(text, quote)

    return _WITHIN.sub(value, string)


def _text(name: str, value: Any, *, regex: bool) -> str:
    items = value if isinstance(value, list | tuple) else [value]
    texts = [_one(name, item) for item in items]
    if not texts or (len(texts) > 1 and not regex):
        raise QueryError(
            f"{name} has {len(texts)} values", next_step=f"pass one value, or write =~{{{name}}}"
        )
    return "|".join(_META.sub(r"\\\g<0>", text) for text in texts) if regex else texts[0]


def _one(name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise QueryError(
            f"{name} is a {type(value).__name__}, which a query cannot contain",
            next_step=f"pass {name} as text, as a number, or as a list of texts",
        )
    text = str(value)
    if any(0xD800 <= ord(letter) <= 0xDFFF for letter in text):
        raise QueryError(f"{name} is not valid Unicode", next_step=f"pass another {name}")
    return text


def _escaped(text: str, quote: str) -> str:
    """Return a text as the inside of a string of Go: quote, backslash and controls escaped."""
    text = text.replace("\\", "\\\\").replace(quote, f"\\{quote}")
    return "".join(one if one.isprintable() else _escape(one) for one in text)


def _escape(letter: str) -> str:
    return f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else f"\\U{ord(letter):08x}"
