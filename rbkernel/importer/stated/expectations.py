"""Extract the answers that a document expects of its commands and queries. Pure.

An expectation is in a comment above, after or below the command, or in the fence that follows.
Quoted values that change from run to run (times, versions, names) are not compared. If the answer
that the document quotes as failing would pass, there is no check.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rbkernel.checks import quoted as answers
from rbkernel.importer.reading import holes
from rbkernel.importer.reading.commands import Piece
from rbkernel.importer.stated.sides import BEGINS, FAILS, FOLLOWS, is_of_the_below, of_the_above
from rbkernel.runbook.quantities import Threshold, needs_unit, threshold

_SAID = re.compile(
    r"\b(?:expect(?:ed|s)?(?:\s+(?:output|result|response|answer|value|status))?\s*(?:is|to be)?"
    r"|(?:should|must)\s+(?:return|print|show|output|say|be|answer|contain|include"
    r"|respond(?: with)?)|returns?|(?:should|must)(?=\s+not exceed\b))\s*:?\s*(?P<what>.+?)\s*$",
    re.IGNORECASE,
)
_CONTAINS = re.compile(r"\b(?:contains?|includes?)\s*:?\s*(?P<what>.+?)\s*$", re.IGNORECASE)
_STATUS = re.compile(
    r"^(?:an?\s+)?(?:HTTP(?:/[\d.]+)?\s*)?(?:status(?: code)?\s*)?(?P<code>[1-5]\d\d)\b"
    r"(?!\s*(?:ms|s\b|rows?|%|(?!success)[a-z]+s\b))",
    re.IGNORECASE,
)
_FIGURE = re.compile(
    r"^expected\s+(?P<name>[\w %().-]+?|[\w/]+)\s*[:=]?\s*(?P<limit>[<>≤≥]=?.*)$", re.IGNORECASE
)
_NONE = re.compile(r"^(?:no|0|zero)\s+(?:rows?|results?|records?)\s*[.!]?$", re.IGNORECASE)
_EMPTY = re.compile(
    r"^(?:(?:an )?empty(?: (?:output|answer|result|response|list|line))?|nothing|blank"
    r"|(?:no|0|zero)\s+(?:output|lines?))\s*[.!]?$",
    re.IGNORECASE,
)
# words that change the meaning of a sentence in a way that this module does not understand
_UNSURE = re.compile(
    r"\b(?:not|never|no longer|cannot|if|unless|except|when|whenever|while|until|otherwise|but|only"
    r"|proceed|continue|problem|fine|okay|acceptable|normal(?:ly)?|usual(?:ly)?|typical(?:ly)?"
    r"|about|around|approx\w*|roughly|may|might|could|can|sometimes|or|plus|per|every"
    r"|warn\w*|was|were|than before)\b|n't\b|[~±]",
    re.IGNORECASE,
)
_AMOUNT = (
    r"\s*(?P<figure>-?\d[\d,]*(?:\.\d+)?|zero)\s*(?P<factor>k\b|(?-i:M)\b)?"
    r"\s*(?P<unit>%|[A-Za-z]+)?"
)
# limits that include their figure: if the limit states what is right, the figure itself is right
_UP_TO = r"<=|≤|at most|(?:no|not) (?:more|greater|higher) than|up to|maximum(?: of)?|not exceed"
_FROM = r">=|≥|at least|(?:no|not) (?:less|fewer|lower) than|minimum(?: of)?"
_BELOW_IT = r"<|(?:less|fewer|lower|smaller) than|below|under"
_ABOVE_IT = r">|(?:more|greater|higher|larger) than|above|over"
_SIGN = (
    rf"(?:(?P<up_to>{_UP_TO})|(?P<from>{_FROM})|(?P<below>{_BELOW_IT})|(?P<above>{_ABOVE_IT})"
    r"|(?P<exceeds>exceeds))"
)
_LIMIT = re.compile(rf"(?:be\s+)?{_SIGN}{_AMOUNT}\s*[.!]?", re.IGNORECASE)
_BETWEEN = re.compile(
    r"(?:be\s+)?(?:between|from)?\s*(?P<low>\d[\d,]*(?:\.\d+)?)\s*(?:and|to|-|–)"
    r"\s*(?P<high>\d[\d,]*(?:\.\d+)?)\s*[.!]?",
    re.IGNORECASE,
)
_COUNT = re.compile(r"(?P<figure>\d[\d,]*(?:\.\d+)?|zero)(?:\s+rows?)?", re.IGNORECASE)
# "alert if n > 10", "if > 10, investigate": the figure that is wrong
_ACT = r"(?:alert|investigate|escalate|page|act|(?:this |it )?is critical)"
_FIGURE_OF = (
    rf"(?:(?:the |it\s)?\s*(?P<column>[a-z_]\w*)\s+)??(?:is |are |goes |rises )?\s*{_SIGN}{_AMOUNT}"
)
_WRONG = (
    re.compile(
        rf"(?:alert threshold|threshold|critical|{_ACT}\s+(?:if|when)"
        r"|(?:alert|critical):\s*(?:if|when))"
        rf"\s*:?\s*{_FIGURE_OF}\s*[.!]?",
        re.IGNORECASE,
    ),
    re.compile(rf"(?:if|when)\s+{_FIGURE_OF}\s*,?\s*(?:then\s+)?{_ACT}\s*[.!]?", re.IGNORECASE),
)
_TEXT = re.compile(r"^[`\"']?(?P<text>[\w][\w .:/%-]{0,40}?)[`\"']?[.]?$")
_PROSE = re.compile(
    r"\b(?:an?|the|list|of|current|something|similar|like|with|your|some|all|every|no|not|see|one"
    r"|and|or|time|empty|blank|nothing|none)\b",
    re.IGNORECASE,
)
# a statement about each row does not say what the whole output is
_OF_MANY = re.compile(r"^\W*(?:all|each|every|any|both)\b", re.IGNORECASE)
_FIELD = re.compile(
    r"status|health|state|ready|ok|success|available|connected|database|db|cache|result|alive|up",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Za-z][A-Za-z _-]{0,30}")
_STABLE = ("STATUS", "READY", "STATE", "HEALTH", "AVAILABLE", "PHASE", "CONDITION")
_SQL_COMMENT = re.compile(r"--[ \t]*([^\n]*)")
# STATUS=Bound, VOLUME=pv-1
_CELLS = re.compile(r"\b([A-Z]{3,})\s*[=:]\s*([A-Za-z][\w-]*)")
_FACTORS = re.compile(r"thousands?|millions?|billions?|mio|dozens?|times", re.IGNORECASE)
# a comment of nothing but a limit, in words that promise something
_BARE = re.compile(
    rf"(?P<what>(?:{_UP_TO.removeprefix('<=|≤|')}|{_FROM.removeprefix('>=|≥|')})\s+\d[^.;,]*)[.!]?",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """The expected answer; all fields are empty if the document states nothing that can be checked.

    ``limits`` are the thresholds at which a figure of a query is wrong, by column; the column is
    empty if the query has only one column. ``no_rows`` expects an answer without rows,
    ``empty`` an answer without any text.
    """

    status: int = 0
    answers: str = ""
    contains: str = ""
    json: Mapping[str, Any] = field(default_factory=dict)
    rows: Mapping[str, str] = field(default_factory=dict)
    wrong: str | Mapping[str, Any] = ""
    figures: Mapping[str, str] = field(default_factory=dict)
    limits: tuple[tuple[str, Threshold], ...] = ()
    no_rows: bool = False
    empty: bool = False

    def __bool__(self) -> bool:
        return self != Expectation()

    @property
    def of_output(self) -> bool:
        """Whether the expectation says anything about the text of an answer."""
        parts = self.contains or self.json or self.rows or self.wrong
        return bool(self.compares_text or parts)

    @property
    def compares_text(self) -> bool:
        """Whether the whole text of the answer is compared.

        It is if ``answers`` gives this text, or if an empty answer is expected.
        """
        return bool(self.answers) or self.empty


def read(comments: Sequence[str], *, below: bool = False) -> Expectation:
    """Return the answer that comments expect of their command.

    Parameters
    ----------
    comments
        The lines of the comments, without the comment mark.
    below
        Whether the comments are below the command: the expected answer may then have several lines.

    >>> read(["Expected output", '{"status": "ok"}'], below=True).json
    {'status': 'ok'}
    >>> read(["expected: active"]).answers, read(["must return HTTP 204"]).status
    ('active', 204)
    >>> bool(read(["Expected output: a list of pods"])), bool(read(["Look at the pods"]))
    (False, False)
    """
    right, wrong, rest = _parted(comments) if below else ([], [], list(comments))
    found = of_output("\n".join(right)) if right else Expectation()
    for line in rest:
        found = _joined(found, _of_line(line))
    return _that_fails(found, "\n".join(wrong))


def _parted(comments: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Divide comments into expected lines, lines of a failing answer, and sentences."""
    right: list[str] = []
    wrong: list[str] = []
    rest: list[str] = []
    into = rest
    for line in comments:
        if FAILS.search(line) and len(line) < 80:
            into = wrong
            if quoted := re.search(r"[{\[].*[}\]]", line):
                wrong.append(quoted[0])
        elif FOLLOWS.match(line):
            into = right
        elif into is rest or _is_sentence(line):
            into = rest
            rest.append(line)
        else:
            into.append(line)
    return right, wrong, rest


