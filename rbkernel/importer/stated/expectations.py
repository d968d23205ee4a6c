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
from rbkernel.importer.reading.commands import Piece, prints_a_figure
from rbkernel.importer.stated import grammar
from rbkernel.importer.stated.grammar import NUMBER, UNSURE
from rbkernel.importer.stated.sides import BEGINS, FAILS, FOLLOWS, is_of_the_below, of_the_above
from rbkernel.runbook.quantities import Threshold, needs_unit, threshold

_SAID = re.compile(
    r"(?:\b(?:expect(?:ed|s)?\b(?:\s+(?:output|result|response|answer|value|status))?"
    r"\s*(?:is|to be)?"
    r"|(?:should|must)\s+(?:return|print|show|output|say|(?P<be>be|stay|remain)|answer|contain"
    r"|include|respond(?: with)?)|(?P<told>returns?|prints)|(?:should|must)(?=\s+not exceed\b))"
    r"|^\W*(?P<shown>(?:output|result)\s*(?:is\b|[:=])|=>|->|→))\s*:?\s*(?P<what>.+?)\s*$",
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
# an answer of HTTP, alone
_STATUS_LINE = re.compile(r"(?:HTTP(?:/[\d.]+)?\s+)?(?P<code>[23]\d\d)(?:\s+[A-Z][A-Za-z-]+)*")
_BETWEEN = re.compile(
    rf"(?:be\s+)?(?:between|from)?\s*(?P<low>{NUMBER})\s*(?:and|to|-|–)\s*(?P<high>{NUMBER})\s*[.!]?",
    re.IGNORECASE,
)
_COUNT = re.compile(rf"(?P<figure>{NUMBER}|zero)(?:\s+(?P<rows>rows?))?", re.IGNORECASE)
# what is said of a limit, before it or behind it: "alert if n > 10", "below 5 is fine"
_IS_RIGHT = "healthy|good|ok"
_IS_WRONG = (
    r"(?P<wrong>critical|bad|wrong|unhealthy|(?:a )?problem|(?:an )?issue|trouble|unacceptable"
    r"|an (?:incident|alert|outage)|too (?:high|low|many|few|much)|alert(?: threshold)?|threshold"
    r"|not (?:ok|okay|good|fine|normal|healthy|acceptable)|investigate|escalate|page|act"
    r"|(?:this |it )is critical)"
)
_COLUMN = (
    r"(?:(?:if|when)\s+)?(?:(?:anything|any value|values?|the (?:count|number|value|result))\s+"
    r"|(?:(?:the |it\s)?\s*(?P<column>[a-z_]\w*)\s+)??)(?:is |are |goes |rises )?"
)
_SAYS_BEFORE = re.compile(
    rf"(?:(?:(?P<right>{_IS_RIGHT}|okay|normal)|{_IS_WRONG})\s*(?::|=|\b(?:is|are|means|at))?\s*)?"
    rf"{_COLUMN}",
    re.IGNORECASE,
)
_SAYS_BEHIND = re.compile(
    r"(?:(?:is|are|means?|indicates?|:|=|->|→|,?\s*then|,)?\s*"
    rf"(?:(?P<right>{_IS_RIGHT})|{_IS_WRONG}))?\s*[.!]?",
    re.IGNORECASE,
)
_FILLING = re.compile(r"\b(?:if|when|is|are|at|the|means?|[:=.,;])\b|[\W_]", re.IGNORECASE)
_GOOD = re.compile(r"^\W*(?:healthy|good|ok|okay|normal)\s*[:=]\s*(?P<what>.+?)\s*$", re.IGNORECASE)
_STATE = re.compile(
    r"(?:in)?active|(?:en|dis)abled|ok|up|running|ready|true|false|yes|no|(?:un)?healthy|online|pong"
    r"|bound|succeeded|completed?|green|alive|success|connected|started|open|done|primary|replica",
    re.IGNORECASE,
)
_TEXT = re.compile(r"^[`\"']?(?P<text>[\w][\w .:/%-]{0,40}?)[`\"']?[.]?$")
_PROSE = re.compile(
    r"\b(?:an?|the|list|of|current|something|similar|like|with|your|some|all|every|no|not|see|one"
    r"|and|or|time|empty|blank|nothing|none|within|even|odd|about|around)\b",
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
_QUOTED = re.compile(r"'[^']*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
# the exit codes of `systemctl is-active` and `is-enabled`
_SEARCH = re.compile(r"[efz]?grep|pgrep")
_RUNS_ANOTHER = re.compile(r"sudo|doas|docker|podman|kubectl|oc|ssh|timeout|nice|env|time")
_ENDS_WITH = {"inactive": 3, "failed": 3, "disabled": 1, "masked": 1}
_SQL_COMMENT = re.compile(r"--[ \t]*([^\n]*)")
# STATUS=Bound, VOLUME=pv-1
_CELLS = re.compile(r"\b([A-Z]{3,})\s*[=:]\s*([A-Za-z][\w-]*)")


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """The expected answer; all fields are empty if the document states nothing that can be checked.

    ``limits`` are the thresholds at which a figure of a query is wrong, by column; the column is
    empty if the query has only one column; at ``warnings`` it begins to be wrong. ``no_rows``
    expects an answer without rows, ``empty`` an answer without any text.
    """

    status: int = 0
    answers: str = ""
    contains: str = ""
    json: Mapping[str, Any] = field(default_factory=dict)
    rows: Mapping[str, str] = field(default_factory=dict)
    wrong: str | Mapping[str, Any] = ""
    figures: Mapping[str, str] = field(default_factory=dict)
    limits: tuple[tuple[str, Threshold], ...] = ()
    warnings: tuple[tuple[str, Threshold], ...] = ()
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
    if (found := _of_limits(line)) is not None:
        return found
    if good := _GOOD.match(line):
        return _of_figure(good["what"]) or Expectation()
    if status := _STATUS_LINE.fullmatch(line):
        return Expectation(status=int(status["code"]))
    said = _SAID.search(line)
    if said is None or _OF_MANY.match(line) or UNSURE.search(line[: said.start()]):
        return Expectation()
    found = _of_value(said["what"].strip(), contains=_CONTAINS.search(line))
    # "-> restart", "prints usage", "should be low": a word that is no state says something else
    loose = said["told"] or said["shown"] or (said["be"] and found.answers.islower())
    quoted = re.match(r"[`\"']", said["what"]) or not loose
    known = quoted or not found.answers or _STATE.fullmatch(found.answers)
    return found if known else Expectation()


def _of_limits(line: str) -> Expectation | None:
    """Return what a line of one or two limits and the words about them expects; else None.

    >>> _of_limits("alert if n > 30").limits
    (('n', Threshold(value=30.0, below=False, unit='', for_s=None)),)
    >>> _of_limits("over 30 is bad, on Sundays"), _of_limits("at most 3").limits[0][1].value
    (None, 3.0)
    """
    compared = list(grammar.comparisons(line))
    first, second = compared if len(compared) == 2 else (None, None)
    if first and second and (levels := grammar.two_levels(first, second, line)):
        rest = f"{line[: first.start]} {line[first.end : second.start]} {line[second.end :]}"
        named = [word for word in _FILLING.split(grammar.LEVEL.sub("", rest)) if word]
        mild, critical = map(threshold, levels)
        if len(named) > 1 or not mild or not critical:
            return Expectation()
        column = "".join(named).lower()
        return Expectation(limits=((column, critical),), warnings=((column, mild),))
    if len(compared) != 1:
        return None
    [one] = compared
    before = _SAYS_BEFORE.fullmatch(f"{line[: one.start].strip()} ".lstrip())
    behind = _SAYS_BEHIND.fullmatch(line[one.end :].strip())
    if not before or not behind:
        return None
    right = bool(before["right"] or behind["right"])
    bare = not (right or before["wrong"] or behind["wrong"])
    if right == bool(before["wrong"] or behind["wrong"]) and not (bare and one.promise):
        return None
    if bare and line[: one.start].strip():
        return None
    return _of_limit(one, right=right or bare, column=(before["column"] or "").lower())


def _of_limit(one: grammar.Comparison, *, right: bool, column: str = "") -> Expectation:
    limit = one.threshold(right=right)
    return Expectation(limits=((column, limit),)) if limit else Expectation()


def _of_value(what: str, *, contains: re.Match[str] | None) -> Expectation:
    if found := _of_figure(what):
        return found
    if UNSURE.search(re.sub(r"[{\[].*[}\]]|\"[^\"]*\"|`[^`]*`", "", what)):
        return Expectation()
    if status := _STATUS.match(what):
        return Expectation(status=int(status["code"]))
    if body := _object(what):
        return Expectation(json=_fixed(body))
    if (cells := _CELLS.findall(what)) and _CELLS.sub("", what).strip(" ,.;") == "":
        return Expectation(rows={name: value for name, value in cells if name in _STABLE})
    if any(True for _ in grammar.comparisons(what)):
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
    if limit := grammar.whole(what):
        return _of_limit(limit, right=True)
    if between := _BETWEEN.fullmatch(what):
        low, high = (_number(between[name]) for name in ("low", "high"))
        limits = (("", Threshold(value=high)), ("", Threshold(value=low, below=True)))
        return Expectation(limits=limits) if low < high else Expectation()
    if count := _COUNT.fullmatch(what.rstrip(".")):
        figure = _number(count["figure"])
        above = Threshold(value=figure, unit=(count["rows"] or "").lower())
        both = (("", above),) if not figure else (("", above), ("", replace(above, below=True)))
        status = int(figure) if re.fullmatch(r"[1-5]\d\d", count["figure"]) else 0
        return Expectation(limits=both, status=status)
    return None


def _number(words: str) -> float:
    return 0.0 if words.lower() == "zero" else float(words.replace(",", ""))


def _joined(first: Expectation, other: Expectation) -> Expectation:
    """Merge two expectations; fields of the first have priority."""
    given = {
        name: value
        for name, value in vars(other).items()
        if value and not getattr(first, name) and name != "figures"
    }
    limits = tuple(dict.fromkeys((*first.limits, *other.limits)))
    warnings = tuple(dict.fromkeys((*first.warnings, *other.warnings)))
    figures = {**first.figures, **other.figures}
    return replace(first, **{**given, "limits": limits, "warnings": warnings, "figures": figures})


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
    found = _joined(found, read(below, below=True)) if below else found
    return _of_printed(found, piece) if piece.kind in {"words", "text"} else found


def _of_printed(found: Expectation, piece: Piece) -> Expectation:
    """Return what is expected of a command that prints one figure, as its output.

    A figure that must be equal is compared as text; a range, and a warning below a critical limit,
    cannot be told of an output.
    """
    last = piece.bare.replace("\\\n", " ").splitlines()[-1]
    of_status = "http_code" in last and found.status
    if piece.changes or found.warnings or not prints_a_figure(last):
        return found
    limits = [limit for column, limit in found.limits if not column]
    if len(limits) != len(found.limits) or not (limits or of_status):
        return found
    none = limits == [Threshold(value=0)]
    if none or of_status or (len(limits) == 2 and limits[0].value == limits[1].value):
        figure = found.status if of_status else limits[0].value
        return replace(found, answers=found.answers or f"{figure:.15g}")
    if len(limits) != 1:
        return found
    [limit] = limits
    if needs_unit(limit.unit) and (limit.unit != "%" or not re.search("pcent|%", last)):
        return found
    sign = (">" if limit.below else "<") + ("" if limit.inclusive else "=")
    unit = limit.unit if needs_unit(limit.unit) else ""
    return replace(found, figures={"output": f"{sign} {limit.value:.15g}{unit}", **found.figures})


def exit_code(text: str, expected: Expectation) -> int:
    """Return the exit code with which a command ends if its output is the expected one.

    >>> exit_code("kubectl get pods | grep -v Running", Expectation(empty=True))
    1
    >>> exit_code("systemctl is-active old-api", Expectation(answers="inactive"))
    3
    """
    last = re.split(r"\||;|&&", _QUOTED.sub("Q", text).strip())[-1].split()
    if expected.empty and _searches(last):
        return 1  # nothing was found
    if re.match(r"(?:sudo )?systemctl is-(?:active|enabled)\b", " ".join(last)):
        return _ENDS_WITH.get(expected.answers, 0)
    return 0


def _searches(words: Sequence[str]) -> bool:
    """Tell whether a command is grep or one like it, perhaps run by another command.

    >>> [_searches(one.split()) for one in ("sudo /bin/grep x", "LC_ALL=C grep x", "xargs grep x")]
    [True, True, False]
    """
    names = [word.rsplit("/", 1)[-1] for word in words if not re.match(r"\w+=", word)]
    if names and _RUNS_ANOTHER.fullmatch(names[0]):
        return any(map(_SEARCH.fullmatch, names))
    return bool(names and _SEARCH.fullmatch(names[0]))


def of_statements(content: str, statements: Sequence[str]) -> list[tuple[list[str], Expectation]]:
    """Return the comments in and around each statement of a fence, and the answer that they expect.

    >>> sql = "SELECT 1 AS a;\\n-- expected: 0\\n\\nSELECT 2 AS b;"
    >>> found = of_statements(sql, ["SELECT 1 AS a", "-- expected: 0\\nSELECT 2 AS b"])
    >>> [(comments, len(one.limits)) for comments, one in found]
    [(['expected: 0'], 1), ([], 0)]
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
    return [(comments, read(comments)) for comments in own]
