"""Read answers that a document quotes: the parts that are the same in every run. Pure.

Quoted values that change from run to run (times, versions, names) are not compared. If the answer
that the document quotes as failing would pass, there is no check.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rbkernel.checks import quoted as answers
from rbkernel.importer.reading import holes
from rbkernel.importer.stated.expectation import Expectation

# a short text: a state, or a few words
SHORT = re.compile(r"^[`\"']?(?P<text>[\w][\w .:/%-]{0,40}?)[`\"']?[.]?$")
_FIELD = re.compile(
    r"status|health|state|ready|ok|success|available|connected|database|db|cache|result|alive|up",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Za-z][A-Za-z _-]{0,30}")
STABLE = ("STATUS", "READY", "STATE", "HEALTH", "AVAILABLE", "PHASE", "CONDITION")


def of_output(text: str) -> Expectation:
    """Return the parts of a quoted answer that are the same in every run.

    >>> of_output("NAME   READY   STATUS\\nweb-1  1/1     Running").rows
    {'READY': '1/1', 'STATUS': 'Running'}
    >>> of_output('{"status":"ok","uptime":17,"version":"1.2.3"}').json
    {'status': 'ok'}
    >>> of_output("OK").answers, of_output("10:14 up 12 days, 1 user").answers
    ('OK', '')
    """
    lines = [line for line in text.strip().splitlines() if line.strip()]
    if not lines:
        return Expectation()
    if body := an_object(text):
        return Expectation(json=fixed(body))
    if answers.columns(lines[0]):
        return Expectation(rows=_columns(lines))
    if len(lines) == 1 and _is_answer(lines[0]) and not holes.find(text):
        return Expectation(answers=lines[0].strip())
    return Expectation()


def an_object(text: str) -> Mapping[str, Any] | None:
    """Return the JSON object that a text is; None for other texts."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def fixed(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields whose values are booleans or states, not names, times or versions."""
    found: dict[str, Any] = {}
    for key, value in body.items():
        if isinstance(value, Mapping):
            if inner := fixed(value):
                found[key] = inner
        elif value in (True, False) or (_FIELD.search(key) and _WORD.fullmatch(str(value))):
            found[key] = value
    return found


def _columns(lines: Sequence[str]) -> dict[str, str]:
    """Return the state columns that have the same value in all quoted rows."""
    names = [name for name, _ in answers.columns(lines[0])]
    rows = [re.split(r"\s{2,}|\t", line.strip()) for line in lines[1:]]
    if not rows or any(len(row) != len(names) for row in rows):
        return {}
    found = {}
    for at, name in enumerate(names):
        values = {row[at] for row in rows}
        whole = all(re.fullmatch(r"(\d+)/\1", value) for value in values)
        if name in STABLE and (len(values) == 1 or whole):
            value = rows[0][at]
            if whole or re.fullmatch(r"[A-Za-z]+", value):
                found[name] = value
    return found


def _is_answer(text: str) -> bool:
    return SHORT.match(text.strip()) is not None and not re.search(r"\d", text) and len(text) < 30


def that_fails(found: Expectation, quoted: str) -> Expectation:
    """Return the expectation, changed if needed so that a failing answer does not meet it.

    ``quoted`` is the answer that the document quotes as failing. If it would meet the expectation,
    ``wrong`` is set to what identifies the failing answer. If nothing identifies it, the answer is
    not compared.
    """
    if not quoted.strip():
        return found
    right = answers.Quoted(answers=found.answers or None, fields=found.json, rows=found.rows)
    if any(one.met is False for one in answers.judge(quoted, right)):
        return found
    body = an_object(quoted.strip())
    wrong = _differing(body, found.json) if body else _line_of(quoted)
    # if nothing distinguishes the two answers, there is no check
    return replace(found, wrong=wrong) if wrong else replace(found, json={}, answers="", rows={})


def _differing(failing: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields in which a failing answer differs from the right one.

    If some of these fields have values without digits, which are probably the same in every run,
    only these are returned.
    """
    scalars = {key: value for key, value in failing.items() if isinstance(value, str | bool | int)}
    own = {key: value for key, value in scalars.items() if right.get(key) != value}
    steady = {key: value for key, value in own.items() if not re.search(r"\d", str(value))}
    return steady or own


def _line_of(failing: str) -> str:
    """Return a line that identifies a failing answer; empty for a table."""
    lines = [line.strip() for line in failing.splitlines()]
    if any(map(answers.columns, lines)):
        return ""
    return next((line for line in lines if 3 < len(line) < 80), "")