def _is_sentence(line: str) -> bool:
    words = line.split()
    looks = re.search(r"\s{2,}|[{}\[\]|\"]|^\S+:\s", line)
    return len(words) > 2 and not looks and re.match(r"[A-Z][a-z]+ [a-z]", line) is not None


def announced(label: str) -> bool:
    """Tell whether a line announces the expected answer, such as "Expected output:".

    >>> announced("Expected output"), announced("You should see something like this")
    (True, False)
    """
    return bool(label) and FOLLOWS.match(label) is not None


def with_answer(expected: Expectation, text: str) -> Expectation:
    """Add the content of a quoted answer to an expectation."""
    return _joined(expected, of_output(text))


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
    if body := _object(text):
        return Expectation(json=_fixed(body))
    if answers.columns(lines[0]):
        return Expectation(rows=_columns(lines))
    if len(lines) == 1 and _is_answer(lines[0]) and not holes.find(text):
        return Expectation(answers=lines[0].strip())
    return Expectation()


def _object(text: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _fixed(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields whose values are booleans or states, not names, times or versions."""
    found: dict[str, Any] = {}
    for key, value in body.items():
        if isinstance(value, Mapping):
            if inner := _fixed(value):
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
        if name in _STABLE and (len(values) == 1 or whole):
            value = rows[0][at]
            if whole or re.fullmatch(r"[A-Za-z]+", value):
                found[name] = value
    return found


def _is_answer(text: str) -> bool:
    return _TEXT.match(text.strip()) is not None and not re.search(r"\d", text) and len(text) < 30


def _of_line(line: str) -> Expectation:
    """Return the answer that a sentence expects."""
    line = line.strip()
    if holes.find(line):
        return Expectation()
    figure = _FIGURE.match(line)
    if figure and threshold(figure["limit"]):
        return Expectation(figures={figure["name"].strip(): figure["limit"].strip()})
    wrong = next(filter(None, (one.fullmatch(line) for one in _WRONG)), None)
    if wrong:
        limit = _threshold(wrong)
        column = (wrong["column"] or "").lower()
        return Expectation(limits=((column, limit),)) if limit else Expectation()
    if bare := _BARE.fullmatch(line):
        return _of_value(bare["what"], contains=None)
    said = _SAID.search(line)
    if said is None or _OF_MANY.match(line) or _UNSURE.search(line[: said.start()]):
        return Expectation()
    return _of_value(said["what"].strip(), contains=_CONTAINS.search(line))


def _of_value(what: str, *, contains: re.Match[str] | None) -> Expectation:
    if found := _of_figure(what):
        return found
    if _UNSURE.search(re.sub(r"[{\[].*[}\]]|\"[^\"]*\"|`[^`]*`", "", what)):
        return Expectation()
    if status := _STATUS.match(what):
        return Expectation(status=int(status["code"]))
    if body := _object(what):
        return Expectation(json=_fixed(body))
    if (cells := _CELLS.findall(what)) and _CELLS.sub("", what).strip(" ,.;") == "":
        return Expectation(rows={name: value for name, value in cells if name in _STABLE})
    if _LIMIT.search(what):
        return Expectation()  # a figure with words that are not understood
    if contains and (text := _TEXT.match(contains["what"])) and not _PROSE.search(text["text"]):
        return Expectation(contains=text["text"].strip())
    text = _TEXT.match(what)
    quoted = re.fullmatch(r"[`\"'].*[`\"'][.]?", what) is not None
    if text and (quoted or (len(text["text"].split()) < 3 and not _PROSE.search(what))):
        return Expectation(answers=text["text"].strip())
    return Expectation()


def _of_figure(what: str) -> Expectation | None:
    """Return the expectation that a figure, a range or a word such as "empty" states.

    None for other words. The expectation has no fields if the words cannot be checked.
    """
    if _EMPTY.match(what):
        return Expectation(empty=True)
    if _NONE.match(what):
        return Expectation(no_rows=True)
    if limit := _LIMIT.fullmatch(what):
        right = _threshold(limit, right=True)
        return Expectation(limits=(("", right),)) if right else Expectation()
    if between := _BETWEEN.fullmatch(what):
        low, high = (_number(between[name]) for name in ("low", "high"))
        limits = (("", Threshold(value=high)), ("", Threshold(value=low, below=True)))
        return Expectation(limits=limits) if low < high else Expectation()
    if count := _COUNT.fullmatch(what.rstrip(".")):
        figure = _number(count["figure"])
        above = Threshold(value=figure)
        both = (("", above),) if not figure else (("", above), ("", replace(above, below=True)))
        status = int(figure) if re.fullmatch(r"[1-5]\d\d", count["figure"]) else 0
        return Expectation(limits=both, status=status)
    return None


def _number(words: str) -> float:
    return 0.0 if words.lower() == "zero" else float(words.replace(",", ""))


def _threshold(match: re.Match[str], *, right: bool = False) -> Threshold | None:
    """Return the threshold beyond which a figure is wrong.

    With ``right``, the sentence states which figures are right, so the threshold is inverted. None
    if the unit may be an unknown factor, such as ``bn``.
    """
    unit = match["unit"] or ""
    if not needs_unit(unit) and (0 < len(unit) < 3 or _FACTORS.fullmatch(unit)):
        return None
    factor = {"k": 1e3, "m": 1e6}.get((match["factor"] or "").lower(), 1.0)
    below = bool(match["below"] or match["up_to"])
    included = bool(match["up_to"] or match["from"])
    return Threshold(
        value=_number(match["figure"]) * factor,
        below=below != right,
        unit=unit,
        inclusive=included != right,
    )


def _joined(first: Expectation, other: Expectation) -> Expectation:
    """Merge two expectations; fields of the first have priority."""
    given = {
        name: value
        for name, value in vars(other).items()
        if value and not getattr(first, name) and name != "figures"
    }
    limits = tuple(dict.fromkeys((*first.limits, *other.limits)))
    figures = {**first.figures, **other.figures}
    return replace(first, **{**given, "limits": limits, "figures": figures})


def _that_fails(found: Expectation, quoted: str) -> Expectation:
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
    body = _object(quoted.strip())
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


def of_piece(pieces: Sequence[Piece], number: int) -> Expectation:
    """Return the answer that the comments around a command in a fence expect.

    The module `sides` says to which command a comment belongs.
    """
    piece = pieces[number]
    found = read([piece.behind]) if piece.behind else Expectation()
    if number and pieces[number - 1].kind == "comment" and is_of_the_below(pieces, number - 1):
        found = _joined(found, read(pieces[number - 1].text.splitlines()))
    below: list[str] = []
    for at in range(number + 1, len(pieces)):
        follows = below and FOLLOWS.match(below[-1])
        printed = follows and pieces[at].kind == "output"
        if not printed and not of_the_above(pieces, at, after=bool(below)):
            break
        below += pieces[at].text.splitlines()
    return _joined(found, read(below, below=True)) if below else found


def of_statements(content: str, statements: Sequence[str]) -> list[Expectation]:
    """Return the answer that the comments in and around each statement of a fence expect.

    >>> sql = "SELECT 1 AS a;\\n-- expected: 0\\n\\nSELECT 2 AS b;"
    >>> found = of_statements(sql, ["SELECT 1 AS a", "-- expected: 0\\nSELECT 2 AS b"])
    >>> [len(one.limits) for one in found]
    [1, 0]
    """
    own: list[list[str]] = []
    lines = [line.strip() for line in content.splitlines()]
    for number, statement in enumerate(statements):
        comments = _SQL_COMMENT.findall(statement)
        own.append(comments)
        leading = statement.lstrip().startswith("--")
        if number and leading and comments and BEGINS.match(comments[0]):
            at = next((at for at, line in enumerate(lines) if line.endswith(comments[0])), 0)
            apart, tied = not lines[at - 1], bool(lines[at + 1 : at + 2] and lines[at + 1])
            if not apart:
                own[number] = comments[1:]
                own[number - 1] += [] if tied else comments[:1]
    return [read(comments) for comments in own]
